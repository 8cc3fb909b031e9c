//! Where token requests are guarded, as configured.
//!
//! An authorization server may read a path more leniently than this proxy: without case, with a trailing slash, with
//! escapes decoded. A request that it may take for one of a guarded endpoint is guarded, where it is spelt as configured
//! and has one of the methods, and is refused otherwise, whatever is mapped there.

use super::fault::Fault;
use crate::http::percent;
use crate::ids::ProviderId;

/// The `grant_type` values that pass where an endpoint names none (RFC 6749 sections 4.4.2, 4.1.3 and 6).
pub const DEFAULT_GRANT_TYPES: [&str; 3] = ["client_credentials", "authorization_code", "refresh_token"];

/// The scopes that pass where an endpoint names none: those of OpenID Connect (Core sections 5.4 and 11), which are no
/// API's.
pub const DEFAULT_PASSED_SCOPES: [&str; 6] =
    ["openid", "profile", "email", "address", "phone", "offline_access"];

/// One guarded endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenEndpoint {
    /// Its canonical path, compared whole.
    pub path: Box<str>,
    /// Its path as [`folded`]: what all spellings have in common that a server may take for it.
    pub folded_path: Box<str>,
    /// The methods under which it is guarded, case-sensitive. A request with any other is refused.
    pub methods: Box<[Box<str>]>,
    /// What becomes of a scope that the application is not assigned.
    pub on_unregistered_scope: OnUnregisteredScope,
    /// The `grant_type` values that pass.
    pub grant_types: Box<[Box<str>]>,
    /// Scopes that pass though no application is assigned them, unless its tenant declares them.
    pub passed_scopes: Box<[Box<str>]>,
    /// Whose clients ask here. None: those of all providers, which must not share a client id then.
    pub provider: Option<ProviderId>,
}

/// What becomes of a requested scope that the application is not assigned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnUnregisteredScope {
    /// The token request is refused.
    Reject,
    /// It is taken out of the request, which is refused only where no scope is left.
    Narrow,
}

/// The endpoint that a request with this canonical path, without its query, and method asks.
///
/// # Errors
///
/// [`Fault::Method`] and [`Fault::Spelling`], where a server may take the request for a token request that nothing here
/// would look at.
pub fn find<'e>(
    endpoints: &'e [TokenEndpoint],
    path: &str,
    method: &[u8],
) -> Result<Option<&'e TokenEndpoint>, Fault> {
    let accepts =
        |endpoint: &TokenEndpoint| endpoint.methods.iter().any(|accepted| accepted.as_bytes() == method);
    let mut fault = None;
    for endpoint in endpoints {
        if *endpoint.path == *path {
            if accepts(endpoint) {
                return Ok(Some(endpoint));
            }
            fault = Some(Fault::Method);
        } else if endpoint.is_sibling(path) {
            fault = fault.or(Some(Fault::Spelling));
        }
    }
    fault.map_or(Ok(None), Err)
}

impl TokenEndpoint {
    /// Whether a server may take this canonical path for the endpoint's.
    fn is_sibling(&self, path: &str) -> bool {
        if path.contains(['%', '.', ';']) {
            is_taken_for(&folded(path), &self.folded_path)
        } else {
            // As `folded` would have it, without an allocation.
            path.trim_end_matches('/').eq_ignore_ascii_case(&self.folded_path)
        }
    }
}

/// What all spellings of a path have in common that some server takes for the same: escapes decoded, without
/// case, without slashes at its end, without parameters (`;x=y`) of a segment, and without the dots and blanks
/// at the end of a segment that some file systems drop.
pub fn folded(path: &str) -> String {
    let octets = percent::decode(path.as_bytes()).unwrap_or(path.as_bytes().into());
    let text = String::from_utf8_lossy(&octets);
    let is_dropped = |c: char| c == '.' || c.is_whitespace() || c.is_control();
    let segments: Vec<&str> = text
        .split('/')
        .map(|segment| segment.split_once(';').map_or(segment, |(name, _parameters)| name))
        .map(|name| name.trim_end_matches(is_dropped))
        .collect();
    // Both ways, as some letters have an upper case that is another's: the Kelvin sign and `k`.
    segments.join("/").trim_end_matches('/').to_uppercase().to_lowercase()
}

/// Whether a server may take one [`folded`] path, or last segment, for another that is guarded: they are the
/// same, or a format is added (`/oauth/token.json`), which frameworks offer at every route.
pub fn is_taken_for(folded: &str, guarded: &str) -> bool {
    folded
        .strip_prefix(guarded)
        .is_some_and(|format| format.is_empty() || (format.starts_with('.') && !format.contains('/')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_that_a_server_may_take_for_one_another_fold_to_the_same() {
        for spelling in [
            "/oauth/token/",
            "/OAuth/TOKEN",
            "/oauth/token%20",
            "/oauth%20/token.",
            "/oauth/token%09%0A/",
            "/oauth/to%E2%84%AAen",
            "/oauth/token%C2%A0",
            "/oauth%3Bv=1/token%3Ba=b",
        ] {
            assert_eq!(folded(spelling), "/oauth/token", "{spelling}");
        }
        assert_eq!(folded("/%24token"), folded("/$Token"));
        for other in ["/oauth/tokens", "/oauth/token/x", "/oauth/.token", "/oauth-token", "/oauth/t%C3%B6ken"]
        {
            assert_ne!(folded(other), "/oauth/token", "{other}");
        }
        assert_eq!(folded("/"), "");
    }

    #[test]
    fn a_format_at_the_end_of_a_path_makes_it_no_other_endpoint() {
        for path in ["/oauth/token", "/oauth/token.json", "/oauth/token.a.b"] {
            assert!(is_taken_for(path, "/oauth/token"), "{path}");
        }
        for path in ["/oauth/tokens", "/oauth/token/x", "/oauth/token.x/y", "/oauth", "/x/oauth/token"] {
            assert!(!is_taken_for(path, "/oauth/token"), "{path}");
        }
        assert!(!is_taken_for("/as/token", "/as/token.oauth2"));
    }
}
