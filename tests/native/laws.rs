//! What holds for every configuration, token and request: each law over scenes at random.
//!
//! Others stand with their subjects: tenants and scopes against naive models (`tenant_isolation`, `scope_matching`), a
//! canonical path as a fixed point (`route_laws`), what `matrix` shows (`open_tables`), what a VM remembers (`memory`), the
//! host's crypto and ours (`src/jose/signature.rs`).

use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::gateway::{Call, Gateway, Outcome};
use crate::scene::{Scene, TENANTS};

/// A scene whose configuration is accepted.
fn scene() -> impl Strategy<Value = Scene> {
    vec(any::<u8>(), 15).prop_map(|octets| Scene::of(&octets)).prop_filter("refused", is_accepted)
}

fn is_accepted(scene: &Scene) -> bool {
    scopegate::config::parse_json(scene.configuration().to_string().as_bytes()).is_ok()
}

/// How a request ends: its tenant, or the reason of its refusal.
fn decide(scene: &Scene) -> String {
    Gateway::new(&scene.configuration()).call(&scene.call()).brief()
}

/// The same scene with one thing of the configuration taken away.
fn with_less(scene: &Scene) -> Vec<Scene> {
    let mut all = Vec::new();
    let mut add = |change: &dyn Fn(&mut Scene)| {
        let mut less = scene.clone();
        change(&mut less);
        all.push(less);
    };
    for tenant in 0..TENANTS.len() {
        for scope in 0..3 {
            add(&|less| less.declared[tenant] &= !(1 << scope));
            add(&|less| less.shop[tenant] = less.shop[tenant].map(|scopes| scopes & !(1 << scope)));
        }
        add(&|less| less.shop[tenant] = None);
        add(&|less| less.write_reads[tenant] = false);
    }
    add(&|less| less.has_second = false);
    add(&|less| less.has_spare = false);
    add(&|less| less.is_rekeyed = true);
    all
}

/// JSON with the members of each object and the elements of each list the other way round.
fn reversed(value: &Value) -> String {
    match value {
        Value::Array(elements) => {
            let elements: Vec<String> = elements.iter().rev().map(reversed).collect();
            format!("[{}]", elements.join(","))
        }
        Value::Object(members) => {
            let members: Vec<String> = members
                .iter()
                .rev()
                .map(|(name, value)| format!("{}:{}", Value::from(name.as_str()), reversed(value)))
                .collect();
            format!("{{{}}}", members.join(","))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.to_string(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_request_is_decided_as_the_model_says(scene in scene()) {
        let passed = match Gateway::new(&scene.configuration()).call(&scene.call()) {
            Outcome::Passed(passed) => passed.tenant,
            Outcome::Refused(_) | Outcome::Told(_) => None,
        };
        let expected = scene.passes_under().map(|tenant| TENANTS[tenant].to_owned());
        prop_assert_eq!(passed, expected);
    }

    /// Left out are tokens that name no tenant themselves, which are told by what is left (the one tenant that their
    /// provider still speaks for, or the one where their client is still registered), and contradictions, which end
    /// with one of their sides: a claim against an audience, a client that a tenant would take against its
    /// registration with another. `scopegate diff` says who gains by them.
    #[test]
    fn what_is_taken_away_opens_nothing(scene in scene()) {
        let is_plain = scene.names_its_tenant() && !scene.contradicts_itself();
        if is_plain && scene.registers[0] == scene.registers[1] && scene.passes_under().is_none() {
            for less in with_less(&scene).iter().filter(|less| is_accepted(less)) {
                let outcome = Gateway::new(&less.configuration()).call(&less.call());
                prop_assert!(matches!(outcome, Outcome::Refused(_)), "{:?}\n{:?}", less, outcome);
            }
        }
    }

    #[test]
    fn shadow_and_off_lift_no_401(scene in scene()) {
        let enforced = scene.under("enforce");
        let Outcome::Refused(refused) = Gateway::new(&enforced.configuration()).call(&enforced.call()) else {
            return Ok(());
        };
        if refused.answer.status == 401 {
            for enforcement in ["shadow", "off"] {
                prop_assert_eq!(decide(&scene.under(enforcement)), refused.reason.as_str());
            }
        }
    }

    #[test]
    fn order_in_the_file_decides_nothing(scene in scene()) {
        let text = reversed(&scene.configuration());
        let gateway = Gateway::of_text(&text);
        prop_assert_eq!(gateway.call(&scene.call()).brief(), decide(&scene));
    }

    #[test]
    fn a_cache_that_is_off_full_or_evicting_decides_the_same(scene in scene(), others in vec(vec(any::<u8>(), 15), 1..4)) {
        let others = others.iter().map(|octets| Scene::of(octets).call());
        let calls: Vec<Call> = others.chain([scene.call()]).collect();
        let mut configuration = scene.configuration();
        let alone = |call: &Call| Gateway::new(&scene.configuration()).call(call).brief();
        let expected: Vec<String> = calls.iter().map(alone).collect();
        for max_entries in [0, 1, 10_000] {
            configuration["providers"]["corp"]["token_cache"] = json!({"max_entries": max_entries});
            let gateway = Gateway::new(&configuration);
            for _ in 0..2 {
                let decided: Vec<String> = calls.iter().map(|call| gateway.call(call).brief()).collect();
                prop_assert_eq!(&decided, &expected);
            }
        }
    }
}
