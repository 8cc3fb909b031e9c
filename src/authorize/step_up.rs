//! How lately, and by what means, a user must have authenticated to call an operation (RFC 9470).

use std::time::Duration;

use crate::authenticate::claims::numeric_date;
use crate::jose::json::{Object, Value};

/// What an operation asks of the authentication that its token comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StepUp {
    /// One of these the token's `acr` must be; empty where any will do.
    pub acr_values: Box<[Box<str>]>,
    /// How long ago `auth_time` may be; None where it does not matter.
    pub max_age: Option<Duration>,
}

impl StepUp {
    /// Whether nothing is asked.
    pub fn is_empty(&self) -> bool {
        self.acr_values.is_empty() && self.max_age.is_none()
    }

    /// Whether `claims` (of an introspected token: the members of the response, RFC 9470 section 6.2) say that the user
    /// authenticated so, as of `now`. A claim that is absent or of another type says nothing.
    pub fn is_met_by(&self, claims: &Object, clock_skew: Duration, now: Duration) -> bool {
        let acr = claims.get("acr").and_then(Value::as_str);
        let is_acr = self.acr_values.is_empty()
            || acr.is_some_and(|acr| self.acr_values.iter().any(|wanted| **wanted == *acr));
        let authenticated_at = claims.get("auth_time").and_then(numeric_date);
        let is_recent = self.max_age.is_none_or(|max_age| {
            authenticated_at.is_some_and(|time| {
                now <= time.saturating_add(max_age).saturating_add(clock_skew)
                    && time <= now.saturating_add(clock_skew)
            })
        });
        is_acr && is_recent
    }
}
