//! `providers`: the token issuers.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::terms::{claim_path, claim_paths, exact_host, header_name, http_token, required_values};
use super::{dpop, revoked, sender};
use crate::authenticate::{AudienceRule, ClaimPath, ClaimPaths, Profile, TenantPattern, TokenRules};
use crate::collections::seeded_hash::SeededMap;
use crate::config::document::Value;
use crate::config::kind::{ErrorKind, WarningKind};
use crate::config::reader::{Cursor, Fields};
use crate::config::suggestion;
use crate::credential::ProviderPlaces;
use crate::ids::ProviderId;
use crate::issuer::discovery::Discovery;
use crate::issuer::provider::{
    ClientAuthentication, HttpUri, Introspection, Provider, ProviderKeys, RemoteJwks, Secret, SecretSource,
};
use crate::jose::{Algorithm, AlgorithmSet, KeySet, KeySource};

const KEYS: &[&str] = &[
    "issuer",
    "audiences",
    "allow_any_audience",
    "algorithms",
    "token_types",
    "profile",
    "clock_skew",
    "require_expiration",
    "max_token_age",
    "required_claims",
    "required_values",
    "discovery",
    "local_jwks",
    "remote_jwks",
    "introspection",
    "encrypted_tokens",
    REVOKED,
    "claims",
    "from_headers",
    "from_cookies",
    "from_params",
    "token_cache",
    "dpop",
    "certificate_header",
];

const REVOKED: &str = "revoked";

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

/// How long one call to an issuer may take at least: Envoy's resolution, below which a timeout would never end.
const LEAST_TIMEOUT: Duration = Duration::from_millis(1);

/// The providers as far as they could be read. A [`ProviderId`] is a place in each list.
#[derive(Debug, Default)]
pub struct Providers<'d> {
    /// Their names.
    pub names: Vec<Cow<'d, str>>,
    /// The providers; None where there was an error.
    pub providers: Vec<Option<Provider>>,
    /// Where their tokens stand.
    pub places: Vec<ProviderPlaces>,
    ids: SeededMap<Cow<'d, str>, ProviderId>,
}

impl Providers<'_> {
    /// The provider that `cursor` names.
    pub fn reference(&self, cursor: &Cursor<'_>) -> Option<ProviderId> {
        let name = cursor.string()?;
        let id = self.ids.get(&*name).copied();
        if id.is_none() {
            let names = self.names.iter().map(AsRef::as_ref);
            cursor.dangling(format_args!("provider `{name}` is not configured"), &name, names);
        }
        id
    }

    /// The name of a provider.
    pub fn name(&self, id: ProviderId) -> &str {
        self.names.get(usize::from(id.0)).map_or("", AsRef::as_ref)
    }

    /// The one provider, if there is only one.
    pub fn sole(&self) -> Option<ProviderId> {
        (self.names.len() == 1).then_some(ProviderId(0))
    }

    /// The provider, if it could be read.
    pub fn provider(&self, id: ProviderId) -> Option<&Provider> {
        self.providers.get(usize::from(id.0))?.as_ref()
    }
}

/// Reads `providers`. `resolution_claims` is `tenant_resolution.claims`.
pub fn read<'d>(cursor: &Cursor<'d>, resolution_claims: Option<&Cursor<'d>>) -> Providers<'d> {
    let mut read = Providers::default();
    let Some(entries) = cursor.entries() else { return read };
    if entries.is_empty() {
        cursor.error(ErrorKind::OutOfBounds, "there must be at least one provider");
    }
    if entries.len() > usize::from(u16::MAX) {
        cursor.error(ErrorKind::OutOfBounds, format_args!("there are more than {} providers", u16::MAX));
        return read;
    }
    // Where a provider inherits its tenant claims; read once, so that an error in them is reported once.
    let inherited = resolution_claims.and_then(claim_paths).unwrap_or_default();
    let mut issuers: Vec<(TenantPattern, Box<str>)> = Vec::new();
    for (index, (name, entry)) in (0..=u16::MAX).zip(entries) {
        let mut provider = None;
        let mut places = None;
        if let Some(fields) = entry.map(KEYS) {
            places = read_places(&fields);
            provider = read_provider(&name, &fields, &inherited, resolution_claims);
            let takes_proofs = provider.as_ref().is_some_and(|provider| provider.dpop.is_some());
            places.iter_mut().filter(|_| takes_proofs).for_each(dpop::add_place);
            check_issuer(&fields, &name, provider.as_ref(), &mut issuers);
        }
        read.providers.push(provider);
        read.places.push(places.unwrap_or_default());
        read.ids.insert(name.clone(), ProviderId(index));
        read.names.push(name);
    }
    read
}

fn read_provider(
    name: &str,
    fields: &Fields<'_>,
    inherited: &[ClaimPath],
    resolution_claims: Option<&Cursor<'_>>,
) -> Option<Provider> {
    let cursor = fields.cursor();
    let issuer = fields.optional("issuer").map(|issuer| read_issuer(&issuer));
    let allow_any_audience = fields.boolean("allow_any_audience", false);
    let algorithms =
        fields.optional("algorithms").map_or(Some(AlgorithmSet::default()), |list| read_algorithms(&list));
    let audiences = read_audiences(fields, allow_any_audience);
    let (claims, inherits) = read_claims(fields, inherited);
    let token_types = fields.optional("token_types").and_then(|list| list.strings(true));
    let max_token_age = fields.optional("max_token_age").and_then(|age| age.duration(SECOND..=365 * DAY));
    let required_claims = fields.optional("required_claims").and_then(|list| list.list_of(false, claim_path));
    let required_values = fields.optional("required_values").and_then(|map| required_values(&map));
    let profile = fields.optional("profile").and_then(|cursor| cursor.choice(&PROFILES));
    let is_fapi2 = profile == Some(None);
    let profile = profile.flatten();
    let clock_skew = fields.duration("clock_skew", Duration::ZERO..=10 * MINUTE, MINUTE);
    let require_expiration = fields.boolean("require_expiration", true);

    let issuer_holds_tenant = matches!(issuer, Some(Some(TenantPattern::Tenant { .. })));
    let local = fields.optional("local_jwks");
    let remote = fields.optional("remote_jwks");
    let introspection = fields.optional("introspection");
    let discovery = fields.optional("discovery");
    match (&local, &remote, &discovery) {
        (Some(_), Some(remote), _) => {
            remote.error(ErrorKind::Contradiction, "`local_jwks` is there too; only one of them may be")
        }
        (Some(_), None, Some(discovery)) => {
            discovery.error(
                ErrorKind::Contradiction,
                "`local_jwks` is there too, and discovery is for keys that are fetched",
            );
        }
        (None, None, None) if introspection.is_none() => {
            cursor.error(
                ErrorKind::MissingKey,
                "one of `local_jwks`, `remote_jwks`, `discovery` and `introspection` is needed",
            );
        }
        (Some(_), None, None) | (None, _, _) => {}
    }
    if issuer.is_none() && (local.is_some() || remote.is_some() || discovery.is_some()) {
        cursor.error(ErrorKind::MissingKey, "missing key `issuer`, which a provider with keys needs");
    }
    if let Some(profile) = profile {
        check_profile(profile, fields);
    }
    if is_fapi2 {
        sender::check_fapi2(fields);
    }
    let mut algorithms = algorithms.unwrap_or_default();
    if is_fapi2 {
        algorithms = sender::narrow(fields.optional("algorithms").as_ref(), algorithms);
    }
    let symmetric = algorithms.iter().find(|algorithm| algorithm.is_symmetric());
    let fetched = remote.as_ref().or(discovery.as_ref());
    if let (Some(algorithm), Some(list), Some(_)) = (symmetric, fields.optional("algorithms"), fetched) {
        list.error(
            ErrorKind::Contradiction,
            format_args!(
                "`{algorithm}` needs a symmetric key, which `remote_jwks` never brings; use `local_jwks`"
            ),
        );
    }
    let has_keys = local.is_some() || remote.is_some() || discovery.is_some();
    let gives_introspection =
        introspection.as_ref().is_some_and(|cursor| cursor.member("uri").is_none()) && discovery.is_some();
    let discovery = discovery.map(|cursor| read_discovery(&cursor, issuer_holds_tenant, gives_introspection));
    let discovery_cluster =
        discovery.as_ref().and_then(|found| found.as_ref().map(|found| found.cluster.clone()));
    let keys = match (local, remote) {
        (Some(local), _) => {
            read_local_jwks(&local, symmetric.is_some()).map(|keys| ProviderKeys::Local(Arc::new(keys)))
        }
        (None, Some(remote)) => {
            let cursor = remote;
            let remote = read_remote_jwks(&cursor, issuer_holds_tenant);
            if let (Some(remote), Some(Some(found))) = (&remote, &discovery) {
                if remote.uri.path.contains("{tenant}") != found.uri.path.contains("{tenant}") {
                    cursor.error(ErrorKind::Contradiction, "`{tenant}` stands in one of its `uri` and that of `discovery`; it may in both or neither");
                }
            }
            match discovery {
                None => remote.map(ProviderKeys::Remote),
                Some(found) => {
                    remote.zip(found).map(|(remote, found)| ProviderKeys::Remote(found.before(remote)))
                }
            }
        }
        (None, None) => discovery.map_or(Some(ProviderKeys::None), |found| found.map(ProviderKeys::Remote)),
    };
    let introspection = introspection.map(|cursor| {
        let default_member = match (allow_any_audience, &required_values) {
            (false, _) => Some("aud"),
            // Whoever the token is for, it must be told from a refresh token.
            (true, None) => Some("token_type"),
            (true, Some(_)) => None,
        };
        // Where discovery has an error, none follows from it here.
        let discovered = gives_introspection.then(|| discovery_cluster.as_deref().unwrap_or_default());
        let introspection = read_introspection(&cursor, default_member, discovered)?;
        if introspection.signed_for.is_some() {
            let by_tenant = |uri: Option<&HttpUri>| uri.is_some_and(|uri| uri.path.contains("{tenant}"));
            let key_uri = match &keys {
                Some(ProviderKeys::Remote(remote)) => Some(&remote.uri),
                Some(ProviderKeys::Local(_) | ProviderKeys::None) | None => None,
            };
            let uri = introspection.uri.as_ref();
            if !has_keys {
                cursor.error(
                    ErrorKind::MissingKey,
                    "`signed: true` needs the issuer's keys: `local_jwks`, `remote_jwks` or `discovery`",
                );
            } else if uri.is_some() && by_tenant(key_uri) && !by_tenant(uri) {
                cursor.error(
                    ErrorKind::Contradiction,
                    "`signed: true` needs `{tenant}` in `uri`, since each tenant has keys of its own",
                );
            }
        }
        if introspection.apply_to_all && !has_keys {
            cursor.warning(
                WarningKind::Doubtful,
                "`apply_to: all` is for JWTs that were verified, but the provider has no keys",
            );
        }
        Some(introspection)
    });
    let introspects_encrypted = fields.optional("encrypted_tokens").map(|cursor| {
        let introspects = cursor.choice(&[("refuse", false), ("introspect", true)])?;
        if introspects && introspection.is_none() {
            cursor.error(ErrorKind::MissingKey, "it needs `introspection`");
            return None;
        }
        Some(introspects)
    });
    let revoked = fields.optional(REVOKED).map(|cursor| revoked::read(&cursor));
    let dpop = fields.optional("dpop").map(|cursor| dpop::read(&cursor, clock_skew, is_fapi2));
    let certificate_header =
        fields.optional("certificate_header").map(|cursor| sender::read_certificate_header(&cursor));
    let token_cache = fields.optional("token_cache").and_then(|cache| cache.map(&["max_entries"]));
    let token_cache_entries = token_cache.map_or(DEFAULT_CACHE_ENTRIES, |cache| read_max_entries(&cache));
    // Everything is read by now, so that no error hides another.
    Some(Provider {
        name: name.into(),
        issuer: issuer.flatten(),
        rules: TokenRules {
            algorithms,
            token_types: profile.map(|profile| vec![profile.token_type().into()]).or(token_types),
            clock_skew,
            require_expiration,
            max_token_age,
            audiences: audiences?,
            required_claims: required_claims.unwrap_or_default(),
            required_values: required_values.unwrap_or_default(),
            profile,
            claims,
        },
        keys: keys?,
        introspection: match introspection {
            None => None,
            Some(introspection) => Some(introspection?),
        },
        introspects_encrypted: introspects_encrypted.unwrap_or(Some(false))?,
        revoked: match revoked {
            None => None,
            Some(revoked) => Some(revoked?),
        },
        dpop: dpop.flatten(),
        certificate_header: match certificate_header {
            None => None,
            Some(header) => Some(header?),
        },
        requires_bound_tokens: is_fapi2,
        token_cache_entries,
        digest: digest(name, cursor.value(), resolution_claims.filter(|_| inherits).map(Cursor::value)),
    })
}

const DEFAULT_CACHE_ENTRIES: usize = 10_000;
const MOST_CACHE_ENTRIES: u32 = 1_000_000;

/// `max_entries` of a cache: 0 to 1,000,000, default 10,000; 0 switches it off.
fn read_max_entries(fields: &Fields<'_>) -> usize {
    fields.integer("max_entries", 0..=MOST_CACHE_ENTRIES, DEFAULT_CACHE_ENTRIES as u32) as usize
}

/// Those of JWTs, and FAPI 2.0, which is one of the whole request (Security Profile section 5.3.4).
const PROFILES: [(&str, Option<Profile>); 2] = [("rfc9068", Some(Profile::Rfc9068)), ("fapi2", None)];

/// What would take back what a profile asks for.
fn check_profile(profile: Profile, fields: &Fields<'_>) {
    let name = profile.as_str();
    if let Some(types) = fields.optional("token_types") {
        types.error(
            ErrorKind::Contradiction,
            format_args!("`profile: {name}` says which they are; leave them out"),
        );
    }
    let denied = |key, value| fields.optional(key).filter(|cursor| *cursor.value() == Value::Bool(value));
    if let Some(cursor) = denied("require_expiration", false) {
        cursor.error(ErrorKind::MissingKey, format_args!("`profile: {name}` requires `exp`"));
    }
    if let Some(cursor) = denied("allow_any_audience", true) {
        cursor.error(ErrorKind::MissingKey, format_args!("`profile: {name}` requires `audiences`"));
    }
    if let Some(cursor) = fields
        .optional("profile")
        .filter(|_| !["local_jwks", "remote_jwks", "discovery"].into_iter().any(|key| fields.has(key)))
    {
        cursor.error(
            ErrorKind::Contradiction,
            "it is about JWTs that are verified here, and the provider has no keys",
        );
    }
}

/// Covers all that decides whether what was learnt of a token still holds; the same for whatever order its keys are written in.
fn digest(name: &str, provider: &Value<'_>, inherited_claims: Option<&Value<'_>>) -> [u8; 32] {
    let mut hasher = Sha256::new();
    let mut sink = |part: &[u8]| hasher.update(part);
    Value::String(name.into()).canonical(&mut sink);
    provider.canonical_without(REVOKED, &mut sink);
    if let Some(claims) = inherited_claims {
        claims.canonical(&mut sink);
    }
    hasher.finalize().into()
}

/// `issuer`: any string, compared byte for byte; it may hold `{tenant}` once.
fn read_issuer(cursor: &Cursor<'_>) -> Option<TenantPattern> {
    let text = cursor.string()?;
    let pattern = TenantPattern::parse(&text);
    if pattern.is_none() {
        cursor.error(ErrorKind::OutOfBounds, "`{tenant}` may stand in it only once");
    }
    pattern
}

/// Two providers never share an issuer, and no `iss` fits the patterns of two.
fn check_issuer(
    fields: &Fields<'_>,
    name: &str,
    provider: Option<&Provider>,
    issuers: &mut Vec<(TenantPattern, Box<str>)>,
) {
    let Some(cursor) = fields.optional("issuer") else { return };
    // Where the provider has another error, its issuer is compared nevertheless; an error in it was reported.
    let issuer = match provider {
        Some(provider) => provider.issuer.clone(),
        None => cursor.is_string().then(|| read_issuer(&cursor)).flatten(),
    };
    let Some(issuer) = issuer else { return };
    for (other, other_name) in issuers.iter() {
        if *other == issuer {
            cursor.error(
                ErrorKind::Repeated,
                format_args!("the issuer is already that of provider `{other_name}`"),
            );
        } else if let Some(example) = common_issuer(other, &issuer) {
            cursor.error(
                ErrorKind::Repeated,
                format_args!(
                    "the pattern overlaps with that of provider `{other_name}`: `{example}` fits both"
                ),
            );
        }
    }
    issuers.push((issuer, name.into()));
}

/// An issuer that fits both patterns. Exact issuers come before patterns and overlap with none.
fn common_issuer(one: &TenantPattern, other: &TenantPattern) -> Option<String> {
    let TenantPattern::Tenant { prefix: prefix_1, suffix: suffix_1 } = one else { return None };
    let TenantPattern::Tenant { prefix: prefix_2, suffix: suffix_2 } = other else { return None };
    let fit = |a: &str, b: &str, begins: fn(&str, &str) -> bool| begins(a, b) || begins(b, a);
    if !fit(prefix_1, prefix_2, |a, b| a.starts_with(b)) || !fit(suffix_1, suffix_2, |a, b| a.ends_with(b)) {
        return None;
    }
    let prefix = if prefix_1.len() >= prefix_2.len() { prefix_1 } else { prefix_2 };
    let suffix = if suffix_1.len() >= suffix_2.len() { suffix_1 } else { suffix_2 };
    let fits_both = |text: &str| one.tenant_name(text).is_some() && other.tenant_name(text).is_some();
    // Any common issuer begins with the longer prefix and ends with the longer suffix, which may run into each other.
    let joined = |overlap: usize| -> Option<String> {
        let (_, rest) = suffix.split_at_checked(overlap)?;
        prefix.ends_with(suffix.get(..overlap)?).then(|| format!("{prefix}{rest}"))
    };
    let apart = format!("{prefix}x{suffix}");
    std::iter::once(apart).chain((0..=suffix.len()).filter_map(joined)).find(|text| fits_both(text))
}

/// `algorithms`: JWS names; `HS*` and `ES256K` only when they are named.
pub(super) fn read_algorithms(cursor: &Cursor<'_>) -> Option<AlgorithmSet> {
    let names = Algorithm::ALL.iter().map(|algorithm| algorithm.as_str());
    let algorithms = cursor.list_of(true, |item| {
        let name = item.string()?;
        let algorithm = Algorithm::parse(&name);
        if algorithm.is_none() {
            let meant = suggestion::did_you_mean(&name, names.clone());
            item.error(ErrorKind::WrongKind, format_args!("`{name}` is not a supported algorithm{meant}"));
        }
        algorithm
    })?;
    Some(algorithms.into_iter().collect())
}

/// `audiences`, or `allow_any_audience: true`: exactly one of them.
fn read_audiences(fields: &Fields<'_>, allow_any: bool) -> Option<AudienceRule> {
    let Some(audiences) = fields.optional("audiences") else {
        if allow_any {
            return Some(AudienceRule::Any);
        }
        fields.cursor().error(
            ErrorKind::MissingKey,
            "missing key `audiences`; only `allow_any_audience: true` makes up for it",
        );
        return None;
    };
    if allow_any {
        audiences
            .error(ErrorKind::Contradiction, "`allow_any_audience` is true; only one of them may be there");
    }
    let patterns = audiences.strings(true)?;
    let mut parsed = Vec::with_capacity(patterns.len());
    for (pattern, item) in patterns.iter().zip(audiences.items()?) {
        match TenantPattern::parse(pattern) {
            Some(pattern) => parsed.push(pattern),
            None => item.error(ErrorKind::OutOfBounds, "`{tenant}` may stand in it only once"),
        }
    }
    (parsed.len() == patterns.len()).then_some(AudienceRule::OneOf(parsed))
}

const CLAIM_KEYS: &[&str] = &["scope", "additional_scopes", "subject", "client", "tenant"];

/// `claims`, and whether its `tenant` is inherited from `tenant_resolution.claims`.
fn read_claims(fields: &Fields<'_>, inherited: &[ClaimPath]) -> (ClaimPaths, bool) {
    let mut claims = ClaimPaths { tenant: inherited.to_vec(), ..ClaimPaths::default() };
    let mut inherits = true;
    let Some(fields) = fields.optional("claims").and_then(|claims| claims.map(CLAIM_KEYS)) else {
        return (claims, inherits);
    };
    let read = |key| fields.optional(key).and_then(|paths| claim_paths(&paths));
    if let Some(scope) = read("scope") {
        claims.scope = scope;
    }
    claims.additional_scopes = read("additional_scopes").unwrap_or_default();
    if let Some(subject) = read("subject") {
        claims.subject = subject;
    }
    if let Some(client) = read("client") {
        claims.client = client;
    }
    if let Some(tenant) = read("tenant") {
        claims.tenant = tenant;
        inherits = false;
    }
    (claims, inherits)
}

/// `from_headers`, `from_cookies`, `from_params`. Where none of them is there: `authorization: Bearer`.
fn read_places(fields: &Fields<'_>) -> Option<ProviderPlaces> {
    let headers = fields.optional("from_headers");
    let cookies = fields.optional("from_cookies");
    let params = fields.optional("from_params");
    if headers.is_none() && cookies.is_none() && params.is_none() {
        let from_headers = vec![("authorization".into(), "Bearer ".into())];
        return Some(ProviderPlaces { from_headers, ..ProviderPlaces::default() });
    }
    let list = |list: Option<Cursor<'_>>, read: fn(&Cursor<'_>) -> Option<Box<str>>| match list {
        None => Some(Vec::new()),
        Some(list) => list.list_of(true, read),
    };
    let from_headers = match headers {
        None => Some(Vec::new()),
        Some(headers) => headers.list_of(true, |item| {
            let fields = item.map(&["name", "value_prefix"])?;
            let name = fields.required("name").and_then(|name| header_name(&name));
            let prefix = fields.optional("value_prefix").map_or(Some("".into()), |prefix| prefix.text());
            let prefix = prefix?;
            if prefix.eq_ignore_ascii_case("bearer") {
                item.warning(
                    WarningKind::Doubtful,
                    "`value_prefix` lacks the space that ends a scheme, so every token has a space before it",
                );
            }
            Some((name?, Box::from(prefix)))
        }),
    };
    let from_cookies = list(cookies, http_token);
    let from_params = list(params, |item| item.string().map(Box::from));
    Some(ProviderPlaces {
        from_headers: from_headers?,
        from_cookies: from_cookies?,
        from_params: from_params?,
    })
}

/// `local_jwks`: a JWK Set, as an object or as a string that holds its JSON.
fn read_local_jwks(cursor: &Cursor<'_>, allow_symmetric: bool) -> Option<KeySet> {
    let source = KeySource::Local { allow_symmetric };
    let parsed = match cursor.value() {
        Value::String(text) => KeySet::parse(text.as_bytes(), source),
        Value::Map(_) => match cursor.value().to_json() {
            serde_json::Value::Object(object) => KeySet::from_object(&object, source),
            _ => return None,
        },
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::List(_) => {
            return cursor.unexpected("a JWK Set, as a map or as a string that holds its JSON");
        }
    };
    match parsed {
        Err(error) => {
            cursor.error(ErrorKind::WrongKind, error);
            None
        }
        Ok((keys, skipped)) => {
            for key in skipped {
                let key_id = key.key_id.as_ref().map(|id| format!(" (`kid`: `{id}`)")).unwrap_or_default();
                cursor.warning_below(
                    WarningKind::Doubtful,
                    &format!(".keys[{}]", key.index),
                    format_args!("the key is not used{key_id}: {}", key.reason),
                );
            }
            if keys.is_empty() {
                cursor.warning(
                    WarningKind::Unusable,
                    "no key is usable, so every token of this issuer is refused",
                );
            }
            Some(keys)
        }
    }
}

fn read_remote_jwks(cursor: &Cursor<'_>, issuer_holds_tenant: bool) -> Option<RemoteJwks> {
    let fields = cursor.map(&["uri", "cluster", "timeout", "cache_duration"])?;
    let uri = fields.required("uri").and_then(|uri| read_uri(&uri, issuer_holds_tenant));
    let cluster = fields.required("cluster").and_then(|cluster| cluster.string());
    Some(RemoteJwks {
        timeout: fields.duration("timeout", LEAST_TIMEOUT..=MINUTE, 2 * SECOND),
        cache_duration: fields.duration("cache_duration", SECOND..=30 * DAY, 10 * MINUTE),
        uri: uri?,
        cluster: cluster?.into(),
        discovery: None,
    })
}

/// `discovery`: keys of which each fetch begins with the issuer's metadata.
fn read_discovery(
    cursor: &Cursor<'_>,
    issuer_holds_tenant: bool,
    gives_introspection: bool,
) -> Option<RemoteJwks> {
    let fields = cursor.map(&["uri", "cluster", "allowed_hosts"])?;
    let uri = fields.required("uri").and_then(|uri| read_uri(&uri, issuer_holds_tenant));
    let cluster = fields.required("cluster").and_then(|cluster| cluster.string());
    let allowed_hosts = match fields.optional("allowed_hosts") {
        Some(hosts) => hosts.list_of(true, exact_host),
        None => uri.as_ref().and_then(|uri| {
            let host = crate::route::normalize_host(uri.authority.as_bytes())?;
            Some(vec![host.into()])
        }),
    };
    Some(RemoteJwks {
        timeout: 4 * SECOND,
        cache_duration: 10 * MINUTE,
        uri: uri?,
        cluster: cluster?.into(),
        discovery: Some(Discovery {
            allowed_hosts: allowed_hosts?.into(),
            configured_keys: None,
            gives_introspection,
        }),
    })
}

/// `discovered` is the cluster that leads to the endpoint, where the issuer's metadata names it.
fn read_introspection(
    cursor: &Cursor<'_>,
    default_member: Option<&str>,
    discovered: Option<&str>,
) -> Option<Introspection> {
    let fields = cursor.map(&[
        "uri",
        "cluster",
        "timeout",
        "client_auth",
        "apply_to",
        "cache",
        "max_response_bytes",
        "required_members",
        "signed",
    ])?;
    let (uri, cluster) = match discovered {
        None => {
            let uri = fields.required("uri").and_then(|uri| read_uri(&uri, true));
            let cluster = fields.required("cluster").and_then(|cluster| cluster.string());
            (uri.map(Some), cluster.map(Box::from))
        }
        Some(discovered) => {
            if let Some(cluster) = fields.optional("cluster") {
                cluster.error(
                    ErrorKind::Contradiction,
                    "without `uri` the endpoint is discovered, and asked over the cluster of `discovery`",
                );
            }
            (Some(None), Some(discovered.into()))
        }
    };
    let is_signed = fields.boolean("signed", false);
    let client = fields.required("client_auth").and_then(|auth| read_client_auth(&auth, is_signed));
    let (client_authentication, client_id) = client.unzip();
    let apply_to_all = fields
        .optional("apply_to")
        .map_or(Some(false), |apply_to| apply_to.choice(&[("opaque", false), ("all", true)]));
    let (mut cache_entries, mut max_ttl, mut negative_ttl) = (DEFAULT_CACHE_ENTRIES, MINUTE, 10 * SECOND);
    if let Some(cache) =
        fields.optional("cache").and_then(|cache| cache.map(&["max_entries", "max_ttl", "negative_ttl"]))
    {
        cache_entries = read_max_entries(&cache);
        max_ttl = cache.duration("max_ttl", Duration::ZERO..=DAY, max_ttl);
        negative_ttl = cache.duration("negative_ttl", Duration::ZERO..=HOUR, negative_ttl);
    }
    let required_members = match fields.optional("required_members") {
        Some(members) => members.strings(false),
        None => Some(default_member.map(Box::from).into_iter().collect()),
    };
    Some(Introspection {
        timeout: fields.duration("timeout", LEAST_TIMEOUT..=MINUTE, SECOND),
        max_response_bytes: fields.integer("max_response_bytes", 1..=1_048_576, 65_536) as usize,
        uri: uri?,
        cluster: cluster?,
        client_authentication: client_authentication?,
        apply_to_all: apply_to_all?,
        cache_entries,
        max_ttl,
        negative_ttl,
        signed_for: client_id.flatten().filter(|_| is_signed),
        required_members: required_members?.into(),
    })
}

#[derive(Clone, Copy)]
enum Method {
    Basic,
    Post,
    Bearer,
    None,
}

/// How the gateway authenticates itself, and its client id: where responses are signed for it, any method may have one.
fn read_client_auth(
    cursor: &Cursor<'_>,
    is_signed: bool,
) -> Option<(ClientAuthentication, Option<Box<str>>)> {
    let fields = cursor.map(&["method", "client_id", "client_secret", "token"])?;
    let method = fields.required("method")?.choice(&[
        ("client_secret_basic", Method::Basic),
        ("client_secret_post", Method::Post),
        ("bearer", Method::Bearer),
        ("none", Method::None),
    ])?;
    let needed: &[&str] = match method {
        Method::Basic | Method::Post => &["client_id", "client_secret"],
        Method::Bearer => &["token"],
        Method::None => &[],
    };
    for key in ["client_id", "client_secret", "token"] {
        // The audience of signed responses.
        if key == "client_id" && is_signed {
            continue;
        }
        if let Some(superfluous) = fields.optional(key).filter(|_| !needed.contains(&key)) {
            superfluous.error(ErrorKind::Contradiction, "the `method` does not use it");
        }
    }
    let client = || {
        let client_id = fields.required("client_id").and_then(|id| id.string());
        let client_secret = fields.required("client_secret").and_then(|secret| read_secret(&secret));
        Some((Box::from(client_id?), client_secret?))
    };
    let named = || {
        let client_id = fields.optional("client_id");
        if client_id.is_none() && is_signed {
            cursor.error(
                ErrorKind::MissingKey,
                "`signed: true` needs a `client_id`, by which the issuer names this gateway in `aud`",
            );
        }
        client_id.and_then(|client_id| client_id.string()).map(Box::from)
    };
    let authentication = match method {
        Method::Basic => client()
            .map(|(client_id, client_secret)| ClientAuthentication::Basic { client_id, client_secret }),
        Method::Post => {
            client().map(|(client_id, client_secret)| ClientAuthentication::Post { client_id, client_secret })
        }
        Method::Bearer => {
            let token = fields.required("token")?;
            let secret = read_secret(&token)?;
            if let SecretSource::Inline(text) = &secret {
                if !text.reveal().bytes().all(|byte| byte.is_ascii_graphic()) {
                    token.error(
                        ErrorKind::OutOfBounds,
                        "the token holds a character that no bearer token may hold",
                    );
                    return None;
                }
            }
            Some(ClientAuthentication::Bearer(secret))
        }
        Method::None => Some(ClientAuthentication::None),
    };
    let client_id = match &authentication {
        Some(
            ClientAuthentication::Basic { client_id, .. } | ClientAuthentication::Post { client_id, .. },
        ) => Some(client_id.clone()),
        Some(ClientAuthentication::Bearer(_) | ClientAuthentication::None) => named(),
        None => None,
    };
    if is_signed && client_id.is_none() {
        return None;
    }
    Some((authentication?, client_id))
}

/// `{env: NAME}` or `{value: ...}`. No message shows either: what was meant as a value may stand at `env`.
pub(super) fn read_secret(cursor: &Cursor<'_>) -> Option<SecretSource> {
    if cursor.is_string() {
        return cursor
            .unexpected("`{env: NAME}`, the environment variable that holds the secret, or `{value: ...}`");
    }
    let fields = cursor.map(&["env", "value"])?;
    match (fields.optional("env"), fields.optional("value")) {
        (Some(env), None) => {
            let name = env.string()?;
            let is_name = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
                && !name.starts_with(|c: char| c.is_ascii_digit());
            if !is_name {
                env.error(ErrorKind::WrongKind, "is not the name of an environment variable");
                return None;
            }
            Some(SecretSource::Environment(name.into()))
        }
        (None, Some(value)) => {
            let text = value.text()?;
            if text.is_empty() {
                value.error(ErrorKind::OutOfBounds, "must not be empty");
                return None;
            }
            Some(SecretSource::Inline(Secret::new(&text)))
        }
        (Some(_), Some(_)) => {
            cursor
                .error(ErrorKind::Contradiction, "`env` and `value` are both there; only one of them may be");
            None
        }
        (None, None) => {
            cursor.error(ErrorKind::MissingKey, "one of `env` and `value` is needed");
            None
        }
    }
}

/// An absolute `http` or `https` URI without user information and fragment. `{tenant}` may stand in its path and
/// query where `takes_tenant`. It is not shown in messages: it may hold a password.
fn read_uri(cursor: &Cursor<'_>, takes_tenant: bool) -> Option<HttpUri> {
    let text = cursor.string()?;
    let uri = HttpUri::parse(&text);
    match &uri {
        Err(message) => cursor.error(ErrorKind::WrongKind, message),
        Ok(uri) if uri.path.contains("{tenant}") && !takes_tenant => {
            cursor.error(ErrorKind::Contradiction, "`{tenant}` may stand here only where `issuer` holds it");
            return None;
        }
        Ok(_) => {}
    }
    uri.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> TenantPattern {
        TenantPattern::parse(text).unwrap()
    }

    #[test]
    fn patterns_overlap_where_one_issuer_fits_both() {
        for (one, other, overlap) in [
            ("https://kc/{tenant}", "https://kc/{tenant}", true),
            ("https://kc/{tenant}", "https://kc/{tenant}/x", false),
            ("https://kc/{tenant}", "https://kc/a-{tenant}", true),
            ("https://kc/{tenant}-x", "https://kc/a-{tenant}", true),
            ("https://kc/{tenant}", "https://kc/a/{tenant}", false),
            ("https://kc/{tenant}", "https://idp/{tenant}", false),
            ("https://{tenant}.kc", "https://{tenant}.idp", false),
            ("https://{tenant}.kc", "https://a.{tenant}", true),
            ("{tenant}/x", "h/{tenant}", true),
            ("{tenant}ab", "c{tenant}", true),
            ("exact", "{tenant}", false),
        ] {
            assert_eq!(common_issuer(&pattern(one), &pattern(other)).is_some(), overlap, "{one} {other}");
            assert_eq!(common_issuer(&pattern(other), &pattern(one)).is_some(), overlap, "{other} {one}");
        }
    }

    #[test]
    fn a_uri_is_split_for_the_call() {
        let uri = HttpUri::parse("HTTPS://login.example.com:8443/jwks.json?x=1").unwrap();
        assert_eq!(
            (&*uri.scheme, &*uri.authority, &*uri.path),
            ("https", "login.example.com:8443", "/jwks.json?x=1")
        );
        assert_eq!(&*HttpUri::parse("http://idp").unwrap().path, "/");
        assert_eq!(&*HttpUri::parse("http://idp?x=1").unwrap().path, "/?x=1");
        assert_eq!(&*HttpUri::parse("http://[::1]:80/a").unwrap().authority, "[::1]:80");
    }

    #[test]
    fn what_is_no_absolute_http_uri_is_refused() {
        for text in [
            "",
            "idp/jwks",
            "ftp://idp/jwks",
            "https://",
            "https:///jwks",
            "https://user:pass@idp/",
            "https://idp/#x",
            "https://idp/a b",
            "https://{tenant}.idp/",
            "https://idp:port/",
            "https://idp/é",
        ] {
            assert!(HttpUri::parse(text).is_err(), "{text}");
        }
    }
}
