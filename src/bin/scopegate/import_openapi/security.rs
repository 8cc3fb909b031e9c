//! Security requirements: all of one requirement, any one of the list (OpenAPI 3.1.1 section 4.8.30).

use std::collections::{BTreeMap, BTreeSet};

use scopegate::config::document::Value;

use super::{items, member, text, text_at};
use crate::document_text::{list, map, string};

/// The security schemes of a document, by what the gateway can check.
pub struct Schemes<'d> {
    kinds: BTreeMap<&'d str, Kind>,
    descriptions: BTreeMap<String, String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// An access token, with scopes.
    Token,
    /// An access token of another issuer than those that come here.
    OtherToken,
    /// Something else checks it.
    Elsewhere,
    /// Nothing here checks it: an API key, HTTP Basic, a client certificate.
    Other,
}

/// What an operation requires of a caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// All of the first and, unless it is empty, any one of the second.
    Scopes(BTreeSet<String>, BTreeSet<String>),
    /// A token.
    Authenticated,
    /// Nothing.
    Public,
    /// Nobody may call it until somebody decides. It is written all the same: a request of an operation that
    /// is left out would be matched by a less specific pattern, perhaps one that is open to more callers than
    /// the document says.
    Undecided,
}

/// How a list of security requirements reads as an operation's access.
#[derive(Debug, PartialEq, Eq)]
pub enum SecurityReading {
    /// As this, with comments if it is stricter than the document.
    Access(Access, Vec<String>),
    /// Nothing expresses it without being looser; the text says why.
    Inexpressible(String),
    /// The document says nothing about security.
    Unspecified,
}

impl<'d> Schemes<'d> {
    /// The schemes of `document`. `chosen` are those whose tokens come here; where none is named, the
    /// document's only token scheme.
    pub fn of(document: &'d Value<'d>, chosen: &[String], elsewhere: &[String]) -> Result<Self, String> {
        let mut kinds = BTreeMap::new();
        let mut descriptions = BTreeMap::new();
        let declared =
            member(document, "components").and_then(|components| member(components, "securitySchemes"));
        if let Some(Value::Map(declared)) = declared {
            for scheme in declared {
                kinds.insert(&*scheme.key, kind(&scheme.node.value));
                describe(&scheme.node.value, &mut descriptions);
            }
        }
        for name in chosen.iter().chain(elsewhere) {
            if !kinds.contains_key(name.as_str()) {
                return Err(format!("no security scheme is called `{name}`"));
            }
        }
        for (name, kind) in &mut kinds {
            if elsewhere.iter().any(|other| other == name) {
                *kind = Kind::Elsewhere;
            } else if *kind == Kind::Token && !chosen.is_empty() && !chosen.iter().any(|own| own == name) {
                *kind = Kind::OtherToken;
            }
        }
        if let Some(name) = chosen.iter().find(|name| kinds.get(name.as_str()) != Some(&Kind::Token)) {
            return Err(format!("security scheme `{name}` brings no access token"));
        }
        let tokens: Vec<String> = kinds
            .iter()
            .filter(|(_, kind)| **kind == Kind::Token)
            .map(|(name, _)| format!("`{name}`"))
            .collect();
        if chosen.is_empty() && tokens.len() > 1 {
            let tokens = tokens.join(", ");
            return Err(format!(
                "the document has several schemes for access tokens ({tokens}), and a scope of one is none of another; \
                 choose with --scheme, several if they are one issuer's"
            ));
        }
        Ok(Self { kinds, descriptions })
    }

    /// The description of a scope, if the document has one.
    pub fn description(&self, scope: &str) -> Option<String> {
        self.descriptions.get(scope).filter(|text| !text.trim().is_empty()).cloned()
    }

    /// Reads `security` of an operation, or else of the document.
    pub fn read(&self, security: Option<&Value<'_>>) -> SecurityReading {
        let Some(security) = security else { return SecurityReading::Unspecified };
        let Value::List(requirements) = security else {
            return SecurityReading::Inexpressible("its `security` is not a list".to_owned());
        };
        if requirements.is_empty() {
            return SecurityReading::Access(Access::Public, Vec::new());
        }
        let mut alternatives: Vec<BTreeSet<String>> = Vec::new();
        let mut dropped: Vec<String> = Vec::new();
        for requirement in requirements {
            let Value::Map(schemes) = &requirement.value else {
                return SecurityReading::Inexpressible("a member of its `security` is not a map".to_owned());
            };
            if schemes.is_empty() {
                return SecurityReading::Access(Access::Public, Vec::new());
            }
            match self.alternative(schemes.iter().map(|scheme| (&*scheme.key, &scheme.node.value))) {
                Ok(scopes) => alternatives.push(scopes),
                Err(why) => dropped.push(why),
            }
        }
        if alternatives.is_empty() {
            return SecurityReading::Inexpressible(dropped.join("; "));
        }
        let mut comments: Vec<String> = dropped
            .into_iter()
            .map(|why| format!("stricter than the document: an alternative is left out: {why}"))
            .collect();
        let (access, stricter) = combine(alternatives);
        comments.extend(stricter);
        SecurityReading::Access(access, comments)
    }

    /// The scopes that one requirement asks for, all of them.
    fn alternative<'v>(
        &self,
        schemes: impl Iterator<Item = (&'v str, &'v Value<'v>)>,
    ) -> Result<BTreeSet<String>, String> {
        let mut scopes = BTreeSet::new();
        let mut tokens = 0;
        for (name, listed) in schemes {
            match self.kinds.get(name) {
                None => return Err(format!("security scheme `{name}` is not declared")),
                Some(Kind::Elsewhere) => {}
                Some(Kind::Other) => {
                    return Err(format!("nothing here checks `{name}` (see --checked-elsewhere)"));
                }
                Some(Kind::OtherToken) => return Err(format!("tokens of `{name}` do not come here")),
                Some(Kind::Token) => {
                    tokens += 1;
                    let Value::List(_) = listed else {
                        return Err(format!("the scopes of `{name}` are not a list"));
                    };
                    for scope in items(Some(listed)) {
                        let scope = text(&scope.value).ok_or("a scope is not a string")?;
                        if !is_scope_token(scope) {
                            return Err(format!("`{scope}` is no scope (RFC 6749 section 3.3)"));
                        }
                        scopes.insert(scope.to_owned());
                    }
                }
            }
        }
        match tokens {
            1 => Ok(scopes),
            0 => Err("no access token is asked for, and what is asked for is checked elsewhere".to_owned()),
            _ => Err("it asks for two access tokens at once".to_owned()),
        }
    }
}

/// What a scheme brings.
fn kind(scheme: &Value<'_>) -> Kind {
    match text_at(scheme, "type") {
        Some("oauth2" | "openIdConnect") => Kind::Token,
        Some("http") if text_at(scheme, "scheme").is_some_and(|name| name.eq_ignore_ascii_case("bearer")) => {
            Kind::Token
        }
        Some(_) | None => Kind::Other,
    }
}

fn describe(scheme: &Value<'_>, descriptions: &mut BTreeMap<String, String>) {
    let Some(Value::Map(flows)) = member(scheme, "flows") else { return };
    for flow in flows {
        let Some(Value::Map(scopes)) = member(&flow.node.value, "scopes") else { continue };
        for scope in scopes {
            if let Some(description) = text(&scope.node.value) {
                descriptions.entry(scope.key.to_string()).or_insert_with(|| description.to_owned());
            }
        }
    }
}

fn is_scope_token(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| matches!(c, '\x21' | '\x23'..='\x5b' | '\x5d'..='\x7e'))
}

/// Any one of `alternatives` as one requirement. What cannot be said so is made to ask for all their scopes
/// at once, which satisfies each of them.
fn combine(alternatives: Vec<BTreeSet<String>>) -> (Access, Option<String>) {
    // Whoever has more than another alternative asks for has that.
    let mut needed: Vec<BTreeSet<String>> = Vec::new();
    for scopes in &alternatives {
        let is_implied = alternatives.iter().any(|other| other.is_subset(scopes) && other != scopes);
        if !is_implied && !needed.contains(scopes) {
            needed.push(scopes.clone());
        }
    }
    if needed.iter().any(BTreeSet::is_empty) {
        return (Access::Authenticated, None);
    }
    let Some(first) = needed.first() else { return (Access::Authenticated, None) };
    if needed.len() == 1 {
        return (Access::Scopes(first.clone(), BTreeSet::new()), None);
    }
    let common: BTreeSet<String> =
        first.iter().filter(|scope| needed.iter().all(|scopes| scopes.contains(*scope))).cloned().collect();
    let beside: Vec<BTreeSet<String>> = needed.iter().map(|scopes| scopes - &common).collect();
    if beside.iter().all(|scopes| scopes.len() == 1) {
        return (Access::Scopes(common, beside.into_iter().flatten().collect()), None);
    }
    let words: Vec<String> = needed
        .iter()
        .map(|scopes| format!("({})", scopes.iter().cloned().collect::<Vec<_>>().join(" and ")))
        .collect();
    let union = needed.into_iter().flatten().collect();
    let comment = format!("stricter than the document, which asks for {}", words.join(" or "));
    (Access::Scopes(union, BTreeSet::new()), Some(comment))
}

impl Access {
    /// The scopes that it names.
    pub fn scopes(&self) -> impl Iterator<Item = &String> {
        let (all, any) = match self {
            Self::Scopes(all, any) => (Some(all), Some(any)),
            Self::Authenticated | Self::Public | Self::Undecided => (None, None),
        };
        all.into_iter().chain(any).flatten()
    }

    /// The members of an operation that say it.
    pub fn members(&self) -> Vec<(&'static str, Value<'_>)> {
        let names = |scopes: &BTreeSet<String>| list(scopes.iter().map(|scope| string(scope.clone())));
        match self {
            Self::Public => vec![("access", string("public"))],
            Self::Authenticated => vec![("access", string("authenticated"))],
            Self::Undecided => vec![("access", string("undecided"))],
            Self::Scopes(all, any) if any.is_empty() => vec![("requires", names(all))],
            Self::Scopes(all, any) if all.is_empty() => vec![("requires", map([("any_of", names(any))]))],
            Self::Scopes(all, any) => {
                vec![("requires", map([("all_of", names(all)), ("any_of", names(any))]))]
            }
        }
    }
}
