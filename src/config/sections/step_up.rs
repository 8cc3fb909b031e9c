//! `acr_values` and `max_auth_age` of suites and operations (RFC 9470).

use std::time::Duration;

use crate::authorize::StepUp;
use crate::config::kind::ErrorKind;
use crate::config::reader::{Cursor, Fields};

/// What `fields` ask of the authentication behind a token; an operation's keys replace its suite's, one by one.
pub fn read(fields: &Fields<'_>, of_suite: Option<&StepUp>) -> StepUp {
    let acr_values = fields.optional("acr_values").and_then(|list| list.list_of(true, acr_value));
    let bounds = Duration::from_secs(1)..=Duration::from_secs(365 * 86_400);
    let max_age = fields.optional("max_auth_age").and_then(|age| age.duration(bounds));
    StepUp {
        acr_values: acr_values
            .map(Into::into)
            .or(of_suite.map(|suite| suite.acr_values.clone()))
            .unwrap_or_default(),
        max_age: max_age.or(of_suite.and_then(|suite| suite.max_age)),
    }
}

/// One that can stand in the challenge, where spaces come between several (RFC 9470 section 3).
fn acr_value(cursor: &Cursor<'_>) -> Option<Box<str>> {
    let text = cursor.string()?;
    if text.is_empty() || !text.chars().all(|c| matches!(c, '!' | '#'..='[' | ']'..='~')) {
        cursor.error(
            ErrorKind::OutOfBounds,
            "must be of printable ASCII characters without spaces, `\"` and `\\`",
        );
        return None;
    }
    Some(text.into())
}
