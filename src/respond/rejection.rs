//! A refusal, and the one answer that each makes on the wire (RFC 6750 section 3).

use std::borrow::Cow;

use serde::Serialize;

use super::challenge::{ChallengeDetails, ChallengeParts, Schemes};
use super::reason::{ErrorClass, Reason};
use crate::http::header_pairs::HeaderPairs;

/// Why a request is refused, with what the client is told besides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// The stable code.
    pub reason: Reason,
    /// What it is about, such as a claim's or a header's name. Never a value that came with the request.
    pub about: Option<Box<str>>,
    /// The smallest set of token scopes that would do, space-separated.
    pub sufficient_scope: Option<Box<str>>,
    /// For a 503: seconds after which another try makes sense.
    pub retry_after: u32,
    /// What its challenge says besides.
    pub challenge: Option<Box<ChallengeDetails>>,
}

/// Seconds named in `Retry-After` where nothing better is known.
pub const DEFAULT_RETRY_AFTER: u32 = 1;

impl From<Reason> for Rejection {
    fn from(reason: Reason) -> Self {
        Self {
            reason,
            about: None,
            sufficient_scope: None,
            retry_after: DEFAULT_RETRY_AFTER,
            challenge: None,
        }
    }
}

impl Rejection {
    /// A refusal that names what it is about.
    pub fn about(reason: Reason, about: impl Into<Box<str>>) -> Self {
        Self { about: Some(about.into()), ..reason.into() }
    }

    /// The text for the client's developer, in the characters that RFC 6750 section 3 allows in `error_description`.
    pub fn description(&self) -> Cow<'static, str> {
        match &self.about {
            None => Cow::Borrowed(self.reason.meaning()),
            Some(about) => Cow::Owned([self.reason.meaning(), ": ", &quotable(about)].concat()),
        }
    }
}

/// The characters of a text that may stand between the quotes of a challenge.
pub(super) fn quotable(text: &str) -> Cow<'_, str> {
    if text.chars().all(is_quotable) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.chars().filter(|letter| is_quotable(*letter)).collect())
}

/// Whether a character may stand between the quotes of a challenge as it is (RFC 6750 section 3).
fn is_quotable(letter: char) -> bool {
    matches!(letter, ' '..='~') && letter != '"' && letter != '\\'
}

/// What goes on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// Response headers, names in lower case.
    pub headers: HeaderPairs,
    /// The JSON body, for a gRPC request the message; empty where refusals are stripped.
    pub body: String,
    /// The gRPC status, for gRPC requests; -1 for others.
    pub grpc_status: i32,
}

impl Answer {
    /// The answer to `rejection`. With `strip`, it is the status and the challenge alone.
    pub fn new(rejection: &Rejection, realm: &str, strip: bool, schemes: &Schemes) -> Self {
        Self::of(rejection, realm, strip, false, schemes)
    }

    /// The answer to `rejection` of a gRPC request: its body becomes `grpc-message`, and the content type is the host's.
    pub fn to_grpc(rejection: &Rejection, realm: &str, strip: bool, schemes: &Schemes) -> Self {
        Self::of(rejection, realm, strip, true, schemes)
    }

    /// The answer to a refusal for the same reason that names the scopes that would do. `self` is a 403 that names none.
    pub(super) fn with_scope(&self, scope: &str) -> Option<Self> {
        let body = match self.body.strip_suffix('}') {
            Some(body) => [body, ",\"scope\":", &to_json(&scope), "}"].concat(),
            // It is stripped, or the message of a gRPC answer.
            None => self.body.clone(),
        };
        let headers = self.headers.with_in_first(["\", scope=\"", scope])?;
        Some(Self { headers, body, ..*self })
    }

    fn of(rejection: &Rejection, realm: &str, strip: bool, is_grpc: bool, schemes: &Schemes) -> Self {
        let class = rejection.reason.class();
        let description = rejection.description();
        let details = rejection.challenge.as_deref();
        let is_about_proof = class == ErrorClass::InvalidProof;
        let needs_nonce = is_about_proof && details.is_some_and(|details| details.needs_nonce);
        let error = if needs_nonce { Some("use_dpop_nonce") } else { class.error() };
        let challenges = match class {
            ErrorClass::InvalidRequest | ErrorClass::TemporarilyUnavailable => Vec::new(),
            ErrorClass::NoCredential
            | ErrorClass::InvalidToken
            | ErrorClass::InvalidProof
            | ErrorClass::InsufficientAuthentication
            | ErrorClass::InsufficientScope => ChallengeParts {
                realm,
                schemes,
                error: error.map(|error| [error, &*description]),
                details,
                is_about_proof,
                scope: rejection.sufficient_scope.as_deref(),
            }
            .headers(),
        };
        let challenges: Vec<[&str; 1]> = challenges.iter().map(|challenge| [challenge.as_str()]).collect();
        let nonce = details.and_then(|details| details.nonce.as_deref()).map(|nonce| [nonce]);
        let retry_after =
            (class == ErrorClass::TemporarilyUnavailable).then(|| rejection.retry_after.max(1).to_string());
        let retry_after = retry_after.as_deref().map(|seconds| [seconds]);
        let headers = [
            nonce.as_ref().map(|nonce| ("dpop-nonce", &nonce[..])),
            (!strip && !is_grpc).then_some(("content-type", &["application/json"])),
            (!strip).then_some(("cache-control", &["no-store"])),
            retry_after.as_ref().map(|seconds| ("retry-after", &seconds[..])),
        ];
        let body = match (strip, is_grpc) {
            (true, _) => String::new(),
            (false, true) => [rejection.reason.as_str(), ": ", &description].concat(),
            (false, false) => json_body(rejection, error, &description),
        };
        Self {
            status: class.status(),
            // The challenge first: a scope that would do is put into it.
            headers: HeaderPairs::new(
                challenges
                    .iter()
                    .map(|challenge| ("www-authenticate", &challenge[..]))
                    .chain(headers.into_iter().flatten()),
            ),
            body,
            grpc_status: if is_grpc { class.grpc_status() } else { -1 },
        }
    }
}

/// The body of a refusal.
#[derive(Serialize)]
struct Body<'r> {
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'static str>,
    error_description: &'r str,
    reason: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<&'r str>,
}

fn json_body(rejection: &Rejection, error: Option<&'static str>, description: &str) -> String {
    to_json(&Body {
        error,
        error_description: description,
        reason: rejection.reason.as_str(),
        scope: rejection.sufficient_scope.as_deref(),
    })
}

/// `value` as JSON. Strings and structs of them are always JSON; if they were not, the answer would have no body.
pub(crate) fn to_json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_scope_is_challenged_with_the_scopes_that_would_do() {
        let rejection =
            Rejection { sufficient_scope: Some("a:read b".into()), ..Reason::ScopeNotGranted.into() };
        let answer = Answer::new(&rejection, "plm", false, &Schemes::default());
        assert_eq!(answer.status, 403);
        assert_eq!(
            answer.headers.get("www-authenticate"),
            Some(
                "Bearer realm=\"plm\", error=\"insufficient_scope\", error_description=\"the token does not carry a \
                 scope that the operation requires\", scope=\"a:read b\""
            )
        );
        let body: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!(body["error"], "insufficient_scope");
        assert_eq!(body["reason"], "scope_not_granted");
        assert_eq!(body["scope"], "a:read b");
        assert_eq!(answer.headers.get("cache-control"), Some("no-store"));
        assert_eq!(answer.headers.get("content-type"), Some("application/json"));
    }

    #[test]
    fn no_error_code_is_given_where_no_token_came() {
        let answer = Answer::new(&Reason::CredentialMissing.into(), "plm", false, &Schemes::default());
        assert_eq!(answer.headers.get("www-authenticate"), Some("Bearer realm=\"plm\""));
        let body: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!(body.get("error"), None);
        assert_eq!(body["reason"], "credential_missing");
    }

    #[test]
    fn only_a_503_says_when_to_come_back_and_it_is_no_challenge() {
        for reason in Reason::ALL {
            let answer = Answer::new(&(*reason).into(), "r", false, &Schemes::default());
            assert_eq!(answer.headers.get("retry-after").is_some(), answer.status == 503, "{reason}");
            assert_eq!(
                answer.headers.get("www-authenticate").is_some(),
                matches!(answer.status, 401 | 403),
                "{reason}"
            );
        }
    }

    #[test]
    fn every_meaning_can_stand_in_a_challenge() {
        for reason in Reason::ALL {
            assert!(reason.meaning().chars().all(is_quotable), "{reason}");
        }
    }

    #[test]
    fn a_stripped_refusal_is_status_and_challenge() {
        let answer = Answer::new(&Reason::TokenExpired.into(), "r", true, &Schemes::default());
        assert_eq!((answer.status, answer.body.as_str(), answer.headers.iter().count()), (401, "", 1));
    }

    #[test]
    fn what_a_description_is_about_cannot_break_out_of_its_quotes() {
        let rejection = Rejection::about(Reason::ClaimMissing, "a\"b\\c\r\nx\u{7f}ü");
        assert!(rejection.description().ends_with(": abcx"), "{}", rejection.description());
    }
}
