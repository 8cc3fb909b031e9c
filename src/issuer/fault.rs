//! Why an issuer could not be asked, or its answer not be used.

use std::fmt;

/// Why an issuer could not be asked, or its answer not be used. Never the client's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IssuerFault {
    /// No answer: refused, reset, timed out, no such cluster.
    Unreachable,
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
    /// A member of the wrong type.
    MemberMalformed,
    /// The answer contradicts the JWT that it was asked about.
    Contradiction,
    /// The gateway's own secret is not in the environment.
    NoSecret,
    /// A JWKS document that is no key set.
    NotAKeySet,
    /// A JWKS document without a usable key.
    NoUsableKey,
}

impl fmt::Display for IssuerFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable => f.write_str("no answer"),
            Self::NoTurn => f.write_str("too many fetches are in flight, and none ended in time"),
            Self::Status(status) => write!(f, "status {status}"),
            Self::TooLarge => f.write_str("the body is larger than accepted"),
            Self::NotAnObject => f.write_str("the body is not a JSON object with unique members"),
            Self::ActiveNotBoolean => f.write_str("`active` is not a boolean"),
            Self::MemberMalformed => f.write_str("a member has the wrong type"),
            Self::Contradiction => f.write_str("the answer contradicts the JWT"),
            Self::NoSecret => f.write_str("the client secret is not in the environment"),
            Self::NotAKeySet => f.write_str("the body is not a JSON Web Key Set"),
            Self::NoUsableKey => f.write_str("no key of the set is usable"),
        }
    }
}

impl std::error::Error for IssuerFault {}
