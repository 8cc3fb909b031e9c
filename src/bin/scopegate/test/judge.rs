//! Holds what came of a case against what was expected.

use super::bench::Outcome;
use super::case_file::{Expected, Fact};
use scopegate::exchange::Decision;

/// One point in which a case came out otherwise.
#[derive(Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// What was looked at: `reason`, `upstream x-tenant`.
    pub what: String,
    /// What the case says.
    pub expected: String,
    /// What came.
    pub found: String,
}

/// Every point in which `outcome` differs; none where the case is as expected.
pub fn judge(expected: &Expected, outcome: &Outcome) -> Vec<Mismatch> {
    let mut mismatches = Vec::new();
    let mut compare = |what: &str, expected: Option<&str>, found: Option<&str>| {
        if expected != found {
            let shown = |value: Option<&str>| value.unwrap_or("none").to_owned();
            mismatches.push(Mismatch {
                what: what.to_owned(),
                expected: shown(expected),
                found: shown(found),
            });
        }
    };
    if let Some(decision) = expected.decision {
        compare("decision", Some(decision.as_str()), Some(outcome.decision.as_str()));
    }
    if let Some(status) = expected.status {
        compare("status", Some(&status.to_string()), Some(&outcome.status.to_string()));
    }
    let refusal_expected = matches!(expected.decision, Some(Decision::Deny));
    if expected.reason.is_some() || (refusal_expected && outcome.decision != Decision::Deny) {
        compare("reason", expected.reason.as_deref(), outcome.reason.as_deref());
    } else if expected.decision == Some(Decision::Allow) && outcome.decision == Decision::Deny {
        compare("reason", None, outcome.reason.as_deref());
    }
    for (fact, expected) in &expected.facts {
        let found = outcome.facts.iter().find(|(known, _)| known == fact);
        let found = found.and_then(|(_, found)| found.as_deref());
        let is_short = *fact == Fact::Operation && expected.as_ref().is_some_and(|name| !name.contains('/'));
        let found = if is_short { found.and_then(|name| name.rsplit('/').next()) } else { found };
        compare(fact.as_str(), expected.as_deref(), found);
    }
    for (name, expected) in &expected.upstream {
        let all = outcome.upstream.iter().filter(|(own, _)| own == name);
        let found: Vec<String> = all.map(|(_, value)| String::from_utf8_lossy(value).into_owned()).collect();
        let found = (!found.is_empty()).then(|| found.join(", "));
        compare(&format!("upstream {name}"), expected.as_deref(), found.as_deref());
    }
    for (name, expected) in &expected.response {
        let all = outcome.response.iter().filter(|(own, _)| own == name);
        let found: Vec<&str> = all.map(|(_, value)| value.as_str()).collect();
        let found = (!found.is_empty()).then(|| found.join(", "));
        compare(&format!("response {name}"), expected.as_deref(), found.as_deref());
    }
    if let Some(expected) = &expected.body {
        let found = outcome.body.as_ref().map(|body| String::from_utf8_lossy(body).into_owned());
        compare("body", Some(expected), found.as_deref());
    }
    mismatches
}
