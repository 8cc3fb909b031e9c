//! Every reason through the public path, what each looks like on the wire, and their order.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::dpop;
use crate::gateway::{
    Begun, Call, Gateway, KEY, NOW, Outcome, Refused, Reply, claims, merge, overlay, provider, token,
};
use scopegate::exchange::Stage;
use scopegate::issuer::IssuerCall;
use scopegate::issuer::IssuerFault;
use scopegate::respond::Reason;
use scopegate_testing::mint::{Signer, jwks};
use serde_json::{Value, json};

/// The status and the `error` code (RFC 6750 section 3.1) of each reason, in the order of the README's table.
const TABLE: [(u16, Option<&str>, &[&str]); 7] = [
    (
        400,
        Some("invalid_request"),
        &[
            "path_ambiguous",
            "credential_ambiguous",
            "credential_malformed",
            "header_missing",
            "header_ambiguous",
            "header_malformed",
            "tls_required",
            "host_malformed",
        ],
    ),
    (401, None, &["credential_missing"]),
    (
        401,
        Some("invalid_token"),
        &[
            "token_malformed",
            "token_too_large",
            "token_type_not_accepted",
            "algorithm_not_allowed",
            "issuer_unknown",
            "key_not_found",
            "signature_invalid",
            "token_expired",
            "token_not_yet_valid",
            "token_too_old",
            "audience_mismatch",
            "claim_missing",
            "claim_malformed",
            "token_inactive",
            "introspection_not_configured",
            "tenant_missing",
            "tenant_unknown",
            "tenant_ambiguous",
            "tenant_mismatch",
            "issuer_not_allowed_for_tenant",
            "application_not_registered",
            "sender_constraint_failed",
            "token_revoked",
        ],
    ),
    (401, Some("invalid_dpop_proof"), &["proof_missing", "proof_invalid", "proof_replayed"]),
    (401, Some("insufficient_user_authentication"), &["authentication_insufficient"]),
    (
        403,
        Some("insufficient_scope"),
        &[
            "operation_not_mapped",
            "method_not_mapped",
            "suite_not_available",
            "scope_absent_from_introspection",
            "no_scopes_in_token",
            "scope_of_other_tenant",
            "scope_name_mismatch",
            "scope_not_declared",
            "scope_not_assigned_to_application",
            "scope_not_associated_with_suite",
            "scope_not_granted",
        ],
    ),
    (
        503,
        Some("temporarily_unavailable"),
        &["keys_unavailable", "introspection_unavailable", "introspection_overloaded"],
    ),
];

const INTROSPECTOR: &str = "https://opaque.example";

/// One provider with keys at hand, one that is fetched from, and where `introspects` one that is asked.
fn config(introspects: bool) -> Value {
    let mut config = json!({
        "version": 1,
        "realm": "plm-gateway",
        "max_token_bytes": 4096,
        "providers": {
            "idp": provider(json!({"audiences": ["api", "shared"], "max_token_age": "1h", "required_claims": ["sub"],
                "revoked": {"jti": ["stolen"]}})),
            "remote": {"issuer": "https://remote.example", "audiences": ["api"],
                "remote_jwks": {"uri": "https://remote.example/jwks", "cluster": "remote"}},
        },
        "tenant_resolution": {"claims": ["tenant_id", "org"], "headers": ["x-tenant-id"]},
        "tenants": [
            {"id": "acme", "providers": ["idp", "remote"], "scope_prefix": "acme.", "suites": ["billing"],
             "scopes": [{"name": "read"}, {"name": "write"}, {"name": "admin"}, {"name": "stray"}],
             "applications": [{"client_id": "app", "provider": "idp", "scopes": ["read", "write", "stray"]},
                              {"client_id": "app", "provider": "remote", "scopes": ["read"]}]},
            {"id": "twin1", "providers": ["idp"], "audiences": ["shared"]},
            {"id": "twin2", "providers": ["idp"], "audiences": ["shared"], "scope_prefix": "twin2."},
            {"id": "foreign", "providers": ["remote"]},
        ],
        "suites": [
            {"name": "billing", "operations": [
                {"name": "read", "path": "/read", "methods": ["GET"], "requires": ["read"]},
                {"name": "recent", "path": "/recent", "requires": ["read"], "acr_values": ["urn:mfa"]},
                {"name": "write", "path": "/write", "requires": ["write"]},
                {"name": "admin", "path": "/admin", "requires": ["admin"]},
                {"name": "undeclared", "path": "/undeclared", "requires": ["undeclared"]},
                {"name": "tls", "path": "/tls", "requires": ["read"], "require_tls": true},
                {"name": "version", "path": "/version", "requires": ["read"],
                 "headers": [{"name": "x-api-version", "value": "v2"}]},
                {"name": "of", "path": "/of/{tenant}", "requires": ["read"]},
                {"name": "public", "path": "/public", "access": "public", "require_tls": true},
            ]},
            {"name": "stock", "operations": [{"name": "list", "path": "/stock", "requires": ["read"]}]},
        ],
    });
    if introspects {
        config["providers"]["opaque"] = json!({
            "issuer": INTROSPECTOR,
            "audiences": ["api"],
            "introspection": {"uri": "https://opaque.example/introspect", "cluster": "opaque",
                              "client_auth": {"method": "none"}},
        });
        let tenant = json!({"id": "asked", "providers": ["opaque"], "scopes": [{"name": "read"}]});
        config["tenants"].as_array_mut().unwrap().push(tenant);
    }
    config
}

/// A token of `acme` with `changes`.
fn acme(changes: Value) -> String {
    token(overlay(json!({"tenant_id": "acme", "client_id": "app", "scope": "acme.read"}), changes))
}

fn minted(header: Value, changes: Value) -> String {
    KEY.mint(
        header,
        &claims(overlay(json!({"tenant_id": "acme", "client_id": "app", "scope": "acme.read"}), changes)),
    )
}

fn of_remote() -> String {
    acme(json!({"iss": "https://remote.example"}))
}

/// A request that ends with a reason.
struct Case {
    reason: Reason,
    config: Value,
    call: Call,
    reply: Option<Reply>,
    /// Sent before, and left waiting.
    before: Option<Call>,
}

impl Case {
    fn new(reason: Reason, call: Call) -> Self {
        Self { reason, config: config(false), call, reply: None, before: None }
    }

    fn asking(reason: Reason, reply: Result<(u16, Value), IssuerFault>) -> Self {
        Self {
            config: config(true),
            reply: Some(reply.map(|(status, body)| (status, body.to_string()))),
            ..Self::new(reason, Call::get("/read").bearer("opaque-token"))
        }
    }

    fn run(&self, change: impl Fn(&mut Value)) -> Refused {
        let mut config = self.config.clone();
        change(&mut config);
        let gateway = Gateway::new(&config);
        if let Some(before) = &self.before {
            let waits = matches!(gateway.begin(before), Begun::Waits(_));
            assert_eq!(waits, self.reason == Reason::IntrospectionOverloaded);
        }
        let outcome = gateway.call_answered(&self.call, &mut |call| match &self.reply {
            Some(reply) => reply.clone(),
            None => panic!("{}: an issuer is asked: {call:?}", self.reason),
        });
        outcome.refused()
    }
}

fn cases() -> Vec<Case> {
    use Reason::*;
    let get = |path: &str, token: String| Call::get(path).bearer(&token);
    let read = |changes: Value| get("/read", acme(changes));
    let mut cases = vec![
        Case::new(PathAmbiguous, get("/a//b", acme(json!({})))),
        Case::new(PathAmbiguous, get("/a/%2e%2e/read", acme(json!({})))),
        Case::new(CredentialAmbiguous, read(json!({})).bearer(&acme(json!({})))),
        Case::new(CredentialMalformed, get("/read", String::new())),
        Case::new(CredentialMalformed, get("/read", "not!b64".to_owned())),
        Case::new(HeaderMissing, get("/version", acme(json!({})))),
        Case::new(HeaderMissing, get("/version", acme(json!({}))).header("x-api-version", "v1")),
        Case::new(
            HeaderAmbiguous,
            get("/version", acme(json!({}))).header("x-api-version", "v2").header("x-api-version", "v2"),
        ),
        Case::new(HeaderAmbiguous, read(json!({})).header("x-tenant-id", "acme, acme")),
        Case::new(HeaderMalformed, read(json!({})).header("x-tenant-id", b"\xff")),
        Case::new(HeaderMalformed, get("/version", acme(json!({}))).header("x-api-version", "")),
        Case::new(TlsRequired, get("/tls", acme(json!({}))).with(":scheme", "http")),
        Case::new(TlsRequired, Call::get("/public").with(":scheme", "http")),
        Case::new(HostMalformed, read(json!({})).host("api.example:65536")),
        Case::new(HostMalformed, Call::get("/public").host("user@api.example")),
        Case::new(CredentialMissing, Call::get("/read")),
        Case::new(CredentialMissing, Call::get("/read").header("authorization", "Basic YTpi")),
        Case::new(TokenMalformed, get("/read", "ey.ey.ey".to_owned())),
        Case::new(TokenMalformed, get("/read", minted(json!({"crit": ["x"], "x": 1}), json!({})))),
        Case::new(TokenTooLarge, get("/read", "a".repeat(4097))),
        Case::new(TokenTypeNotAccepted, get("/read", minted(json!({"typ": "logout+jwt"}), json!({})))),
        Case::new(AlgorithmNotAllowed, get("/read", minted(json!({"alg": "none"}), json!({})))),
        Case::new(AlgorithmNotAllowed, get("/read", minted(json!({"alg": "HS256"}), json!({})))),
        Case::new(IssuerUnknown, read(json!({"iss": "https://idp.example/"}))),
        Case::new(IssuerUnknown, read(json!({"iss": null}))),
        Case::new(KeyNotFound, get("/read", minted(json!({"kid": "k2"}), json!({})))),
        Case::new(
            SignatureInvalid,
            get(
                "/read",
                Signer::new("EdDSA", "k1", 8).mint(json!({}), &claims(json!({"tenant_id": "acme"}))),
            ),
        ),
        Case::new(TokenExpired, read(json!({"exp": NOW - 60}))),
        Case::new(TokenNotYetValid, read(json!({"nbf": NOW + 61}))),
        Case::new(TokenNotYetValid, read(json!({"iat": NOW + 61}))),
        Case::new(TokenTooOld, read(json!({"iat": NOW - 3661}))),
        Case::new(AudienceMismatch, read(json!({"aud": "api2"}))),
        Case::new(AudienceMismatch, read(json!({"aud": []}))),
        Case::new(ClaimMissing, read(json!({"sub": null}))),
        Case::new(ClaimMissing, read(json!({"exp": null}))),
        Case::new(ClaimMissing, read(json!({"aud": null}))),
        Case::new(ClaimMissing, read(json!({"client_id": null}))),
        Case::new(ClaimMalformed, read(json!({"sub": 7.5}))),
        Case::new(ClaimMalformed, read(json!({"tenant_id": ["acme"]}))),
        Case::new(IntrospectionNotConfigured, get("/read", "opaque-token".to_owned())),
        Case::new(TenantMissing, read(json!({"tenant_id": null, "client_id": null}))),
        Case::new(TenantUnknown, read(json!({"tenant_id": "nobody"}))),
        Case::new(TenantAmbiguous, read(json!({"tenant_id": null, "client_id": null, "aud": "shared"}))),
        Case::new(TenantMismatch, get("/of/twin1", acme(json!({})))),
        Case::new(TenantMismatch, read(json!({})).header("x-tenant-id", "nobody")),
        Case::new(IssuerNotAllowedForTenant, read(json!({"tenant_id": "foreign"}))),
        Case::new(ApplicationNotRegistered, read(json!({"client_id": "app2"}))),
        Case::new(SenderConstraintFailed, read(json!({"cnf": {"x5t#S256": "A".repeat(43)}}))),
        Case::new(SenderConstraintFailed, read(json!({"cnf": {"jkt": "x"}}))),
        Case::new(TokenRevoked, read(json!({"jti": "stolen"}))),
        Case::new(AuthenticationInsufficient, get("/recent", acme(json!({"acr": "urn:pwd"})))),
        Case::new(OperationNotMapped, get("/nowhere", acme(json!({})))),
        Case::new(MethodNotMapped, Call::new("POST", "/read").bearer(&acme(json!({})))),
        Case::new(SuiteNotAvailable, get("/stock", acme(json!({})))),
        Case::new(NoScopesInToken, read(json!({"scope": null}))),
        Case::new(ScopeOfOtherTenant, read(json!({"scope": "twin2.read"}))),
        Case::new(ScopeNameMismatch, read(json!({"scope": "acme:Read"}))),
        Case::new(ScopeNotDeclared, get("/undeclared", acme(json!({"scope": "acme.undeclared"})))),
        Case::new(ScopeNotAssignedToApplication, get("/admin", acme(json!({"scope": "acme.admin"})))),
        Case::new(ScopeNotAssociatedWithSuite, get("/read", acme(json!({"scope": "acme.stray"})))),
        Case::new(ScopeNotGranted, get("/write", acme(json!({"scope": "acme.read"})))),
        Case::asking(TokenInactive, Ok((200, json!({"active": false})))),
        Case::asking(ScopeAbsentFromIntrospection, Ok((200, json!({"active": true, "aud": "api"})))),
        Case::asking(IntrospectionUnavailable, Err(IssuerFault::Unreachable)),
        Case::asking(IntrospectionUnavailable, Ok((500, json!({"active": true, "aud": "api"})))),
    ];
    let keys = |reply| Case { reply: Some(reply), ..Case::new(KeysUnavailable, get("/read", of_remote())) };
    cases.push(keys(Err(IssuerFault::Unreachable)));
    cases.push(keys(Ok((503, "{}".to_owned()))));
    cases.push(keys(Ok((200, "<html>".to_owned()))));
    let mut overloaded = Case::asking(IntrospectionOverloaded, Err(IssuerFault::Unreachable));
    overloaded.config["max_waiting_requests"] = json!(1);
    overloaded.before = Some(get("/read", "other-token".to_owned()));
    cases.push(overloaded);
    let bound = dpop::bound();
    let proof = dpop::call(&bound, &dpop::proof(&bound, "1", json!({})));
    for (reason, call, before) in [
        (ProofMissing, Call::get("/read").header("authorization", format!("DPoP {bound}")), None),
        (ProofInvalid, dpop::call(&bound, "x"), None),
        (ProofReplayed, proof.clone(), Some(proof)),
    ] {
        let mut case = Case { before, ..Case::new(reason, call) };
        case.config["providers"]["idp"]["dpop"] =
            json!({"mode": "optional", "public_origin": dpop::ORIGIN, "algorithms": ["ES256"]});
        cases.push(case);
    }
    cases
}

#[test]
fn every_reason_has_a_case_and_every_case_its_reason() {
    let cases = cases();
    let named: Vec<&str> = TABLE.iter().flat_map(|(_, _, reasons)| reasons.iter().copied()).collect();
    let known: Vec<&str> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
    assert_eq!(known, named, "the code's reasons are the table's, in its order");
    for reason in Reason::ALL {
        assert!(cases.iter().any(|case| case.reason == *reason), "{reason} has no case");
    }
    for case in &cases {
        let refused = case.run(|_| {});
        assert_eq!(refused.reason, case.reason, "{:?}", case.call);
    }
}

#[test]
fn no_switch_of_enforcement_lifts_what_is_no_403() {
    for switch in ["shadow", "off"] {
        for case in cases().iter().filter(|case| case.reason.class().status() != 403) {
            let refused = case.run(|config| config["scope_enforcement"] = json!(switch));
            assert_eq!(refused.reason, case.reason, "{switch}: {:?}", case.call);
        }
    }
}

#[test]
fn every_refusal_has_the_status_the_challenge_and_the_body_of_the_table() {
    for case in cases() {
        let refused = case.run(|_| {});
        let reason = refused.reason.as_str();
        let (status, error, _) =
            TABLE.iter().find(|(_, _, reasons)| reasons.contains(&reason)).copied().unwrap();
        assert_eq!(refused.answer.status, status, "{reason}");
        assert_eq!(refused.header("content-type"), Some("application/json"), "{reason}");
        assert_eq!(refused.header("cache-control"), Some("no-store"), "{reason}");
        let names: Vec<&str> = refused.answer.headers.iter().map(|(name, _)| name).collect();
        assert!(
            names.iter().all(|name| names.iter().filter(|other| *other == name).count() == 1),
            "{names:?}"
        );

        let body = refused.body();
        assert_eq!(body["reason"], reason);
        assert_eq!(body.get("error").and_then(Value::as_str), error, "{reason}");
        let description = body["error_description"].as_str().unwrap();
        // RFC 6750 section 3.
        let is_allowed = |c: char| matches!(c, '\x20'..='\x21' | '\x23'..='\x5b' | '\x5d'..='\x7e');
        assert!(!description.is_empty() && description.chars().all(is_allowed), "{reason}: {description}");
        let members = body.as_object().unwrap().keys().map(String::as_str);
        for member in members {
            assert!(
                ["error", "error_description", "reason", "scope"].contains(&member),
                "{reason}: {member}"
            );
        }

        let scope = refused.scope.as_deref();
        assert_eq!(body.get("scope").and_then(Value::as_str), scope, "{reason}");
        assert!(scope.is_none() || status == 403, "{reason}");
        let challenge = match (status, error) {
            // RFC 9449 section 7.1.
            (401, Some(error @ "invalid_dpop_proof")) => Some(format!(
                "DPoP realm=\"plm-gateway\", error=\"{error}\", error_description=\"{description}\", algs=\"ES256\""
            )),
            // RFC 9470 section 3.
            (401, Some(error @ "insufficient_user_authentication")) => Some(format!(
                "Bearer realm=\"plm-gateway\", error=\"{error}\", error_description=\"{description}\", \
                 acr_values=\"urn:mfa\""
            )),
            (401 | 403, None) => Some("Bearer realm=\"plm-gateway\"".to_owned()),
            (401 | 403, Some(error)) => {
                let scope = scope.map(|scope| format!(", scope=\"{scope}\"")).unwrap_or_default();
                Some(format!(
                    "Bearer realm=\"plm-gateway\", error=\"{error}\", error_description=\"{description}\"{scope}"
                ))
            }
            _ => None,
        };
        assert_eq!(refused.header("www-authenticate"), challenge.as_deref(), "{reason}");
        let retry_after = refused.header("retry-after").map(|seconds| seconds.parse::<u32>().unwrap());
        assert_eq!(retry_after.is_some(), status == 503, "{reason}");
        assert!(retry_after.is_none_or(|seconds| seconds >= 1), "{reason}");
    }
}

#[test]
fn a_503_names_the_seconds_until_the_issuer_is_asked_again_rounded_up() {
    let mut gateway = Gateway::new(&config(false));
    let call = Call::get("/read").bearer(&of_remote());
    let retry_after = |gateway: &Gateway| {
        let outcome = gateway.call_answered(&call, &mut |_| Err(IssuerFault::Unreachable));
        let refused = outcome.refused();
        assert_eq!(refused.reason, Reason::KeysUnavailable);
        refused.header("retry-after").unwrap().to_owned()
    };
    // Half of the backoff, as there is no jitter here: 0.25 s, 0.5 s, 1 s, ...
    for (seconds, milliseconds) in [("1", 250), ("1", 500), ("1", 1000), ("2", 2000), ("4", 4000)] {
        assert_eq!(retry_after(&gateway), seconds);
        gateway.now += Duration::from_millis(milliseconds);
    }
    assert_eq!(retry_after(&gateway), "8");
    gateway.now += Duration::from_millis(5500);
    assert_eq!(retry_after(&gateway), "3");
    gateway.now += Duration::from_millis(500);
    assert_eq!(retry_after(&gateway), "2");
}

#[test]
fn a_request_waits_four_times_at_most() {
    // An issuer that takes so long for each set that the next one may be asked for, and never brings the key.
    let mut gateway = Gateway::new(&config(false));
    let call = Call::get("/read").bearer(&of_remote());
    let other = jwks([&Signer::new("EdDSA", "other", 9)]).to_string();
    let mut begun = gateway.begin(&call);
    let mut waits = 0;
    let outcome = loop {
        let mut pending = match begun {
            Begun::Done(outcome) => break outcome,
            Begun::Waits(pending) => pending,
        };
        waits += 1;
        assert!(waits < 10, "it waits for ever");
        for call in std::mem::take(&mut pending.calls) {
            gateway.answer(&call, Ok((200, other.clone())), &mut pending);
        }
        gateway.now += Duration::from_secs(31);
        begun = gateway.advance(&call, pending);
    };
    assert_eq!((waits, outcome.refusal()), (4, Some(Reason::KeysUnavailable)));
    assert_eq!(gateway.active.waiting(), 0);
}

#[test]
fn a_refusal_says_which_claim_or_header_it_is_about() {
    for (reason, about) in [
        (Reason::ClaimMissing, &["sub", "exp", "aud", ""][..]),
        (Reason::ClaimMalformed, &["sub", ""]),
        (Reason::HeaderMissing, &["x-api-version"; 2]),
        (Reason::HeaderAmbiguous, &["x-api-version", "x-tenant-id"]),
        (Reason::HeaderMalformed, &["x-tenant-id", "x-api-version"]),
    ] {
        let told = cases().into_iter().filter(|case| case.reason == reason).map(|case| {
            let refused = case.run(|_| {});
            let description = refused.body()["error_description"].as_str().unwrap().to_owned();
            description.rsplit_once(": ").map(|(_, about)| about.to_owned()).unwrap_or_default()
        });
        assert_eq!(told.collect::<Vec<_>>(), about, "{reason}");
    }
}

#[test]
fn a_token_may_be_as_long_as_max_token_bytes_says() {
    let gateway = Gateway::new(&config(true));
    for (bytes, too_large) in [(4096, false), (4097, true)] {
        let call = Call::get("/read").bearer(&"a".repeat(bytes));
        let outcome = gateway.call_answered(&call, &mut |_| Ok((200, json!({"active": false}).to_string())));
        let expected = if too_large { Reason::TokenTooLarge } else { Reason::TokenInactive };
        assert_eq!(outcome.refusal(), Some(expected));
    }
}

#[test]
fn a_403_about_scopes_names_the_token_scopes_that_would_do() {
    for (reason, scope) in [
        (Reason::NoScopesInToken, Some("acme.read")),
        (Reason::ScopeOfOtherTenant, Some("acme.read")),
        (Reason::ScopeNameMismatch, Some("acme.read")),
        (Reason::ScopeNotAssignedToApplication, Some("acme.admin")),
        (Reason::ScopeNotAssociatedWithSuite, Some("acme.read")),
        (Reason::ScopeNotGranted, Some("acme.write")),
        (Reason::ScopeAbsentFromIntrospection, Some("read")),
        // No scope of the tenant would do.
        (Reason::ScopeNotDeclared, None),
        (Reason::SuiteNotAvailable, None),
        (Reason::OperationNotMapped, None),
        (Reason::MethodNotMapped, None),
    ] {
        let case = cases().into_iter().find(|case| case.reason == reason).unwrap();
        assert_eq!(case.run(|_| {}).scope.as_deref(), scope, "{reason}");
    }
}

#[test]
fn no_refusal_repeats_what_the_client_sent() {
    for case in cases() {
        let refused = case.run(|_| {});
        let mut told = refused.answer.body.clone();
        told.extend(refused.answer.headers.iter().map(|(_, value)| value));
        for sent in
            ["nobody", "foreign", "twin", "app2", "api2", "opaque-token", "alice", "%2e", "logout", "k2"]
        {
            assert!(!told.contains(sent), "{}: `{sent}` in {told}", case.reason);
        }
        for (_, value) in case.call.headers.iter().filter(|(name, _)| name == "authorization") {
            let value = String::from_utf8_lossy(value);
            let token = value.strip_prefix("Bearer ").unwrap_or(&value);
            assert!(token.len() < 8 || !told.contains(token), "{}", case.reason);
        }
    }
}

#[test]
fn a_stripped_refusal_is_the_status_and_the_challenge() {
    for case in cases() {
        let whole = case.run(|_| {});
        let stripped = case.run(|config| config["strip_failure_response"] = json!(true));
        assert_eq!(stripped.reason, case.reason);
        assert_eq!(stripped.answer.status, whole.answer.status);
        assert_eq!(stripped.answer.body, "");
        assert_eq!(stripped.header("www-authenticate"), whole.header("www-authenticate"));
        for (name, _) in stripped.answer.headers.iter() {
            assert!(["www-authenticate", "retry-after"].contains(&name), "{}: {name}", case.reason);
        }
    }
}

#[test]
fn a_grpc_request_gets_a_grpc_status() {
    for case in cases() {
        let mut case = case;
        case.call = case.call.header("content-type", "application/grpc+proto");
        let refused = case.run(|_| {});
        assert!(refused.is_grpc);
        let expected = match refused.answer.status {
            400 => 3,  // INVALID_ARGUMENT
            401 => 16, // UNAUTHENTICATED
            403 => 7,  // PERMISSION_DENIED
            503 => 14, // UNAVAILABLE
            other => panic!("status {other}"),
        };
        assert_eq!(refused.answer.grpc_status, expected, "{}", case.reason);
    }
    let plain =
        Gateway::new(&config(false)).call(&Call::get("/read").header("content-type", "application/json"));
    assert!(!plain.refused().is_grpc);
}

#[test]
fn the_realm_is_the_configurations() {
    let case = Case::new(Reason::CredentialMissing, Call::get("/read"));
    let realm = |change: fn(&mut Value)| case.run(change).header("www-authenticate").unwrap().to_owned();
    assert_eq!(realm(|_| {}), "Bearer realm=\"plm-gateway\"");
    assert_eq!(realm(|config| config["realm"] = json!("a b")), "Bearer realm=\"a b\"");
    let by_default = |config: &mut Value| drop(config.as_object_mut().unwrap().remove("realm"));
    assert_eq!(realm(by_default), "Bearer realm=\"scopegate\"");
}

#[test]
fn each_refusal_names_the_step_that_ended_the_decision() {
    for case in cases() {
        let expected: &[Stage] = match case.reason.as_str() {
            "path_ambiguous" | "host_malformed" => &[Stage::Path],
            "credential_missing" | "credential_ambiguous" | "credential_malformed" => &[Stage::Credential],
            "header_missing" => &[Stage::Scopes],
            // Of a matcher, or of evidence.
            "header_ambiguous" | "header_malformed" => &[Stage::Scopes, Stage::Tenant],
            "tls_required" => &[Stage::Scopes, Stage::Operation],
            "claim_missing" | "claim_malformed" => &[Stage::Token, Stage::Tenant],
            name if name.starts_with("tenant_") => &[Stage::Tenant],
            "issuer_not_allowed_for_tenant" | "application_not_registered" => &[Stage::Tenant],
            "authentication_insufficient" => &[Stage::Scopes],
            _ if case.reason.class().status() == 403 => &[Stage::Scopes],
            _ => &[Stage::Token],
        };
        let stage = case.run(|_| {}).stage;
        assert!(expected.contains(&stage), "{}: {stage}", case.reason);
    }
}

// ---- times

#[test]
fn times_are_judged_to_the_second_with_the_skew_granted() {
    let gateway = Gateway::new(&config(false));
    let brief = |changes: Value| gateway.call(&Call::get("/read").bearer(&acme(changes))).brief();
    for (changes, expected) in [
        (json!({"exp": NOW - 59}), "acme"),
        (json!({"exp": NOW - 60}), "token_expired"),
        (json!({"exp": NOW - 61}), "token_expired"),
        (json!({"nbf": NOW + 59}), "acme"),
        (json!({"nbf": NOW + 60}), "acme"),
        (json!({"nbf": NOW + 61}), "token_not_yet_valid"),
        (json!({"iat": NOW + 60}), "acme"),
        (json!({"iat": NOW + 61}), "token_not_yet_valid"),
        (json!({"iat": NOW - 3659}), "acme"),
        (json!({"iat": NOW - 3660}), "acme"),
        (json!({"iat": NOW - 3661}), "token_too_old"),
    ] {
        assert_eq!(brief(changes.clone()), expected, "{changes}");
    }
}

#[test]
fn a_token_that_is_remembered_expires_all_the_same() {
    let mut gateway = Gateway::new(&config(false));
    let call = Call::get("/read").bearer(&acme(json!({"exp": NOW + 10})));
    assert_eq!(gateway.call(&call).brief(), "acme");
    gateway.now = Duration::from_secs(NOW + 69);
    assert_eq!(gateway.call(&call).brief(), "acme");
    gateway.now = Duration::from_secs(NOW + 70);
    assert_eq!(gateway.call(&call).brief(), "token_expired");
    let old = Call::get("/read").bearer(&acme(json!({"exp": NOW + 9_999, "iat": NOW})));
    gateway.now = Duration::from_secs(NOW + 3660);
    assert_eq!(gateway.call(&old).brief(), "acme");
    gateway.now = Duration::from_secs(NOW + 3661);
    assert_eq!(gateway.call(&old).brief(), "token_too_old");
}

#[test]
fn a_token_that_is_remembered_still_proves_its_sender() {
    use base64::Engine as _;
    let mut gateway = Gateway::new(&config(false));
    let thumbprint = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode([5; 32]);
    let call = Call::get("/read").bearer(&acme(json!({"cnf": {"x5t#S256": thumbprint}})));
    for (certificate, expected) in [
        (Some([5; 32]), "acme"),
        (None, "sender_constraint_failed"),
        (Some([6; 32]), "sender_constraint_failed"),
    ] {
        gateway.certificate = certificate;
        assert_eq!(gateway.call(&call).brief(), expected, "{certificate:?}");
    }
}

// ---- order

#[test]
fn of_two_faults_the_one_that_the_way_of_a_request_meets_first_is_the_answer() {
    let gateway = Gateway::new(&config(false));
    let good = || acme(json!({}));
    let expired = |changes: Value| acme(overlay(json!({"exp": NOW - 100}), changes));
    let http = |call: Call| call.with(":scheme", "http");
    let cases = [
        // The path before everything.
        (Call::get("/a//b"), "path_ambiguous"),
        (Call::get("/read;x"), "path_ambiguous"),
        // No token: 401, whatever is mapped or not.
        (Call::get("/nowhere"), "credential_missing"),
        (Call::new("POST", "/read"), "credential_missing"),
        (Call::get("/version"), "credential_missing"),
        (http(Call::get("/tls")), "credential_missing"),
        (Call::get("/stock"), "credential_missing"),
        (Call::get("/read").header("x-tenant-id", "a,b"), "credential_missing"),
        // A bad token: 401, whatever is mapped or not.
        (Call::get("/nowhere").bearer(&expired(json!({}))), "token_expired"),
        (Call::new("POST", "/read").bearer(&expired(json!({}))), "token_expired"),
        (Call::get("/version").bearer(&expired(json!({}))), "token_expired"),
        (http(Call::get("/tls").bearer(&expired(json!({})))), "token_expired"),
        (Call::get("/read").bearer(&expired(json!({}))).header("x-tenant-id", "a,b"), "token_expired"),
        (Call::get("/nowhere").bearer("opaque-token"), "introspection_not_configured"),
        // Among the faults of a token, the order of the table.
        (Call::get("/read").bearer(&"a".repeat(5000)), "token_too_large"),
        (Call::get("/read").bearer(&format!("ey.{}", "a".repeat(5000))), "token_too_large"),
        (
            Call::get("/read").bearer(&minted(json!({"typ": "dpop+jwt", "alg": "none"}), json!({}))),
            "token_type_not_accepted",
        ),
        (
            Call::get("/read").bearer(&minted(json!({"alg": "none", "kid": "k2"}), json!({"iss": "x"}))),
            "algorithm_not_allowed",
        ),
        (Call::get("/read").bearer(&minted(json!({"kid": "k2"}), json!({"iss": "x"}))), "issuer_unknown"),
        (Call::get("/read").bearer(&minted(json!({"kid": "k2"}), json!({"exp": 1}))), "key_not_found"),
        (Call::get("/read").bearer(&expired(json!({"aud": "else"}))), "token_expired"),
        (Call::get("/read").bearer(&expired(json!({"nbf": NOW + 100}))), "token_expired"),
        (Call::get("/read").bearer(&expired(json!({"sub": null}))), "token_expired"),
        (Call::get("/read").bearer(&expired(json!({"scope": 7}))), "token_expired"),
        (Call::get("/read").bearer(&acme(json!({"aud": "else", "sub": null}))), "audience_mismatch"),
        (Call::get("/read").bearer(&acme(json!({"sub": null, "scope": 7}))), "claim_missing"),
        (Call::get("/read").bearer(&acme(json!({"scope": 7, "tenant_id": "nobody"}))), "claim_malformed"),
        (Call::get("/read").bearer(&expired(json!({"tenant_id": "nobody"}))), "token_expired"),
        (
            Call::get("/read").bearer(&acme(json!({"cnf": {"jkt": "x"}, "tenant_id": "nobody"}))),
            "sender_constraint_failed",
        ),
        // The tenant before what is mapped, and before scopes.
        (Call::get("/nowhere").bearer(&acme(json!({"tenant_id": "nobody"}))), "tenant_unknown"),
        (Call::new("POST", "/read").bearer(&acme(json!({"client_id": "x"}))), "application_not_registered"),
        (
            Call::get("/read").bearer(&acme(json!({"tenant_id": "foreign", "scope": ""}))),
            "issuer_not_allowed_for_tenant",
        ),
        (http(Call::get("/tls").bearer(&acme(json!({"tenant_id": "nobody"})))), "tenant_unknown"),
        (Call::get("/version").bearer(&acme(json!({"tenant_id": "nobody"}))), "tenant_unknown"),
        (Call::get("/nowhere").bearer(&good()).header("x-tenant-id", "twin1"), "tenant_mismatch"),
        // What is mapped before scopes; the suite before scopes.
        (Call::get("/nowhere").bearer(&acme(json!({"scope": ""}))), "operation_not_mapped"),
        (Call::new("POST", "/read").bearer(&acme(json!({"scope": ""}))), "method_not_mapped"),
        (Call::get("/version").bearer(&acme(json!({"scope": ""}))), "header_missing"),
        (http(Call::get("/tls").bearer(&acme(json!({"scope": ""})))), "tls_required"),
        (Call::get("/stock").bearer(&acme(json!({"scope": ""}))), "suite_not_available"),
        (Call::get("/stock").bearer(&acme(json!({"scope": "twin2.read"}))), "suite_not_available"),
    ];
    for (call, expected) in cases {
        assert_eq!(gateway.call(&call).brief(), expected, "{call:?}");
    }
}

#[test]
fn an_operations_own_audiences_and_claims_are_part_of_the_token_step() {
    let mut config = config(false);
    config["suites"] = json!([{"name": "billing", "audiences": ["api", "x"], "operations": [
        {"name": "a", "path": "/a", "access": "authenticated", "audiences": ["shared"]},
        {"name": "b", "path": "/b", "access": "authenticated", "required_claims": ["jti", "ctx.level"]},
    ]}]);
    let gateway = Gateway::new(&config);
    let brief = |path: &str, changes: Value| gateway.call(&Call::get(path).bearer(&acme(changes))).brief();
    assert_eq!(brief("/a", json!({})), "audience_mismatch");
    assert_eq!(brief("/a", json!({"aud": "shared"})), "audience_mismatch", "the suite's is needed too");
    assert_eq!(brief("/a", json!({"aud": "shared", "tenant_id": "nobody"})), "audience_mismatch");
    assert_eq!(brief("/b", json!({})), "claim_missing");
    assert_eq!(brief("/b", json!({"jti": "1"})), "claim_missing");
    assert_eq!(brief("/b", json!({"jti": "1", "ctx": {"level": 2}})), "acme");
    assert_eq!(brief("/b", json!({"jti": "1", "ctx": {"level": null}})), "claim_malformed");
}

// ---- keys

#[test]
fn a_request_that_waits_for_keys_is_decided_with_them() {
    let gateway = Gateway::new(&config(false));
    let call = Call::get("/read").bearer(&of_remote());
    let mut asked = 0;
    let outcome = gateway.call_answered(&call, &mut |call| {
        assert!(matches!(call, IssuerCall::FetchKeys { .. }));
        asked += 1;
        Ok((200, jwks([&*KEY]).to_string()))
    });
    assert_eq!((outcome.brief().as_str(), asked), ("acme", 1));
    assert_eq!(gateway.call(&call).brief(), "acme");
}

#[test]
fn an_unknown_kid_is_the_clients_fault_once_the_issuer_was_asked() {
    let mut gateway = Gateway::new(&config(false));
    let with_kid = |kid: &str| {
        let claims = claims(
            json!({"iss": "https://remote.example", "tenant_id": "acme", "client_id": "app", "scope": "acme.read"}),
        );
        Call::get("/read").bearer(&KEY.mint(json!({"kid": kid}), &claims))
    };
    let mut asked = 0;
    let mut issuer = |_: &IssuerCall| {
        asked += 1;
        Ok((200, jwks([&*KEY]).to_string()))
    };
    assert_eq!(gateway.call_answered(&with_kid("k1"), &mut issuer).brief(), "acme");
    assert_eq!(gateway.call_answered(&with_kid("k9"), &mut issuer).brief(), "key_not_found");
    for kid in ["k9", "k10", "k11"] {
        assert_eq!(gateway.call(&with_kid(kid)).brief(), "key_not_found", "nobody is asked again");
    }
    gateway.now += Duration::from_millis(29_999);
    assert_eq!(gateway.call(&with_kid("k10")).brief(), "key_not_found");
    gateway.now += Duration::from_millis(1);
    assert_eq!(gateway.call_answered(&with_kid("k10"), &mut issuer).brief(), "key_not_found");
    assert_eq!(asked, 3);
}

#[test]
fn keys_that_cannot_be_had_are_the_issuers_fault_until_they_can() {
    let mut gateway = Gateway::new(&config(false));
    let call = Call::get("/read").bearer(&of_remote());
    let refused = gateway.call_answered(&call, &mut |_| Err(IssuerFault::Unreachable)).refused();
    assert_eq!(refused.reason, Reason::KeysUnavailable);
    assert_eq!(
        gateway.call(&call).brief(),
        "keys_unavailable",
        "told at once, while it is too early to ask again"
    );
    gateway.now += Duration::from_secs(1);
    let outcome = gateway.call_answered(&call, &mut |_| Ok((200, jwks([&*KEY]).to_string())));
    assert_eq!(outcome.brief(), "acme");
}

// ---- introspection

fn ask(config: &Value, token: &str, reply: Reply) -> Outcome {
    Gateway::new(config).call_answered(&Call::get("/read").bearer(token), &mut |_| reply.clone())
}

fn answered(config: &Value, token: &str, response: Value) -> String {
    ask(config, token, Ok((200, response.to_string()))).brief()
}

#[test]
fn a_response_is_judged_as_a_token_is() {
    let good = json!({"active": true, "aud": "api", "scope": "read", "iss": INTROSPECTOR});
    for (changes, expected) in [
        (json!({}), "asked"),
        (json!({"iss": null}), "asked"),
        (json!({"scope": ["read"]}), "asked"),
        (json!({"active": false}), "token_inactive"),
        (json!({"active": false, "aud": 7}), "token_inactive"),
        (json!({"iss": "https://idp.example"}), "issuer_unknown"),
        (json!({"aud": "else"}), "audience_mismatch"),
        (json!({"aud": null}), "claim_missing"),
        (json!({"exp": NOW - 59}), "asked"),
        (json!({"exp": NOW - 60}), "token_expired"),
        (json!({"nbf": NOW + 61}), "token_not_yet_valid"),
        (json!({"exp": NOW - 60, "aud": null}), "token_expired"),
        (json!({"exp": NOW - 60, "aud": "else"}), "token_expired"),
        (json!({"cnf": {"jkt": "x"}}), "sender_constraint_failed"),
        (json!({"scope": null}), "scope_absent_from_introspection"),
        (json!({"scope": ""}), "no_scopes_in_token"),
        (json!({"scope": "reads"}), "scope_not_granted"),
        (json!({"tenant_id": "acme"}), "issuer_not_allowed_for_tenant"),
        (json!({"tenant_id": 7}), "tenant_unknown"),
        (json!({"tenant_id": true}), "claim_malformed"),
        // The issuer's fault.
        (json!({"active": null}), "introspection_unavailable"),
        (json!({"active": "true"}), "introspection_unavailable"),
        (json!({"active": 1}), "introspection_unavailable"),
        (json!({"exp": "soon"}), "introspection_unavailable"),
        (json!({"aud": 7}), "introspection_unavailable"),
        (json!({"scope": 7}), "introspection_unavailable"),
        (json!({"sub": ["alice"]}), "introspection_unavailable"),
    ] {
        let response = merge(good.clone(), changes.clone());
        assert_eq!(answered(&config(true), "opaque-token", response), expected, "{changes}");
    }
}

#[test]
fn a_member_of_a_response_that_is_null_counts_as_absent() {
    let members = |changes: Value| {
        let good = json!({"active": true, "aud": "api", "scope": "read", "iss": INTROSPECTOR});
        let reply = Ok((200, overlay(good, changes).to_string()));
        ask(&config(true), "opaque-token", reply).brief()
    };
    for name in
        ["iss", "sub", "client_id", "username", "jti", "token_type", "exp", "nbf", "iat", "cnf", "tenant_id"]
    {
        assert_eq!(members(json!({name: null})), "asked", "{name}");
    }
    assert_eq!(members(json!({"scope": null})), "scope_absent_from_introspection");
    assert_eq!(members(json!({"aud": null})), "claim_missing");
    assert_eq!(members(json!({"active": null})), "introspection_unavailable");
}

#[test]
fn an_integer_names_a_client_a_subject_or_a_tenant_by_its_decimal_text() {
    let mut config = config(false);
    config["tenants"][0]["aliases"] = json!(["42"]);
    config["tenants"][0]["applications"][0]["client_id"] = json!("7");
    let brief =
        |changes: Value| Gateway::new(&config).call(&Call::get("/read").bearer(&acme(changes))).brief();
    assert_eq!(brief(json!({"client_id": 7, "tenant_id": 42, "sub": -1})), "acme");
    assert_eq!(brief(json!({"client_id": "7", "tenant_id": "42"})), "acme");
    assert_eq!(brief(json!({"client_id": 70, "tenant_id": 42})), "application_not_registered");
    assert_eq!(brief(json!({"client_id": 7, "tenant_id": 4})), "tenant_unknown");
    for odd in [json!(7.5), json!(7e30), json!(true), json!(["7"]), json!({}), json!("")] {
        for claim in ["client_id", "sub", "tenant_id"] {
            let changes = overlay(json!({"client_id": 7, "tenant_id": 42}), json!({claim: odd}));
            assert_eq!(brief(changes), "claim_malformed", "{claim} {odd}");
        }
    }
    let response = json!({"active": true, "aud": "api", "client_id": 7, "sub": 7, "scope": "read"});
    assert_eq!(answered(&self::config(true), "opaque-token", response), "asked");
}

// ---- what is no access token

#[test]
fn what_says_that_it_is_an_id_or_a_refresh_token_is_no_access_token() {
    let brief = |token_types: Option<Value>, header: Value, changes: Value| {
        let mut config = config(false);
        if let Some(token_types) = token_types {
            config["providers"]["idp"]["token_types"] = token_types;
        }
        Gateway::new(&config).call(&Call::get("/read").bearer(&minted(header, changes))).brief()
    };
    let named = |types: Value, header: Value, changes: Value| brief(Some(types), header, changes);
    for claims in [
        json!({"at_hash": "x"}),
        json!({"c_hash": "x"}),
        json!({"at_hash": 7}),
        json!({"typ": "ID"}),
        json!({"typ": "id"}),
        json!({"typ": "Refresh"}),
        json!({"typ": "Offline"}),
        json!({"typ": "refresh_token"}),
        json!({"typ": "urn:ietf:params:oauth:token-type:id_token"}),
        json!({"typ": "application/id+jwt"}),
        json!({"token_use": "id"}),
        json!({"token_use": "id_token"}),
        json!({"token_use": "refresh"}),
        json!({"typ": ["ID"]}),
    ] {
        assert_eq!(brief(None, json!({}), claims.clone()), "token_type_not_accepted", "{claims}");
        let of_nobody = overlay(claims.clone(), json!({"iss": "https://nobody.example"}));
        assert_eq!(brief(None, json!({}), of_nobody), "token_type_not_accepted", "{claims}");
        // No signature is verified for it.
        let token = minted(json!({}), claims.clone());
        let unsigned = format!("{}.AAAA", token.rsplit_once('.').unwrap().0);
        let read = Call::get("/read").bearer(&unsigned);
        assert_eq!(Gateway::new(&config(false)).call(&read).brief(), "token_type_not_accepted", "{claims}");
        // A list that accepts the header's type says nothing of the claims.
        let typ = json!({"typ": "JWT"});
        assert_eq!(named(json!(["JWT"]), typ, claims.clone()), "token_type_not_accepted", "{claims}");
    }
    for typ in ["ID", "id_token", "Refresh", "refresh_token", "REFRESH", "idtoken"] {
        assert_eq!(brief(None, json!({"typ": typ}), json!({})), "token_type_not_accepted", "{typ}");
    }
    for claims in [
        json!({"nonce": "x"}),
        json!({"typ": "Bearer"}),
        json!({"token_use": "access"}),
        json!({"typ": 7}),
        json!({"typ": "identity"}),
    ] {
        assert_eq!(brief(None, json!({"typ": "JWT"}), claims.clone()), "acme", "{claims}");
    }
    let typ = || json!({"typ": "JWT"});
    assert_eq!(named(json!(["JWT", "id"]), typ(), json!({"typ": "ID"})), "acme");
    assert_eq!(named(json!(["JWT", "Refresh"]), typ(), json!({"typ": "Refresh"})), "acme");
    assert_eq!(named(json!(["JWT", "id_token"]), typ(), json!({"at_hash": "x"})), "acme");
    assert_eq!(named(json!(["JWT", "Refresh"]), typ(), json!({"at_hash": "x"})), "token_type_not_accepted");
    assert_eq!(named(json!(["JWT", "ID"]), typ(), json!({"typ": "Refresh"})), "token_type_not_accepted");
    assert_eq!(named(json!(["ID"]), json!({"typ": "ID"}), json!({})), "acme");
}

#[test]
fn an_introspected_token_is_an_access_token() {
    let good = json!({"active": true, "aud": "api", "scope": "read"});
    let with = |changes: Value| answered(&config(true), "opaque-token", merge(good.clone(), changes));
    for token_type in ["Bearer", "bearer", "DPoP", "dpop"] {
        assert_eq!(with(json!({"token_type": token_type})), "asked", "{token_type}");
    }
    for token_type in ["refresh_token", "Refresh", "id_token", "N_A", "mac", "", "bearer ", "access_token"] {
        assert_eq!(with(json!({"token_type": token_type})), "token_type_not_accepted", "{token_type}");
    }
    for changes in [json!({"typ": "Refresh"}), json!({"token_use": "id"}), json!({"at_hash": "x"})] {
        assert_eq!(with(changes.clone()), "token_type_not_accepted", "{changes}");
        assert_eq!(with(merge(changes.clone(), json!({"exp": NOW - 60}))), "token_type_not_accepted");
    }
    assert_eq!(with(json!({"typ": "Bearer"})), "asked");
    // A JWT's own response speaks of the same token.
    let response = json!({"active": true, "aud": "api", "token_type": "Refresh"});
    assert_eq!(answered(&introspecting_all(), &acme(json!({})), response), "token_type_not_accepted");
}

#[test]
fn where_any_audience_will_do_a_response_says_what_marks_an_access_token() {
    let brief = |changes: Value, introspection: Value, response: Value| {
        let mut config = config(true);
        let opaque = &mut config["providers"]["opaque"];
        *opaque = merge(opaque.clone(), json!({"audiences": null, "allow_any_audience": true}));
        *opaque = merge(opaque.clone(), changes);
        opaque["introspection"] = merge(opaque["introspection"].clone(), introspection);
        answered(&config, "opaque-token", merge(json!({"active": true, "scope": "read"}), response))
    };
    let nothing = || json!({});
    assert_eq!(brief(nothing(), nothing(), nothing()), "claim_missing");
    assert_eq!(brief(nothing(), nothing(), json!({"token_type": "Bearer"})), "asked");
    assert_eq!(brief(nothing(), nothing(), json!({"token_type": "Refresh"})), "token_type_not_accepted");
    assert_eq!(brief(nothing(), json!({"required_members": []}), nothing()), "asked");
    assert_eq!(brief(nothing(), json!({"required_members": ["kind"]}), json!({"kind": "at"})), "asked");
    let marked = || json!({"required_values": {"token_use": ["access"]}});
    assert_eq!(brief(marked(), nothing(), json!({"token_use": "access"})), "asked");
    assert_eq!(brief(marked(), nothing(), json!({"token_use": "grant"})), "token_type_not_accepted");
    assert_eq!(brief(marked(), nothing(), nothing()), "claim_missing");
}

#[test]
fn a_claim_with_required_values_has_one_of_them() {
    let mut config = config(false);
    config["providers"]["idp"]["required_values"] =
        json!({"token_use": ["access", "at"], "ctx.region": ["eu"], "https://x/level.of": ["2"]});
    let good = json!({"token_use": "at", "ctx": {"region": "eu"}, "https://x/level.of": 2});
    let gateway = Gateway::new(&config);
    let brief = |changes: Value| {
        let token = acme(overlay(good.clone(), changes));
        gateway.call(&Call::get("/read").bearer(&token)).brief()
    };
    assert_eq!(brief(json!({})), "acme");
    assert_eq!(brief(json!({"https://x/level.of": "2"})), "acme");
    assert_eq!(brief(json!({"token_use": "grant"})), "token_type_not_accepted");
    assert_eq!(brief(json!({"token_use": "Access"})), "token_type_not_accepted");
    assert_eq!(brief(json!({"token_use": ["at"]})), "token_type_not_accepted");
    assert_eq!(brief(json!({"token_use": "grant", "exp": NOW - 60})), "token_type_not_accepted");
    assert_eq!(brief(json!({"token_use": null})), "claim_missing");
    for odd in
        [json!({"region": "us"}), json!({"region": ["eu"]}), json!({"region": null}), json!({"region": true})]
    {
        assert_eq!(brief(json!({"ctx": odd})), "claim_malformed", "{odd}");
    }
    assert_eq!(brief(json!({"ctx": {}})), "claim_missing");
    assert_eq!(brief(json!({"https://x/level.of": 2.5})), "claim_malformed");
    assert_eq!(brief(json!({"https://x/level.of": 20})), "claim_malformed");
}

#[test]
fn suites_and_operations_require_values_of_their_own() {
    let mut config = config(false);
    config["suites"] = json!([{"name": "billing", "required_values": {"org": ["acme"]}, "operations": [
        {"name": "a", "path": "/a", "access": "authenticated"},
        {"name": "b", "path": "/b", "access": "authenticated", "required_values": {"typ": ["Bearer"], "org": ["acme", "x"]}},
    ]}]);
    config["tenant_resolution"]["claims"] = json!(["tenant_id"]);
    let gateway = Gateway::new(&config);
    let brief = |path: &str, changes: Value| gateway.call(&Call::get(path).bearer(&acme(changes))).brief();
    assert_eq!(brief("/a", json!({})), "claim_missing");
    assert_eq!(brief("/a", json!({"org": "acme"})), "acme");
    assert_eq!(brief("/a", json!({"org": "x"})), "claim_malformed");
    assert_eq!(brief("/a", json!({"org": "x", "tenant_id": "nobody"})), "claim_malformed");
    assert_eq!(brief("/b", json!({"org": "x", "typ": "Bearer"})), "claim_malformed", "the suite's holds too");
    assert_eq!(brief("/b", json!({"org": "acme"})), "claim_missing");
    assert_eq!(brief("/b", json!({"org": "acme", "typ": "Other"})), "token_type_not_accepted");
    assert_eq!(brief("/b", json!({"org": "acme", "typ": "Bearer"})), "acme");
}

#[test]
fn what_is_no_clean_answer_is_the_issuers_fault() {
    for (status, body) in [
        (200, ""),
        (200, "[]"),
        (200, "{\"active\":true,\"active\":true,\"aud\":\"api\",\"scope\":\"read\"}"),
        (200, "{\"active\":true,\"aud\":\"api\",\"scope\":\"read\",\"scope\":\"read\"}"),
        (200, "{\"active\":true,\"aud\":\"api\",\"scope\":\"read\"} x"),
        (201, "{\"active\":true,\"aud\":\"api\",\"scope\":\"read\"}"),
        (401, "{\"active\":false}"),
        (302, "{\"active\":true,\"aud\":\"api\",\"scope\":\"read\"}"),
    ] {
        let outcome = ask(&config(true), "opaque-token", Ok((status, body.to_owned())));
        assert_eq!(outcome.brief(), "introspection_unavailable", "{status} {body}");
    }
    let large =
        format!("{{\"active\":true,\"aud\":\"api\",\"scope\":\"read\",\"x\":\"{}\"}}", "x".repeat(65_536));
    assert_eq!(ask(&config(true), "opaque-token", Ok((200, large))).brief(), "introspection_unavailable");
}

#[test]
fn answers_are_remembered_for_their_time_and_faults_not_at_all() {
    let mut gateway = Gateway::new(&config(true));
    let call = Call::get("/read").bearer("opaque-token");
    let ask = |gateway: &Gateway, response: Value| {
        gateway.call_answered(&call, &mut |_| Ok((200, response.to_string()))).brief()
    };
    assert_eq!(ask(&gateway, json!({"active": "yes"})), "introspection_unavailable");
    assert_eq!(ask(&gateway, json!({"active": false})), "token_inactive");
    gateway.now += Duration::from_millis(9_999);
    assert_eq!(gateway.call(&call).brief(), "token_inactive");
    gateway.now += Duration::from_millis(1);
    let good = json!({"active": true, "aud": "api", "scope": "read"});
    assert_eq!(ask(&gateway, good.clone()), "asked");
    gateway.now += Duration::from_millis(59_999);
    assert_eq!(gateway.call(&call).brief(), "asked");
    gateway.now += Duration::from_millis(1);
    let expires = merge(good, json!({"exp": gateway.now.as_secs() + 5}));
    assert_eq!(ask(&gateway, expires), "asked");
    gateway.now += Duration::from_millis(4_999);
    assert_eq!(gateway.call(&call).brief(), "asked");
    gateway.now += Duration::from_millis(1_001);
    assert_eq!(ask(&gateway, json!({"active": false})), "token_inactive");
}

#[test]
fn an_opaque_token_is_shown_to_nobody_where_evidence_is_odd_or_speaks_against_it() {
    let gateway = Gateway::new(&config(true));
    let call = |token: &str| Call::get("/read").bearer(token);
    for (call, expected) in [
        (call("opaque!token"), "credential_malformed"),
        (call("===="), "credential_malformed"),
        (call("opaque").header("x-tenant-id", "asked,asked"), "header_ambiguous"),
        (call("opaque").header("x-tenant-id", ""), "header_malformed"),
        (call("opaque").header("x-tenant-id", "nobody"), "tenant_mismatch"),
        (call("opaque").with(":path", "/of/acme").header("x-tenant-id", "asked"), "tenant_mismatch"),
        (call("opaque").header("x-tenant-id", "acme"), "introspection_not_configured"),
        // What looks like a JWT is never taken for an opaque token.
        (call("eyJhbGciOiJub25lIn0.e30."), "algorithm_not_allowed"),
        (call("ey.x"), "token_malformed"),
        (call("e30.e30.e30.e30.e30"), "token_malformed"),
    ] {
        assert_eq!(gateway.call(&call).brief(), expected, "{call:?}");
    }
}

#[test]
fn the_requests_tenant_evidence_says_which_issuer_is_asked() {
    let mut config = config(true);
    let second = merge(config["providers"]["opaque"].clone(), json!({"issuer": "https://second.example"}));
    config["providers"]["second"] = second;
    let tenants = config["tenants"].as_array_mut().unwrap();
    tenants.push(json!({"id": "asked2", "providers": ["second"]}));
    let asked_by = |config: &Value, header: Option<&str>| -> String {
        let gateway = Gateway::new(config);
        let call = Call::get("/read").bearer("opaque-token");
        let call = header.iter().fold(call, |call, header| call.header("x-tenant-id", header));
        match gateway.begin(&call) {
            Begun::Done(outcome) => outcome.brief(),
            Begun::Waits(pending) => match &pending.calls[..] {
                [IssuerCall::Introspect { provider, .. }] => {
                    gateway.active.policy.provider(*provider).unwrap().name.to_string()
                }
                other => panic!("{other:?}"),
            },
        }
    };
    assert_eq!(asked_by(&config, Some("asked")), "opaque");
    assert_eq!(asked_by(&config, Some("asked2")), "second");
    assert_eq!(asked_by(&config, None), "introspection_not_configured");
    config["default_introspection"] = json!("second");
    assert_eq!(asked_by(&config, None), "second");
    assert_eq!(asked_by(&config, Some("asked")), "opaque", "never against evidence");
    assert_eq!(asked_by(&config, Some("acme")), "introspection_not_configured");
    assert_eq!(asked_by(&config, Some("nobody")), "tenant_mismatch");
    // Where evidence leaves several, the default is one of them or none is asked.
    let third = merge(config["providers"]["opaque"].clone(), json!({"issuer": "https://third.example"}));
    config["providers"]["third"] = third;
    let either = json!({"id": "either", "providers": ["opaque", "second"]});
    config["tenants"].as_array_mut().unwrap().push(either);
    assert_eq!(asked_by(&config, Some("either")), "second");
    config["default_introspection"] = json!("third");
    assert_eq!(asked_by(&config, Some("either")), "introspection_not_configured");
}

/// A file whose `idp` introspects JWTs too.
fn introspecting_all() -> Value {
    let mut config = config(false);
    config["providers"]["idp"]["introspection"] = json!({
        "uri": "https://idp.example/introspect", "cluster": "idp", "client_auth": {"method": "none"}, "apply_to": "all",
    });
    config
}

#[test]
fn a_jwt_that_is_introspected_too_must_agree_with_the_response() {
    let good = json!({"active": true, "aud": "api"});
    for (changes, expected) in [
        (json!({}), "acme"),
        (
            json!({"iss": "https://idp.example", "sub": "alice", "client_id": "app", "tenant_id": "acme"}),
            "acme",
        ),
        (json!({"active": false}), "token_inactive"),
        (json!({"iss": "https://else.example"}), "introspection_unavailable"),
        (json!({"iss": "https://remote.example"}), "introspection_unavailable"),
        (json!({"sub": "bob"}), "introspection_unavailable"),
        (json!({"client_id": "app2"}), "introspection_unavailable"),
        (json!({"tenant_id": "twin1"}), "introspection_unavailable"),
        (json!({"exp": NOW - 60}), "token_expired"),
        (json!({"cnf": {"jkt": "x"}}), "sender_constraint_failed"),
        // Scopes are those that both grant, where both speak of scopes.
        (json!({"scope": "acme.read acme.write"}), "acme"),
        (json!({"scope": "acme.write"}), "no_scopes_in_token"),
        (json!({"scope": ""}), "no_scopes_in_token"),
    ] {
        let response = merge(good.clone(), changes.clone());
        assert_eq!(answered(&introspecting_all(), &acme(json!({})), response), expected, "{changes}");
    }
    let expired = acme(json!({"exp": NOW - 60}));
    let gateway = Gateway::new(&introspecting_all());
    assert_eq!(
        gateway.call(&Call::get("/read").bearer(&expired)).brief(),
        "token_expired",
        "nobody is asked"
    );
}

#[test]
fn a_jwts_response_without_scopes_is_told_apart_from_scopes_that_are_not_granted() {
    let without = json!({"active": true, "aud": "api"});
    let config = introspecting_all();
    assert_eq!(
        answered(&config, &acme(json!({"scope": null})), without.clone()),
        "scope_absent_from_introspection"
    );
    assert_eq!(
        answered(&config, &acme(json!({"scope": "acme.write"})), without.clone()),
        "scope_absent_from_introspection"
    );
    let with = merge(without, json!({"scope": "acme.write"}));
    assert_eq!(answered(&config, &acme(json!({"scope": "acme.write"})), with), "scope_not_granted");
}

#[test]
fn one_call_serves_all_who_bring_the_same_token() {
    let gateway = Gateway::new(&config(true));
    let call = Call::get("/read").bearer("opaque-token");
    let mut waiting = Vec::new();
    let mut calls = BTreeMap::new();
    for _ in 0..5 {
        let Begun::Waits(mut pending) = gateway.begin(&call) else { panic!("it does not wait") };
        for call in std::mem::take(&mut pending.calls) {
            calls.insert(format!("{call:?}"), call);
        }
        waiting.push(pending);
    }
    assert_eq!(calls.len(), 1);
    let issuer_call = calls.into_values().next().unwrap();
    let reply = json!({"active": true, "aud": "api", "scope": "read"}).to_string();
    gateway.answer(&issuer_call, Ok((200, reply)), &mut waiting[0]);
    for pending in waiting {
        let Begun::Done(outcome) = gateway.advance(&call, pending) else { panic!("it waits again") };
        assert_eq!(outcome.brief(), "asked");
    }
    assert_eq!(gateway.active.waiting(), 0);
}

#[test]
fn an_opaque_token_from_a_cookie_or_a_parameter_goes_to_the_sole_provider_that_lists_the_place() {
    let mut config = config(true);
    config["providers"]["opaque"]["from_cookies"] = json!(["session"]);
    config["providers"]["opaque"]["from_params"] = json!(["at"]);
    let reply = json!({"active": true, "aud": "api", "scope": "read"}).to_string();
    let ask = |config: &Value, call: &Call| {
        Gateway::new(config).call_answered(call, &mut |_| Ok((200, reply.clone()))).brief()
    };
    let by_cookie = Call::get("/read").header("cookie", "session=opaque-token");
    let by_parameter = Call::get("/read?at=opaque-token");
    assert_eq!(ask(&config, &by_cookie), "asked");
    assert_eq!(ask(&config, &by_parameter), "asked");
    assert_eq!(
        Gateway::new(&config).call(&by_cookie.clone().header("x-tenant-id", "acme")).brief(),
        "introspection_not_configured",
        "not against evidence"
    );
    // Whoever lists the place too, introspecting or not, may be the one whose token it is.
    config["providers"]["remote"]["from_cookies"] = json!(["session"]);
    config["providers"]["remote"]["from_params"] = json!(["at"]);
    config["default_introspection"] = json!("opaque");
    for call in [&by_cookie, &by_parameter] {
        assert_eq!(Gateway::new(&config).call(call).brief(), "introspection_not_configured");
    }
}

#[test]
fn one_provider_holds_at_most_half_of_the_places_to_wait_in() {
    let mut config = config(true);
    config["max_waiting_requests"] = json!(4);
    let gateway = Gateway::new(&config);
    let opaque = |number: usize| Call::get("/read").bearer(&format!("opaque-token-{number}"));
    let remote = Call::get("/read").bearer(&of_remote());
    let begin = |call: &Call| match gateway.begin(call) {
        Begun::Waits(_) => "waits".to_owned(),
        Begun::Done(outcome) => outcome.brief(),
    };
    assert_eq!(
        [1, 2, 3].map(|number| begin(&opaque(number))),
        ["waits", "waits", "introspection_overloaded"]
    );
    assert_eq!([&remote, &remote, &remote].map(begin), ["waits", "waits", "keys_unavailable"]);
    assert_eq!(gateway.active.waiting(), 4);
}
