//! The guard of token endpoints: whose request passes, with which body, and what is told to the others.

use std::time::Duration;

use base64::Engine as _;
use scopegate::config;
use scopegate::exchange::{
    Decision, Exchange, Facts, HeaderEdits, NoHost, Request, Stage, Step, Surroundings,
};
use scopegate::http::headers::borrowed;
use scopegate::issuer::{Waiter, WaiterId, Worker};
use scopegate::jose::PureVerifier;
use scopegate::token_endpoint::{ErrorCode, Fault, FormFault, MAX_BODY_BYTES};

const CONFIGURATION: &str = r#"
version: 1
realm: erp
providers:
  corp:
    issuer: https://login.example.com
    audiences: ["https://api.erp.com/{tenant}", "https://api.erp.com/status", "urn:shared"]
    local_jwks: {keys: []}
  partner:
    issuer: https://partner.example.com
    audiences: [partner-api]
    local_jwks: {keys: []}
tenant_resolution: {headers: [x-tenant-id], required_evidence: [claim]}
tenants:
  - id: tenant1
    aliases: [t-one]
    providers: [corp, partner]
    audiences: [urn:tenant1]
    hosts: [tenant1.example.com]
    scope_prefix: "tenant1."
    scopes: [{name: finance.write}, {name: journal.create}]
    applications:
      - {client_id: sync1, provider: corp, scopes: [journal.create, finance.write]}
      - {client_id: both, provider: corp, scopes: [finance.write]}
      - {client_id: both, provider: partner, scopes: [journal.create]}
      - {client_id: none, provider: corp}
      - {client_id: shadowed, provider: corp, scopes: [finance.write], scope_enforcement: shadow}
      - {client_id: free, provider: corp, scopes: [finance.write], scope_enforcement: "off"}
      - {client_id: shared, provider: corp, scopes: [finance.write]}
  - id: tenant10
    providers: [corp]
    audiences: [urn:tenant10]
    hosts: [tenant10.example.com]
    scope_prefix: "tenant10."
    scopes: [{name: finance.write}, {name: journal.create}]
    applications:
      - {client_id: sync10, scopes: [journal.create]}
      - {client_id: shared, scopes: [finance.write]}
  - id: open
    providers: [corp]
suites:
  - name: erp
    operations:
      - {name: tokens, path: "/oauth/{endpoint}", requires: [finance.write]}
forward: {headers: [{name: x-tenant-id, value: tenant}, {name: x-client-id, value: client}]}
token_endpoints:
  - {path: /reject, on_unregistered_scope: reject}
  - {path: /narrow, on_unregistered_scope: narrow}
  - {path: /narrow/any, on_unregistered_scope: narrow, grant_types: [password, "urn:ietf:params:oauth:grant-type:device_code"]}
  - {path: /partner, provider: partner}
  - {path: /put, methods: [PUT]}
"#;

const FORM: &str = "application/x-www-form-urlencoded";
const CLIENT_CREDENTIALS: &str = "grant_type=client_credentials&client_id=sync1";

/// How a token request ended.
#[derive(Debug, PartialEq)]
enum End {
    Passes,
    Replaced(String),
    Shadow(Fault),
    Refused(Fault),
    /// It was taken for an ordinary call.
    NoTokenRequest,
}

fn send(path: &str, headers: &[(&str, &str)], body: &[u8]) -> (End, Option<Facts>) {
    walk(CONFIGURATION, "POST", path, headers, body)
}

fn walk(
    configuration: &str,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> (End, Option<Facts>) {
    let worker = &mut Worker::default();
    let mut exchange = Exchange::new(worker.activate(config::parse_yaml(configuration).unwrap().policy));
    let mut all = vec![(":method", method), (":path", path), (":scheme", "https")];
    if !headers.iter().any(|(name, _)| *name == ":authority") {
        all.push((":authority", "api.example.com"));
    }
    if !headers.iter().any(|(name, _)| *name == "content-type") {
        all.push(("content-type", FORM));
    }
    all.extend(headers);
    let all = borrowed(&all);
    let request = Request::new(&all);
    let advance = |exchange: &mut Exchange| {
        let mut surroundings = Surroundings {
            verifier: &PureVerifier,
            client_certificate: &|| None,
            host: &NoHost,
            now: Duration::from_secs(1_700_000_000),
            waiter: Waiter { id: WaiterId(1), bytes: 0 },
            can_log: true,
            calls: &mut Vec::new(),
        };
        exchange.advance(&request, &mut surroundings)
    };
    let mut step = advance(&mut exchange);
    if let Step::AwaitBody = step {
        exchange.deliver_body(Ok(body.to_vec()));
        step = advance(&mut exchange);
    }
    match step {
        Step::Forward(forward) => {
            let mut edits = Edits::default();
            forward.edit(&request, &exchange.active().policy, &mut edits);
            let end = match (forward.body, forward.facts.decision) {
                (None, Decision::Allow) => End::Passes,
                (None, Decision::Shadow) => {
                    let facts = forward.facts.token_request.as_ref().unwrap();
                    End::Shadow(facts.fault.clone().unwrap())
                }
                (Some(body), Decision::Allow) => {
                    if headers.iter().any(|(name, _)| *name == "content-length") {
                        let length = ("content-length".to_owned(), body.len().to_string().into_bytes());
                        assert!(edits.set.contains(&length));
                    }
                    End::Replaced(String::from_utf8(body).unwrap())
                }
                (body, decision) => panic!("{decision:?} with {body:?}"),
            };
            (end, Some(forward.facts))
        }
        Step::RejectTokenRequest(fault, facts) => {
            assert_eq!(facts.decision, Decision::Deny);
            assert_eq!(facts.stage, Stage::TokenRequest);
            (End::Refused(*fault), Some(facts))
        }
        Step::Reject(..) => (End::NoTokenRequest, None),
        Step::Tell(..) => panic!("no metadata is asked for"),
        Step::Await | Step::AwaitBody => panic!("a token request waits for nothing but its body"),
    }
}

#[derive(Default)]
struct Edits {
    removed: Vec<String>,
    set: Vec<(String, Vec<u8>)>,
}

impl HeaderEdits for Edits {
    fn remove(&mut self, name: &[u8]) {
        self.removed.push(String::from_utf8(name.to_vec()).unwrap());
    }

    fn set(&mut self, name: &str, value: &[u8]) {
        self.set.push((name.to_owned(), value.to_vec()));
    }

    fn add(&mut self, _: &str, _: &[u8]) {
        panic!("nothing is to be added to a token request");
    }
}

fn post(path: &str, body: &str) -> End {
    send(path, &[], body.as_bytes()).0
}

fn unregistered(scopes: &[&str]) -> End {
    End::Refused(Fault::ScopesUnregistered(scopes.iter().map(|scope| Box::from(*scope)).collect()))
}

fn with_scope(scope: &str) -> String {
    format!("{CLIENT_CREDENTIALS}&scope={scope}")
}

#[test]
fn a_scope_passes_where_the_tenant_s_prefix_and_the_application_s_name_make_it_whole() {
    assert_eq!(post("/reject", &with_scope("tenant1.finance.write")), End::Passes);
    assert_eq!(post("/reject", &with_scope("tenant1.journal.create+tenant1.finance.write")), End::Passes);
    assert_eq!(post("/reject", &with_scope("tenant1%2ejournal.create%20tenant1.finance.write")), End::Passes);
    for scope in [
        "finance.write",
        "tenant10.finance.write",
        "tenant1.Finance.write",
        "tenant1.finance",
        "tenant1.finance.write2",
        "tenant1.tenant1.finance.write",
        "tenant1.",
        "Tenant1.finance.write",
        "*",
    ] {
        assert_eq!(post("/reject", &with_scope(scope)), unregistered(&[scope]), "{scope}");
        assert_eq!(post("/narrow", &with_scope(scope)), unregistered(&[scope]), "{scope}");
    }
    let mixed = with_scope("x+tenant1.finance.write+y");
    assert_eq!(post("/reject", &mixed), unregistered(&["x", "y"]));
}

#[test]
fn narrowing_takes_out_what_is_not_registered_and_nothing_else() {
    assert_eq!(
        post("/narrow", "scope=x+tenant1.journal.create+y+tenant1.finance.write&client_secret=%7e&grant_type=client_credentials&client_id=sync1"),
        End::Replaced("scope=tenant1.journal.create+tenant1.finance.write&client_secret=%7e&grant_type=client_credentials&client_id=sync1".to_owned())
    );
    assert_eq!(post("/narrow", &with_scope("tenant1.finance.write")), End::Passes);
    let body = with_scope("x+tenant1.finance.write");
    let length = body.len().to_string();
    let (end, _) = send("/narrow", &[("content-length", &length)], body.as_bytes());
    assert_eq!(end, End::Replaced(with_scope("tenant1.finance.write")));
}

#[test]
fn without_a_scope_reject_passes_and_narrow_puts_the_application_s_in() {
    let all = "tenant1.finance.write+tenant1.journal.create";
    for absent in ["", "&scope=", "&scope"] {
        let body = format!("{CLIENT_CREDENTIALS}{absent}");
        assert_eq!(post("/reject", &body), End::Passes);
        assert_eq!(post("/narrow", &body), End::Replaced(with_scope(all)), "{body}");
    }
    let none = "grant_type=client_credentials&client_id=none";
    assert_eq!(post("/reject", none), End::Passes);
    assert_eq!(post("/narrow", none), End::Refused(Fault::NoScopeAssigned));
    assert_eq!(post("/narrow/any", "grant_type=password&client_id=sync1"), {
        End::Replaced(format!("grant_type=password&client_id=sync1&scope={all}"))
    });
}

#[test]
fn a_grant_that_fixed_its_scope_before_is_given_none_and_may_ask_for_registered_ones_only() {
    for grant in ["authorization_code&code=c", "refresh_token&refresh_token=r"] {
        for path in ["/reject", "/narrow"] {
            let body = format!("grant_type={grant}&client_id=sync1");
            assert_eq!(post(path, &body), End::Passes, "{path} {grant}");
            assert_eq!(post(path, &format!("{body}&scope=tenant1.finance.write")), End::Passes);
            assert_eq!(post(path, &format!("{body}&scope=tenant10.finance.write")), {
                unregistered(&["tenant10.finance.write"])
            });
        }
    }
    let device = "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Adevice_code&client_id=sync1";
    assert_eq!(post("/narrow/any", device), End::Passes);
}

#[test]
fn a_scope_that_is_no_list_of_tokens_is_malformed() {
    for scope in ["+", "a++b", "+a", "a+", "a%09b", "a%0Ab", "%22a%22", "a%5C", "caf%C3%A9", "a%00"] {
        for path in ["/reject", "/narrow"] {
            assert_eq!(post(path, &with_scope(scope)), End::Refused(Fault::ScopeMalformed), "{scope}");
        }
    }
}

#[test]
fn only_the_grants_of_the_endpoint_pass() {
    for grant in [
        "password",
        "Client_credentials",
        "client_credentials+",
        "urn:ietf:params:oauth:grant-type:jwt-bearer",
    ] {
        let body = format!("grant_type={grant}&client_id=sync1");
        assert_eq!(post("/reject", &body), End::Refused(Fault::GrantType), "{grant}");
    }
    assert_eq!(post("/narrow/any", CLIENT_CREDENTIALS), End::Refused(Fault::GrantType));
    for body in ["client_id=sync1", "grant_type=&client_id=sync1"] {
        assert_eq!(post("/reject", body), End::Refused(Fault::Missing("grant_type")));
    }
}

#[test]
fn the_client_must_be_registered_with_one_tenant_in_all() {
    let by =
        |path: &str, client: &str| post(path, &format!("grant_type=client_credentials&client_id={client}"));
    assert_eq!(by("/reject", "sync1"), End::Passes);
    assert_eq!(by("/reject", "sync10"), End::Passes);
    for unknown in ["sync", "Sync1", "sync1%00", "sync1%20", "tenant1", "open"] {
        assert_eq!(by("/reject", unknown), End::Refused(Fault::UnknownClient), "{unknown}");
    }
    assert_eq!(by("/reject", "shared"), End::Refused(Fault::SharedClient));
    // One tenant, but the clients of two providers, which are assigned different scopes.
    assert_eq!(by("/reject", "both"), End::Refused(Fault::SharedClient));
    assert_eq!(by("/partner", "both"), End::Passes);
    assert_eq!(by("/partner", "sync1"), End::Refused(Fault::UnknownClient));
    let scope = |name: &str| format!("grant_type=client_credentials&client_id=both&scope=tenant1.{name}");
    assert_eq!(post("/partner", &scope("journal.create")), End::Passes);
    assert_eq!(post("/partner", &scope("finance.write")), unregistered(&["tenant1.finance.write"]));
}

#[test]
fn the_request_s_evidence_must_name_the_client_s_tenant() {
    let with = |headers: &[(&str, &str)]| send("/reject", headers, CLIENT_CREDENTIALS.as_bytes()).0;
    for name in ["tenant1", "t-one", " tenant1 "] {
        assert_eq!(with(&[("x-tenant-id", name)]), End::Passes, "{name}");
    }
    assert_eq!(with(&[(":authority", "Tenant1.example.com:443")]), End::Passes);
    for name in ["tenant10", "tenant", "Tenant1", "unknown"] {
        assert_eq!(with(&[("x-tenant-id", name)]), End::Refused(Fault::OtherTenant), "{name}");
    }
    assert_eq!(with(&[(":authority", "tenant10.example.com")]), End::Refused(Fault::OtherTenant));
    assert_eq!(with(&[(":authority", "tenant10.example.com"), ("x-tenant-id", "tenant1")]), {
        End::Refused(Fault::OtherTenant)
    });
    for name in ["", "tenant1,tenant1", "tenant1,"] {
        assert_eq!(
            with(&[("x-tenant-id", name)]),
            End::Refused(Fault::MalformedHeader("x-tenant-id".into()))
        );
    }
    assert_eq!(with(&[("x-tenant-id", "tenant1"), ("x-tenant-id", "tenant1")]), {
        End::Refused(Fault::MalformedHeader("x-tenant-id".into()))
    });
}

#[test]
fn an_audience_or_resource_must_be_the_tenant_s_own() {
    for parameter in ["audience", "resource"] {
        let with = |values: &[&str]| {
            let values: String = values.iter().map(|value| format!("&{parameter}={value}")).collect();
            post("/reject", &format!("{CLIENT_CREDENTIALS}{values}"))
        };
        for own in [
            "https://api.erp.com/tenant1",
            "https%3A%2F%2Fapi.erp.com%2Ft-one",
            "https://api.erp.com/status",
            "urn:tenant1",
            "urn:shared",
            "urn:unrelated",
            "https://api.erp.org/tenant10",
            "",
        ] {
            assert_eq!(with(&[own]), End::Passes, "{own}");
        }
        assert_eq!(with(&["urn:tenant1", "urn:shared"]), End::Passes);
        let refused = End::Refused(Fault::OtherTarget(parameter));
        for other in [
            "https://api.erp.com/tenant10",
            "https://api.erp.com/tenant10/",
            "HTTPS://API.ERP.COM/tenant10",
            "https://api.erp.com/tenant1%2530",
            "https://api.erp.com/unknown",
            "https://api.erp.com/",
            "https://api.erp.com/tenant1/../tenant10",
            "urn:tenant10",
        ] {
            assert_eq!(with(&[other]), refused, "{other}");
            assert_eq!(with(&["urn:tenant1", other]), refused, "{other}");
        }
    }
}

#[test]
fn where_an_audience_begins_with_the_tenant_only_what_it_matches_is_a_tenants() {
    let file = CONFIGURATION.replace("\"urn:shared\"]", "\"urn:shared\", \"{tenant}.erp.com\"]");
    for (target, passes) in [
        ("tenant1.erp.com", true),
        ("tenant10.erp.com", false),
        ("unknown.erp.com", false),
        ("tenant10.erp.org", true),
        ("urn:unrelated", true),
        ("urn:tenant10", false),
    ] {
        let body = format!("{CLIENT_CREDENTIALS}&resource={target}");
        let end = walk(&file, "POST", "/reject", &[], body.as_bytes()).0;
        let refused = End::Refused(Fault::OtherTarget("resource"));
        assert_eq!(end, if passes { End::Passes } else { refused }, "{target}");
    }
}

#[test]
fn scopes_in_shadow_are_told_and_left_alone_and_those_switched_off_are_not_looked_at() {
    let by =
        |client: &str, scope: &str| format!("grant_type=client_credentials&client_id={client}&scope={scope}");
    for path in ["/reject", "/narrow"] {
        let unregistered = Fault::ScopesUnregistered(Box::new(["x".into()]));
        assert_eq!(post(path, &by("shadowed", "x+tenant1.finance.write")), End::Shadow(unregistered));
        assert_eq!(post(path, &by("shadowed", "tenant1.finance.write")), End::Passes);
        assert_eq!(post(path, &by("free", "x")), End::Passes);
        // Neither lifts anything but scopes.
        for client in ["shadowed", "free"] {
            let other = format!("{}&resource=urn:tenant10", by(client, "x"));
            assert_eq!(post(path, &other), End::Refused(Fault::OtherTarget("resource")));
        }
    }
    let file = CONFIGURATION.replace("realm: erp", "scopes_per_application: false");
    let body = with_scope("x");
    assert_eq!(walk(&file, "POST", "/reject", &[], body.as_bytes()).0, End::Passes);
}

#[test]
fn a_body_that_is_no_plain_form_is_refused() {
    let with = |headers: &[(&str, &str)]| send("/reject", headers, CLIENT_CREDENTIALS.as_bytes()).0;
    for good in [
        "application/x-www-form-urlencoded",
        "Application/X-WWW-Form-Urlencoded",
        "application/x-www-form-urlencoded;charset=UTF-8",
        "application/x-www-form-urlencoded ; charset=\"utf-8\" ;",
    ] {
        assert_eq!(with(&[("content-type", good)]), End::Passes, "{good}");
    }
    for odd in [
        "",
        "application/json",
        "multipart/form-data; boundary=a",
        "text/plain",
        "application/x-www-form-urlencoded2",
        "application/x-www-form-urlencoded, application/json",
        "application/x-www-form-urlencoded; charset=utf-16",
        "application/x-www-form-urlencoded; charset=ibm500",
        "application/x-www-form-urlencoded; charset=utf-8; boundary=a",
    ] {
        assert_eq!(with(&[("content-type", odd)]), End::Refused(Fault::ContentType), "{odd}");
    }
    assert_eq!(with(&[("content-type", FORM), ("content-type", FORM)]), End::Refused(Fault::ContentType));
    assert_eq!(with(&[("content-encoding", "identity")]), End::Passes);
    for coding in ["gzip", "br", "identity, gzip", "", "deflate"] {
        assert_eq!(with(&[("content-encoding", coding)]), End::Refused(Fault::ContentEncoding), "{coding}");
    }
    assert_eq!(with(&[("content-length", "65536")]), End::Passes);
    for length in ["65537", "99999999999999999999999", "-1", "0x10", ""] {
        assert_eq!(with(&[("content-length", length)]), End::Refused(Fault::TooLarge), "{length}");
    }
    let of_length = |length: usize| {
        format!("{CLIENT_CREDENTIALS}&x={}", "a".repeat(length - CLIENT_CREDENTIALS.len() - 3))
    };
    assert_eq!(post("/reject", &of_length(MAX_BODY_BYTES - 1)), End::Passes);
    assert_eq!(post("/reject", &of_length(MAX_BODY_BYTES)), End::Passes);
    assert_eq!(post("/reject", &of_length(MAX_BODY_BYTES + 1)), End::Refused(Fault::TooLarge));
    for (body, fault) in [
        ("a=%zz", FormFault::Escape),
        ("a=1;scope=b", FormFault::Character),
        ("client_id=sync1&client_id=sync1", FormFault::Repeated(Some("client_id"))),
    ] {
        assert_eq!(post("/reject", body), End::Refused(Fault::Form(fault)), "{body}");
    }
}

#[test]
fn a_parameter_in_the_query_is_refused_and_another_query_is_not() {
    for query in ["?", "?p=policy", "?a=1&b=2&a=3"] {
        assert_eq!(post(&format!("/reject{query}"), CLIENT_CREDENTIALS), End::Passes, "{query}");
    }
    for query in ["?scope=x", "?a=1&sc%6Fpe=x", "?scope"] {
        assert_eq!(
            post(&format!("/reject{query}"), CLIENT_CREDENTIALS),
            End::Refused(Fault::InQuery("scope"))
        );
    }
    for query in ["?a=1;scope=x", "?Scope=x", "?a=%", "?scope[]=x"] {
        assert_eq!(
            post(&format!("/reject{query}"), CLIENT_CREDENTIALS),
            End::Refused(Fault::Query),
            "{query}"
        );
    }
}

#[test]
fn a_token_request_is_told_by_path_and_method_before_any_operation() {
    let at =
        |method: &str, path: &str| walk(CONFIGURATION, method, path, &[], CLIENT_CREDENTIALS.as_bytes()).0;
    assert_eq!(at("POST", "/reject"), End::Passes);
    assert_eq!(at("POST", "/%72eject"), End::Passes);
    assert_eq!(at("PUT", "/put"), End::Passes);
    assert_eq!(at("POST", "/reject;a"), End::NoTokenRequest);
    assert_eq!(at("POST", "/rejected"), End::NoTokenRequest);
    assert_eq!(at("POST", "/reject/x"), End::NoTokenRequest);
    let over_operation = CONFIGURATION.replace("path: /reject", "path: /oauth/token");
    assert_eq!(
        walk(&over_operation, "POST", "/oauth/token", &[], CLIENT_CREDENTIALS.as_bytes()).0,
        End::Passes
    );
    assert_eq!(walk(CONFIGURATION, "POST", "/oauth/token", &[], b"").0, End::NoTokenRequest);
}

#[test]
fn another_spelling_or_method_of_a_guarded_path_is_refused_whatever_is_mapped_there() {
    let open = CONFIGURATION.replace(
        "forward:",
        "  - {name: idp, operations: [{name: all, path: /**, access: public}]}\nforward:",
    ) + "unmatched: allow\n"
        + "bypass_cors_preflight: true\n";
    let with_escapes = open.replace("path: /reject", "path: /re$ject");
    for (configuration, method, path) in [
        (&open, "POST", "/reject/"),
        (&open, "POST", "/REJECT"),
        (&open, "POST", "/%52eject"),
        (&open, "POST", "/Narrow/Any/?a=1"),
        (&open, "POST", "/reject%20"),
        (&open, "POST", "/reject."),
        (&open, "POST", "/reject%0A"),
        (&open, "POST", "/reject%3Ba=b"),
        (&open, "POST", "/reject.json"),
        (&with_escapes, "POST", "/re%24ject"),
        (&with_escapes, "POST", "/Re%24ject/"),
        (&open, "PUT", "/Reject"),
    ] {
        let end = walk(configuration, method, path, &[], CLIENT_CREDENTIALS.as_bytes()).0;
        assert!(
            matches!(&end, End::Refused(fault) if fault.to_string().contains("spelt")),
            "{path}: {end:?}"
        );
    }
    assert_eq!(walk(&with_escapes, "POST", "/re$ject", &[], CLIENT_CREDENTIALS.as_bytes()).0, End::Passes);
    for (method, path) in [
        ("post", "/reject"),
        ("PUT", "/reject"),
        ("GET", "/reject?a=b"),
        ("POST", "/put"),
        ("OPTIONS", "/reject"),
    ] {
        let end = walk(&open, method, path, &[], b"").0;
        assert!(
            matches!(&end, End::Refused(fault) if fault.to_string().contains("method")),
            "{method}: {end:?}"
        );
    }
    assert_eq!(walk(&open, "GET", "/reject/x", &[], b"").0, End::Passes, "another resource");
}

#[test]
fn a_preflight_at_a_guarded_path_passes_only_where_it_asks_for_nothing() {
    let bypassing = format!("{CONFIGURATION}bypass_cors_preflight: true\n");
    let preflight = [("origin", "https://app.example"), ("access-control-request-method", "POST")];
    let at = |path: &str, body: &[u8]| walk(&bypassing, "OPTIONS", path, &preflight, body).0;
    assert_eq!(at("/reject", b""), End::Passes);
    assert_eq!(at("/elsewhere", b""), End::Passes);
    for (path, body) in [
        ("/reject", CLIENT_CREDENTIALS.as_bytes()),
        ("/reject?scope=x", b""),
        ("/reject/", CLIENT_CREDENTIALS.as_bytes()),
    ] {
        assert!(matches!(at(path, body), End::Refused(_)), "{path}");
    }
}

#[test]
fn scopes_of_openid_connect_are_nobodys_api_scopes_and_stay() {
    assert_eq!(post("/reject", &with_scope("openid+tenant1.finance.write+profile")), End::Passes);
    assert_eq!(
        post("/reject", &with_scope("openid+profile+email+address+phone+offline_access")),
        End::Passes
    );
    assert_eq!(post("/narrow", &with_scope("openid+email")), End::Passes);
    assert_eq!(post("/narrow", &with_scope("openid+x+tenant1.finance.write")), {
        End::Replaced(with_scope("openid+tenant1.finance.write"))
    });
    assert_eq!(post("/narrow", &with_scope("openid+x")), End::Replaced(with_scope("openid")));
    assert_eq!(post("/narrow", &with_scope("y+x")), unregistered(&["y", "x"]));
    assert_eq!(post("/reject", &with_scope("openid+x")), unregistered(&["x"]));
    assert_eq!(post("/reject", &with_scope("OpenID")), unregistered(&["OpenID"]));
    let strict = CONFIGURATION.replace(
        "{path: /reject, on_unregistered_scope: reject}",
        "{path: /reject, on_unregistered_scope: reject, passed_scopes: [device]}",
    );
    let at = |scope: &str| walk(&strict, "POST", "/reject", &[], with_scope(scope).as_bytes()).0;
    assert_eq!(at("device"), End::Passes);
    assert_eq!(at("openid"), unregistered(&["openid"]));
    // A scope that the tenant declares is an API scope, whatever its name.
    let declared = CONFIGURATION
        .replace("{name: finance.write}", "{name: email}, {name: finance.write}")
        .replace("tenant1.\"", "\"");
    let declared = declared.replace("scope_prefix: \"\"", "");
    let end = walk(&declared, "POST", "/reject", &[], with_scope("email").as_bytes()).0;
    assert_eq!(end, unregistered(&["email"]));
}

#[test]
fn client_id_names_the_client_of_an_assertion_that_somebody_else_issued() {
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let by = |claims: &str, client: &str| {
        let kind = "urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer";
        let assertion = format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims));
        post(
            "/reject",
            &format!(
                "grant_type=client_credentials{client}&client_assertion_type={kind}&client_assertion={assertion}"
            ),
        )
    };
    let issued = r#"{"iss":"https://cluster.example","sub":"system:serviceaccount:billing:sync"}"#;
    assert_eq!(by(issued, "&client_id=sync1"), End::Passes);
    assert_eq!(by(issued, "&client_id=nobody"), End::Refused(Fault::UnknownClient));
    assert_eq!(by(issued, ""), End::Refused(Fault::AssertionMalformed));
    // Whoever reads the client from the assertion must not find another one there.
    for claims in [r#"{"iss":"https://cluster.example","sub":"sync10"}"#, r#"{"iss":"sync10","sub":"x"}"#] {
        assert_eq!(by(claims, "&client_id=sync1"), End::Refused(Fault::ClientsDiffer), "{claims}");
    }
    assert_eq!(by(r#"{"iss":"https://cluster.example","sub":"sync1"}"#, "&client_id=sync1"), End::Passes);
}

#[test]
fn the_facts_name_tenant_and_client_once_they_are_certain() {
    let client = |body: &str| {
        let facts = send("/reject", &[], body.as_bytes()).1.unwrap();
        facts.token_request.unwrap().client.map(|client| client.client_id.to_string())
    };
    assert_eq!(client(CLIENT_CREDENTIALS), Some("sync1".to_owned()));
    assert_eq!(client(&with_scope("x")), Some("sync1".to_owned()));
    assert_eq!(client("grant_type=client_credentials&client_id=shared"), None);
    assert_eq!(client("grant_type=client_credentials&client_id=nobody"), None);
}

#[test]
fn what_a_client_could_say_in_the_filter_s_place_goes_and_its_credential_stays() {
    let worker = &mut Worker::default();
    let mut exchange = Exchange::new(worker.activate(config::parse_yaml(CONFIGURATION).unwrap().policy));
    let basic = base64::engine::general_purpose::STANDARD.encode("sync1:secret");
    let authorization = format!("Basic {basic}");
    let headers = [
        (":method", "POST"),
        (":path", "/reject"),
        ("content-type", FORM),
        ("authorization", authorization.as_str()),
        ("x-tenant-id", "tenant1"),
        ("x_tenant_id", "tenant10"),
        ("x-client-id", "root"),
        ("x-http-method-override", "PUT"),
    ];
    let headers = borrowed(&headers);
    let request = Request::new(&headers);
    exchange.deliver_body(Ok(b"grant_type=client_credentials".to_vec()));
    let mut surroundings = Surroundings {
        verifier: &PureVerifier,
        client_certificate: &|| None,
        host: &NoHost,
        now: Duration::ZERO,
        waiter: Waiter { id: WaiterId(1), bytes: 0 },
        can_log: true,
        calls: &mut Vec::new(),
    };
    let Step::Forward(forward) = exchange.advance(&request, &mut surroundings) else { panic!("it passes") };
    let mut edits = Edits::default();
    forward.edit(&request, &exchange.active().policy, &mut edits);
    assert_eq!(edits.removed, ["x-tenant-id", "x_tenant_id", "x-client-id", "x-http-method-override"]);
    assert!(edits.set.is_empty(), "{:?}", edits.set);
}

#[test]
fn an_answer_is_an_error_of_rfc_6749_section_5_2() {
    let faults = [
        Fault::ContentType,
        Fault::Form(FormFault::Repeated(None)),
        Fault::UnknownClient,
        Fault::SharedClient,
        Fault::GrantType,
        Fault::OtherTarget("resource"),
        Fault::ScopesUnregistered(Box::new(["a:b".into(), "c".into()])),
    ];
    let codes = [
        ErrorCode::InvalidRequest,
        ErrorCode::InvalidRequest,
        ErrorCode::InvalidClient,
        ErrorCode::UnauthorizedClient,
        ErrorCode::UnsupportedGrantType,
        ErrorCode::InvalidTarget,
        ErrorCode::InvalidScope,
    ];
    let names: Vec<&str> = ErrorCode::ALL.into_iter().map(ErrorCode::as_str).collect();
    assert_eq!(
        names,
        [
            "invalid_request",
            "invalid_client",
            "unauthorized_client",
            "unsupported_grant_type",
            "invalid_scope",
            "invalid_target",
            "temporarily_unavailable",
        ]
    );
    let busy = Fault::Overloaded.answer("erp", true, false);
    assert_eq!((busy.status, busy.headers.get("retry-after")), (503, Some("1")));
    for (fault, code) in faults.into_iter().zip(codes) {
        assert_eq!(fault.error(), code);
        for has_authorization in [false, true] {
            let is_challenged = has_authorization && code == ErrorCode::InvalidClient;
            let answer = fault.answer("erp", has_authorization, false);
            assert_eq!(answer.status, if is_challenged { 401 } else { 400 });
            let header = |name: &str| answer.headers.get(name);
            assert_eq!(header("content-type"), Some("application/json"));
            assert_eq!(header("cache-control"), Some("no-store"));
            assert_eq!(header("pragma"), Some("no-cache"));
            assert_eq!((header("retry-after"), answer.grpc_status), (None, -1));
            assert_eq!(header("www-authenticate"), is_challenged.then_some("Basic realm=\"erp\""));
            let body: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
            assert_eq!(
                body,
                serde_json::json!({"error": code.as_str(), "error_description": fault.description()})
            );
        }
        let stripped = fault.answer("erp", true, true);
        assert_eq!(stripped.body, format!("{{\"error\":\"{}\"}}", code.as_str()));
    }
}

#[test]
fn a_description_holds_no_character_that_rfc_6749_section_5_2_forbids() {
    let text = Fault::ScopesUnregistered(Box::new(["a\"b\\c\n\u{e9}~!".into()])).description();
    assert!(text.ends_with(": abc~!"), "{text}");
}

#[test]
fn an_answer_names_a_bounded_number_of_scopes_of_bounded_length() {
    let scopes: Vec<Box<str>> = (0..1000).map(|_| "a".repeat(60).into()).collect();
    let text = Fault::ScopesUnregistered(scopes.into()).description();
    assert!(text.ends_with(" and 980 more"), "{text}");
    let text = Fault::ScopesUnregistered(Box::new(["b".repeat(60_000).into()])).description();
    assert!(text.len() < 200 && text.ends_with("b..."), "{text}");
    let exact = "c".repeat(128);
    assert!(
        Fault::ScopesUnregistered(Box::new([exact.as_str().into()]))
            .description()
            .ends_with(&format!(" {exact}"))
    );
}
