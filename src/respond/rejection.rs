//! A refusal, and the one answer that each makes on the wire (RFC 6750 section 3, contract section 6).

use std::borrow::Cow;

use super::reason::{ErrorClass, Reason};
use crate::json_text::ObjectText;

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
}

/// Seconds named in `Retry-After` where nothing better is known.
pub const DEFAULT_RETRY_AFTER: u32 = 1;

impl From<Reason> for Rejection {
    fn from(reason: Reason) -> Self {
        Self { reason, about: None, sufficient_scope: None, retry_after: DEFAULT_RETRY_AFTER }
    }
}

impl Rejection {
    /// A refusal that names what it is about.
    pub fn about(reason: Reason, about: impl Into<Box<str>>) -> Self {
        Self { about: Some(about.into()), ..reason.into() }
    }

    /// The text for the client's developer, in the characters that RFC 6750 section 3 allows in `error_description`.
    pub fn description(&self) -> Cow<'static, str> {
        let meaning = self.reason.meaning();
        let Some(about) = &self.about else { return Cow::Borrowed(meaning) };
        let about = about.chars().filter(|letter| is_quotable(*letter));
        Cow::Owned(meaning.chars().chain(": ".chars()).chain(about).collect())
    }
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
    pub headers: Vec<(&'static str, String)>,
    /// The JSON body; empty where refusals are stripped.
    pub body: String,
    /// The gRPC status, for gRPC requests.
    pub grpc_status: i32,
}

impl Answer {
    /// The answer to `rejection`. With `strip`, it is the status and the challenge alone.
    pub fn new(rejection: &Rejection, realm: &str, strip: bool) -> Self {
        let class = rejection.reason.class();
        let mut headers = Vec::with_capacity(3);
        if let Some(challenge) = challenge(rejection, realm) {
            headers.push(("www-authenticate", challenge));
        }
        let mut body = String::new();
        if !strip {
            headers.push(("content-type", "application/json".to_owned()));
            headers.push(("cache-control", "no-store".to_owned()));
            body = json_body(rejection);
        }
        if class == ErrorClass::TemporarilyUnavailable {
            headers.push(("retry-after", rejection.retry_after.max(1).to_string()));
        }
        Self { status: class.status(), headers, body, grpc_status: class.grpc_status() }
    }
}

/// The `WWW-Authenticate` value of a 401 or 403; without an error code where no token came (RFC 6750 section 3.1).
fn challenge(rejection: &Rejection, realm: &str) -> Option<String> {
    let class = rejection.reason.class();
    match class {
        ErrorClass::InvalidRequest | ErrorClass::TemporarilyUnavailable => return None,
        ErrorClass::NoCredential | ErrorClass::InvalidToken | ErrorClass::InsufficientScope => {}
    }
    let mut challenge = format!("Bearer realm=\"{realm}\"");
    if let Some(error) = class.error() {
        challenge
            .push_str(&format!(", error=\"{error}\", error_description=\"{}\"", rejection.description()));
        if let Some(scope) = &rejection.sufficient_scope {
            challenge.push_str(&format!(", scope=\"{scope}\""));
        }
    }
    Some(challenge)
}

fn json_body(rejection: &Rejection) -> String {
    let mut body = ObjectText::default();
    body.text("error", rejection.reason.class().error());
    body.text("error_description", Some(&rejection.description()));
    body.text("reason", Some(rejection.reason.as_str()));
    body.text("scope", rejection.sufficient_scope.as_deref());
    body.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header<'a>(answer: &'a Answer, name: &str) -> Option<&'a str> {
        answer.headers.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
    }

    #[test]
    fn a_missing_scope_is_challenged_with_the_scopes_that_would_do() {
        let rejection =
            Rejection { sufficient_scope: Some("a:read b".into()), ..Reason::ScopeNotGranted.into() };
        let answer = Answer::new(&rejection, "plm", false);
        assert_eq!(answer.status, 403);
        assert_eq!(
            header(&answer, "www-authenticate"),
            Some(
                "Bearer realm=\"plm\", error=\"insufficient_scope\", error_description=\"the token does not carry a \
                 scope that the operation requires\", scope=\"a:read b\""
            )
        );
        let body: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!(body["error"], "insufficient_scope");
        assert_eq!(body["reason"], "scope_not_granted");
        assert_eq!(body["scope"], "a:read b");
        assert_eq!(header(&answer, "cache-control"), Some("no-store"));
        assert_eq!(header(&answer, "content-type"), Some("application/json"));
    }

    #[test]
    fn no_error_code_is_given_where_no_token_came() {
        let answer = Answer::new(&Reason::CredentialMissing.into(), "plm", false);
        assert_eq!(header(&answer, "www-authenticate"), Some("Bearer realm=\"plm\""));
        let body: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!(body.get("error"), None);
        assert_eq!(body["reason"], "credential_missing");
    }

    #[test]
    fn only_a_503_says_when_to_come_back_and_it_is_no_challenge() {
        for reason in Reason::ALL {
            let answer = Answer::new(&(*reason).into(), "r", false);
            assert_eq!(header(&answer, "retry-after").is_some(), answer.status == 503, "{reason}");
            assert_eq!(
                header(&answer, "www-authenticate").is_some(),
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
        let answer = Answer::new(&Reason::TokenExpired.into(), "r", true);
        assert_eq!((answer.status, answer.body.as_str(), answer.headers.len()), (401, "", 1));
    }

    #[test]
    fn what_a_description_is_about_cannot_break_out_of_its_quotes() {
        let rejection = Rejection::about(Reason::ClaimMissing, "a\"b\\c\r\nx\u{7f}ü");
        assert!(rejection.description().ends_with(": abcx"), "{}", rejection.description());
    }
}
