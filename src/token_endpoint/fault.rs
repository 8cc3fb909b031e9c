//! Why a token request is refused, and the one answer that each cause makes on the wire (RFC 6749 section 5.2).

use std::fmt;

use serde::Serialize;

use super::MAX_BODY_BYTES;
use super::form::FormFault;
use crate::http::header_pairs::HeaderPairs;
use crate::respond::Answer;
use crate::respond::rejection::{DEFAULT_RETRY_AFTER, to_json};

/// What is wrong with a token request. None of it holds anything of a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The method is none of the endpoint's.
    Method,
    /// The path is none of an endpoint's, and some server takes it for one.
    Spelling,
    /// The `content-type` is another one, or speaks of another character encoding than UTF-8.
    ContentType,
    /// The body is compressed.
    ContentEncoding,
    /// The body is longer than [`MAX_BODY_BYTES`].
    TooLarge,
    /// No part of the body has come in time.
    NoBody,
    /// Too many token requests wait for their bodies. The proxy's trouble, not the client's.
    Overloaded,
    /// The request has trailers.
    Trailers,
    /// This parameter stands in the query (RFC 6749 section 2.3.1), where some servers look for it first.
    InQuery(&'static str),
    /// The query is no form.
    Query,
    /// The form has no single reading.
    Form(FormFault),
    /// This parameter is missing.
    Missing(&'static str),
    /// The grant is none of the endpoint's.
    GrantType,
    /// More than one `Authorization` header.
    SeveralAuthorizations,
    /// More than one way of client authentication (RFC 6749 section 2.3).
    SeveralAuthentications,
    /// `client_id` names another client than the client authentication.
    ClientsDiffer,
    /// An `Authorization` scheme other than Basic.
    AuthorizationScheme,
    /// Basic credentials that cannot be read.
    AuthorizationMalformed,
    /// A client assertion that is no JWT, or whose client nothing names: its `iss` is not its `sub`, and there is no
    /// `client_id`.
    AssertionMalformed,
    /// No client is named.
    NoClient,
    /// The client is registered with no tenant.
    UnknownClient,
    /// The client is registered with several tenants, or by several providers.
    SharedClient,
    /// This header cannot name a tenant.
    MalformedHeader(Box<str>),
    /// The request's header or host names another tenant than the client's.
    OtherTenant,
    /// This parameter names another tenant's audience.
    OtherTarget(&'static str),
    /// `scope` is not a list of scope tokens, separated by single spaces (RFC 6749 section 3.3).
    ScopeMalformed,
    /// Scopes that the application is not assigned, in the order of the request.
    ScopesUnregistered(Box<[Box<str>]>),
    /// No scope is asked for, and the application is assigned none that could be.
    NoScopeAssigned,
}

/// The `error` codes that the guard answers with: of RFC 6749 section 5.2 and RFC 8707 section 2, and for a 503, which
/// they leave open, the one of RFC 6749 section 4.1.2.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the RFCs'")]
pub enum ErrorCode {
    InvalidRequest,
    InvalidClient,
    UnauthorizedClient,
    UnsupportedGrantType,
    InvalidScope,
    InvalidTarget,
    TemporarilyUnavailable,
}

impl ErrorCode {
    /// Every code.
    pub const ALL: [Self; 7] = [
        Self::InvalidRequest,
        Self::InvalidClient,
        Self::UnauthorizedClient,
        Self::UnsupportedGrantType,
        Self::InvalidScope,
        Self::InvalidTarget,
        Self::TemporarilyUnavailable,
    ];

    /// The code on the wire, in logs and in properties.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::InvalidClient => "invalid_client",
            Self::UnauthorizedClient => "unauthorized_client",
            Self::UnsupportedGrantType => "unsupported_grant_type",
            Self::InvalidScope => "invalid_scope",
            Self::InvalidTarget => "invalid_target",
            Self::TemporarilyUnavailable => "temporarily_unavailable",
        }
    }

    /// The HTTP status, for a client that has sent an `Authorization` header or not.
    fn status(self, has_authorization: bool) -> u16 {
        match self {
            // RFC 6749 section 5.2 asks for the 401 and its challenge where the client used the header; without a
            // challenge, RFC 9110 section 15.5.2 forbids it.
            Self::InvalidClient if has_authorization => 401,
            Self::InvalidClient
            | Self::InvalidRequest
            | Self::UnauthorizedClient
            | Self::UnsupportedGrantType
            | Self::InvalidScope
            | Self::InvalidTarget => 400,
            Self::TemporarilyUnavailable => 503,
        }
    }
}

/// The most unregistered scopes that an answer names, and the longest name that it repeats.
const MOST_NAMED: usize = 20;
const LONGEST_NAMED: usize = 128;

impl Fault {
    /// The code that it is answered with.
    pub fn error(&self) -> ErrorCode {
        match self {
            Self::Method
            | Self::Spelling
            | Self::ContentType
            | Self::ContentEncoding
            | Self::TooLarge
            | Self::NoBody
            | Self::Trailers
            | Self::InQuery(_)
            | Self::Query
            | Self::Form(_)
            | Self::Missing(_)
            | Self::SeveralAuthorizations
            | Self::SeveralAuthentications
            | Self::ClientsDiffer
            | Self::MalformedHeader(_) => ErrorCode::InvalidRequest,
            Self::AuthorizationScheme
            | Self::AuthorizationMalformed
            | Self::AssertionMalformed
            | Self::NoClient
            | Self::UnknownClient => ErrorCode::InvalidClient,
            Self::SharedClient | Self::OtherTenant => ErrorCode::UnauthorizedClient,
            Self::Overloaded => ErrorCode::TemporarilyUnavailable,
            Self::GrantType => ErrorCode::UnsupportedGrantType,
            Self::OtherTarget(_) => ErrorCode::InvalidTarget,
            Self::ScopeMalformed | Self::ScopesUnregistered(_) | Self::NoScopeAssigned => {
                ErrorCode::InvalidScope
            }
        }
    }

    /// What goes on the wire, to a client that has sent an `Authorization` header or not. With `strip`, the body says no
    /// more than the error code, which RFC 6749 requires.
    pub fn answer(&self, realm: &str, has_authorization: bool, strip: bool) -> Answer {
        let error = self.error();
        let status = error.status(has_authorization);
        let challenge = ["Basic realm=\"", realm, "\""];
        let retry_after = DEFAULT_RETRY_AFTER.to_string();
        let retry_after = [retry_after.as_str()];
        // RFC 6749 section 5.1 and 5.2.
        let headers = [
            Some(("content-type", &["application/json"][..])),
            Some(("cache-control", &["no-store"])),
            Some(("pragma", &["no-cache"])),
            (status == 401).then_some(("www-authenticate", &challenge)),
            (status == 503).then_some(("retry-after", &retry_after)),
        ];
        let body =
            to_json(&Body { error: error.as_str(), error_description: (!strip).then(|| self.description()) });
        let headers = HeaderPairs::new(headers.into_iter().flatten());
        Answer { status, headers, body, grpc_status: -1 }
    }

    /// The text for the client's developer, in the characters that RFC 6749 section 5.2 allows.
    pub fn description(&self) -> String {
        let mut text = self.to_string();
        text.retain(|letter| matches!(letter, ' '..='~') && letter != '"' && letter != '\\');
        text
    }
}

/// The body of an answer (RFC 6749 section 5.2).
#[derive(Serialize)]
struct Body {
    error: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_description: Option<String>,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Method => f.write_str("the method is not one that this token endpoint takes"),
            Self::Spelling => {
                f.write_str("the path is spelt otherwise than that of the token endpoint: mind case, slashes and escapes")
            }
            Self::ContentType => {
                f.write_str("the content type must be application/x-www-form-urlencoded, in UTF-8")
            }
            Self::ContentEncoding => f.write_str("the body must not be compressed"),
            Self::TooLarge => write!(f, "the body is longer than {MAX_BODY_BYTES} bytes"),
            Self::Overloaded => f.write_str("too many token requests are waiting for their bodies"),
            Self::NoBody => f.write_str("no body came in time"),
            Self::Trailers => f.write_str("a token request must not have trailers"),
            Self::InQuery(name) => write!(f, "parameter `{name}` must stand in the body, not in the query"),
            Self::Query => f.write_str("the query cannot be read"),
            Self::Form(fault) => fault.fmt(f),
            Self::Missing(name) => write!(f, "parameter `{name}` is missing"),
            Self::GrantType => f.write_str("the grant type is not accepted here"),
            Self::SeveralAuthorizations => f.write_str("more than one authorization header"),
            Self::SeveralAuthentications => f.write_str("the client authenticates in more than one way"),
            Self::ClientsDiffer => {
                f.write_str("`client_id` and the client authentication name different clients")
            }
            Self::AuthorizationScheme => f.write_str(
                "the authorization header is not of a client authentication that is accepted here",
            ),
            Self::AuthorizationMalformed => f.write_str("the Basic credentials are malformed"),
            Self::AssertionMalformed => {
                f.write_str(
                    "the client assertion is not a JWT whose `iss` and `sub` are the client, and no `client_id` says whose it is",
                )
            }
            Self::NoClient => f.write_str("the request names no client"),
            Self::UnknownClient => f.write_str("the client is not registered with a tenant"),
            Self::SharedClient => {
                f.write_str("the client is registered more than once, so its tenant is not certain")
            }
            Self::MalformedHeader(name) => write!(f, "header `{name}` is repeated, empty or not UTF-8"),
            Self::OtherTenant => f.write_str("the request names another tenant than the client's"),
            Self::OtherTarget(name) => {
                write!(f, "`{name}` names an audience that is not of the client's tenant")
            }
            Self::ScopeMalformed => {
                f.write_str("`scope` is not a list of scope tokens with single spaces between them")
            }
            Self::ScopesUnregistered(scopes) => {
                f.write_str("the client is not registered for:")?;
                for scope in scopes.iter().take(MOST_NAMED) {
                    // A scope token is ASCII.
                    match scope.get(..LONGEST_NAMED) {
                        Some(start) if scope.len() > LONGEST_NAMED => write!(f, " {start}...")?,
                        Some(_) | None => write!(f, " {scope}")?,
                    }
                }
                match scopes.len().saturating_sub(MOST_NAMED) {
                    0 => Ok(()),
                    more => write!(f, " and {more} more"),
                }
            }
            Self::NoScopeAssigned => f.write_str("the client is registered for no scope"),
        }
    }
}

impl From<FormFault> for Fault {
    fn from(fault: FormFault) -> Self {
        Self::Form(fault)
    }
}
