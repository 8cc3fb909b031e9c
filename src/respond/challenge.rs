//! The challenges of `WWW-Authenticate`: which schemes a gateway takes, and what a refusal says in them.

use super::rejection::quotable;

/// The authentication schemes that a policy takes tokens under.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schemes {
    /// Whether some provider takes tokens that are bound to no key: `Bearer` (RFC 6750 section 3).
    pub bearer: bool,
    /// The algorithms of proofs, space-separated, where some provider takes tokens under `DPoP` (RFC 9449 section 7.1).
    pub dpop: Option<Box<str>>,
}

impl Default for Schemes {
    fn default() -> Self {
        Self { bearer: true, dpop: None }
    }
}

/// What a challenge says beyond what its reason makes it say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChallengeDetails {
    /// Whether it is for the scheme `DPoP` alone, under which the token came.
    pub is_dpop: bool,
    /// Whether the proof lacks the gateway's nonce: `use_dpop_nonce` (RFC 9449 section 9).
    pub needs_nonce: bool,
    /// The authentication context classes that would do, space-separated (RFC 9470 section 3).
    pub acr_values: Option<Box<str>>,
    /// How many seconds ago the user may have authenticated (RFC 9470 section 3).
    pub max_age: Option<u64>,
    /// Where the metadata of the resource stands (RFC 9728 section 5.1).
    pub resource_metadata: Option<Box<str>>,
    /// A fresh nonce, for the header `DPoP-Nonce`.
    pub nonce: Option<Box<str>>,
}

/// What the challenges of one answer are made from.
pub(super) struct ChallengeParts<'a> {
    pub(super) realm: &'a str,
    pub(super) schemes: &'a Schemes,
    /// The error code and its description; none where no token came (RFC 6750 section 3.1).
    pub(super) error: Option<[&'a str; 2]>,
    pub(super) details: Option<&'a ChallengeDetails>,
    /// Whether only `DPoP` can be meant.
    pub(super) is_about_proof: bool,
    pub(super) scope: Option<&'a str>,
}

impl ChallengeParts<'_> {
    /// The values of `WWW-Authenticate`, one for each scheme: several in one header are hard to tell apart.
    pub(super) fn headers(&self) -> Vec<String> {
        let came_by_dpop = self.is_about_proof || self.details.is_some_and(|details| details.is_dpop);
        let takes_dpop = self.schemes.dpop.is_some();
        let (bearer, dpop) = match self.error {
            None => (self.schemes.bearer, takes_dpop),
            Some(_) if came_by_dpop => (false, true),
            Some(_) => (self.schemes.bearer, takes_dpop && !self.schemes.bearer),
        };
        [("Bearer", bearer), ("DPoP", dpop)]
            .into_iter()
            .filter(|(_, is_taken)| *is_taken)
            .map(|(scheme, _)| self.challenge(scheme))
            .collect()
    }

    fn challenge(&self, scheme: &str) -> String {
        let mut challenge = [scheme, " realm=\"", self.realm, "\""].concat();
        let mut put = |name: &str, value: &str| {
            for piece in [", ", name, "=\"", value, "\""] {
                challenge.push_str(piece);
            }
        };
        if let Some([error, description]) = self.error {
            put("error", error);
            put("error_description", description);
        }
        if let Some(acr_values) = self.details.and_then(|details| details.acr_values.as_deref()) {
            put("acr_values", &quotable(acr_values));
        }
        if let Some(max_age) = self.details.and_then(|details| details.max_age) {
            put("max_age", &max_age.to_string());
        }
        if let Some(algorithms) = self.schemes.dpop.as_deref().filter(|_| scheme == "DPoP") {
            put("algs", &quotable(algorithms));
        }
        if let Some(address) = self.details.and_then(|details| details.resource_metadata.as_deref()) {
            put("resource_metadata", &quotable(address));
        }
        // The last one: a scope that would do is put into an answer that is kept without one.
        if let Some(scope) = self.scope {
            put("scope", scope);
        }
        challenge
    }
}
