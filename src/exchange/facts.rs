//! What a decision says about its request, for logs, metrics and properties.

use std::fmt;
use std::rc::Rc;

use sha2::{Digest, Sha256};

use crate::identity::{Identity, TenantStanding};
use crate::ids::OperationId;
use crate::policy::AuditedDecisions;
use crate::respond::Reason;
use crate::token_endpoint::{Fault, RegisteredClient};

/// What was learned about a request.
#[derive(Debug)]
pub struct Facts {
    /// How it ended.
    pub decision: Decision,
    /// Why it was refused, or would have been.
    pub reason: Option<Reason>,
    /// The step that ended the decision.
    pub stage: Stage,
    /// The operation called.
    pub operation: Option<OperationId>,
    /// Who calls.
    pub identity: Option<Rc<Identity>>,
    /// The caller's scopes and application under its tenant.
    pub standing: Option<Rc<TenantStanding>>,
    /// The first 8 bytes of the token's SHA-256. Computed only if the decision is going to be logged.
    pub token_digest: Option<[u8; 8]>,
    /// What was learned about a token request.
    pub token_request: Option<Box<TokenRequestFacts>>,
    /// Whether the token was found in a cache.
    pub cache_use: Option<CacheUse>,
}

impl Facts {
    /// Of a request that is refused before anything else is known of it.
    pub fn refused(reason: Option<Reason>) -> Self {
        Self {
            decision: Decision::Deny,
            reason,
            stage: Stage::Path,
            operation: None,
            identity: None,
            standing: None,
            token_digest: None,
            token_request: None,
            cache_use: None,
        }
    }
}

/// What was learned about a token request.
#[derive(Debug, Default)]
pub struct TokenRequestFacts {
    /// The client that asks, if it is registered. The authorization server has not authenticated it yet.
    pub client: Option<RegisteredClient>,
    /// Why it was refused, or would have been.
    pub fault: Option<Fault>,
}

/// Whether the token's verification or introspection came from a cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names say it")]
pub enum CacheUse {
    TokenHit,
    TokenMiss,
    IntrospectionHit,
    IntrospectionMiss,
}

impl CacheUse {
    /// The name in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TokenHit => "token_cache.hits",
            Self::TokenMiss => "token_cache.misses",
            Self::IntrospectionHit => "introspection_cache.hits",
            Self::IntrospectionMiss => "introspection_cache.misses",
        }
    }
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Decision {
    /// It passed.
    Allow,
    /// It passed although scopes would have refused it, because enforcement is `shadow`.
    Shadow,
    /// It was refused.
    Deny,
}

impl Decision {
    /// Whether such a decision is logged.
    pub fn is_logged(self, audited: AuditedDecisions) -> bool {
        match audited {
            AuditedDecisions::All => true,
            AuditedDecisions::Denied => self != Self::Allow,
            AuditedDecisions::None => false,
        }
    }

    /// The value in properties, logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Shadow => "shadow",
            Self::Deny => "deny",
        }
    }
}

/// A step of the decision, in the order in which they are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the steps of the crate's documentation")]
pub enum Stage {
    Path,
    TokenRequest,
    Operation,
    Credential,
    Token,
    Tenant,
    Scopes,
    Forward,
}

impl Stage {
    /// The name in logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Path => "path",
            Self::TokenRequest => "token_request",
            Self::Operation => "operation",
            Self::Credential => "credential",
            Self::Token => "token",
            Self::Tenant => "tenant",
            Self::Scopes => "scopes",
            Self::Forward => "forward",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The first 8 bytes of a token's SHA-256, which stand for the token in logs.
pub fn token_digest(token: &[u8]) -> [u8; 8] {
    let digest = Sha256::digest(token);
    let mut short = [0; 8];
    for (to, from) in short.iter_mut().zip(digest) {
        *to = from;
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_logged_is_all_what_was_not_simply_let_through_or_nothing() {
        let decisions = [Decision::Allow, Decision::Shadow, Decision::Deny];
        for (audited, logged) in [
            (AuditedDecisions::All, [true, true, true]),
            (AuditedDecisions::Denied, [false, true, true]),
            (AuditedDecisions::None, [false, false, false]),
        ] {
            assert_eq!(decisions.map(|decision| decision.is_logged(audited)), logged, "{audited:?}");
        }
    }

    #[test]
    fn the_uses_of_the_caches_are_counted_under_the_names_that_dashboards_read() {
        let uses = [
            CacheUse::TokenHit,
            CacheUse::TokenMiss,
            CacheUse::IntrospectionHit,
            CacheUse::IntrospectionMiss,
        ];
        let names = [
            "token_cache.hits",
            "token_cache.misses",
            "introspection_cache.hits",
            "introspection_cache.misses",
        ];
        assert_eq!(uses.map(CacheUse::as_str), names);
    }

    #[test]
    fn a_token_stands_in_logs_as_the_beginning_of_its_sha_256() {
        // FIPS 180-4: SHA-256 of `abc` begins so.
        assert_eq!(token_digest(b"abc"), [0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf, 0xea]);
    }
}
