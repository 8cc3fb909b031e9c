//! Each rule of the configuration, by what is reported where it is broken.

use std::sync::Arc;
use std::time::{Duration, Instant};

use scopegate::authenticate::{AudienceRule, ClaimPath};
use scopegate::authorize::{Access, Enforcement, EvidenceKind, Tenant, TenantTable};
use scopegate::config::{Loaded, parse_json, parse_yaml, yaml_to_json};
use scopegate::http::headers::borrowed;
use scopegate::issuer::provider::{ClientAuthentication, ProviderKeys, SecretSource};
use scopegate::jose::Algorithm;
use scopegate::policy::{AuditedDecisions, ForwardedValue, Property, Unmatched};
use scopegate::token_endpoint::{OnUnregisteredScope, TokenEndpoint};
use serde_json::{Value, json};

/// A configuration with every key.
const FULL: &str = include_str!("../fixtures/config/full.yaml");

/// The least that is valid.
const LEAST: &str = "version: 1
providers:
  corp:
    issuer: https://idp.example
    audiences: [api]
    remote_jwks: {uri: https://idp.example/jwks, cluster: idp}
tenants:
  - id: acme
";

fn errors(yaml: &str) -> Vec<String> {
    let in_yaml = match parse_yaml(yaml) {
        Ok(_) => Vec::new(),
        Err(errors) => errors.iter().map(ToString::to_string).collect(),
    };
    // The same configuration in JSON has the same errors. What is no JSON at all cannot be compared.
    if let Ok(json) = yaml_to_json(yaml) {
        let in_json = match parse_json(json.to_string().as_bytes()) {
            Ok(_) => Vec::new(),
            Err(errors) => errors.iter().map(ToString::to_string).collect::<Vec<_>>(),
        };
        let sorted = |mut lines: Vec<String>| {
            lines.sort();
            lines
        };
        assert_eq!(sorted(in_yaml.clone()), sorted(in_json), "{yaml}");
    }
    in_yaml
}

fn loaded(yaml: &str) -> Loaded {
    parse_yaml(yaml).unwrap_or_else(|errors| panic!("{errors}\n{yaml}"))
}

fn warnings(yaml: &str) -> Vec<String> {
    loaded(yaml).warnings.iter().map(ToString::to_string).collect()
}

/// The least configuration with `yaml` for some of its top-level keys.
fn with(yaml: &str) -> String {
    let replaced = |line: &str| {
        let key = line.split(':').next().unwrap_or_default();
        yaml.lines().any(|own| own.starts_with(&format!("{key}:")))
    };
    let mut text = String::new();
    let mut keep = true;
    for line in LEAST.lines() {
        if !line.starts_with(' ') {
            keep = !replaced(line);
        }
        if keep {
            text += line;
            text += "\n";
        }
    }
    text + yaml + "\n"
}

/// A provider `corp` with `keys` (flow style, without braces) besides issuer, audiences and remote keys.
fn provider(keys: &str) -> String {
    with(&format!(
        "providers: {{corp: {{issuer: i, audiences: [a], remote_jwks: {{uri: 'https://i/j', cluster: c}}, {keys}}}}}"
    ))
}

/// A provider `corp` with nothing but `keys`.
fn bare_provider(keys: &str) -> String {
    with(&format!("providers: {{corp: {{{keys}}}}}"))
}

/// A suite `s` with the operation `o` of these keys.
fn operation(keys: &str) -> String {
    with(&format!("suites: [{{name: s, operations: [{{name: o, path: /o, {keys}}}]}}]"))
}

/// The tenant `acme` with `keys`.
fn tenant(keys: &str) -> String {
    with(&format!("tenants: [{{id: acme, {keys}}}]"))
}

fn check(cases: &[(String, &[&str])]) {
    for (yaml, expected) in cases {
        assert_eq!(&errors(yaml), expected, "\n{yaml}");
    }
}

#[test]
fn the_least_configuration_has_the_defaults_of_the_reference() {
    let Loaded { policy, warnings, text_bytes: _ } = loaded(LEAST);
    assert_eq!(warnings, []);
    assert_eq!(&*policy.realm, "scopegate");
    assert_eq!(policy.unmatched, Unmatched::Deny);
    assert_eq!(policy.enforcement, Enforcement::Enforce);
    assert_eq!((policy.max_token_bytes, policy.max_waiting_requests), (16_384, 1_024));
    assert_eq!((policy.audit.decisions, policy.audit.max_per_second), (AuditedDecisions::Denied, 100));
    let set = Property::ALL.into_iter().filter(|property| policy.audit.properties.contains(*property));
    assert_eq!(set.collect::<Vec<_>>(), [Property::Decision, Property::Log]);
    assert!(!policy.audit.subject);
    assert!(policy.scopes_per_application);
    assert!(!policy.forward.token && !policy.bypass_cors_preflight && !policy.strip_failure_response);
    assert!(policy.forward.headers.is_empty());
    assert_eq!(policy.default_introspection, None);
    assert_eq!((policy.tenants.len(), policy.tenants.is_empty()), (1, false));
    assert!(TenantTable::default().is_empty());
    let [corp] = &*policy.providers else { panic!("one provider") };
    assert_eq!(
        corp.issuer,
        Some(scopegate::authenticate::TenantPattern::Exact("https://idp.example".into()))
    );
    assert_eq!(corp.rules.clock_skew, Duration::from_secs(60));
    assert!(corp.rules.require_expiration);
    assert_eq!(corp.rules.max_token_age, None);
    assert_eq!(corp.rules.token_types, None);
    assert_eq!(corp.rules.algorithms.iter().collect::<Vec<_>>(), Algorithm::DEFAULT);
    let paths = |names: &[&str]| names.iter().copied().map(ClaimPath::top_level).collect::<Vec<_>>();
    assert_eq!(corp.rules.claims.scope, paths(&["scope", "scp"]));
    assert_eq!(corp.rules.claims.subject, paths(&["sub"]));
    assert_eq!(corp.rules.claims.client, paths(&["client_id", "azp"]));
    assert_eq!(corp.rules.claims.tenant, []);
    assert_eq!(corp.token_cache_entries, 10_000);
    let ProviderKeys::Remote(remote) = &corp.keys else { panic!("remote keys") };
    assert_eq!((remote.timeout, remote.cache_duration), (Duration::from_secs(2), Duration::from_secs(600)));
    let headers = borrowed(&[("authorization", "bearer t")]);
    assert!(policy.places.extract(&headers, None).is_ok());
    let acme = policy.tenants.named("acme").and_then(|id| policy.tenants.tenant(id)).unwrap();
    assert!(acme.applications.is_none() && acme.suites.is_none() && acme.overrides.is_none());
    assert!(acme.scope_table.declared.is_none());
}

#[test]
fn introspection_has_the_defaults_of_the_reference() {
    let keys = "introspection: {uri: 'https://i/x', cluster: c, client_auth: {method: none}}";
    let policy = loaded(&bare_provider(&format!("audiences: [a], {keys}"))).policy;
    let introspection = policy.providers[0].introspection.as_ref().unwrap();
    assert_eq!(policy.providers[0].issuer, None);
    assert_eq!(introspection.timeout, Duration::from_secs(1));
    assert_eq!(introspection.cache_entries, 10_000);
    assert_eq!(introspection.max_ttl, Duration::from_secs(60));
    assert_eq!(introspection.negative_ttl, Duration::from_secs(10));
    assert_eq!(introspection.max_response_bytes, 65_536);
    assert!(!introspection.apply_to_all);
    assert_eq!(introspection.client_authentication, ClientAuthentication::None);
    assert_eq!(introspection.required_members, ["aud".into()].into());
    let policy = loaded(&bare_provider(&format!("allow_any_audience: true, {keys}"))).policy;
    assert_eq!(
        policy.providers[0].introspection.as_ref().unwrap().required_members,
        ["token_type".into()].into()
    );
    assert_eq!(policy.providers[0].rules.audiences, AudienceRule::Any);
}

#[test]
fn the_full_configuration_loads() {
    let Loaded { policy, warnings, text_bytes: _ } = loaded(FULL);
    assert_eq!(warnings, []);
    let in_json = yaml_to_json(FULL).unwrap();
    let from_json =
        parse_json(in_json.to_string().as_bytes()).unwrap_or_else(|errors| panic!("{errors}")).policy;
    assert_eq!(policy.providers[0].digest, from_json.providers[0].digest);

    let tenant = |name: &str| {
        let id = policy.tenants.named(name).unwrap();
        (id, policy.tenants.tenant(id).unwrap())
    };
    let (first_id, first) = tenant("prod-tenant-01");
    let (_, second) = tenant("prod-tenant-02");
    assert_eq!(policy.tenants.named("a5c1-0001"), Some(first_id));
    assert_eq!(
        policy.tenants.named("alias-of-prod-tenant-01"),
        None,
        "its own aliases replace the template's"
    );
    assert_eq!(tenant("alias-of-prod-tenant-02").1.id, second.id);
    assert_eq!(policy.tenants.with_audience("https://prod-tenant-02.example").map(<[_]>::len), Some(1));
    assert_eq!(policy.tenants.at_host("billing.acme.example"), Some(&[first_id][..]));
    assert!(Arc::ptr_eq(&first.scope_table, &second.scope_table));
    let applications = first.applications.as_deref().unwrap();
    assert_eq!(applications.len(), 2);
    assert_eq!(&*applications[1].scopes, ["billing:write".into(), "tc.service.read".into()]);
    let overrides = first.overrides.as_ref().unwrap();
    assert_eq!((overrides.suites.len(), overrides.operations.len()), (1, 1));

    assert_eq!(policy.catalog.suites.len(), 2);
    let operations = &policy.catalog.operations;
    let [read, list, write, me, health, post] = &operations[..] else { panic!("six operations") };
    assert!(matches!(&read.access, Access::Scopes(Some(requirement)) if requirement.all_of.len() == 1));
    assert_eq!(list.access, Access::Scopes(None));
    assert!(write.require_tls && !read.require_tls);
    assert_eq!(write.enforcement, Some(Enforcement::Shadow));
    assert_eq!((&me.access, &health.access), (&Access::Authenticated, &Access::Public));
    assert!(policy.catalog.suite(post.suite).unwrap().system);
    assert!(policy.resolution.required_evidence.contains(EvidenceKind::Header));
    assert!(policy.forward.guarded.removes(b"x_tenant_id"));
    assert!(policy.forward.guarded.removes(b"x_api_version"));
    assert!(!policy.forward.guarded.removes(b"x-api-version"));
    assert_eq!(
        policy.forward.headers[1].value,
        ForwardedValue::Claim(ClaimPath::dotted("org.department").unwrap())
    );
    assert_eq!(
        policy.default_introspection,
        Some(policy.provider_of_issuer("https://login.example.com").unwrap().0)
    );
}

#[test]
fn errors_of_the_document_itself() {
    check(&[
        ("[]".into(), &["configuration: expected a map, found a list"]),
        (
            "{}".into(),
            &[
                "configuration: missing key `version`",
                "configuration: missing key `providers`",
                "configuration: missing key `tenants`",
            ],
        ),
        (with("version: 2"), &["version: must be 1, not 2"]),
        (with("version: '1'"), &["version: expected a whole number, found a string"]),
        (with("version: 1.5"), &["version: expected a whole number, found 1.5"]),
        (with("providers: {}"), &["providers: there must be at least one provider"]),
        (with("tenants: []"), &["tenants: must not be an empty list"]),
        (
            with("tenant_resolutoin: {}"),
            &["configuration: unknown key `tenant_resolutoin`; did you mean `tenant_resolution`?"],
        ),
        (with("zzz: 1"), &["configuration: unknown key `zzz`"]),
        (with("realm: ''"), &["realm: must not be empty"]),
        (with("realm: a\"b"), &["realm: must be of printable ASCII characters without `\"` and `\\`"]),
        (with("realm: \"a\\u0007\""), &["realm: must not hold control characters"]),
        (with("realm: null"), &["realm: expected a string, found null"]),
        (with("max_token_bytes: 0"), &["max_token_bytes: must be 1 to 65536, not 0"]),
        (with("max_token_bytes: 65537"), &["max_token_bytes: must be 1 to 65536, not 65537"]),
        (with("max_waiting_requests: -1"), &["max_waiting_requests: must be 1 to 100000, not -1"]),
        (
            with("unmatched: alow"),
            &["unmatched: `alow` is none of `deny`, `authenticated`, `allow`; did you mean `allow`?"],
        ),
        (with("scope_enforcement: true"), &["scope_enforcement: expected a string, found a boolean"]),
        (
            with("bypass_cors_preflight: 'yes'"),
            &["bypass_cors_preflight: expected `true` or `false`, found a string"],
        ),
        (
            with("audit: {decisions: deny, max_per_second: 1.5}"),
            &[
                "audit.decisions: `deny` is none of `denied`, `all`, `none`",
                "audit.max_per_second: expected a whole number, found 1.5",
            ],
        ),
        (
            with("audit: {properties: [tenant, decison, reason]}"),
            &[
                "audit.properties[1]: `decison` is none of `tenant`, `client`, `subject`, `suite`, `operation`, `decision`, `reason`, `log`; did you mean `decision`?",
            ],
        ),
        (
            with("audit: {subject: yes please, subjekt: true}"),
            &[
                "audit: unknown key `subjekt`; did you mean `subject`?",
                "audit.subject: expected `true` or `false`, found a string",
            ],
        ),
        (
            with("audit: {properties: [tenant]}"),
            &["audit.properties: `decision` must be among them: the tripwire lets pass what has it"],
        ),
        (
            with("default_introspection: corp"),
            &["default_introspection: provider `corp` has no `introspection`"],
        ),
        (
            with("default_introspection: crop"),
            &["default_introspection: provider `crop` is not configured; did you mean `corp`?"],
        ),
    ]);
    for limit in
        ["max_token_bytes: 1", "max_token_bytes: 65536", "max_token_bytes: 16384.0", "token_endpoints: []"]
    {
        assert_eq!(errors(&with(limit)), [""; 0], "{limit}");
    }
}

#[test]
fn errors_of_token_endpoints() {
    let endpoints = |text: &str| with(&format!("token_endpoints: [{text}]"));
    check(&[
        (
            endpoints("{path: /token, method: POST}, {methods: []}"),
            &[
                "token_endpoints[0]: unknown key `method`; did you mean `methods`?",
                "token_endpoints[1]: missing key `path`",
                "token_endpoints[1].methods: must not be an empty list",
            ],
        ),
        (
            endpoints(
                "{path: token}, {path: /a//b}, {path: '/t?a'}, {path: '/{tenant}/token'}, {path: '/a/**'}",
            ),
            &[
                "token_endpoints[0].path: no request can have the path `token`: the path does not begin with `/`",
                "token_endpoints[1].path: no request can have the path `/a//b`: the path holds `//`",
                "token_endpoints[2].path: `/t?a` is not an exact path: it holds a `?`, a `{` or a `*`",
                "token_endpoints[3].path: `/{tenant}/token` is not an exact path: it holds a `?`, a `{` or a `*`",
                "token_endpoints[4].path: `/a/**` is not an exact path: it holds a `?`, a `{` or a `*`",
            ],
        ),
        (
            endpoints("{path: /t, on_unregistered_scope: narow, grant_types: [], provider: crop}"),
            &[
                "token_endpoints[0].on_unregistered_scope: `narow` is none of `reject`, `narrow`; did you mean `narrow`?",
                "token_endpoints[0].grant_types: must not be an empty list",
                "token_endpoints[0].provider: provider `crop` is not configured; did you mean `corp`?",
            ],
        ),
        (
            endpoints(
                "{path: /t, methods: [POST, PUT]}, {path: /t, methods: [GET]}, {path: '/%74', methods: [PUT]}",
            ),
            &["token_endpoints[2]: `PUT` at `/t` is guarded twice"],
        ),
        (
            endpoints("{path: /t}, {path: /T/}"),
            &["token_endpoints[1]: a server may take `/T/` for `/t`, which is guarded too; spell both alike"],
        ),
        (
            endpoints("{path: /t, passed_scopes: [openid, 'a b']}"),
            &[
                "token_endpoints[0].passed_scopes[1]: a space may not stand in a scope (RFC 6749 section 3.3) in `a b`",
            ],
        ),
    ]);
    let unregistered = "token_endpoints: no tenant registers applications, so every token request is refused";
    assert_eq!(warnings(&endpoints("{path: /t}")), [unregistered]);
    assert_eq!(warnings(&with("token_endpoints: []")), [""; 0]);
}

#[test]
fn errors_of_discovery() {
    let discovery = |keys: &str, more: &str| {
        bare_provider(&format!("issuer: 'https://i/{{tenant}}', audiences: [a], discovery: {{{keys}}}{more}"))
    };
    let good = "uri: 'https://i/m', cluster: c";
    let intro = ", introspection: {client_auth: {method: none}";
    check(&[
        (discovery(good, ""), &[]),
        (discovery(good, &format!("{intro}}}")), &[]),
        (
            discovery("url: x, allowed_hosts: []", &format!("{intro}}}")),
            &[
                "providers.corp.discovery: unknown key `url`; did you mean `uri`?",
                "providers.corp.discovery: missing key `uri`",
                "providers.corp.discovery: missing key `cluster`",
                "providers.corp.discovery.allowed_hosts: must not be an empty list",
            ],
        ),
        (
            discovery(&format!("{good}, allowed_hosts: ['https://i']"), ", local_jwks: {keys: []}"),
            &[
                "providers.corp.discovery: `local_jwks` is there too, and discovery is for keys that are fetched",
                "providers.corp.discovery.allowed_hosts[0]: `https://i` is not a host",
            ],
        ),
        (
            discovery(good, ", remote_jwks: {uri: 'https://i/{tenant}', cluster: c}"),
            &[
                "providers.corp.remote_jwks: `{tenant}` stands in one of its `uri` and that of `discovery`; it may in both or neither",
            ],
        ),
        (
            discovery(good, &format!("{intro}, cluster: other}}")),
            &[
                "providers.corp.introspection.cluster: without `uri` the endpoint is discovered, and asked over the cluster of `discovery`",
            ],
        ),
        (
            bare_provider(&format!("audiences: [a], discovery: {{{good}}}")),
            &["providers.corp: missing key `issuer`, which a provider with keys needs"],
        ),
    ]);
}

#[test]
fn errors_of_profiles() {
    let profile = |keys: &str| provider(&format!("profile: rfc9068, {keys}"));
    check(&[
        (
            provider("profile: rfc9086"),
            &["providers.corp.profile: `rfc9086` is none of `rfc9068`, `fapi2`; did you mean `rfc9068`?"],
        ),
        (
            profile("token_types: [JWT], require_expiration: false"),
            &[
                "providers.corp.token_types: `profile: rfc9068` says which they are; leave them out",
                "providers.corp.require_expiration: `profile: rfc9068` requires `exp`",
            ],
        ),
        (
            bare_provider(
                "profile: rfc9068, allow_any_audience: true, introspection: {uri: 'https://i/', cluster: c, client_auth: {method: none}}",
            ),
            &[
                "providers.corp.allow_any_audience: `profile: rfc9068` requires `audiences`",
                "providers.corp.profile: it is about JWTs that are verified here, and the provider has no keys",
            ],
        ),
        (profile("require_expiration: true"), &[]),
    ]);
}

#[test]
fn errors_of_what_is_revoked() {
    check(&[
        (
            provider("revoked: {jti: id-1, subjects: [7], clients: [a, a], issued: 1}"),
            &[
                "providers.corp.revoked: unknown key `issued`",
                "providers.corp.revoked.jti: expected a list, found a string",
                "providers.corp.revoked.subjects[0]: expected a string, found a number",
                "providers.corp.revoked.clients[1]: `a` is listed twice",
            ],
        ),
        (
            tenant("revoked: {issued_before: '2026-11-22'}"),
            &[
                "tenants[0].revoked.issued_before: `2026-11-22` is no moment; write for example \"2026-11-22T12:00:00Z\", or seconds since 1970 as a number",
            ],
        ),
        (
            tenant("revoked: {issued_before: 1.5}"),
            &["tenants[0].revoked.issued_before: expected a whole number, found 1.5"],
        ),
        (
            tenant("revoked: {issued_before: null}"),
            &[
                "tenants[0].revoked.issued_before: expected a moment such as \"2026-11-22T12:00:00Z\", or seconds since 1970, found null",
            ],
        ),
        (tenant("revoked: {}"), &[]),
    ]);
}

#[test]
fn errors_of_tokens_that_are_introspected() {
    check(&[
        (
            provider("encrypted_tokens: introspect"),
            &["providers.corp.encrypted_tokens: it needs `introspection`"],
        ),
        (
            provider("encrypted_tokens: decrypt"),
            &["providers.corp.encrypted_tokens: `decrypt` is none of `refuse`, `introspect`"],
        ),
        (provider("encrypted_tokens: refuse"), &[]),
        (
            provider("claims: {additional_scopes: []}"),
            &["providers.corp.claims.additional_scopes: must not be an empty list"],
        ),
    ]);
}

#[test]
fn errors_of_required_values() {
    check(&[
        (
            provider("required_values: {token_use: [], a..b: [x], c: [1], d: access}"),
            &[
                "providers.corp.required_values.token_use: must not be an empty list",
                "providers.corp.required_values[\"a..b\"]: `a..b` is no claim path: a name in it is empty",
                "providers.corp.required_values.c[0]: expected a string, found a number",
                "providers.corp.required_values.d: expected a list, found a string",
            ],
        ),
        (
            operation("access: public, required_values: {token_use: [access]}"),
            &[
                "suites[0].operations[0].required_values: has no meaning where `access` is `public`: no token is read",
            ],
        ),
        (
            with("suites: [{name: s, required_values: {a: [b, b]}}]"),
            &["suites[0].required_values.a[1]: `b` is listed twice"],
        ),
    ]);
}

#[test]
fn a_token_endpoint_has_the_defaults_of_the_reference() {
    let policy = loaded(&with("token_endpoints: [{path: /oauth/%74oken}]")).policy;
    assert_eq!(
        policy.token_endpoints,
        [TokenEndpoint {
            path: "/oauth/token".into(),
            folded_path: "/oauth/token".into(),
            methods: ["POST".into()].into(),
            on_unregistered_scope: OnUnregisteredScope::Reject,
            grant_types: ["client_credentials", "authorization_code", "refresh_token"].map(Box::from).into(),
            passed_scopes: ["openid", "profile", "email", "address", "phone", "offline_access"]
                .map(Box::from)
                .into(),
            provider: None,
        }]
    );
}

#[test]
fn a_repeated_key_is_an_error_at_its_path() {
    let json = br#"{"version": 1, "version": 1, "providers": {"corp": {"issuer": "i", "issuer": "j", "audiences": ["a"],
        "local_jwks": {"keys": [{"kty": "oct", "kty": "RSA"}]}}}, "tenants": [{"id": "a", "id": "b"}]}"#;
    let errors = parse_json(json).unwrap_err();
    let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
    assert_eq!(
        lines,
        [
            "version: the key is repeated",
            "providers.corp.issuer: the key is repeated",
            "providers.corp.local_jwks.keys[0].kty: the key is repeated",
            "tenants[0].id: the key is repeated",
        ]
    );
    assert_eq!(
        parse_yaml("a: 1\nb: {c: 1, c: 2}").unwrap_err().to_string().lines().next(),
        Some("b.c: the key is repeated")
    );
    assert!(yaml_to_json("a: 1\na: 2").is_err());
}

#[test]
fn errors_of_providers() {
    const JWKS: &str = "local_jwks: {keys: []}";
    check(&[
        (
            bare_provider(&format!("audiences: [a], {JWKS}")),
            &["providers.corp: missing key `issuer`, which a provider with keys needs"],
        ),
        (
            bare_provider("issuer: i, audiences: [a]"),
            &[
                "providers.corp: one of `local_jwks`, `remote_jwks`, `discovery` and `introspection` is needed",
            ],
        ),
        (
            bare_provider(&format!("issuer: i, {JWKS}")),
            &["providers.corp: missing key `audiences`; only `allow_any_audience: true` makes up for it"],
        ),
        (
            provider("allow_any_audience: true"),
            &["providers.corp.audiences: `allow_any_audience` is true; only one of them may be there"],
        ),
        (provider(JWKS), &["providers.corp.remote_jwks: `local_jwks` is there too; only one of them may be"]),
        (provider("isuer: x"), &["providers.corp: unknown key `isuer`; did you mean `issuer`?"]),
        (
            provider("algorithms: [rs256, HS256, none]"),
            &[
                "providers.corp.algorithms[0]: `rs256` is not a supported algorithm; did you mean `RS256`?",
                "providers.corp.algorithms[2]: `none` is not a supported algorithm",
            ],
        ),
        (provider("algorithms: []"), &["providers.corp.algorithms: must not be an empty list"]),
        (provider("algorithms: [RS256, RS256]"), &["providers.corp.algorithms[1]: `RS256` is listed twice"]),
        (
            provider("algorithms: [RS256, HS256]"),
            &[
                "providers.corp.algorithms: `HS256` needs a symmetric key, which `remote_jwks` never brings; use `local_jwks`",
            ],
        ),
        (provider("clock_skew: 601s"), &["providers.corp.clock_skew: must be 0s to 10m, not 601s"]),
        (
            provider("clock_skew: 60"),
            &[
                "providers.corp.clock_skew: expected a duration such as \"200ms\", \"0.5s\", \"10m\" or \"1h\", found a number",
            ],
        ),
        (
            provider("clock_skew: 1 minute"),
            &[
                "providers.corp.clock_skew: `1 minute` is not a duration; write for example \"200ms\", \"0.5s\", \"10m\" or \"1h\"",
            ],
        ),
        (provider("token_types: []"), &["providers.corp.token_types: must not be an empty list"]),
        (
            provider("required_claims: [a..b]"),
            &["providers.corp.required_claims[0]: `a..b` is no claim path: a name in it is empty"],
        ),
        (provider("claims: {tenant: []}"), &["providers.corp.claims.tenant: must not be an empty list"]),
        (
            provider("claims: {scopes: [x]}"),
            &["providers.corp.claims: unknown key `scopes`; did you mean `scope`?"],
        ),
        (provider("from_headers: []"), &["providers.corp.from_headers: must not be an empty list"]),
        (
            provider("from_headers: [{value_prefix: x}, {name: 'a b'}, {name: host}]"),
            &[
                "providers.corp.from_headers[0]: missing key `name`",
                "providers.corp.from_headers[1].name: `a b` holds a character that no name in HTTP may hold",
                "providers.corp.from_headers[2].name: `host` is not a header that can be read or set here",
            ],
        ),
        (
            provider("from_cookies: ['a=b']"),
            &["providers.corp.from_cookies[0]: `a=b` holds a character that no name in HTTP may hold"],
        ),
        (provider("from_params: ['']"), &["providers.corp.from_params[0]: must not be empty"]),
        (
            provider("token_cache: {max_entries: 1000001}"),
            &["providers.corp.token_cache.max_entries: must be 0 to 1000000, not 1000001"],
        ),
        (
            bare_provider("issuer: i, audiences: [a], local_jwks: '{}'"),
            &["providers.corp.local_jwks: the key set has no array `keys`"],
        ),
        (
            bare_provider("issuer: i, audiences: [a], local_jwks: []"),
            &[
                "providers.corp.local_jwks: expected a JWK Set, as a map or as a string that holds its JSON, found a list",
            ],
        ),
        (
            bare_provider(
                "issuer: '{tenant}{tenant}', audiences: ['{tenant}{tenant}', b], local_jwks: {keys: []}",
            ),
            &[
                "providers.corp.issuer: `{tenant}` may stand in it only once",
                "providers.corp.audiences[0]: `{tenant}` may stand in it only once",
            ],
        ),
        (
            bare_provider(
                "issuer: i, audiences: [a], remote_jwks: {uri: 'https://i/{tenant}', timeout: 0s, cache_duration: 999ms}",
            ),
            &[
                "providers.corp.remote_jwks.uri: `{tenant}` may stand here only where `issuer` holds it",
                "providers.corp.remote_jwks: missing key `cluster`",
                "providers.corp.remote_jwks.timeout: must be 1ms to 1m, not 0s",
                "providers.corp.remote_jwks.cache_duration: must be 1s to 720h, not 999ms",
            ],
        ),
    ]);
    for keys in
        ["clock_skew: 600s", "clock_skew: 0s", "token_cache: {max_entries: 0}", "from_params: [access_token]"]
    {
        assert_eq!(errors(&provider(keys)), [""; 0], "{keys}");
    }
}

#[test]
fn two_providers_never_share_an_issuer() {
    let two = |one: &str, other: &str| {
        let keys = "audiences: [a], local_jwks: {keys: []}";
        with(&format!(
            "providers: {{a: {{issuer: '{one}', {keys}}}, b: {{issuer: '{other}', {keys}}}}}\ntenants: [{{id: x, providers: [a]}}]"
        ))
    };
    check(&[
        (two("i", "i"), &["providers.b.issuer: the issuer is already that of provider `a`"]),
        (
            two("i/{tenant}", "i/{tenant}"),
            &["providers.b.issuer: the issuer is already that of provider `a`"],
        ),
        (
            two("i/{tenant}", "i/a-{tenant}"),
            &["providers.b.issuer: the pattern overlaps with that of provider `a`: `i/a-x` fits both"],
        ),
        (two("i/{tenant}", "i/x"), &[]),
        (two("i/{tenant}", "j/{tenant}"), &[]),
        (two("i/{tenant}", "i/{tenant}/j"), &[]),
    ]);
}

#[test]
fn errors_of_introspection() {
    let introspection = |keys: &str| bare_provider(&format!("audiences: [a], introspection: {{{keys}}}"));
    let auth =
        |keys: &str| introspection(&format!("uri: 'https://i/x', cluster: c, client_auth: {{{keys}}}"));
    check(&[
        (
            introspection("{}: 1").replace("{}: 1", ""),
            &[
                "providers.corp.introspection: missing key `uri`",
                "providers.corp.introspection: missing key `cluster`",
                "providers.corp.introspection: missing key `client_auth`",
            ],
        ),
        (
            introspection(
                "uri: 'https://{tenant}.i/', cluster: c, client_auth: {method: none}, apply_to: both",
            ),
            &[
                "providers.corp.introspection.uri: the URI has no valid host",
                "providers.corp.introspection.apply_to: `both` is none of `opaque`, `all`",
            ],
        ),
        (auth("client_id: x"), &["providers.corp.introspection.client_auth: missing key `method`"]),
        (
            auth("method: basic"),
            &[
                "providers.corp.introspection.client_auth.method: `basic` is none of `client_secret_basic`, `client_secret_post`, `bearer`, `none`",
            ],
        ),
        (
            auth("method: client_secret_post"),
            &[
                "providers.corp.introspection.client_auth: missing key `client_id`",
                "providers.corp.introspection.client_auth: missing key `client_secret`",
            ],
        ),
        (
            auth("method: bearer, token: {env: T}, client_id: x"),
            &["providers.corp.introspection.client_auth.client_id: the `method` does not use it"],
        ),
        (auth("method: bearer"), &["providers.corp.introspection.client_auth: missing key `token`"]),
        (
            auth("method: bearer, token: {}"),
            &["providers.corp.introspection.client_auth.token: one of `env` and `value` is needed"],
        ),
        (
            auth("method: bearer, token: {env: T, value: x}"),
            &[
                "providers.corp.introspection.client_auth.token: `env` and `value` are both there; only one of them may be",
            ],
        ),
    ]);
    let policy = loaded(&auth("method: bearer, token: {value: abc}")).policy;
    let introspection = policy.providers[0].introspection.as_ref().unwrap();
    assert!(matches!(
        &introspection.client_authentication,
        ClientAuthentication::Bearer(SecretSource::Inline(secret)) if secret.reveal() == "abc"
    ));
}

#[test]
fn no_message_shows_a_secret() {
    const SECRET: &str = "hunter2-sesame";
    let auths = [
        "method: client_secret_basic, client_id: g, client_secret: hunter2-sesame",
        "method: client_secret_basic, client_id: g, client_secret: [hunter2-sesame]",
        "method: client_secret_basic, client_id: g, client_secret: {env: hunter2-sesame}",
        "method: client_secret_basic, client_id: g, client_secret: {valu: hunter2-sesame}",
        "method: client_secret_basic, client_id: g, client_secret: {value: [hunter2-sesame]}",
        "method: client_secret_basic, client_id: g, client_secret: {value: {hunter2: hunter2-sesame}}",
        "method: client_secret_basic, client_id: g, client_secret: {value: hunter2-sesame, env: E}",
        "method: none, client_secret: {value: hunter2-sesame}",
        "method: bearer, token: {value: 'hunter2-sesame é'}",
        "method: bearer, token: hunter2-sesame",
        "method: bearer, token: {value: hunter2-sesame}, token: {value: hunter2-sesame}",
    ];
    for auth in auths {
        let keys = format!(
            "audiences: [a], introspection: {{uri: 'https://i/x', cluster: c, client_auth: {{{auth}}}}}"
        );
        let found = errors(&bare_provider(&keys));
        assert!(!found.is_empty(), "{auth}");
        assert!(!found.iter().any(|line| line.contains(SECRET)), "{found:?}");
    }
    for uri in ["https://gateway:hunter2-sesame@i/x", "hunter2-sesame"] {
        let keys = format!(
            "audiences: [a], introspection: {{uri: '{uri}', cluster: c, client_auth: {{method: none}}}}"
        );
        let found = errors(&bare_provider(&keys));
        assert!(!found.is_empty() && !found.iter().any(|line| line.contains(SECRET)), "{found:?}");
    }
    let jwk =
        "issuer: i, audiences: [a], algorithms: [HS256], local_jwks: {keys: [{kty: oct, k: hunter2-sesame}]}";
    assert!(!format!("{:?}", loaded(&bare_provider(jwk))).contains(SECRET));
    assert!(
        !parse_json(b"{\"client_secret\": {\"value\": \"hunter2-sesame")
            .unwrap_err()
            .to_string()
            .contains(SECRET)
    );
}

#[test]
fn keys_that_are_skipped_are_warnings() {
    let yaml = bare_provider(
        "issuer: i, audiences: [a], local_jwks: {keys: [{kty: RSA}, {kty: oct, kid: k1, k: AAAA}]}",
    );
    let found = warnings(&yaml);
    assert_eq!(found.len(), 3, "{found:?}");
    assert!(found[0].starts_with("providers.corp.local_jwks.keys[0]: the key is not used: "), "{found:?}");
    assert!(
        found[1].starts_with("providers.corp.local_jwks.keys[1]: the key is not used (`kid`: `k1`): "),
        "{found:?}"
    );
    assert_eq!(
        found[2],
        "providers.corp.local_jwks: no key is usable, so every token of this issuer is refused"
    );
}

#[test]
fn a_claim_path_is_a_string_or_a_list_of_names() {
    let keys = "claims: {tenant: [tenant_id, org.tenant, ['a.b', c], 'https://erp.example/tenant']}";
    let tenant = &loaded(&provider(keys)).policy.providers[0].rules.claims.tenant;
    let literal = |names: &[&str]| ClaimPath::literal(names.iter().copied()).unwrap();
    assert_eq!(
        *tenant,
        [
            literal(&["tenant_id"]),
            literal(&["org", "tenant"]),
            literal(&["a.b", "c"]),
            literal(&["https://erp.example/tenant"]),
        ]
    );
    let one = &loaded(&provider("claims: {tenant: a.b}")).policy.providers[0].rules.claims.tenant;
    assert_eq!(*one, [literal(&["a", "b"])]);
}

#[test]
fn a_providers_tenant_claims_replace_the_files() {
    let claims = |keys: &str, resolution: &str| {
        let yaml = provider(keys) + resolution;
        loaded(&yaml).policy.providers[0]
            .rules
            .claims
            .tenant
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
    };
    assert_eq!(claims("", "tenant_resolution: {claims: [a]}"), ["a"]);
    assert_eq!(claims("claims: {scope: s}", "tenant_resolution: {claims: [a]}"), ["a"]);
    assert_eq!(claims("claims: {tenant: b}", "tenant_resolution: {claims: [a]}"), ["b"]);
}

#[test]
fn a_providers_digest_covers_what_it_depends_on_and_nothing_else() {
    let digest = |yaml: String| loaded(&yaml).policy.providers[0].digest;
    let plain = digest(provider("clock_skew: 60s, token_types: [a]"));
    assert_eq!(plain, digest(provider("token_types: [a], clock_skew: 60s")));
    assert_eq!(plain, digest(provider("token_types: [a], clock_skew: 60s") + "realm: other"));
    assert_ne!(plain, digest(provider("token_types: [b], clock_skew: 60s")));
    let inherited =
        |claims: &str, keys: &str| digest(provider(keys) + "tenant_resolution: {claims: [" + claims + "]}");
    assert_ne!(inherited("a", ""), inherited("b", ""));
    assert_eq!(inherited("a", "claims: {tenant: c}"), inherited("b", "claims: {tenant: c}"));
}

#[test]
fn errors_of_tenants() {
    check(&[
        (with("tenants: [{}]"), &["tenants[0]: missing key `id`"]),
        (with("tenants: [{id: ''}]"), &["tenants[0].id: must not be empty"]),
        (
            with("tenants: [{id: a, aliases: [b]}, {id: b}, {id: c, aliases: [c, a]}]"),
            &[
                "tenants[1].id: `b` is already an id or alias of tenant `a`",
                "tenants[2].aliases[0]: `c` is already an id or alias of tenant `c`",
                "tenants[2].aliases[1]: `a` is already an id or alias of tenant `a`",
            ],
        ),
        (
            tenant("template: standrad") + "tenant_templates: {standard: {}}",
            &["tenants[0].template: template `standrad` is not configured; did you mean `standard`?"],
        ),
        (
            tenant("providers: [crop]"),
            &["tenants[0].providers[0]: provider `crop` is not configured; did you mean `corp`?"],
        ),
        (tenant("providers: []"), &["tenants[0].providers: must not be an empty list"]),
        (tenant("providers: [corp, corp]"), &["tenants[0].providers[1]: `corp` is listed twice"]),
        (
            tenant("hosts: [a.b, 'A.B:80', 'x y', '{tenant}.a']"),
            &[
                "tenants[0].hosts[1]: `A.B:80` is listed twice",
                "tenants[0].hosts[2]: `x y` is not a host",
                "tenants[0].hosts[3]: `{tenant}.a` is not a host",
            ],
        ),
        (tenant("audiences: [a, a]"), &["tenants[0].audiences[1]: `a` is listed twice"]),
        (tenant("scope_prefix: ''"), &["tenants[0].scope_prefix: must not be empty"]),
        (
            tenant("scope_prefix: 'a b'"),
            &["tenants[0].scope_prefix: a space may not stand in a scope (RFC 6749 section 3.3) in `a b`"],
        ),
        (
            with(
                "tenants: [{id: a, scope_prefix: t}, {id: b, scope_prefix: t1.}, {id: c, scope_prefix: t2.}, {id: d, scope_prefix: t}, {id: e, scope_prefix: x}]",
            ),
            &[
                "tenants[3].scope_prefix: `t` is the scope prefix of tenant `a` too",
                "tenants[1].scope_prefix: `t1.` begins with `t`, the scope prefix of tenant `a`",
                "tenants[2].scope_prefix: `t2.` begins with `t`, the scope prefix of tenant `a`",
            ],
        ),
        (
            tenant("scopes: [{name: a}, {name: a}, {name: 'é'}, {description: x}, {name: b, descripton: x}]"),
            &[
                "tenants[0].scopes[1].name: scope `a` is declared twice",
                "tenants[0].scopes[2].name: `é` may not stand in a scope (RFC 6749 section 3.3) in `é`",
                "tenants[0].scopes[3]: missing key `name`",
                "tenants[0].scopes[4]: unknown key `descripton`; did you mean `description`?",
            ],
        ),
        (
            tenant("scopes: [{name: tc.read}], scope_mapping: {tc.raed: [x], tc.read: ['a b', c, c]}"),
            &[
                "tenants[0].scope_mapping[\"tc.raed\"]: scope `tc.raed` is not declared by tenant `acme`; did you mean `tc.read`?",
                "tenants[0].scope_mapping[\"tc.read\"][0]: a space may not stand in a scope (RFC 6749 section 3.3) in `a b`",
                "tenants[0].scope_mapping[\"tc.read\"][2]: `c` is listed twice",
            ],
        ),
        (
            tenant("scope_enforcement: on"),
            &["tenants[0].scope_enforcement: `on` is none of `enforce`, `shadow`, `off`"],
        ),
        (tenant("applications: null"), &["tenants[0].applications: expected a list, found null"]),
    ]);
}

#[test]
fn errors_of_applications() {
    let scopes = "scopes: [{name: 'billing:write'}, {name: 'billing:read'}]";
    let yaml = with(&format!(
        "tenants: [{{id: a}}, {{id: b}}, {{id: acme, {scopes}, applications: [{{client_id: x, scopes: ['billing:read', 'billing:wirte']}}]}}]"
    ));
    check(&[
        (
            yaml,
            &[
                "tenants[2].applications[0].scopes[1]: scope `billing:wirte` is not declared by tenant `acme`; did you mean `billing:write`?",
            ],
        ),
        (
            tenant(&format!(
                "{scopes}, applications: [{{client_id: x, scopes: 'billing:read  billing:wirte'}}]"
            )),
            &[
                "tenants[0].applications[0].scopes: scope `billing:wirte` is not declared by tenant `acme`; did you mean `billing:write`?",
            ],
        ),
        (
            tenant("applications: [{client_id: x, scopes: []}, {client_id: x, scopes: []}, {scopes: []}]"),
            &[
                "tenants[0].applications[1]: client `x` of provider `corp` is registered twice",
                "tenants[0].applications[2]: missing key `client_id`",
            ],
        ),
        (
            tenant("applications: [{client_id: x, scopes: 5}]"),
            &["tenants[0].applications[0].scopes: expected a list, found a number"],
        ),
        (
            tenant("applications: [{client_id: x, scopes: [a, a], scope_enforcement: of}]"),
            &[
                "tenants[0].applications[0].scopes[1]: `a` is listed twice",
                "tenants[0].applications[0].scope_enforcement: `of` is none of `enforce`, `shadow`, `off`; did you mean `off`?",
            ],
        ),
    ]);
    let two = |tenant: &str| {
        let keys = "audiences: [a], local_jwks: {keys: []}";
        with(&format!(
            "providers: {{a: {{issuer: i, {keys}}}, b: {{issuer: j, {keys}}}}}\ntenants: [{{id: t, {tenant}}}]"
        ))
    };
    check(&[
        (
            two(""),
            &["tenants[0]: missing key `providers`, which is needed where there are several providers"],
        ),
        (
            two("providers: [a], applications: [{client_id: x, provider: b, scopes: []}]"),
            &["tenants[0].applications[0].provider: provider `b` may not speak for tenant `t`"],
        ),
        (
            two("providers: [a, b], applications: [{client_id: x, scopes: []}]"),
            &[
                "tenants[0].applications[0]: missing key `provider`, which is needed where the tenant has several",
            ],
        ),
        (
            two(
                "providers: [a, b], applications: [{client_id: x, provider: a, scopes: []}, {client_id: x, provider: b, scopes: []}]",
            ),
            &[],
        ),
    ]);
}

#[test]
fn what_is_allowed_and_doubtful_is_a_warning() {
    let cases: &[(String, &[&str])] = &[
        (with("unmatched: allow"), &["unmatched: requests that no operation matches pass without a token"]),
        (
            with("scopes_per_application: false"),
            &["scopes_per_application: scopes are not enforced for any registered application"],
        ),
        (
            tenant("applications: []"),
            &["tenants[0].applications: no application is registered, so every client is refused"],
        ),
        (
            tenant("applications: [{client_id: x}]"),
            &[
                "tenants[0].applications[0]: no scopes are assigned, so no token scope of this application counts",
            ],
        ),
        (
            tenant("suites: []"),
            &[
                "tenants[0].suites: the tenant has no suite, so every operation that asks for scopes is refused",
            ],
        ),
        (
            with("tenants: [{id: a/b}]"),
            &["tenants[0].id: `{tenant}` never stands for a `/`, so no pattern names this tenant by its id"],
        ),
        (with("tenant_templates: {t: {}}"), &["tenant_templates.t: no tenant has this template"]),
        (
            tenant("scope_prefix: t1., scopes: [{name: t1.read}, {name: read}]"),
            &[
                "tenants[0].scopes: scope `t1.read` begins with the tenant's `scope_prefix`; declared names stand without it",
            ],
        ),
        (
            with("tenants: [{id: a, scopes: [{name: read}, {name: vendor, system: true}], scope_mapping: {read: [r, s]}}]
suites:
  - name: one
    scopes: [read, t]
    operations:
      - {name: of-the-suite, path: /a}
      - {name: open, path: /b, requires: [r, s]}
      - {name: misspelt, path: /c, requires: {all_of: [r, ss], any_of: [s, z]}}
      - {name: vendors, path: /d, requires: [vendor]}
      - {name: none, path: /e, access: authenticated}
  - {name: two, system: true, scopes: [r, vendor], operations: [{name: o, path: /f}, {name: p, path: /g, requires: [r]}]}"),
            &[
                "suites[0].operations[0]: no tenant has a scope that stands for `read` or `t`",
                "suites[0].operations[2]: no tenant has a scope that stands for `ss`; did you mean `s`?",
                "suites[0].operations[3]: no tenant has a scope that stands for `vendor`",
                "suites[1].operations[1]: no tenant has a `system` scope that stands for `r`",
            ],
        ),
        (
            // Some tenant may have any scope, or asks for something else.
            with("tenants: [{id: a, scopes: [{name: read}]}, {id: b}]
suites: [{name: one, operations: [{name: o, path: /a, requires: [any]}]}]"),
            &[],
        ),
        (
            with("tenants: [{id: a, scopes: [{name: read}], suite_scopes: {one: [read]}, operation_requires: {one/p: [read]}}]
suites:
  - name: one
    scopes: [any]
    operations: [{name: o, path: /a}, {name: p, path: /b, requires: [any]}, {name: q, path: /c, requires: [any]}]"),
            &["suites[0].operations[2]: no tenant has a scope that stands for `any`"],
        ),
        (with("unmatched: authenticated"), &[]),
        (
            with("tenant_resolution: {required_evidence: [claim]}"),
            &[
                "tenant_resolution.required_evidence: `claim` is required, but no provider has tenant claims, so every token is refused",
            ],
        ),
        (
            provider("from_headers: [{name: authorization, value_prefix: Bearer}]"),
            &[
                "providers.corp.from_headers[0]: `value_prefix` lacks the space that ends a scheme, so every token has a space before it",
            ],
        ),
        (
            bare_provider(
                "audiences: [a], introspection: {uri: 'https://i/x', cluster: c, client_auth: {method: none}, apply_to: all}",
            ),
            &[
                "providers.corp.introspection: `apply_to: all` is for JWTs that were verified, but the provider has no keys",
            ],
        ),
    ];
    for (yaml, expected) in cases {
        assert_eq!(&warnings(yaml), expected, "{yaml}");
    }
}

#[test]
fn an_error_of_a_template_is_reported_once_at_the_template() {
    let yaml = with(
        "tenant_templates:
  t:
    scopes: [{name: a}]
    scope_mapping: {b: [c]}
    suites: [s]
    operation_requires: {s/o: []}
    hosts: ['{tenant}.example']
    applications: [{client_id: '{tenant}-sync', scopes: [z]}]
tenants: [{id: one, template: t}, {id: two, template: t}, {id: 'a b', template: t}]",
    );
    assert_eq!(
        errors(&yaml),
        [
            "tenant_templates.t.scope_mapping.b: scope `b` is not declared by template `t`",
            "tenant_templates.t.applications[0].scopes[0]: scope `z` is not declared by template `t`",
            "tenant_templates.t.suites[0]: suite `s` is not configured",
            "tenant_templates.t.operation_requires[\"s/o\"]: suite `s` is not configured",
            "tenant_templates.t.operation_requires[\"s/o\"]: must not be an empty list",
            "tenant_templates.t.hosts[0]: `a b.example` is not a host",
        ]
    );
}

#[test]
fn tenants_share_what_their_template_says_without_tenant() {
    let yaml = with(
        "suites: [{name: s, scopes: [a], operations: [{name: o, path: /o}]}]
tenant_templates:
  t:
    providers: [corp]
    scopes: [{name: a}, {name: b}]
    scope_mapping: {a: [a, b]}
    suites: [s]
    suite_scopes: {s: [b]}
    operation_requires: {s/o: [b]}
    applications: [{client_id: '{tenant}-sync', scopes: [b, a]}]
tenants: [{id: one, template: t}, {id: two, template: t}, {id: three, template: t, scopes: [{name: a}, {name: b}]}]",
    );
    let policy = loaded(&yaml).policy;
    let [one, two, three] = ["one", "two", "three"]
        .map(|name| policy.tenants.named(name).and_then(|id| policy.tenants.tenant(id)).unwrap());
    assert!(Arc::ptr_eq(&one.providers, &two.providers));
    assert!(Arc::ptr_eq(&one.scope_table, &two.scope_table));
    assert!(!Arc::ptr_eq(&one.scope_table, &three.scope_table));
    assert_eq!(one.scope_table, three.scope_table, "its own scopes, the template's mapping");
    assert!(Arc::ptr_eq(one.suites.as_ref().unwrap(), two.suites.as_ref().unwrap()));
    assert!(Arc::ptr_eq(one.overrides.as_ref().unwrap(), three.overrides.as_ref().unwrap()));
    let application = |tenant: &Tenant| tenant.applications.as_deref().unwrap()[0].clone();
    assert_eq!((&*application(one).client_id, &*application(two).client_id), ("one-sync", "two-sync"));
    assert!(Arc::ptr_eq(&application(one).scopes, &application(two).scopes));
}

#[test]
fn what_a_template_says_with_tenant_is_each_tenants_own() {
    let yaml = with(
        "tenant_templates:
  t:
    scopes: [{name: '{tenant}.read'}]
    scope_mapping: {'{tenant}.read': ['{tenant}-r']}
    scope_prefix: '{tenant}:'
    hosts: ['{tenant}.example']
tenants: [{id: one, template: t}, {id: two, template: t}]",
    );
    let policy = loaded(&yaml).policy;
    let (id, two) = policy.tenants.named("two").map(|id| (id, policy.tenants.tenant(id).unwrap())).unwrap();
    assert!(two.scope_table.kind("two.read").is_some() && two.scope_table.kind("one.read").is_none());
    assert_eq!(two.scope_table.permissions("two.read").collect::<Vec<_>>(), ["two-r"]);
    assert_eq!(two.scope_prefix.as_deref(), Some("two:"));
    assert_eq!(policy.tenants.at_host("two.example"), Some(&[id][..]));
}

#[test]
fn a_tenants_own_scopes_must_bear_the_templates_mapping() {
    let yaml = with(
        "tenant_templates: {t: {scopes: [{name: a}], scope_mapping: {a: [x]}}}
tenants: [{id: one, template: t}, {id: two, template: t, scopes: [{name: b}]}]",
    );
    assert_eq!(
        errors(&yaml),
        ["tenant_templates.t.scope_mapping.a: scope `a` is not declared by tenant `two`"]
    );
}

#[test]
fn the_default_place_counts_only_where_no_place_is_configured() {
    let places = |keys: &str| loaded(&provider(keys)).policy.places;
    let header = borrowed(&[("authorization", "Bearer t")]);
    let cookie = borrowed(&[("cookie", "session=t")]);
    assert!(places("clock_skew: 1s").extract(&header, None).is_ok());
    let cookies = places("from_cookies: [session]");
    assert!(cookies.extract(&header, None).is_err());
    assert!(cookies.extract(&cookie, None).is_ok());
    let params = places("from_params: [access_token]");
    assert!(params.extract(&header, None).is_err());
    assert!(params.extract(&header, Some(b"access_token=t")).is_ok());
}

#[test]
fn errors_of_suites_and_operations() {
    check(&[
        (
            with("suites: [{operations: []}, {name: a/b}, {name: c}, {name: c}]"),
            &[
                "suites[0]: missing key `name`",
                "suites[1].name: must not hold a `/`",
                "suites[3].name: another suite is called `c` already",
            ],
        ),
        (
            with(
                "suites: [{name: s, scopes: [], hosts: ['{x}.a'], audiences: [], required_evidence: [tenant]}]",
            ),
            &[
                "suites[0].hosts[0]: in host `{x}.a`, `{tenant}` as one whole label is the only placeholder",
                "suites[0].audiences: must not be an empty list",
                "suites[0].required_evidence[0]: `tenant` is none of `claim`, `issuer`, `audience`, `application`, `header`, `path`, `host`",
                "suites[0].scopes: must not be an empty list",
            ],
        ),
        (
            with(
                "suites: [{name: s, scopes: [a], operations: [{name: o, path: /a}, {name: o, path: /b}, {path: /c}, {name: p}]}]",
            ),
            &[
                "suites[0].operations[1].name: another operation of the suite is called `o` already",
                "suites[0].operations[2]: missing key `name`",
                "suites[0].operations[3]: missing key `path`",
            ],
        ),
        (
            operation(""),
            &[
                "suites[0].operations[0]: nothing is required: `requires` is needed here, or `scopes` on the suite",
            ],
        ),
        (
            operation("access: scopes"),
            &[
                "suites[0].operations[0]: nothing is required: `requires` is needed here, or `scopes` on the suite",
            ],
        ),
        (operation("requires: []"), &["suites[0].operations[0].requires: must not be an empty list"]),
        (
            operation("requires: {}"),
            &[
                "suites[0].operations[0].requires: nothing is required: neither `any_of` nor `all_of` is there",
            ],
        ),
        (
            operation("requires: {any_of: [], all_of: [a]}"),
            &["suites[0].operations[0].requires.any_of: must not be an empty list"],
        ),
        (
            operation("requires: {anyof: [a]}"),
            &[
                "suites[0].operations[0].requires: unknown key `anyof`; did you mean `any_of`?",
                "suites[0].operations[0].requires: nothing is required: neither `any_of` nor `all_of` is there",
            ],
        ),
        (
            operation("requires: a"),
            &[
                "suites[0].operations[0].requires: expected a list, or a map with `any_of` or `all_of`, found a string",
            ],
        ),
        (
            operation("access: none"),
            &[
                "suites[0].operations[0].access: `none` is none of `scopes`, `authenticated`, `public`, `undecided`",
            ],
        ),
        (
            operation("access: public, requires: [a], required_claims: [x]"),
            &[
                "suites[0].operations[0].requires: has no meaning where `access` is `public`: no token is read",
                "suites[0].operations[0].required_claims: has no meaning where `access` is `public`: no token is read",
            ],
        ),
        (
            operation("access: authenticated, requires: [a]"),
            &["suites[0].operations[0].requires: has no meaning where `access` is `authenticated`"],
        ),
        (
            operation("requires: [a], methods: [get]"),
            &[
                "suites[0].operations[0].methods[0]: methods are case-sensitive, and no request has `get`; did you mean `GET`?",
            ],
        ),
        (
            operation("requires: [a], methods: []"),
            &["suites[0].operations[0].methods: must not be an empty list"],
        ),
        (
            operation(
                "requires: [a], headers: [{name: X-V, value: '1,2'}, {name: x-v, value: a}, {name: X-v, value: b}]",
            ),
            &[
                "suites[0].operations[0].headers[0].value: no single header value is `1,2`: it has a comma, or a space at its ends",
                "suites[0].operations[0].headers[2]: header `x-v` is listed twice",
            ],
        ),
        (
            operation("requires: [a], required_evidence: [header]"),
            &[
                "suites[0].operations[0].required_evidence[0]: `header` is required, but `tenant_resolution.headers` names none",
            ],
        ),
        (
            with(
                "suites: [{name: s, scopes: [a], operations: [{name: a, path: '/a/{x}'}, {name: b, path: '/a/{y}', methods: [GET]}, {name: c, path: a}, {name: d, path: /a//b}]}]",
            ),
            &[
                "suites[0].operations[2].path: no request can match: the path does not begin with `/`",
                "suites[0].operations[3].path: no request can match: the path holds `//`",
                "suites[0].operations[1]: a request could match operation `s/a` just as well",
            ],
        ),
    ]);
}

#[test]
fn errors_of_what_tenants_replace() {
    let yaml = |keys: &str| {
        with(&format!(
            "suites: [{{name: billing, operations: [{{name: read, path: /r, requires: [a]}}, {{name: me, path: /m, access: authenticated}}]}}]
tenants: [{{id: t, {keys}}}]"
        ))
    };
    check(&[
        (
            yaml("suites: [biling, billing, billing]"),
            &[
                "tenants[0].suites[0]: suite `biling` is not configured; did you mean `billing`?",
                "tenants[0].suites[2]: `billing` is listed twice",
            ],
        ),
        (
            yaml("suite_scopes: {biling: [x], billing: []}"),
            &[
                "tenants[0].suite_scopes.biling: suite `biling` is not configured; did you mean `billing`?",
                "tenants[0].suite_scopes.billing: must not be an empty list",
            ],
        ),
        (
            yaml(
                "operation_requires: {billing/raed: [x], billing: [x], billing/me: [x], other/read: [x], billing/read: []}",
            ),
            &[
                "tenants[0].operation_requires[\"billing/raed\"]: suite `billing` has no operation `raed`; did you mean `read`?",
                "tenants[0].operation_requires.billing: `billing` is no operation; write `suite/operation`",
                "tenants[0].operation_requires[\"billing/me\"]: the `access` of `billing/me` is not `scopes`, so it requires nothing",
                "tenants[0].operation_requires[\"other/read\"]: suite `other` is not configured",
                "tenants[0].operation_requires[\"billing/read\"]: must not be an empty list",
            ],
        ),
    ]);
}

#[test]
fn errors_of_the_scope_policy() {
    let policy = |scopes: &str, policy: &str| {
        tenant(&format!("scopes: [{scopes}]")) + "scope_policy: {" + policy + "}"
    };
    let long = |length: usize| format!("{{name: {}}}", "a".repeat(length));
    let described = |length: usize| format!("{{name: a, description: {}}}", "é".repeat(length));
    let many = |count: usize| (0..count).map(|n| format!("{{name: s{n}}}")).collect::<Vec<_>>().join(",");
    check(&[
        (policy(&long(50), ""), &[]),
        (
            policy(&long(51), ""),
            &[&format!(
                "tenants[0].scopes[0].name: `{}` has 51 characters; `scope_policy` allows 50",
                "a".repeat(51)
            )],
        ),
        (policy(&described(500), ""), &[]),
        (
            policy(&described(501), ""),
            &[
                "tenants[0].scopes[0].description: the description has 501 characters; `scope_policy` allows 500",
            ],
        ),
        (policy(&many(100), ""), &[]),
        (policy(&many(101), ""), &["tenants[0].scopes: 101 scopes are declared; `scope_policy` allows 100"]),
        (
            policy("{name: openid}, {name: infor-x}, {name: inform}", ""),
            &[
                "tenants[0].scopes[0].name: `openid` is reserved by `scope_policy`",
                "tenants[0].scopes[1].name: `infor-x` begins with `infor-`, which is reserved by `scope_policy`",
            ],
        ),
        (policy("{name: openid, system: true}, {name: infor-x, system: true}", ""), &[]),
        (policy("{name: openid}, {name: infor-x}", "reserved_names: [], reserved_prefixes: []"), &[]),
        (
            policy("{name: abc}", "max_length: 2, max_per_tenant: 0"),
            &[
                "scope_policy.max_per_tenant: must be 1 to 100000, not 0",
                "tenants[0].scopes[0].name: `abc` has 3 characters; `scope_policy` allows 2",
            ],
        ),
        (tenant(&format!("scopes: [{}, {{name: openid}}]", long(51))), &[]),
    ]);
}

#[test]
fn errors_of_tenant_resolution() {
    check(&[
        (
            with("tenant_resolution: {required_evidence: [header, clam]}"),
            &[
                "tenant_resolution.required_evidence[0]: `header` is required, but `tenant_resolution.headers` names none",
                "tenant_resolution.required_evidence[1]: `clam` is none of `claim`, `issuer`, `audience`, `application`, `header`, `path`, `host`; did you mean `claim`?",
            ],
        ),
        (
            with("tenant_resolution: {default: amce}"),
            &["tenant_resolution.default: tenant `amce` is not configured; did you mean `acme`?"],
        ),
        (
            with("tenant_resolution: {headers: [X-A, x-a]}"),
            &["tenant_resolution.headers[1]: `x-a` is listed twice"],
        ),
        (
            with("tenant_resolution: {headers: ['x a']}"),
            &["tenant_resolution.headers[0]: `x a` holds a character that no name in HTTP may hold"],
        ),
        (with("tenant_resolution: {claims: ['']}"), &["tenant_resolution.claims[0]: must not be empty"]),
        (
            with("tenant_resolution: {accept_from_request: 1}"),
            &["tenant_resolution.accept_from_request: expected `true` or `false`, found a number"],
        ),
    ]);
    let policy =
        loaded(&with("tenant_resolution: {headers: [X-Tenant], required_evidence: [header], default: acme}"))
            .policy;
    assert_eq!(&*policy.resolution.headers, ["x-tenant".into()]);
    assert_eq!(policy.resolution.default, policy.tenants.named("acme"));
}

#[test]
fn errors_of_forward() {
    let forward = |headers: &str| with(&format!("forward: {{headers: [{headers}]}}"));
    check(&[
        (
            forward("{name: x-a, value: tenent}"),
            &[
                "forward.headers[0].value: `tenent` is none of `tenant`, `client`, `subject`, `scopes`, `permissions`, `suite`, `operation`, `issuer`, and no `claim:PATH`; did you mean `tenant`?",
            ],
        ),
        (
            forward("{name: x-a, value: 'claim:'}, {name: X-B, value: tenant}, {name: x-b, value: client}"),
            &[
                "forward.headers[0].value: `claim:` is none of `tenant`, `client`, `subject`, `scopes`, `permissions`, `suite`, `operation`, `issuer`, and no `claim:PATH`",
                "forward.headers[2]: header `x-b` is listed twice",
            ],
        ),
        (
            forward(
                "{name: ':path', value: tenant}, {name: Connection, value: tenant}, {name: authorization, value: tenant}, {name: Host, value: tenant}",
            ),
            &[
                "forward.headers[0].name: `:path` holds a character that no name in HTTP may hold",
                "forward.headers[1].name: header `connection` cannot be used to tell the upstream something",
                "forward.headers[2].name: header `authorization` cannot be used to tell the upstream something",
                "forward.headers[3].name: `host` is not a header that can be read or set here",
            ],
        ),
    ]);
}

#[test]
fn all_errors_are_in_one_report_with_lines_and_columns() {
    let yaml = "version: 1
realm: \"\"
providers:
  corp:
    isuer: x
tenants:
  - id: acme
    hosts: [\"a b\"]
";
    let errors = parse_yaml(yaml).unwrap_err();
    let lines: Vec<String> = errors.iter().map(|error| format!("{} {error}", error.mark.unwrap())).collect();
    assert_eq!(
        lines,
        [
            "5:5 providers.corp: unknown key `isuer`; did you mean `issuer`?",
            "5:5 providers.corp: missing key `audiences`; only `allow_any_audience: true` makes up for it",
            "5:5 providers.corp: one of `local_jwks`, `remote_jwks`, `discovery` and `introspection` is needed",
            "8:13 tenants[0].hosts[0]: `a b` is not a host",
            "2:8 realm: must not be empty",
        ]
    );
}

#[test]
fn no_error_hides_another() {
    let yaml = with(
        "providers:
  corp: {issuer: '', algorithms: [x], token_types: [], max_token_age: 0s, required_claims: [''], claims: {tenant: ''},
    remote_jwks: {uri: x}, introspection: {uri: x, client_auth: {method: x}}, token_cache: {max_entries: -1}, from_headers: [{}]}
  other: {}
tenants:
  - {aliases: [''], applications: [{client_id: ''}], suites: [x], operation_requires: {x: [z]}, scope_enforcement: x}
  - {id: a, template: x, applications: 1, suites: [x], scope_enforcement: x}
scope_policy: {reserved_names: 1, reserved_prefixes: 1}",
    );
    let mut paths: Vec<String> = parse_yaml(&yaml)
        .unwrap_err()
        .iter()
        .map(|error| error.path.replace("providers.corp", "p"))
        .collect();
    paths.sort();
    assert_eq!(
        paths,
        [
            "p",
            "p.algorithms[0]",
            "p.claims.tenant",
            "p.from_headers[0]",
            "p.introspection",
            "p.introspection.client_auth.method",
            "p.introspection.uri",
            "p.issuer",
            "p.max_token_age",
            "p.remote_jwks",
            "p.remote_jwks.uri",
            "p.required_claims[0]",
            "p.token_cache.max_entries",
            "p.token_types",
            "providers.other",
            "providers.other",
            "scope_policy.reserved_names",
            "scope_policy.reserved_prefixes",
            "tenants[0]",
            "tenants[0]",
            "tenants[0].aliases[0]",
            "tenants[0].applications[0].client_id",
            "tenants[0].operation_requires.x",
            "tenants[0].scope_enforcement",
            "tenants[0].suites[0]",
            "tenants[1].applications",
            "tenants[1].scope_enforcement",
            "tenants[1].suites[0]",
            "tenants[1].template",
        ]
    );
}

#[test]
fn a_report_is_bounded() {
    let tenants: Vec<Value> = (0..150).map(|n| json!({"id": n.to_string(), "x": 1})).collect();
    let errors = errors(&with(&format!("tenants: {}", Value::from(tenants))));
    assert_eq!(errors.len(), 100);
    let tenants: Vec<Value> = (0..150).map(|n| json!({"id": n.to_string(), "x": 1})).collect();
    let text = parse_yaml(&with(&format!("tenants: {}", Value::from(tenants)))).unwrap_err().to_string();
    assert_eq!(text.lines().last(), Some("and 50 more"));
}

#[test]
fn doubles_from_a_protobuf_struct_are_whole_numbers() {
    let json = yaml_to_json(FULL).unwrap().to_string();
    let doubles = json
        .replace("\"version\":1", "\"version\":1.0")
        .replace("16384", "1.6384e4")
        .replace("10000", "10000.0");
    assert_ne!(json, doubles);
    let policy = parse_json(doubles.as_bytes()).unwrap_or_else(|errors| panic!("{errors}")).policy;
    assert_eq!(policy.max_token_bytes, 16_384);
    assert_eq!(policy.providers[0].digest, loaded(FULL).policy.providers[0].digest);
}

#[test]
fn ten_times_the_tenants_and_operations_take_about_ten_times_as_long() {
    // A ratio: machines and their load differ.
    let quickest = |json: &str| (0..3).map(|_| time_to_build(json)).min().unwrap();
    let small = quickest(&large_configuration(1_000, 50));
    let large = time_to_build(&large_configuration(10_000, 500))
        .min(time_to_build(&large_configuration(10_000, 500)));
    println!("1,000 tenants: {small:?}; 10,000 tenants, 5,000 operations: {large:?}");
    assert!(large < small * 30, "{small:?} {large:?}");
}

fn time_to_build(json: &str) -> Duration {
    let begin = begin();
    parse_json(json.as_bytes()).unwrap_or_else(|errors| panic!("{errors}"));
    begin.elapsed()
}

/// `tenants` on one template with four applications each, and `suites` of ten operations.
fn large_configuration(tenants: usize, suites: usize) -> String {
    let scopes: Vec<Value> = (0..20).map(|n| json!({"name": format!("scope.{n}")})).collect();
    let tenants: Vec<Value> = (0..tenants)
        .map(|tenant| {
            let applications: Vec<Value> = (0..4)
                .map(|n| json!({"client_id": format!("client-{tenant}-{n}"), "scopes": [format!("scope.{n}"), "scope.9"]}))
                .collect();
            json!({"id": format!("tenant-{tenant}"), "template": "standard", "scope_prefix": format!("t{tenant}."),
                "aliases": [format!("alias-{tenant}")], "applications": applications})
        })
        .collect();
    let suites: Vec<Value> = (0..suites)
        .map(|suite| {
            let operations: Vec<Value> = (0..10)
                .map(|n| {
                    json!({"name": format!("o{n}"), "path": format!("/s{suite}/{{tenant}}/o{n}/{{id}}"),
                    "methods": ["GET"], "requires": [format!("scope.{n}")]})
                })
                .collect();
            json!({"name": format!("suite-{suite}"), "operations": operations})
        })
        .collect();
    json!({
        "version": 1,
        "providers": {"corp": {"issuer": "i", "audiences": ["a"], "local_jwks": {"keys": []}}},
        "tenant_templates": {"standard": {"providers": ["corp"], "scopes": scopes,
            "scope_mapping": {"scope.1": ["scope.1", "scope.2"]}, "audiences": ["https://api/{tenant}"]}},
        "tenants": tenants,
        "suites": suites,
    })
    .to_string()
}

#[expect(clippy::disallowed_methods, reason = "measures what it tests")]
fn begin() -> Instant {
    Instant::now()
}

#[test]
fn the_reference_speaks_of_every_key_of_the_full_configuration() {
    // Keys that are names, which stand below these.
    const NAMED: [&str; 6] = [
        "providers",
        "tenant_templates",
        "scope_mapping",
        "suite_scopes",
        "operation_requires",
        "required_values",
    ];
    fn check(value: &Value, keys_are_names: bool, reference: &str) {
        match value {
            Value::Object(members) => {
                for (key, member) in members {
                    let is_there = reference.split('`').skip(1).step_by(2).any(|code| {
                        code.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == key)
                    });
                    assert!(keys_are_names || is_there, "{key}");
                    check(member, NAMED.contains(&&**key) && !keys_are_names, reference);
                }
            }
            Value::Array(items) => items.iter().for_each(|item| check(item, false, reference)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    let document = yaml_to_json(FULL).unwrap();
    check(&document, false, include_str!("../../docs/configuration.md"));
}

mod laws {
    use std::sync::LazyLock;

    use proptest::prelude::*;

    use super::*;

    static EXAMPLE: LazyLock<Value> = LazyLock::new(|| yaml_to_json(FULL).unwrap());

    /// Any JSON, of the keys and values that a configuration has and of others.
    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            "\\PC{0,12}".prop_map(Value::from),
            prop::sample::select(vec![
                "corp",
                "{tenant}",
                "1s",
                "scopes",
                "/a/{tenant}/**",
                "claim:a",
                "https://i/x"
            ])
            .prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::vec(
                    (prop_oneof![any_key(), "\\PC{0,8}".prop_map(String::from)], inner),
                    0..6
                )
                .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    /// A key that the full configuration has somewhere.
    fn any_key() -> impl Strategy<Value = String> {
        fn collect(value: &Value, keys: &mut Vec<String>) {
            if let Value::Object(members) = value {
                keys.extend(members.keys().cloned());
            }
            children(value).into_iter().for_each(|(_, child)| collect(child, keys));
        }
        let mut keys = Vec::new();
        collect(&EXAMPLE, &mut keys);
        prop::sample::select(keys)
    }

    fn children(value: &Value) -> Vec<(String, &Value)> {
        match value {
            Value::Array(items) => items.iter().enumerate().map(|(n, item)| (n.to_string(), item)).collect(),
            Value::Object(members) => members.iter().map(|(key, value)| (key.clone(), value)).collect(),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
        }
    }

    fn pointers(value: &Value, pointer: &str, all: &mut Vec<String>) {
        for (key, child) in children(value) {
            let pointer = format!("{pointer}/{}", key.replace('~', "~0").replace('/', "~1"));
            all.push(pointer.clone());
            pointers(child, &pointer, all);
        }
    }

    /// Whether the path of an error leads somewhere.
    fn leads_somewhere(document: &Value, path: &str) -> bool {
        let mut value = document;
        let mut rest = path;
        while !rest.is_empty() {
            let step;
            if let Some(quoted) = rest.strip_prefix("[\"") {
                let end = quoted.find("\"]").unwrap();
                step = quoted[..end].to_owned();
                rest = &quoted[end + 2..];
            } else if let Some(index) = rest.strip_prefix('[') {
                let end = index.find(']').unwrap();
                step = index[..end].to_owned();
                rest = &index[end + 1..];
            } else {
                let key = rest.strip_prefix('.').unwrap_or(rest);
                let end = key.find(['.', '[']).unwrap_or(key.len());
                step = key[..end].to_owned();
                rest = &key[end..];
            }
            match children(value).into_iter().find(|(key, _)| *key == step) {
                Some((_, child)) => value = child,
                None => return false,
            }
        }
        true
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), text in "\\PC{0,200}") {
            let _ = parse_json(&bytes);
            let _ = parse_json(text.as_bytes());
            let _ = parse_yaml(&text);
        }

        #[test]
        fn no_json_makes_it_panic(json in any_json(), key in any_key()) {
            let _ = parse_json(json.to_string().as_bytes());
            let mut document = EXAMPLE.clone();
            document[key] = json;
            let _ = parse_json(document.to_string().as_bytes());
        }

        #[test]
        fn an_error_of_a_changed_configuration_has_a_path_that_leads_somewhere(
            choice in any::<prop::sample::Index>(), json in any_json(), removed in any::<bool>(),
        ) {
            let mut document = EXAMPLE.clone();
            let mut all = Vec::new();
            pointers(&document, "", &mut all);
            let pointer = choice.get(&all);
            let (parent, key) = pointer.rsplit_once('/').unwrap();
            let key = key.replace("~1", "/").replace("~0", "~");
            if let (true, Some(Value::Object(members))) = (removed, document.pointer_mut(parent)) {
                members.remove(&key);
            } else {
                *document.pointer_mut(pointer).unwrap() = json;
            }
            if let Err(errors) = parse_json(document.to_string().as_bytes()) {
                prop_assert!(errors.iter().count() > 0);
                for error in errors.iter().filter(|error| !error.path.contains('\\')) {
                    prop_assert!(leads_somewhere(&document, &error.path), "{} in {}", error, document);
                    prop_assert!(error.message != "the configuration is incomplete", "{}", document);
                }
            }
        }
    }
}

#[test]
fn dpop_is_told_what_it_needs() {
    let dpop = |keys: &str| provider(&format!("dpop: {{{keys}}}"));
    let origin = "public_origin: 'https://api.example'";
    let long = "0123456789abcdef0123456789abcdef";
    check(&[
        (dpop("mode: off"), &[]),
        (dpop(&format!("mode: required, {origin}")), &[]),
        (dpop(""), &["providers.corp.dpop: missing key `mode`"]),
        (dpop("mode: optional"), &["providers.corp.dpop: missing key `public_origin`"]),
        (
            dpop("mode: sometimes, public_origin: 'https://api.example'"),
            &["providers.corp.dpop.mode: `sometimes` is none of `off`, `optional`, `required`"],
        ),
        (
            dpop("mode: required, public_origin: 'https://api.example/path'"),
            &[
                "providers.corp.dpop.public_origin: expected `https://` and a host with an optional port, and nothing else",
            ],
        ),
        (
            dpop(&format!("mode: required, {origin}, algorithms: [ES256, HS256]")),
            &["providers.corp.dpop.algorithms: `HS256` is symmetric: such a key is no proof of who holds it"],
        ),
        (
            dpop(&format!("mode: required, {origin}, max_age: 11m")),
            &["providers.corp.dpop.max_age: must be 1s to 10m, not 11m"],
        ),
        (
            dpop(&format!("mode: required, {origin}, nonce: {{}}")),
            &["providers.corp.dpop.nonce: missing key `secret`"],
        ),
        (
            dpop(&format!("mode: required, {origin}, nonce: {{secret: {{value: short}}}}")),
            &["providers.corp.dpop.nonce.secret: a secret for nonces needs 32 bytes or more"],
        ),
        (
            dpop(&format!("mode: required, {origin}, nonce: {{secret: {{value: {long}}}, lifetime: 1s}}")),
            &["providers.corp.dpop.nonce.lifetime: must be 10s to 1h, not 1s"],
        ),
        (dpop(&format!("mode: optional, {origin}, key: 1")), &["providers.corp.dpop: unknown key `key`"]),
    ]);
    let plain = dpop("mode: optional, public_origin: 'http://api.example'");
    assert_eq!(
        warnings(&plain),
        ["providers.corp.dpop.public_origin: over `http` anybody on the way reads the token and its proof"]
    );
}

#[test]
fn step_up_is_asked_in_words_that_can_stand_in_a_challenge() {
    check(&[
        (operation("access: authenticated, acr_values: ['urn:mfa'], max_auth_age: 5m"), &[]),
        (
            operation("access: authenticated, acr_values: ['a b']"),
            &[
                "suites[0].operations[0].acr_values[0]: must be of printable ASCII characters without spaces, `\"` and `\\`",
            ],
        ),
        (
            operation("access: authenticated, max_auth_age: 0s"),
            &["suites[0].operations[0].max_auth_age: must be 1s to 8760h, not 0s"],
        ),
        (
            operation("access: public, acr_values: [x], max_auth_age: 5m"),
            &[
                "suites[0].operations[0].acr_values: has no meaning where `access` is `public`: no token is read",
                "suites[0].operations[0].max_auth_age: has no meaning where `access` is `public`: no token is read",
            ],
        ),
    ]);
}

#[test]
fn metadata_is_of_a_resource_at_a_path() {
    let metadata = |keys: &str| with(&format!("protected_resource_metadata: {{{keys}}}"));
    let unusable = "protected_resource_metadata.resource: expected `https://HOST[:PORT][/PATH]` without query and fragment, \
                    in which `{tenant}` may be one label or one segment";
    let of = |resource: &str| metadata(&format!("resource: '{resource}'"));
    check(&[
        (of("https://api.example"), &[]),
        (of("https://{tenant}.api.example:8443/v1"), &[]),
        (of("https://api.example/of/{tenant}/v1/"), &[]),
        (metadata(""), &["protected_resource_metadata: missing key `resource`"]),
        (of("api.example"), &[unusable]),
        (of("https://api.example/?x"), &[unusable]),
        (of("https://api.example/#x"), &[unusable]),
        (of("https://user@api.example/"), &[unusable]),
        (of("https://x{tenant}.api.example"), &[unusable]),
        (of("https://api.example/x-{tenant}"), &[unusable]),
        (of("https://{tenant}.api.example/{tenant}"), &[unusable]),
        (of("https://api.example/a/../b"), &[unusable]),
        (
            metadata("path: /x/, resource: 'https://api.example'"),
            &[
                "protected_resource_metadata.path: expected a path in canonical form, without a slash at its end",
            ],
        ),
    ]);
    assert_eq!(
        warnings(&of("http://api.example")),
        [
            "protected_resource_metadata.resource: RFC 9728 has `https` resources only; clients may refuse this one"
        ]
    );
}

#[test]
fn a_certificate_is_told_of_by_somebody() {
    let header = |keys: &str| provider(&format!("certificate_header: {{{keys}}}"));
    let peer = "providers.corp.certificate_header.from[0]: expected an address, a network such as `10.0.0.0/8`, or the \
                SHA-256 digest of a certificate in hexadecimal";
    check(&[
        (header("name: client-cert, from: [10.0.0.0/8, '2001:db8::1']"), &[]),
        (header(&format!("name: x-forwarded-client-cert, from: ['{}']", "a7".repeat(32))), &[]),
        (header("from: [10.0.0.1]"), &["providers.corp.certificate_header: missing key `name`"]),
        (header("name: client-cert"), &["providers.corp.certificate_header: missing key `from`"]),
        (
            header("name: x-cert, from: [10.0.0.1]"),
            &[
                "providers.corp.certificate_header.name: `x-cert` is none of `client-cert`, `x-forwarded-client-cert`",
            ],
        ),
        (header("name: client-cert, from: [proxy]"), &[peer]),
        (header("name: client-cert, from: [10.0.0.0/33]"), &[peer]),
    ]);
    assert_eq!(
        warnings(&header("name: client-cert, from: [0.0.0.0/0]")),
        ["providers.corp.certificate_header.from[0]: everybody may say whose certificate it is"]
    );
}

#[test]
fn fapi2_is_told_what_contradicts_it() {
    check(&[
        (provider("profile: fapi2"), &[]),
        (provider("profile: fapi2, algorithms: [PS256, ES256, EdDSA]"), &[]),
        (
            provider("profile: fapi2, algorithms: [RS256]"),
            &[
                "providers.corp.algorithms: `profile: fapi2` has no `RS256`; it has `PS256`, `ES256` and `EdDSA`",
            ],
        ),
        (
            provider("profile: fapi2, from_params: [access_token], from_cookies: [session]"),
            &[
                "providers.corp.from_params: `profile: fapi2` takes tokens from headers alone",
                "providers.corp.from_cookies: `profile: fapi2` takes tokens from headers alone",
            ],
        ),
        (
            provider("profile: fapi2, require_expiration: false"),
            &["providers.corp: `profile: fapi2` asks for an expiration"],
        ),
        (
            provider(
                "profile: fapi2, dpop: {mode: required, public_origin: 'https://a', algorithms: [RS256]}",
            ),
            &[
                "providers.corp.dpop.algorithms: `profile: fapi2` has no `RS256`; it has `PS256`, `ES256` and `EdDSA`",
            ],
        ),
    ]);
}
