//! Why an issuer could not be asked, or its answer not be used.

use std::borrow::Cow;
use std::fmt;

use super::signed_response::Unverified;
use crate::jose::json::printable;
use crate::jose::key_set::KeySetError;

/// Why an issuer could not be asked, or its answer not be used. Never the client's fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IssuerFault {
    /// No answer came, or none in time, and the host does not say why.
    Unreachable,
    /// The proxy has no such cluster.
    NoCluster,
    /// The proxy does not send the call: no endpoint is there, or a circuit breaker is open.
    NotSent,
    /// No endpoint of the cluster is healthy.
    NoHealthyEndpoint,
    /// Nobody listens at the endpoint.
    Refused,
    /// No connection could be made, and the host does not say why.
    NotConnected,
    /// Connecting took too long, or the answer did.
    TimedOut,
    /// The TLS handshake failed, for what the proxy says.
    Tls(Box<str>),
    /// The connection failed or ended before an answer, for what the proxy says.
    Reset(Box<str>),
    /// So many fetches of the provider's keys were under way that this one was not begun in time.
    NoTurn,
    /// An answer with another status than 200.
    Status(u16),
    /// A body beyond the limit.
    TooLarge,
    /// A body that is not one JSON object without repeated members.
    NotAnObject,
    /// No boolean `active`.
    ActiveNotBoolean,
    /// This member has the wrong type.
    MemberMalformed(Cow<'static, str>),
    /// The answer contradicts the JWT that it was asked about, in this.
    Contradiction(&'static str),
    /// No signed response, where one was asked for: no JWS of its type, or by an algorithm that is not accepted.
    NotSigned,
    /// A signed response that no key at hand verifies.
    Unverified(Unverified),
    /// A signed response of which this claim is absent, or another's.
    SignedMember(&'static str),
    /// The gateway's own secret is not in the environment.
    NoSecret,
    /// Issuer metadata whose `issuer` is not the provider's.
    MetadataOfAnother,
    /// An endpoint of issuer metadata that lies at a host that is not allowed, or without TLS.
    EndpointNotAllowed(&'static str),
    /// A JWKS document that is no key set.
    NotAKeySet(KeySetError),
    /// A JWKS document without a usable key.
    NoUsableKey,
}

/// How many headers an answer has that the proxy makes itself: `:status`, `content-length`, `content-type`.
const LOCAL_REPLY_HEADERS: usize = 3;

impl IssuerFault {
    /// What the proxy says where an answer is its own and not the issuer's. Envoy answers 503 and 504 itself where a call
    /// fails; they differ from an issuer's only in their few headers and in their text.
    pub fn of_local_reply(status: u16, header_count: usize, body: &[u8]) -> Option<Self> {
        if header_count != LOCAL_REPLY_HEADERS {
            return None;
        }
        let text = std::str::from_utf8(body).ok()?;
        match status {
            504 => (text == "upstream request timeout").then_some(Self::TimedOut),
            503 if text == "no healthy upstream" => Some(Self::NoHealthyEndpoint),
            503 => {
                let told =
                    text.strip_prefix("upstream connect error or disconnect/reset before headers. ")?;
                let (_, why) = told.split_once("reset reason: ")?;
                let why = why.split_once("transport failure reason: ").map_or(why, |(_, why)| why);
                Some(if why.contains("TLS_error") {
                    let why = why.rsplit("OPENSSL_internal:").next().unwrap_or(why);
                    Self::Tls(printable(why.trim_end_matches(":TLS_error_end")))
                } else if why.contains("Connection refused") {
                    Self::Refused
                } else if why == "remote connection failure" {
                    // Envoy 1.40 says no more where a connection without TLS cannot be made.
                    Self::NotConnected
                } else if why.starts_with("connection timeout") {
                    Self::TimedOut
                } else {
                    Self::Reset(printable(why))
                })
            }
            _ => None,
        }
    }
}

impl fmt::Display for IssuerFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable => f.write_str("no answer"),
            Self::NoCluster => f.write_str("the proxy has no such cluster"),
            Self::NotSent => {
                f.write_str("not sent: the cluster has no endpoint, or a circuit breaker is open")
            }
            Self::NoHealthyEndpoint => f.write_str("no endpoint of the cluster is healthy"),
            Self::Refused => f.write_str("connection refused"),
            Self::NotConnected => f.write_str("connection refused, or the endpoint cannot be reached"),
            Self::TimedOut => f.write_str("timed out"),
            Self::Tls(why) => write!(f, "the TLS handshake failed: {why}"),
            Self::Reset(why) => write!(f, "connection failed or reset: {why}"),
            Self::NoTurn => f.write_str("too many fetches are in flight, and none ended in time"),
            Self::Status(status) => write!(f, "status {status}"),
            Self::TooLarge => f.write_str("the body is larger than accepted"),
            Self::NotAnObject => f.write_str("the body is not a JSON object with unique members"),
            Self::ActiveNotBoolean => f.write_str("`active` is not a boolean"),
            Self::MemberMalformed(name) => write!(f, "`{name}` has the wrong type"),
            Self::Contradiction(what) => write!(f, "its {what} is not the JWT's"),
            Self::NotSigned => f.write_str("it is no signed response (RFC 9701)"),
            Self::Unverified(_) => f.write_str("its signature does not verify with the issuer's keys"),
            Self::SignedMember(name) => {
                write!(f, "`{name}` of the signed response is missing, or not what this gateway expects")
            }
            Self::NoSecret => f.write_str("the client secret is not in the environment"),
            Self::MetadataOfAnother => f.write_str("`issuer` of the metadata is not the provider's"),
            Self::EndpointNotAllowed(name) => {
                write!(
                    f,
                    "`{name}` of the metadata is at a host that `discovery.allowed_hosts` does not name, or without TLS"
                )
            }
            Self::NotAKeySet(error) => error.fmt(f),
            Self::NoUsableKey => f.write_str("no key of the set is usable"),
        }
    }
}

impl std::error::Error for IssuerFault {}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(status: u16, why: &str) -> Option<String> {
        IssuerFault::of_local_reply(status, 3, why.as_bytes()).map(|fault| fault.to_string())
    }

    #[test]
    fn what_the_proxy_answers_itself_names_its_cause() {
        let failed = |why: &str| {
            let text = "upstream connect error or disconnect/reset before headers. reset reason: ";
            told(503, &format!("{text}{why}")).unwrap()
        };
        assert_eq!(
            failed(
                "remote connection failure, transport failure reason: delayed connect error: Connection refused"
            ),
            "connection refused"
        );
        assert_eq!(
            failed("remote connection failure"),
            "connection refused, or the endpoint cannot be reached"
        );
        assert_eq!(failed("connection timeout"), "timed out");
        assert_eq!(failed("connection termination"), "connection failed or reset: connection termination");
        let untrusted = failed(
            "remote connection failure, transport failure reason: \
             TLS_error:|268435581:SSL routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED:TLS_error_end",
        );
        assert_eq!(untrusted, "the TLS handshake failed: CERTIFICATE_VERIFY_FAILED");
        assert_eq!(told(504, "upstream request timeout").as_deref(), Some("timed out"));
        assert_eq!(
            told(503, "no healthy upstream").as_deref(),
            Some("no endpoint of the cluster is healthy")
        );
    }

    #[test]
    fn an_answer_of_the_issuer_is_its_own_whatever_it_says() {
        assert_eq!(told(503, "maintenance"), None);
        assert_eq!(told(500, "upstream request timeout"), None);
        assert_eq!(IssuerFault::of_local_reply(504, 6, b"upstream request timeout"), None);
        assert_eq!(IssuerFault::of_local_reply(503, 3, b"\xff"), None);
    }
}
