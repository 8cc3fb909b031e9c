//! What a provider demands of a token: plain data, built by the configuration.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use super::profile::Profile;
use super::token::TokenError;
use crate::jose::algorithm::AlgorithmSet;
use crate::jose::json::{Object, Value};

/// What a token must satisfy beyond a good signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenRules {
    /// The signature algorithms accepted; default [`AlgorithmSet::default`].
    pub algorithms: AlgorithmSet,
    /// The `typ` values accepted, without regard to case and to a leading `application/` (RFC 7515 section 4.1.9).
    /// `None`, the default: no `typ`, and any that does not name another use of JWTs.
    pub token_types: Option<Vec<Box<str>>>,
    /// Leeway on `exp`, `nbf` and `iat`; default 60 s.
    pub clock_skew: Duration,
    /// Whether a token without `exp` is refused; default true.
    pub require_expiration: bool,
    /// The age, reckoned from `iat`, at which a token is refused however long it says it is valid; default none.
    pub max_token_age: Option<Duration>,
    /// Whom the token must be meant for; by default nobody, which refuses every token.
    pub audiences: AudienceRule,
    /// Claims that must be present; default none.
    pub required_claims: Vec<ClaimPath>,
    /// Claims that must have one of some values; default none.
    pub required_values: Vec<RequiredValue>,
    /// A profile that JWTs keep to; default none.
    pub profile: Option<Profile>,
    /// Where the claims stand that are read.
    pub claims: ClaimPaths,
}

impl Default for TokenRules {
    fn default() -> Self {
        Self {
            algorithms: AlgorithmSet::default(),
            token_types: None,
            clock_skew: Duration::from_secs(60),
            require_expiration: true,
            max_token_age: None,
            audiences: AudienceRule::OneOf(Vec::new()),
            required_claims: Vec::new(),
            required_values: Vec::new(),
            profile: None,
            claims: ClaimPaths::default(),
        }
    }
}

impl TokenRules {
    /// Whether a token of this `typ` is accepted.
    pub fn accepts_type(&self, token_type: Option<&str>) -> bool {
        match (&self.token_types, token_type) {
            (None, None) => true,
            (None, Some(token_type)) => {
                !names_another_use(token_type) && OtherUse::named(token_type).is_none()
            }
            (Some(_), None) => false,
            (Some(accepted), Some(token_type)) => {
                let subtype = media_subtype(token_type);
                accepted.iter().any(|accepted| media_subtype(accepted).eq_ignore_ascii_case(subtype))
            }
        }
    }

    /// Checks that the claims leave open that this is an access token: neither `typ` nor `token_use` says that it
    /// is an ID or a refresh token, and there is no `at_hash` or `c_hash`, which only ID tokens have (OpenID
    /// Connect Core section 3.3.2.11); or `token_types` names what it is. `nonce` says nothing: some issuers put
    /// it into access tokens. And that they have those of the required values that say what a token is.
    ///
    /// # Errors
    ///
    /// [`TokenError::TypeNotAccepted`].
    pub fn check_use(&self, claims: &Object) -> Result<(), TokenError> {
        if !self.accepts_use(claims) {
            return Err(TokenError::TypeNotAccepted);
        }
        RequiredValue::check_types(&self.required_values, claims)
    }

    fn accepts_use(&self, claims: &Object) -> bool {
        let is_named = |other: OtherUse| {
            self.token_types.iter().flatten().any(|accepted| OtherUse::named(accepted) == Some(other))
        };
        let is_accepted = |value: &Value| value.as_str().and_then(OtherUse::named).is_none_or(is_named);
        claims.iter().all(|(name, value)| match name.as_str() {
            "at_hash" | "c_hash" => is_named(OtherUse::Id),
            "typ" | "token_use" => match value {
                Value::Array(values) => values.iter().all(is_accepted),
                Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => {
                    is_accepted(value)
                }
            },
            _ => true,
        })
    }
}

/// A use of tokens with which nobody may call an API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OtherUse {
    /// An ID token (OpenID Connect Core section 2).
    Id,
    /// A refresh token (RFC 6749 section 1.5); some issuers call one that outlives the session `Offline`.
    Refresh,
}

impl OtherUse {
    /// The use that a `typ`, a `token_use` or a `token_type` names, however it is written: `ID`, `id_token`, `id+jwt`,
    /// `urn:ietf:params:oauth:token-type:refresh_token`.
    fn named(text: &str) -> Option<Self> {
        // With the separator, which is no letter.
        let start = text.rfind([':', '/']).unwrap_or_default();
        let name = text.as_bytes().get(start..).unwrap_or_default();
        let letters = || name.iter().filter(|byte| byte.is_ascii_alphanumeric()).map(u8::to_ascii_lowercase);
        let is = |word: &&str| letters().eq(word.bytes()) || letters().eq(word.bytes().chain(*b"jwt"));
        match letters().next() {
            Some(b'i' | b's') => ["id", "idtoken", "serializedid"].iter().any(is).then_some(Self::Id),
            Some(b'r' | b'o') => {
                ["refresh", "refreshtoken", "offline", "offlinetoken"].iter().any(is).then_some(Self::Refresh)
            }
            Some(_) | None => None,
        }
    }
}

/// Whether a `typ` is that of JWTs with a purpose of their own: `logout+jwt`, `dpop+jwt`, `secevent+jwt`,
/// `dc+sd-jwt` and their like (RFC 8725 section 3.11). A structured suffix marks them all; of those with one, only
/// `at+jwt` is an access token's (RFC 9068 section 2.1).
fn names_another_use(token_type: &str) -> bool {
    let subtype = media_subtype(token_type);
    subtype.contains('+') && !subtype.eq_ignore_ascii_case("at+jwt")
}

/// The media type without `application/`, which may be left out where no other `/` follows (RFC 7515 section 4.1.9).
fn media_subtype(media_type: &str) -> &str {
    const PREFIX: &str = "application/";
    match media_type.split_at_checked(PREFIX.len()) {
        Some((prefix, subtype)) if prefix.eq_ignore_ascii_case(PREFIX) && !subtype.contains('/') => subtype,
        _ => media_type,
    }
}

/// Whom a token must be meant for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AudienceRule {
    /// `aud` is not looked at, beyond its shape.
    Any,
    /// `aud` must be present, and one of its values must match one of these.
    OneOf(Vec<TenantPattern>),
}

/// A configured issuer or audience, in which `{tenant}` may stand once for a configured tenant's id or alias.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum TenantPattern {
    /// Compared whole, byte for byte (RFC 7519 section 4.1.3).
    Exact(Box<str>),
    /// `prefix{tenant}suffix`, where a configured tenant's id or alias stands for `{tenant}`.
    Tenant {
        /// What stands before `{tenant}`.
        prefix: Box<str>,
        /// What stands after it.
        suffix: Box<str>,
    },
}

impl TenantPattern {
    /// Reads a configured text. None where `{tenant}` stands in it more than once, or where it is empty.
    pub fn parse(pattern: &str) -> Option<Self> {
        const TENANT: &str = "{tenant}";
        match pattern.split_once(TENANT) {
            None if pattern.is_empty() => None,
            None => Some(Self::Exact(pattern.into())),
            Some((_, suffix)) if suffix.contains(TENANT) => None,
            Some((prefix, suffix)) => Some(Self::Tenant { prefix: prefix.into(), suffix: suffix.into() }),
        }
    }

    /// What stands for `{tenant}` in `text`: a name, whether configured or not, that is neither empty nor holds a
    /// `/`. None for an exact pattern, and where the pattern does not match.
    pub fn tenant_name<'a>(&self, text: &'a str) -> Option<&'a str> {
        match self {
            Self::Exact(_) => None,
            Self::Tenant { prefix, suffix } => text
                .strip_prefix(&**prefix)
                .and_then(|rest| rest.strip_suffix(&**suffix))
                .filter(|name| !name.is_empty() && !name.contains('/')),
        }
    }

    /// Whether `text` is meant; `is_tenant` knows the ids and aliases of the configured tenants.
    pub fn matches(&self, text: &str, is_tenant: &dyn Fn(&str) -> bool) -> bool {
        match self {
            Self::Exact(exact) => **exact == *text,
            Self::Tenant { .. } => self.tenant_name(text).is_some_and(is_tenant),
        }
    }
}

/// Where in the claims a value stands: the names of the members that lead to it, from the outermost.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ClaimPath(Vec<Box<str>>);

impl ClaimPath {
    /// A path written with `.` for nesting: `realm_access.tenant`. None where a name in it is empty.
    pub fn dotted(path: &str) -> Option<Self> {
        Self::literal(path.split('.'))
    }

    /// A path of literal names, in which `.` has no meaning. None where there is no name, or an empty one.
    pub fn literal<'a>(names: impl IntoIterator<Item = &'a str>) -> Option<Self> {
        let names: Vec<Box<str>> = names.into_iter().map(Box::from).collect();
        (!names.is_empty() && names.iter().all(|name| !name.is_empty())).then_some(Self(names))
    }

    /// The path to a top-level claim.
    pub fn top_level(name: &str) -> Self {
        Self(vec![name.into()])
    }

    /// The value at this path, `null` included.
    pub fn lookup<'a>(&self, claims: &'a Object) -> Option<&'a Value> {
        let (last, outer) = self.0.split_last()?;
        let mut object = claims;
        for name in outer {
            object = object.get(&**name)?.as_object()?;
        }
        object.get(&**last)
    }

    /// The names that make up the path.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|name| &**name)
    }
}

impl fmt::Display for ClaimPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, name) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(".")?;
            }
            f.write_str(name)?;
        }
        Ok(())
    }
}

/// A claim, or a member of an introspection response, that must have one of some values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequiredValue {
    /// Where it stands.
    pub path: ClaimPath,
    /// The values; an integer has that of its decimal text.
    pub values: Box<[Box<str>]>,
}

impl RequiredValue {
    /// Whether each of `required` has one of its values in `claims`.
    ///
    /// # Errors
    ///
    /// Of several faults, the one whose reason comes first.
    pub fn check_all(required: &[Self], claims: &Object) -> Result<(), TokenError> {
        let faults = required.iter().filter_map(|required| required.check(claims).err());
        faults.min_by_key(TokenError::reason).map_or(Ok(()), Err)
    }

    /// As [`Self::check_all`], of those alone that say what kind of token it is: before its signature is looked at.
    ///
    /// # Errors
    ///
    /// [`TokenError::TypeNotAccepted`].
    pub fn check_types(required: &[Self], claims: &Object) -> Result<(), TokenError> {
        let is_other_type = |required: &Self| required.check(claims) == Err(TokenError::TypeNotAccepted);
        if required.iter().any(is_other_type) { Err(TokenError::TypeNotAccepted) } else { Ok(()) }
    }

    fn check(&self, claims: &Object) -> Result<(), TokenError> {
        let name = || self.path.to_string().into();
        let Some(value) = self.path.lookup(claims) else { return Err(TokenError::ClaimMissing(name())) };
        if text_or_integer(value).is_some_and(|text| self.values.iter().any(|accepted| **accepted == *text)) {
            return Ok(());
        }
        let mut names = self.path.names();
        match (names.next(), names.next()) {
            (Some("typ" | "token_use" | "token_type"), None) => Err(TokenError::TypeNotAccepted),
            (Some(_) | None, _) => Err(TokenError::ClaimMalformed(name())),
        }
    }
}

impl fmt::Display for RequiredValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.path, self.values.join(", "))
    }
}

/// A string, or an integer as its decimal text: some issuers number their clients, users and tenants.
pub fn text_or_integer(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::String(text) => Some(text.into()),
        Value::Number(number) if number.is_i64() || number.is_u64() => Some(number.to_string().into()),
        Value::Number(_) | Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

/// Where the claims stand that are read. Of each, the first path that leads to a value counts; of `tenant` and
/// `additional_scopes`, all do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimPaths {
    /// The scope; default `scope` (RFC 9068 section 2.2.3), `scp`.
    pub scope: Vec<ClaimPath>,
    /// The subject; default `sub`.
    pub subject: Vec<ClaimPath>,
    /// The client; default `client_id` (RFC 9068 section 2.2), `azp`.
    pub client: Vec<ClaimPath>,
    /// The tenant; no default.
    pub tenant: Vec<ClaimPath>,
    /// Scopes beside those of `scope`, from each path that leads to a value; no default.
    pub additional_scopes: Vec<ClaimPath>,
}

impl Default for ClaimPaths {
    fn default() -> Self {
        let top_level = |names: &[&str]| names.iter().copied().map(ClaimPath::top_level).collect();
        Self {
            scope: top_level(&["scope", "scp"]),
            subject: top_level(&["sub"]),
            client: top_level(&["client_id", "azp"]),
            tenant: Vec::new(),
            additional_scopes: Vec::new(),
        }
    }
}

impl ClaimPaths {
    /// The members of an introspection response (RFC 7662 section 2.2), beside the tenant's, which has none there.
    pub fn introspection(tenant: Vec<ClaimPath>) -> Self {
        let top_level = |name| vec![ClaimPath::top_level(name)];
        Self {
            scope: top_level("scope"),
            subject: top_level("sub"),
            client: top_level("client_id"),
            tenant,
            additional_scopes: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jose::json::parse_object;

    fn rules(token_types: &[&str]) -> TokenRules {
        let token_types = token_types.iter().map(|&token_type| token_type.into()).collect();
        TokenRules { token_types: Some(token_types), ..TokenRules::default() }
    }

    #[test]
    fn by_default_a_token_type_is_accepted_unless_it_names_another_use() {
        let rules = TokenRules::default();
        for accepted in [
            None,
            Some("JWT"),
            Some("jwt"),
            Some("at+jwt"),
            Some("AT+JWT"),
            Some("application/at+jwt"),
            Some("Application/At+Jwt"),
            Some("JOSE"),
        ] {
            assert!(rules.accepts_type(accepted), "{accepted:?}");
        }
        for refused in [
            "logout+jwt",
            "dpop+jwt",
            "DPoP+JWT",
            "application/dpop+jwt",
            "secevent+jwt",
            "dc+sd-jwt",
            "x+at+jwt",
            "at+jwt+x",
            "oauth-authz-req+jwt",
            "token-introspection+jwt",
            " logout+jwt",
            "text/at+jwt",
        ] {
            assert!(!rules.accepts_type(Some(refused)), "{refused}");
        }
    }

    #[test]
    fn a_list_of_token_types_is_exhaustive() {
        let rules = rules(&["at+jwt", "application/x"]);
        for accepted in ["at+jwt", "AT+jwt", "application/at+jwt", "x", "application/X"] {
            assert!(rules.accepts_type(Some(accepted)), "{accepted}");
        }
        for refused in [
            None,
            Some("JWT"),
            Some(""),
            Some("application/"),
            Some("at+jwt "),
            Some("application/application/x"),
        ] {
            assert!(!rules.accepts_type(refused), "{refused:?}");
        }
    }

    #[test]
    fn an_audience_pattern_takes_only_names_of_tenants() {
        let is_tenant = |name: &str| name == "acme" || name == "a/b";
        let pattern = TenantPattern::parse("https://api.example/{tenant}/v1").unwrap();
        assert!(pattern.matches("https://api.example/acme/v1", &is_tenant));
        for other in [
            "https://api.example/other/v1",
            "https://api.example/a/b/v1",
            "https://api.example//v1",
            "https://api.example/acme/v1/",
            "xhttps://api.example/acme/v1",
            "https://api.example/{tenant}/v1",
            "https://api.example/ACME/v1",
        ] {
            assert!(!pattern.matches(other, &is_tenant), "{other}");
        }
        assert_eq!(
            pattern.tenant_name("https://api.example/other/v1"),
            Some("other"),
            "a name not configured"
        );
        let overlapping = TenantPattern::Tenant { prefix: "ab".into(), suffix: "bc".into() };
        assert_eq!(overlapping.tenant_name("abc"), None);
    }

    #[test]
    fn an_exact_audience_is_compared_whole() {
        let pattern = TenantPattern::parse("thingworx-billing-api").unwrap();
        assert!(pattern.matches("thingworx-billing-api", &|_| true));
        for other in ["thingworx-api", "thingworx-billing-api2", "Thingworx-billing-api", ""] {
            assert!(!pattern.matches(other, &|_| true), "{other}");
        }
    }

    #[test]
    fn an_audience_may_hold_one_tenant_only() {
        assert_eq!(TenantPattern::parse("{tenant}/{tenant}"), None);
        assert_eq!(TenantPattern::parse(""), None);
    }

    #[test]
    fn a_dotted_path_nests_and_a_literal_one_does_not() {
        let claims = parse_object(br#"{"a":{"b":"nested"},"a.b":"flat","n":null,"s":"text"}"#).unwrap();
        let dotted = ClaimPath::dotted("a.b").unwrap();
        let literal = ClaimPath::literal(["a.b"]).unwrap();
        assert_eq!(dotted.lookup(&claims), Some(&Value::from("nested")));
        assert_eq!(literal.lookup(&claims), Some(&Value::from("flat")));
        assert_eq!(ClaimPath::dotted("n").unwrap().lookup(&claims), Some(&Value::Null));
        for absent in ["b", "a.c", "s.x", "n.x", "a.b.c"] {
            assert_eq!(ClaimPath::dotted(absent).unwrap().lookup(&claims), None, "{absent}");
        }
        let flat_only = parse_object(br#"{"a.b":"flat"}"#).unwrap();
        assert_eq!(dotted.lookup(&flat_only), None);
    }

    #[test]
    fn a_path_has_no_empty_name() {
        for path in ["", ".", "a.", ".a", "a..b"] {
            assert_eq!(ClaimPath::dotted(path), None, "{path:?}");
        }
        assert_eq!(ClaimPath::literal([]), None);
    }
}
