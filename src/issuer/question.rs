//! What an issuer is asked about.

use std::borrow::Cow;

/// A token, and the tenant in whose realm it is asked about: where `introspection.uri` holds `{tenant}`. What one realm
/// says of a token holds for no other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question<'q> {
    /// The token.
    pub token: &'q str,
    /// The tenant's name in the URI.
    pub tenant: Option<&'q str>,
}

impl<'q> Question<'q> {
    /// Stands between tenant and token; no name of a tenant holds one.
    const SEPARATOR: char = '\0';

    /// What it is remembered by.
    pub fn key(&self) -> Cow<'q, str> {
        match self.tenant {
            None => Cow::Borrowed(self.token),
            Some(tenant) => Cow::Owned(format!("{tenant}{}{}", Self::SEPARATOR, self.token)),
        }
    }

    /// The question that has this key.
    pub fn of_key(key: &'q str) -> Self {
        match key.split_once(Self::SEPARATOR) {
            None => Self { token: key, tenant: None },
            Some((tenant, token)) => Self { token, tenant: Some(tenant) },
        }
    }
}

impl<'q> From<&'q str> for Question<'q> {
    fn from(token: &'q str) -> Self {
        Self { token, tenant: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_found_by_its_key_and_by_no_others() {
        let questions =
            [("t", None), ("t", Some("acme")), ("t", Some("acmet")), ("acme", None), ("met", Some("ac"))];
        let questions = questions.map(|(token, tenant)| Question { token, tenant });
        for one in &questions {
            assert_eq!(Question::of_key(&one.key()), *one);
            assert_eq!(questions.iter().filter(|other| other.key() == one.key()).count(), 1);
        }
    }
}
