//! Tokens that the configuration takes out of use before they expire: what an operator does when something was stolen.

use std::time::Duration;

use super::principal::Principal;
use super::rules::text_or_integer;
use crate::collections::seeded_hash::SeededSet;

/// `revoked` of a provider or a tenant. However much is listed, a token costs a lookup in each list.
#[derive(Clone, Debug)]
pub struct Revoked {
    /// Tokens by their `jti` (RFC 7519 section 4.1.7).
    pub token_ids: SeededSet<Box<str>>,
    /// Tokens of these subjects.
    pub subjects: SeededSet<Box<str>>,
    /// Tokens of these clients.
    pub clients: SeededSet<Box<str>>,
    /// Tokens that were issued before this moment, since the epoch, or do not say when.
    pub issued_before: Option<Duration>,
    /// SHA-256 over all of it, by which two are told apart.
    pub digest: [u8; 32],
}

/// Which list a token is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of the configuration")]
pub enum RevokedBy {
    Jti,
    Subjects,
    Clients,
    IssuedBefore,
}

impl RevokedBy {
    /// The key in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Jti => "jti",
            Self::Subjects => "subjects",
            Self::Clients => "clients",
            Self::IssuedBefore => "issued_before",
        }
    }
}

impl Revoked {
    /// What takes the caller's token out of use; None where nothing does.
    pub fn cause(&self, caller: &Principal) -> Option<RevokedBy> {
        let is_listed =
            |list: &SeededSet<Box<str>>, name: Option<&str>| name.is_some_and(|name| list.contains(name));
        let token_id = caller.claims.get("jti").and_then(text_or_integer);
        let is_old = |moment| caller.issued_at.is_none_or(|issued_at| issued_at < moment);
        if is_listed(&self.token_ids, token_id.as_deref()) {
            Some(RevokedBy::Jti)
        } else if is_listed(&self.subjects, caller.subject.as_deref()) {
            Some(RevokedBy::Subjects)
        } else if is_listed(&self.clients, caller.client.as_deref()) {
            Some(RevokedBy::Clients)
        } else {
            self.issued_before.is_some_and(is_old).then_some(RevokedBy::IssuedBefore)
        }
    }

    /// How many names are listed.
    pub fn entries(&self) -> usize {
        self.token_ids.len() + self.subjects.len() + self.clients.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authenticate::{ClaimPaths, Claims};
    use crate::jose::json::parse_object;

    #[test]
    fn the_first_list_that_a_token_is_on_is_named_as_in_the_configuration() {
        let set = |names: &[&str]| names.iter().map(|name| Box::from(*name)).collect::<SeededSet<Box<str>>>();
        let revoked = Revoked {
            token_ids: set(&["1", "2"]),
            subjects: set(&["alice", "bob", "carol"]),
            clients: set(&["a", "b", "c", "d"]),
            issued_before: Some(Duration::from_secs(100)),
            digest: [0; 32],
        };
        assert_eq!(revoked.entries(), 9);
        let cause = |claims: &str| {
            let claims = Claims::read(parse_object(claims.as_bytes()).unwrap(), &ClaimPaths::default());
            revoked.cause(&claims.unwrap().into_principal(None, &[])).map(RevokedBy::as_str)
        };
        assert_eq!(cause(r#"{"jti":"2","sub":"bob","client_id":"a","iat":1}"#), Some("jti"));
        assert_eq!(cause(r#"{"jti":"3","sub":"bob","client_id":"a","iat":1}"#), Some("subjects"));
        assert_eq!(cause(r#"{"jti":"3","sub":"dave","client_id":"a","iat":1}"#), Some("clients"));
        assert_eq!(cause(r#"{"jti":"3","sub":"dave","client_id":"e","iat":99.5}"#), Some("issued_before"));
        assert_eq!(cause(r#"{"jti":"3","sub":"dave","client_id":"e","iat":100}"#), None);
    }
}
