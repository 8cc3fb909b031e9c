//! Hosts that are not Envoy: what `deploy/hosts.json` says that each can do is what it does, nothing waits for ever, and
//! nothing opens.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use serde_json::{Value, json};

use super::abi::{HeaderMap, Stream, header};
use super::dpop::dpop_configuration;
use super::fixture::*;
use super::host::{NOW, Outcome, Proxy, Vm, module, response};
use super::profile::{Profile, Removal};
use scopegate_testing::mint::{Signer, jwks};

const HOSTS: &str = include_str!("../../deploy/hosts.json");
const NGINX: &str = include_str!("../../deploy/nginx/nginx.conf");
const PROFILES: [Profile; 3] = [Profile::ENVOY, Profile::NGINX, Profile::BARE];

/// How the hosts of the table are imitated.
fn profile_of(host: &str) -> Profile {
    match host {
        "envoy" => Profile::ENVOY,
        "nginx" => Profile::NGINX,
        "generic" | "gcp" => Profile::BARE,
        other => panic!("no profile of `{other}`"),
    }
}

/// What an upstream gets: what the module was shown last, but for a host that hides only from it. There the headers that
/// `deploy/nginx` lists.
fn upstream(profile: Profile, outcome: Outcome, names_of_the_filter: &[&str]) -> HeaderMap {
    let headers = passed(outcome);
    match profile.removal {
        Removal::Done | Removal::Pretended => headers,
        Removal::Hidden => {
            let listed: Vec<String> = NGINX
                .lines()
                .filter_map(|line| line.trim().strip_prefix("proxy_set_header "))
                .map(|rest| rest.split_whitespace().next().unwrap().to_ascii_lowercase())
                .chain(names_of_the_filter.iter().map(|name| (*name).to_owned()))
                .collect();
            headers
                .into_iter()
                .filter(|(name, _)| listed.iter().any(|listed| listed.as_bytes() == name.as_slice()))
                .collect()
        }
    }
}

#[test]
fn each_host_does_what_the_table_says() {
    let table: Value = serde_json::from_str(HOSTS).unwrap();
    for host in table["hosts"].as_object().unwrap().keys() {
        let profile = profile_of(host);
        for says in table["capabilities"].as_array().unwrap() {
            let capability = says["name"].as_str().unwrap();
            let seen = seen(profile, capability);
            assert_eq!(says["hosts"][host], seen, "{capability} on {host}");
        }
    }
}

/// What a host of this kind is seen to do.
fn seen(profile: Profile, capability: &str) -> String {
    match capability {
        "local_jwks" => {
            let (mut vm, root) = serving(profile, &configuration());
            let upstream = upstream(profile, vm.decide(root, good_request()), &[]);
            assert_eq!(header(&upstream, "x-tenant-id"), Some("acme"));
            assert_eq!(header(&upstream, "authorization"), None);
            "yes"
        }
        "remote_jwks" => served(profile, &configuration_with_remote_keys(), &good_token()),
        "introspection" => served(profile, &configuration_with_introspection(), "opaque-token"),
        "dpop" => accepted(profile, &dpop_configuration()),
        "token_endpoints" => {
            let mut configuration = configuration();
            configuration["token_endpoints"] = json!([{"path": "/token", "on_unregistered_scope": "narrow"}]);
            configuration["tenants"][0]["applications"] =
                json!([{"client_id": "shop", "scopes": ["orders:read"]}]);
            accepted(profile, &configuration)
        }
        "removed_headers" => {
            let (mut vm, root) = serving(profile, &configuration());
            let mut forged = good_request();
            forged.push(("x-tenant-id".into(), "acme".into()));
            forged.push(("x_client_id".into(), "root".into()));
            let outcome = vm.decide(root, forged);
            let listed = upstream(profile, outcome, &[]);
            assert_eq!(header(&listed, "x_client_id"), None);
            assert_eq!(header(&listed, "x-client-id"), Some("shop"));
            match profile.removal {
                Removal::Done => "yes",
                Removal::Hidden | Removal::Pretended => "by a list of the operator's",
            }
        }
        "many_headers" => {
            let (mut vm, root) = serving(profile, &configuration());
            let mut many = good_request();
            many.extend((0..120).map(|number| (format!("x-{number}").into_bytes(), b"1".to_vec())));
            match vm.decide(root, many) {
                Outcome::Passed(_) => "yes",
                outcome @ (Outcome::Answered(_) | Outcome::Waiting) => {
                    assert_refused(&outcome, 400, "header_malformed");
                    "refused"
                }
            }
        }
        "normalised_path" => {
            let (mut vm, root) = serving(profile, &configuration());
            // An upstream that does not decode this reads another operation.
            match vm.decide(root, request("GET", "/%6frders/../orders", &good_token())) {
                outcome if profile.normalises_path => {
                    assert_refused(&outcome, 400, "path_ambiguous");
                    "refused"
                }
                outcome => {
                    assert_refused(&outcome, 400, "path_ambiguous");
                    "as sent"
                }
            }
        }
        "properties" => {
            let (mut vm, root) = serving(profile, &configuration());
            let stream = vm.request(root, good_request());
            let is_set = vm.state().streams[&stream].properties.contains_key("scopegate.decision");
            if is_set { "yes" } else { "no" }
        }
        "metrics" => {
            let (mut vm, root) = serving(profile, &configuration());
            vm.decide(root, good_request());
            if vm.calls("proxy_increment_metric") > 0 { "yes" } else { "no" }
        }
        "host_crypto" => {
            let (mut vm, root) = serving(profile, &configuration());
            vm.decide(root, good_request());
            if vm.calls("proxy_call_foreign_function") > 0 { "yes" } else { "no" }
        }
        "audit_events" => {
            let mut proxy = Proxy::new();
            let logs: usize = [(); 2]
                .map(|()| {
                    let mut vm = proxy.vm_of(profile);
                    let root = vm.configure(&configuration());
                    vm.pass(root, Duration::from_secs(1));
                    vm.log_text().matches("policy.loaded").count()
                })
                .iter()
                .sum();
            match logs {
                1 => "one worker's",
                2 => "each worker's",
                other => panic!("{other} events"),
            }
        }
        other => panic!("`{other}` is not tried out"),
    }
    .to_owned()
}

fn serving(profile: Profile, configuration: &Value) -> (Vm, u32) {
    let mut vm = Proxy::new().vm_of(profile);
    let root = vm.configure(configuration);
    (vm, root)
}

/// Whether a configuration is taken; one that is not serves no request.
fn accepted(profile: Profile, configuration: &Value) -> &'static str {
    let mut vm = Proxy::new().vm_of(profile);
    let (root, accepted) = vm.try_configure(configuration.to_string().as_bytes());
    if accepted {
        return "yes";
    }
    assert!(vm.log_text().contains("this host has no "), "{}", vm.log_text());
    let outcome = vm.decide(root, good_request());
    assert!(matches!(&outcome, Outcome::Answered(reply) if reply.status == 500), "{outcome:?}");
    "refused"
}

/// Whether requests are served that need a call to the issuer, and whether they wait for it.
fn served(profile: Profile, configuration: &Value, token: &str) -> &'static str {
    if accepted(profile, configuration) == "refused" {
        return "refused";
    }
    let (mut vm, root) = serving(profile, configuration);
    let first = vm.request(root, request("GET", "/orders", token));
    let waits = vm.outcome(first) == Outcome::Waiting;
    vm.pass(root, Duration::from_secs(1));
    for callout in vm.callouts() {
        let keys = header(&callout.headers, ":path") == Some("/jwks.json");
        let body = if keys { jwks([&signer()]) } else { active() };
        vm.answer(&callout, response(200, &body.to_string()));
    }
    passed(vm.decide(root, request("GET", "/orders", token)));
    match vm.outcome(first) {
        Outcome::Passed(_) if waits => "yes",
        Outcome::Answered(reply) if reply.status == 503 && !waits => "503 until the keys are there",
        outcome => panic!("{outcome:?}, waits: {waits}"),
    }
}

#[test]
fn a_strict_host_does_not_load_the_file_for_envoy() {
    for profile in [Profile::NGINX, Profile::BARE] {
        let shared = std::rc::Rc::default();
        let loads = catch_unwind(AssertUnwindSafe(|| drop(Vm::of(profile, module(), 1, shared))));
        assert!(loads.is_err(), "{}", profile.name);
    }
}

#[test]
fn nothing_waits_for_ever_whatever_the_host_lacks() {
    let lacking: [&[&str]; 4] = [
        &["tick", "queue"],
        &["tick", "queue", "http_call"],
        &["tick", "queue", "effective"],
        &["queue", "effective"],
    ];
    for lacks in lacking {
        for configuration in [configuration_with_remote_keys(), configuration_with_introspection()] {
            for base in [Profile::ENVOY, Profile::BARE] {
                let mut vm = Proxy::new().vm_of(Profile { lacks, crashes: false, ..base });
                let (root, _) = vm.try_configure(configuration.to_string().as_bytes());
                let ticks = if lacks.contains(&"tick") { 0 } else { 100 };
                for token in [good_token(), "opaque-token".to_owned()] {
                    let mut stream = None;
                    let survives = vm.survives(|vm| {
                        stream = Some(vm.request(root, request("GET", "/orders", &token)));
                        (0..ticks).for_each(|_| vm.pass(root, Duration::from_secs(1)));
                    });
                    if !survives {
                        // A host ends the requests of a VM that is lost.
                        break;
                    }
                    let outcome = vm.outcome(stream.unwrap());
                    assert_ne!(outcome, Outcome::Waiting, "without {lacks:?} on {}", base.name);
                }
            }
        }
    }
}

#[test]
fn what_a_host_lacks_is_named_and_so_is_the_key() {
    for (configuration, says) in [
        (
            configuration_with_remote_keys(),
            "providers.corp.remote_jwks: this host has no ticks and no callouts: no keys would ever be fetched; use `local_jwks`",
        ),
        (
            configuration_with_introspection(),
            "providers.corp.introspection: this host has no ticks and no callouts and no effective contexts: requests would wait for ever; use JWTs",
        ),
        (
            dpop_configuration(),
            "providers.corp.dpop: this host has no shared data: each worker would take a proof once more",
        ),
    ] {
        let mut vm = Proxy::new().vm_of(Profile::BARE);
        let (_, accepted) = vm.try_configure(configuration.to_string().as_bytes());
        assert!(!accepted);
        assert!(vm.log_text().contains(says), "{}", vm.log_text());
    }
}

#[test]
fn a_header_that_is_only_said_to_be_removed_keeps_the_request_from_passing() {
    let (mut vm, root) = serving(Profile { removal: Removal::Pretended, ..Profile::BARE }, &configuration());
    let outcome = vm.decide(root, good_request());
    assert!(matches!(&outcome, Outcome::Answered(reply) if reply.status == 500), "{outcome:?}");
    let (mut vm, root) = serving(Profile::BARE, &configuration());
    passed(vm.decide(root, good_request()));
}

#[test]
fn a_host_that_the_filter_is_told_and_the_upstream_is_not_is_refused() {
    for profile in [Profile::NGINX, Profile::BARE] {
        let (mut vm, root) = serving(profile, &configuration());
        let with_host = |host: &str| {
            let mut headers = good_request();
            headers.push(("host".into(), host.into()));
            headers
        };
        for same in ["api.example", "API.example:443", "api.example."] {
            passed(vm.decide(root, with_host(same)));
        }
        for other in ["globex.example", "", "api.example, globex.example"] {
            assert_refused(&vm.decide(root, with_host(other)), 400, "host_malformed");
        }
    }
}

#[test]
fn headers_are_refused_at_the_limit_and_pass_below_it() {
    for profile in [Profile::NGINX, Profile::BARE] {
        let (mut vm, root) = serving(profile, &configuration());
        let sized = |size: usize| {
            let mut headers = good_request();
            let missing = size - headers.len();
            headers.extend((0..missing).map(|number| (format!("x-{number}").into_bytes(), b"1".to_vec())));
            headers
        };
        passed(vm.decide(root, sized(96)));
        for size in [97, 100, 101, 200] {
            assert_refused(&vm.decide(root, sized(size)), 400, "header_malformed");
        }
        // The one that names the tenant is among those that are left out.
        let mut hidden = sized(120);
        hidden.push(("x-tenant-id".into(), "globex".into()));
        assert_refused(&vm.decide(root, hidden), 400, "header_malformed");
    }
}

#[test]
fn a_vm_stays_under_16_mib_by_the_portable_files_defaults() {
    let signer = Signer::new("HS256", "secret", 1);
    let mut configuration = configuration();
    configuration["providers"]["corp"]["algorithms"] = json!(["HS256"]);
    configuration["providers"]["corp"]["local_jwks"] = jwks([&signer]);
    configuration["audit"] = json!({"decisions": "none"});
    let (mut vm, root) = serving(Profile::BARE, &configuration);
    // Many short scopes take many times their text. Together more than the budget holds.
    let scopes: Vec<String> = (0..2_500).map(|number| number.to_string()).collect();
    for number in 0..200 {
        let scope = format!("orders:read {}", scopes.join(" "));
        let claims = claims_with(json!({"jti": number.to_string(), "scope": scope}));
        passed(vm.decide(root, request("GET", "/orders", &signer.mint(json!({}), &claims))));
    }
    assert!((6 << 20..16 << 20).contains(&vm.memory_bytes()), "{} bytes", vm.memory_bytes());
}

/// A system of `filter-config/`, with keys in the configuration and nothing that asks an issuer.
struct System {
    file: &'static str,
    algorithm: &'static str,
    claims: Value,
    host: &'static str,
    /// Method, path and headers of a request that passes.
    good: (&'static str, &'static str, &'static [(&'static str, &'static str)]),
    /// A header by which a client could speak in the filter's place.
    forged: &'static str,
    /// What makes a request refused: changed claims, another path or other headers.
    bad: Vec<(&'static str, Bad, &'static str)>,
}

enum Bad {
    Claims(Value),
    Request(&'static str, &'static str, &'static [(&'static str, &'static str)]),
}

#[expect(clippy::too_many_lines, reason = "a table")]
fn systems() -> Vec<System> {
    vec![
        System {
            file: "teamcenter.yaml",
            algorithm: "ES256",
            claims: json!({
                "iss": "https://sso.plm.example.com", "aud": "teamcenter-api", "sub": "u1", "client_id": "desk",
                "tenant_id": "aero", "scope": "tc.service.read",
            }),
            host: "plm.example.com",
            good: ("GET", "/tc/service-management/v1/service-requests", &[]),
            forged: "x-tc-tenant",
            bad: vec![
                ("without a tenant", Bad::Claims(json!({"tenant_id": null})), "tenant_missing"),
                ("of a tenant that is unknown", Bad::Claims(json!({"tenant_id": "other"})), "tenant_unknown"),
                (
                    "with another scope",
                    Bad::Claims(json!({"scope": "tc.plm.read"})),
                    "scope_not_associated_with_suite",
                ),
                (
                    "of an operation that needs more",
                    Bad::Request("POST", "/tc/service-management/v1/service-requests/1/close", &[]),
                    "scope_not_granted",
                ),
                ("that nobody mapped", Bad::Request("GET", "/tc/contracts", &[]), "operation_not_mapped"),
            ],
        },
        System {
            file: "appian-erp.yaml",
            algorithm: "RS256",
            claims: json!({
                "iss": "https://auth.erp.com", "aud": "https://api.erp.com/tenant1", "sub": "appian-tenant1",
                "client_id": "appian-tenant1", "tenant_id": "tenant1", "scope": "tenant1.finance.write tenant1.journal.create",
            }),
            host: "api.erp.com",
            good: ("POST", "/tenant1/journals", &[]),
            forged: "x-erp-tenant",
            bad: vec![
                (
                    "of another tenant's path",
                    Bad::Request("POST", "/tenant10/journals", &[]),
                    "tenant_mismatch",
                ),
                (
                    "of another tenant's audience",
                    Bad::Claims(json!({"aud": "https://api.erp.com/tenant10"})),
                    "application_not_registered",
                ),
                (
                    "with another tenant's scopes",
                    Bad::Claims(json!({"scope": "tenant10.finance.write tenant10.journal.create"})),
                    "scope_of_other_tenant",
                ),
                (
                    "with one scope of two",
                    Bad::Claims(json!({"scope": "tenant1.finance.write"})),
                    "scope_not_granted",
                ),
            ],
        },
        System {
            file: "infor-suites.yaml",
            algorithm: "ES256",
            claims: json!({
                "iss": "https://sso.ion.example.com", "aud": "ion-api", "sub": "u1", "client_id": "ACME_PRD~webshop",
                "Tenant": "ACME_PRD", "scope": "order-read order-write",
            }),
            host: "ion.example.com",
            good: ("GET", "/ACME_PRD/orders/v1/orders", &[]),
            forged: "x-infor-tenant",
            bad: vec![
                (
                    "of another tenant",
                    Bad::Request("GET", "/GLOBEX_PRD/orders/v1/orders", &[]),
                    "tenant_mismatch",
                ),
                (
                    "of a vendor's suite",
                    Bad::Request("GET", "/ACME_PRD/IONSERVICES/x", &[]),
                    "scope_not_associated_with_suite",
                ),
                (
                    "of a client that is not registered",
                    Bad::Claims(json!({"client_id": "rogue"})),
                    "application_not_registered",
                ),
                (
                    "with a scope that is not assigned",
                    Bad::Claims(json!({"scope": "fulfilment"})),
                    "scope_not_assigned_to_application",
                ),
            ],
        },
        System {
            file: "thingworx-billing.yaml",
            algorithm: "RS256",
            claims: json!({
                "iss": "https://login.thingworx.example.com", "aud": "thingworx-billing-api", "sub": "s1",
                "client_id": "prod-tenant-01-billing-sync", "tenant_id": "prod-tenant-01", "scope": "billing:read billing:write",
            }),
            host: "billing.acme.example",
            good: (
                "GET",
                "/Thingworx/Things/Billing/transactions",
                &[("x-tenant-id", "prod-tenant-01"), ("x-api-version", "v2")],
            ),
            forged: "x-billing-tenant",
            bad: vec![
                (
                    "without the tenant's header",
                    Bad::Request("GET", "/Thingworx/Things/Billing/transactions", &[]),
                    "header_missing",
                ),
                (
                    "with another tenant's header",
                    Bad::Request(
                        "GET",
                        "/Thingworx/Things/Billing/transactions",
                        &[("x-tenant-id", "prod-tenant-02")],
                    ),
                    "tenant_mismatch",
                ),
                (
                    "of the platform's audience",
                    Bad::Claims(json!({"aud": "thingworx-api"})),
                    "audience_mismatch",
                ),
                ("without the scope", Bad::Claims(json!({"scope": "billing:write"})), "scope_not_granted"),
            ],
        },
        System {
            file: "otk-branches.yaml",
            algorithm: "ES256",
            claims: json!({
                "iss": "https://otk.example.com", "aud": "accounts-api", "sub": "u1", "client_id": "portal", "scope": "READ",
            }),
            host: "accounts.example.com",
            good: ("GET", "/accounts", &[]),
            forged: "x-otk-scopes",
            bad: vec![
                ("that writes", Bad::Request("POST", "/accounts", &[]), "scope_not_granted"),
                ("in small letters", Bad::Claims(json!({"scope": "read"})), "scope_name_mismatch"),
                ("without scopes", Bad::Claims(json!({"scope": null})), "no_scopes_in_token"),
            ],
        },
    ]
}

#[test]
fn the_five_systems_are_served_on_every_host_and_open_nothing() {
    for system in systems() {
        let signer = Signer::new(system.algorithm, "key-1", 7);
        let forger = Signer::new(system.algorithm, "key-1", 8);
        let configuration = with_local_keys(system.file, &signer);
        let names: Vec<String> = configuration["forward"]["headers"]
            .as_array()
            .unwrap()
            .iter()
            .map(|header| header["name"].as_str().unwrap().to_owned())
            .collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let claims = |changes: &Value| {
            let mut claims = system.claims.clone();
            let times = json!({"iat": NOW - 10, "exp": NOW + 3600});
            for (name, value) in times.as_object().unwrap().iter().chain(changes.as_object().unwrap()) {
                match value {
                    Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
                    value => claims[name] = value.clone(),
                }
            }
            claims
        };
        let call = |(method, path, more): (&str, &str, &[(&str, &str)]), token: &str| {
            let mut headers = request(method, path, token);
            for (name, value) in &mut headers {
                if name == b":authority" {
                    *value = system.host.into();
                }
            }
            headers.extend(
                more.iter().map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec())),
            );
            headers
        };
        for profile in PROFILES {
            let says = |case: &str| format!("{} on {}: {case}", system.file, profile.name);
            let (mut vm, root) = serving(profile, &configuration);
            let token = signer.mint(json!({}), &claims(&json!({})));
            let mut forging = call(system.good, &token);
            forging.push((system.forged.into(), "root".into()));
            let outcome = vm.decide(root, forging);
            assert!(matches!(outcome, Outcome::Passed(_)), "{}: {outcome:?}", says("good"));
            let upstream = upstream(profile, outcome, &names);
            assert_eq!(header(&upstream, "authorization"), None, "{}", says("the token"));
            let values: Vec<_> =
                upstream.iter().filter(|(name, _)| name == system.forged.as_bytes()).collect();
            assert!(values.len() == 1 && values[0].1 != b"root", "{}: {values:?}", says("a forged header"));
            for (case, bad, reason) in &system.bad {
                let outcome = match bad {
                    Bad::Claims(changes) => {
                        vm.decide(root, call(system.good, &signer.mint(json!({}), &claims(changes))))
                    }
                    Bad::Request(method, path, more) => vm.decide(root, call((method, path, more), &token)),
                };
                assert_eq!(refusal(&outcome).1, *reason, "{}", says(case));
            }
            let (method, path, more) = system.good;
            let forged = forger.mint(json!({}), &claims(&json!({})));
            assert_refused(&vm.decide(root, call(system.good, &forged)), 401, "signature_invalid");
            for ambiguous in ["/..", "/%2e%2e/x", "//", "%2f", "%00", ";a=b"] {
                let outcome = vm.decide(root, call((method, &format!("{path}{ambiguous}"), more), &token));
                assert_refused(&outcome, 400, "path_ambiguous");
            }
            let mut other_host = call(system.good, &token);
            other_host.push(("host".into(), "evil.example".into()));
            if !profile.is_envoy() {
                assert_refused(&vm.decide(root, other_host), 400, "host_malformed");
            }
            let stream = vm.begin(Stream { root, headers: call(system.good, "opaque"), ..Stream::default() });
            assert_eq!(refusal(&vm.outcome(stream)).1, "introspection_not_configured", "{}", says("opaque"));
        }
    }
}

fn with_local_keys(file: &str, signer: &Signer) -> Value {
    let path = format!("{}/filter-config/{file}", env!("CARGO_MANIFEST_DIR"));
    let mut configuration = scopegate::config::yaml_to_json(&std::fs::read_to_string(path).unwrap()).unwrap();
    for provider in configuration["providers"].as_object_mut().unwrap().values_mut() {
        let provider = provider.as_object_mut().unwrap();
        provider.remove("remote_jwks");
        provider.remove("introspection");
        provider.insert("local_jwks".to_owned(), jwks([signer]));
    }
    configuration.as_object_mut().unwrap().remove("token_endpoints");
    configuration
}
