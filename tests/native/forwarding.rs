//! What the upstream is told, and what no client can tell it in the filter's place.

use crate::gateway::{Call, Gateway, ISSUER, overlay, provider, token};
use proptest::prelude::*;
use proptest::sample::select;
use scopegate::exchange::{Decision, Stage};
use scopegate::respond::Reason;
use serde_json::{Value, json};

const TOLD: [(&str, &str); 10] = [
    ("x-told-tenant", "tenant"),
    ("x-told-client", "client"),
    ("x-told-subject", "subject"),
    ("x-told-scopes", "scopes"),
    ("x-told-permissions", "permissions"),
    ("x-told-suite", "suite"),
    ("x-told-operation", "operation"),
    ("x-told-issuer", "issuer"),
    ("x-told-level", "claim:ctx.level"),
    ("x-told-roles", "claim:https://erp.example/roles"),
];

fn config() -> Value {
    json!({
        "version": 1,
        "providers": {"idp": provider(json!({
            "from_headers": [{"name": "authorization", "value_prefix": "Bearer "}, {"name": "x-token"}],
            "from_cookies": ["session"],
            "from_params": ["access_token"],
        }))},
        "tenant_resolution": {"claims": ["tenant_id"], "headers": ["x-org"]},
        "tenants": [{"id": "acme", "aliases": ["a5c1"], "scope_prefix": "acme.",
                     "scope_mapping": {"write": ["store", "write"]}}],
        "suites": [{"name": "billing", "operations": [
            {"name": "write", "path": "/write", "requires": ["write"]},
            {"name": "version", "path": "/version", "requires": ["write"],
             "headers": [{"name": "x-api-version", "value": "v2", "default": "v2"}]},
            {"name": "open", "path": "/open", "access": "public"},
            {"name": "who", "path": "/who", "access": "authenticated"},
        ]}],
        "forward": {"headers": TOLD.map(|(name, value)| json!({"name": name, "value": value}))},
    })
}

fn with(key: &str, value: Value) -> Value {
    overlay(config(), json!({key: value}))
}

fn of_acme(changes: Value) -> String {
    let good = json!({
        "tenant_id": "a5c1", "client_id": "sync", "scope": "acme.write acme.extra foreign",
        "ctx": {"level": "gold"}, "https://erp.example/roles": ["x", {"y": 1}],
    });
    token(overlay(good, changes))
}

fn told(call: &Call, config: &Value) -> Vec<(&'static str, String)> {
    let passed = Gateway::new(config).call(call).passed();
    TOLD.iter().filter_map(|(name, _)| Some((*name, passed.value(name)?))).collect()
}

/// Headers with which a client tries to speak in the filter's place. Each has a value that begins with `evil`.
fn spoofed(call: Call) -> Call {
    let mut call = call;
    for (name, _) in TOLD {
        for spelling in
            [name.to_owned(), name.replace('-', "_"), name.replace('-', "."), name.replacen('-', "_", 1)]
        {
            call = call.header(&spelling, "evil").header(&spelling, "evil2");
        }
    }
    for name in [
        "x_org",
        "x.org",
        "x_api_version",
        "x-api_version",
        "x.api-version",
        "x-http-method",
        "x-http-method-override",
        "x-method-override",
        "x_http_method_override",
        "x.method.override",
        "x-original-url",
        "x-rewrite-url",
        "x_original_url",
        "x_token",
        "x.token",
    ] {
        call = call.header(name, "evil");
    }
    call
}

/// Headers that are the client's own business.
const INNOCENT: [(&str, &str); 6] = [
    ("x-told-tenants", "kept"),
    ("x-told", "kept"),
    ("xtoldtenant", "kept"),
    ("x-http-methods", "kept"),
    ("user-agent", "kept"),
    ("x_other", "kept"),
];

/// Every way on which a request is forwarded, with the decision that it shows.
fn ways() -> Vec<(&'static str, Value, Call, Decision)> {
    let bearer = |path: &str, token: String| Call::get(path).bearer(&token);
    let shadow = || with("scope_enforcement", json!("shadow"));
    let preflight = Call::new("OPTIONS", "/write")
        .header("origin", "https://app.example")
        .header("access-control-request-method", "POST");
    vec![
        ("normal", config(), bearer("/write", of_acme(json!({}))), Decision::Allow),
        ("authenticated", config(), bearer("/who", of_acme(json!({"scope": null}))), Decision::Allow),
        ("public", config(), Call::get("/open"), Decision::Allow),
        ("public with a token", config(), bearer("/open", of_acme(json!({}))), Decision::Allow),
        ("unmatched: allow", with("unmatched", json!("allow")), Call::get("/elsewhere"), Decision::Allow),
        (
            "unmatched: authenticated",
            with("unmatched", json!("authenticated")),
            bearer("/elsewhere", of_acme(json!({}))),
            Decision::Allow,
        ),
        ("shadow", shadow(), bearer("/write", of_acme(json!({"scope": "acme.x"}))), Decision::Shadow),
        ("shadow, unmatched", shadow(), bearer("/elsewhere", of_acme(json!({}))), Decision::Shadow),
        (
            "off",
            with("scope_enforcement", json!("off")),
            bearer("/write", of_acme(json!({"scope": ""}))),
            Decision::Allow,
        ),
        ("preflight", with("bypass_cors_preflight", json!(true)), preflight, Decision::Allow),
    ]
}

#[test]
fn on_no_way_does_a_client_speak_in_the_filters_place() {
    for (way, config, call, decision) in ways() {
        let before = Gateway::new(&config).call(&call).passed();
        let mut call = spoofed(call);
        for (name, value) in INNOCENT {
            call = call.header(name, value);
        }
        let passed = Gateway::new(&config).call(&call).passed();
        assert_eq!(passed.decision, decision, "{way}");
        for (name, value) in &passed.headers {
            assert!(!value.starts_with(b"evil"), "{way}: `{name}` of the client reaches the upstream");
        }
        for (name, value) in INNOCENT {
            assert_eq!(passed.value(name).as_deref(), Some(value), "{way}: {name}");
        }
        for (name, _) in TOLD {
            assert_eq!(passed.values(name), before.values(name), "{way}: {name}");
        }
        for name in [":method", ":path", ":authority", ":scheme"] {
            assert_eq!(passed.values(name).len(), 1, "{way}: {name}");
        }
    }
}

#[test]
fn what_speaks_of_another_host_goes_where_hosts_tell_tenants_apart() {
    let sent = |config: &Value| {
        let call = Call::get("/open").header("x-forwarded-host", "evil").header("forwarded", "host=evil");
        let passed = Gateway::new(config).call(&call).passed();
        ["x-forwarded-host", "forwarded"].map(|name| passed.value(name).is_some())
    };
    assert_eq!(sent(&config()), [true, true]);
    let mut hosted = config();
    hosted["tenants"][0]["hosts"] = json!(["billing.acme.example"]);
    assert_eq!(sent(&hosted), [false, false]);
    let mut suite = config();
    suite["suites"][0]["hosts"] = json!(["{tenant}.example", "api.example"]);
    suite["unmatched"] = json!("allow");
    assert_eq!(sent(&suite), [false, false]);
    hosted["forward"]["keep_forwarded_host"] = json!(true);
    assert_eq!(sent(&hosted), [true, true]);
}

#[test]
fn evidence_and_matcher_headers_themselves_reach_the_upstream() {
    let call = Call::get("/version")
        .bearer(&of_acme(json!({})))
        .header("x-org", "acme")
        .header("x-api-version", "v2");
    let passed = Gateway::new(&config()).call(&call).passed();
    assert_eq!(passed.value("x-org").as_deref(), Some("acme"));
    assert_eq!(passed.value("x-api-version").as_deref(), Some("v2"));
}

#[test]
fn an_evidence_header_that_is_forwarded_too_says_what_was_decided() {
    let mut config = config();
    config["forward"]["headers"] = json!([{"name": "X-Org", "value": "tenant"}]);
    let call = Call::get("/write").bearer(&of_acme(json!({}))).header("x-org", "a5c1");
    let passed = Gateway::new(&config).call(&call).passed();
    assert_eq!(passed.values("x-org"), ["acme"]);
    // As well where nobody resolved a tenant.
    let passed = Gateway::new(&config).call(&Call::get("/open").header("x-org", "acme")).passed();
    assert_eq!(passed.values("x-org"), Vec::<String>::new());
}

#[test]
fn the_upstream_is_told_what_was_found_out() {
    let call = Call::get("/write").bearer(&of_acme(json!({})));
    assert_eq!(
        told(&call, &config()),
        [
            ("x-told-tenant", "acme".to_owned()),
            ("x-told-client", "sync".to_owned()),
            ("x-told-subject", "alice".to_owned()),
            ("x-told-scopes", "write extra".to_owned()),
            ("x-told-permissions", "store write extra".to_owned()),
            ("x-told-suite", "billing".to_owned()),
            ("x-told-operation", "write".to_owned()),
            ("x-told-issuer", ISSUER.to_owned()),
            ("x-told-level", "gold".to_owned()),
            ("x-told-roles", "[\"x\",{\"y\":1}]".to_owned()),
        ]
    );
}

#[test]
fn what_the_token_does_not_say_is_not_told() {
    let bare =
        of_acme(json!({"client_id": null, "ctx": null, "https://erp.example/roles": null, "sub": null}));
    let told = told(&Call::get("/write").bearer(&bare), &config());
    let names: Vec<&str> = told.iter().map(|(name, _)| *name).collect();
    assert_eq!(
        names,
        [
            "x-told-tenant",
            "x-told-scopes",
            "x-told-permissions",
            "x-told-suite",
            "x-told-operation",
            "x-told-issuer"
        ]
    );
}

#[test]
fn without_a_principal_nothing_is_told_of_one() {
    for (way, config, call, _) in ways() {
        let told = told(&call, &config);
        let tells = |name: &str| told.iter().any(|(told, _)| *told == name);
        let has_principal = matches!(
            way,
            "normal" | "authenticated" | "unmatched: authenticated" | "shadow" | "shadow, unmatched" | "off"
        );
        for name in ["x-told-tenant", "x-told-client", "x-told-subject", "x-told-issuer", "x-told-level"] {
            assert_eq!(tells(name), has_principal, "{way}: {name}");
        }
        let has_operation =
            matches!(way, "normal" | "authenticated" | "public" | "public with a token" | "shadow" | "off");
        for name in ["x-told-suite", "x-told-operation"] {
            assert_eq!(tells(name), has_operation, "{way}: {name}");
        }
    }
}

#[test]
fn in_shadow_the_upstream_is_told_no_more_than_the_token_grants() {
    let call = Call::get("/write").bearer(&of_acme(json!({"scope": "acme.extra other"})));
    let told = told(&call, &with("scope_enforcement", json!("shadow")));
    assert!(told.contains(&("x-told-permissions", "extra".to_owned())), "{told:?}");
    assert!(told.contains(&("x-told-scopes", "extra".to_owned())), "{told:?}");
}

// ---- the credential

#[test]
fn the_credential_is_taken_out_wherever_it_stood() {
    let token = of_acme(json!({}));
    let gateway = Gateway::new(&config());
    let passed = |call: Call| gateway.call(&call).passed();
    let left = |call: Call| {
        let passed = passed(call);
        assert!(
            passed.headers.iter().all(|(_, value)| !String::from_utf8_lossy(value).contains(&token)),
            "{passed:?}"
        );
        passed
    };
    assert_eq!(left(Call::get("/write").bearer(&token)).values("authorization").len(), 0);
    assert_eq!(
        left(Call::get("/write").header("authorization", format!("bEaReR   {token}")))
            .values("authorization")
            .len(),
        0
    );
    assert_eq!(left(Call::get("/write").header("x-token", &token)).values("x-token").len(), 0);

    let cookie = |cookie: String| left(Call::get("/write").header("cookie", cookie)).values("cookie");
    assert_eq!(cookie(format!("session={token}")), Vec::<String>::new());
    assert_eq!(cookie(format!("a=1; session={token}; b=2")), ["a=1; b=2"]);
    assert_eq!(cookie(format!("session={token}; xsession=3; sessionx=4")), ["xsession=3; sessionx=4"]);
    let two = Call::get("/write").header("cookie", format!("session={token}")).header("cookie", "b=2; c=3");
    assert_eq!(left(two).values("cookie"), ["b=2; c=3"]);

    let path = |path: String| left(Call::get(&path)).value(":path").unwrap();
    assert_eq!(path(format!("/write?access_token={token}")), "/write");
    assert_eq!(path(format!("/write?a=1&access_token={token}&b=%20&c")), "/write?a=1&b=%20&c");
    assert_eq!(path(format!("/write?access%5Ftoken={token}&xaccess_token=1")), "/write?xaccess_token=1");
}

#[test]
fn a_credential_stays_where_it_is_forwarded_or_was_not_looked_at() {
    let token = of_acme(json!({}));
    let bearer = format!("Bearer {token}");
    let mut forwarding = config();
    forwarding["forward"]["token"] = json!(true);
    let of = |config: &Value, call: Call| Gateway::new(config).call(&call).passed();
    assert_eq!(
        of(&forwarding, Call::get("/write").bearer(&token)).values("authorization"),
        [bearer.as_str()]
    );
    let path = format!("/write?access_token={token}");
    assert_eq!(of(&forwarding, Call::get(&path)).value(":path"), Some(path));
    assert_eq!(of(&config(), Call::get("/open").bearer(&token)).values("authorization"), [bearer.as_str()]);
    let allowing = with("unmatched", json!("allow"));
    assert_eq!(of(&allowing, Call::get("/elsewhere").bearer("x")).values("authorization"), ["Bearer x"]);
}

#[test]
fn the_credential_is_taken_out_in_shadow_and_of_an_authenticated_request_too() {
    for (way, config, call, _) in ways() {
        let has_token = call.headers.iter().any(|(name, _)| name == "authorization");
        let kept = Gateway::new(&config).call(&call).passed().values("authorization").len();
        assert_eq!(kept == 1, has_token && way == "public with a token", "{way}");
    }
}

#[test]
fn a_token_in_one_place_and_another_in_a_second_is_refused_before_anything_is_taken_out() {
    let gateway = Gateway::new(&config());
    let token = of_acme(json!({}));
    for call in [
        Call::get("/write").bearer(&token).header("x-token", &token),
        Call::get("/write").bearer(&token).header("cookie", format!("session={token}")),
        Call::get(&format!("/write?access_token={token}")).bearer(&token),
        Call::get(&format!("/write?access_token={token}&access%5ftoken={token}")),
        Call::get("/write").header("cookie", format!("session={token}; session={token}")),
    ] {
        assert_eq!(gateway.call(&call).refusal(), Some(Reason::CredentialAmbiguous), "{call:?}");
    }
}

#[test]
fn a_token_counts_only_for_a_provider_that_lists_its_place() {
    let mut config = config();
    config["providers"]["cookie"] =
        provider(json!({"issuer": "https://cookie.example", "from_cookies": ["other"]}));
    config["tenants"][0]["providers"] = json!(["idp", "cookie"]);
    let gateway = Gateway::new(&config);
    let of_cookie = of_acme(json!({"iss": "https://cookie.example"}));
    let brief = |call: Call| gateway.call(&call).brief();
    assert_eq!(brief(Call::get("/write").header("cookie", format!("other={of_cookie}"))), "acme");
    assert_eq!(brief(Call::get("/write").bearer(&of_cookie)), "issuer_unknown");
    assert_eq!(brief(Call::get("/write").header("cookie", format!("session={of_cookie}"))), "issuer_unknown");
    assert_eq!(
        brief(Call::get("/write").header("cookie", format!("other={}", of_acme(json!({}))))),
        "issuer_unknown"
    );
}

// ---- values that cannot stand in a header

#[test]
fn a_control_character_in_a_value_that_is_forwarded_is_refused() {
    for odd in ["a\r\nx-told-tenant: other", "a\nb", "a\0", "a\u{7f}", "a\u{85}", "\u{1b}[0m"] {
        for changes in [
            json!({"sub": odd}),
            json!({"client_id": odd}),
            json!({"ctx": {"level": odd}}),
            json!({"scope": format!("acme.write acme.{odd}")}),
        ] {
            // A space would only make two scopes of it.
            if changes["scope"].as_str().is_some_and(|scope| scope.split(' ').count() > 2) {
                continue;
            }
            let call = Call::get("/write").bearer(&of_acme(changes.clone()));
            let refused = Gateway::new(&config()).call(&call).refused();
            assert_eq!(refused.reason, Reason::ClaimMalformed, "{changes}");
            assert_eq!(refused.stage, Stage::Forward);
            assert!(!refused.answer.body.contains("other"), "{}", refused.answer.body);
            // The same where nothing else speaks against it, or what does is lifted.
            for key in ["shadow", "off"] {
                let config = with("scope_enforcement", json!(key));
                assert_eq!(Gateway::new(&config).call(&call).brief(), "claim_malformed", "{key} {changes}");
            }
        }
    }
}

#[test]
fn a_value_that_is_forwarded_neither_begins_nor_ends_with_a_blank() {
    for odd in [" alice", "alice ", " ", "\u{a0}alice", "alice\u{2003}"] {
        for changes in [json!({"sub": odd}), json!({"client_id": odd}), json!({"ctx": {"level": odd}})] {
            let call = Call::get("/write").bearer(&of_acme(changes.clone()));
            assert_eq!(Gateway::new(&config()).call(&call).brief(), "claim_malformed", "{changes}");
        }
    }
    let inner = of_acme(json!({"sub": "alice b", "ctx": {"level": ""}}));
    assert_eq!(Gateway::new(&config()).call(&Call::get("/write").bearer(&inner)).brief(), "acme");
}

#[test]
fn a_control_character_in_what_is_not_forwarded_harms_nobody() {
    let mut config = config();
    config["forward"]["headers"] = json!([{"name": "x-told-tenant", "value": "tenant"}]);
    let odd = of_acme(json!({"sub": "a\nb", "ctx": {"level": "\r"}, "jti": "\0"}));
    assert_eq!(Gateway::new(&config).call(&Call::get("/write").bearer(&odd)).brief(), "acme");
}

#[test]
fn a_claim_that_is_no_text_is_told_as_compact_json_without_control_characters() {
    for (level, expected) in [
        (json!("caf\u{e9}"), "caf\u{e9}"),
        (json!(7), "7"),
        (json!(true), "true"),
        (json!(["a b", "c"]), "[\"a b\",\"c\"]"),
        (json!({"k": "v"}), "{\"k\":\"v\"}"),
        (json!(["a\nb"]), "[\"a\\nb\"]"),
    ] {
        let call = Call::get("/write").bearer(&of_acme(json!({"ctx": {"level": level}})));
        let told = told(&call, &config());
        assert!(told.contains(&("x-told-level", expected.to_owned())), "{expected}: {told:?}");
    }
}

#[test]
fn a_tenant_with_an_alias_is_told_by_its_id() {
    for name in ["acme", "a5c1"] {
        let call = Call::get("/write").bearer(&of_acme(json!({"tenant_id": name}))).header("x-org", "a5c1");
        assert!(told(&call, &config()).contains(&("x-told-tenant", "acme".to_owned())));
    }
}

#[test]
fn a_preflight_request_passes_only_where_it_is_one_and_may() {
    let preflight = |method: &str, headers: &[&str]| {
        headers.iter().fold(Call::new(method, "/write"), |call, name| call.header(name, "x"))
    };
    let both = ["origin", "access-control-request-method"];
    let may = Gateway::new(&with("bypass_cors_preflight", json!(true)));
    assert_eq!(may.call(&preflight("OPTIONS", &both)).brief(), "-");
    assert_eq!(may.call(&preflight("OPTIONS", &both[..1])).brief(), "credential_missing");
    assert_eq!(may.call(&preflight("OPTIONS", &both[1..])).brief(), "credential_missing");
    assert_eq!(may.call(&preflight("POST", &both)).brief(), "credential_missing");
    assert_eq!(may.call(&preflight("options", &both)).brief(), "credential_missing");
    assert_eq!(may.call(&preflight("OPTIONS", &both).with(":path", "/a//b")).brief(), "path_ambiguous");
    assert_eq!(Gateway::new(&config()).call(&preflight("OPTIONS", &both)).brief(), "credential_missing");
}

#[test]
fn what_is_unmatched_is_a_host_and_path_and_neither_a_method_nor_a_header() {
    let mut config = config();
    config["suites"][0]["operations"][0]["methods"] = json!(["POST"]);
    config["suites"][0]["operations"][1]["headers"][0]["default"] = json!("v1");
    let good = of_acme(json!({}));
    for unmatched in ["deny", "authenticated", "allow"] {
        config["unmatched"] = json!(unmatched);
        let gateway = Gateway::new(&config);
        let brief = |call: Call| gateway.call(&call).brief();
        assert_eq!(brief(Call::get("/write")), "credential_missing", "{unmatched}");
        assert_eq!(brief(Call::get("/write").bearer(&good)), "method_not_mapped", "{unmatched}");
        assert_eq!(brief(Call::get("/version").bearer(&good)), "header_missing", "{unmatched}");
        assert_eq!(brief(Call::get("/a//b").bearer(&good)), "path_ambiguous", "{unmatched}");
        assert_eq!(
            brief(Call::get("/open/").bearer("x!")),
            if unmatched == "allow" { "-" } else { "credential_malformed" }
        );
    }
}

#[test]
fn an_unmatched_request_that_asks_for_authentication_needs_a_good_token_and_a_tenant() {
    let gateway = Gateway::new(&with("unmatched", json!("authenticated")));
    let brief = |changes: Value| gateway.call(&Call::get("/elsewhere").bearer(&of_acme(changes))).brief();
    assert_eq!(brief(json!({"scope": null})), "acme");
    assert_eq!(brief(json!({"exp": 1})), "token_expired");
    assert_eq!(brief(json!({"tenant_id": "nobody"})), "tenant_unknown");
    let elsewhere = Call::get("/elsewhere").bearer(&of_acme(json!({}))).header("x-org", "other");
    assert_eq!(gateway.call(&elsewhere).brief(), "tenant_mismatch");
    assert_eq!(gateway.call(&Call::get("/elsewhere")).brief(), "credential_missing");
}

// ---- the law

/// The spellings that an upstream may take for one another.
fn folded(name: &str) -> String {
    name.replace(['_', '.'], "-")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// Whatever a client calls its headers: none that an upstream could take for one of the filter's comes through.
    #[test]
    fn no_spelling_of_a_told_header_comes_through(
        names in proptest::collection::vec("x[-_.](told|org|http|api)[-_.](tenant|client|method|version)([-_.]override)?", 1..12),
        way in select((0..ways().len()).collect::<Vec<_>>()),
    ) {
        let (_, config, call, _) = ways().swap_remove(way);
        let call = names.iter().fold(call, |call, name| call.header(name, "evil"));
        // A genuine matcher or evidence header may stay; these names are none where they are not spelt so.
        let guarded = |name: &str| {
            let folded = folded(name);
            TOLD.iter().any(|(told, _)| *told == folded)
                || ["x-http-method", "x-http-method-override"].contains(&folded.as_str())
                || folded == "x-api-version" && name != "x-api-version"
        };
        let passed = Gateway::new(&config).call(&call).passed();
        for name in &names {
            let came_through = passed.headers.iter().any(|(known, value)| known == name && value == b"evil");
            prop_assert_eq!(came_through, !guarded(name), "{}", name);
        }
    }
}
