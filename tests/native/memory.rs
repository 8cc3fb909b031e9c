//! What one VM remembers stays within its budget, and no flood takes another issuer's part of it.

use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::gateway::{Begun, Call, Gateway, Reply, provider, token};

const BUDGET: usize = 4 << 20;

/// An issuer of JWTs, and issuers that are asked about opaque tokens, each with a header of its own for them.
fn config(introspecting: usize) -> Value {
    let mut config = json!({
        "version": 1,
        "memory_budget": "4MiB",
        "providers": {"idp": provider(json!({"token_cache": {"max_entries": 100_000}}))},
        "tenant_resolution": {"claims": ["tenant_id"], "headers": ["x-tenant-id"]},
        "tenants": [{"id": "acme", "providers": ["idp"]}],
        "suites": [{"name": "s", "operations": [{"name": "o", "path": "/", "access": "authenticated"}]}],
    });
    for number in 0..introspecting {
        config["providers"][format!("opaque-{number}")] = json!({
            "issuer": format!("https://opaque-{number}.example"),
            "audiences": ["api"],
            "from_headers": [{"name": format!("x-token-{number}")}],
            "introspection": {"uri": "https://opaque.example/introspect", "cluster": "opaque",
                "client_auth": {"method": "none"}, "cache": {"max_entries": 1_000_000, "negative_ttl": "1h"}},
        });
        let tenant = json!({"id": format!("tenant-{number}"), "providers": [format!("opaque-{number}")]});
        config["tenants"].as_array_mut().unwrap().push(tenant);
    }
    config
}

fn opaque(issuer: usize, token: &str) -> Call {
    Call::get("/").header(&format!("x-token-{issuer}"), token)
}

fn inactive() -> Reply {
    Ok((200, json!({"active": false}).to_string()))
}

fn active(issuer: usize) -> Reply {
    let response = json!({"active": true, "aud": "api", "sub": "alice", "iss": format!("https://opaque-{issuer}.example")});
    Ok((200, response.to_string()))
}

/// A token of the largest size that is looked at.
fn junk(number: usize) -> String {
    format!("{number:0>16384}")
}

#[test]
fn junk_tokens_of_the_largest_size_are_remembered_in_a_few_bytes_each() {
    let gateway = Gateway::new(&config(1));
    for number in 0..500 {
        let outcome = gateway.call_answered(&opaque(0, &junk(number)), &mut |_| inactive());
        assert_eq!(outcome.brief(), "token_inactive");
    }
    let (used, limit) = gateway.active.memory();
    assert_eq!(limit, BUDGET);
    assert!(used < 500 * 256, "{used}");
    // Each of them is known: nobody is asked.
    for number in 0..500 {
        assert_eq!(gateway.call(&opaque(0, &junk(number))).brief(), "token_inactive");
    }
}

#[test]
fn a_flood_at_some_issuers_stays_within_the_budget_and_leaves_others_their_part() {
    let gateway = Gateway::new(&config(3));
    let good: Vec<String> =
        (0..100).map(|number| token(json!({"tenant_id": "acme", "jti": number}))).collect();
    for token in &good {
        assert_eq!(gateway.call(&Call::get("/").bearer(token)).brief(), "acme");
    }
    for number in 0..400 {
        for issuer in 0..3 {
            let outcome = gateway.call_answered(&opaque(issuer, &junk(number)), &mut |_| active(issuer));
            assert_eq!(outcome.brief(), format!("tenant-{issuer}"));
            let (used, limit) = gateway.active.memory();
            assert!(used <= limit, "{used}");
        }
    }
    let provider = scopegate::ids::ProviderId(0);
    let remembered = gateway.active.state(provider).unwrap().borrow().tokens.len();
    assert_eq!(remembered, good.len(), "an issuer within its even part loses nothing to others");
}

#[test]
fn what_waits_takes_half_of_the_budget_at_most_and_one_issuer_half_of_that() {
    let gateway = Gateway::new(&config(2));
    let large = "x".repeat(60_000);
    let mut outcomes = [0, 0];
    let mut waiting = Vec::new();
    for (issuer, outcomes) in outcomes.iter_mut().enumerate() {
        for number in 0..100 {
            let call = opaque(issuer, &format!("token-{number}")).header("x-large", &large);
            match gateway.begin(&call) {
                Begun::Waits(pending) => {
                    *outcomes += 1;
                    waiting.push(pending);
                }
                Begun::Done(outcome) => assert_eq!(outcome.brief(), "introspection_overloaded"),
            }
        }
    }
    let at_most = BUDGET / 4 / 60_000;
    assert_eq!(outcomes, [at_most, at_most]);
    let (used, limit) = gateway.active.memory();
    assert!(used <= limit, "{used}");
    // Whoever leaves makes room.
    for pending in waiting.drain(..) {
        gateway.active.leave(pending.waiter);
    }
    let call = opaque(0, "another").header("x-large", &large);
    assert!(matches!(gateway.begin(&call), Begun::Waits(_)));
}

#[test]
fn a_smaller_budget_holds_at_once_and_for_what_was_learnt_before() {
    let mut gateway = Gateway::new(&config(1));
    for number in 0..1_000 {
        gateway.call_answered(&opaque(0, &junk(number)), &mut |_| active(0));
    }
    let mut smaller = config(1);
    smaller["memory_budget"] = json!("1MiB");
    gateway.reload(&smaller);
    let (used, limit) = gateway.active.memory();
    assert!(used <= limit && limit == 1 << 20, "{used} of {limit}");
}

/// What may happen to a VM.
#[derive(Clone, Debug)]
enum Event {
    Jwt(u16),
    Good(usize, u16),
    Junk(usize, u16),
    Outage(usize, u16),
    Reload,
    Time(u64),
}

fn event() -> impl Strategy<Value = Event> {
    let number = 0..2_000_u16;
    prop_oneof![
        number.clone().prop_map(Event::Jwt),
        (0..3_usize, number.clone()).prop_map(|(issuer, number)| Event::Good(issuer, number)),
        (0..3_usize, number.clone()).prop_map(|(issuer, number)| Event::Junk(issuer, number)),
        (0..3_usize, number).prop_map(|(issuer, number)| Event::Outage(issuer, number)),
        Just(Event::Reload),
        (1..90_u64).prop_map(Event::Time),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_sequence_of_events_takes_more_than_the_budget(events in vec(event(), 300)) {
        let mut config = config(3);
        config["memory_budget"] = json!("1MiB");
        let mut gateway = Gateway::new(&config);
        for event in events {
            let large = |number: u16| junk(number.into());
            match event {
                Event::Jwt(number) => {
                    let claims = json!({"tenant_id": "acme", "jti": number, "note": "x".repeat(4096)});
                    gateway.call(&Call::get("/").bearer(&token(claims)));
                }
                Event::Good(issuer, number) => {
                    gateway.call_answered(&opaque(issuer, &large(number)), &mut |_| active(issuer));
                }
                Event::Junk(issuer, number) => {
                    gateway.call_answered(&opaque(issuer, &large(number)), &mut |_| inactive());
                }
                Event::Outage(issuer, number) => {
                    gateway.call_answered(&opaque(issuer, &large(number)), &mut |_| Ok((500, String::new())));
                }
                Event::Reload => {
                    // Another provider is there, with a fair part of its own, or is gone again.
                    let another = config["providers"].as_object_mut().unwrap().remove("another");
                    if another.is_none() {
                        config["providers"]["another"] = provider(json!({"issuer": "https://another.example"}));
                    }
                    gateway.reload(&config);
                }
                Event::Time(seconds) => gateway.now += Duration::from_secs(seconds),
            }
            let (used, limit) = gateway.active.memory();
            prop_assert!(limit == 1 << 20 && used <= limit, "{used} of {limit}");
        }
    }
}
