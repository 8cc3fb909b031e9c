//! `revoked` of providers and tenants.

use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::authenticate::Revoked;
use crate::collections::seeded_hash::SeededSet;
use crate::config::document::Value;
use crate::config::kind::ErrorKind;
use crate::config::moment;
use crate::config::reader::{Cursor, Fields};

/// Reads `revoked`: lists of names, each of which may be empty, and a moment.
pub fn read(cursor: &Cursor<'_>) -> Option<Arc<Revoked>> {
    let fields = cursor.map(&["jti", "subjects", "clients", "issued_before"])?;
    let (token_ids, subjects, clients) =
        (names(&fields, "jti"), names(&fields, "subjects"), names(&fields, "clients"));
    let issued_before = match fields.optional("issued_before") {
        None => None,
        Some(cursor) => Some(read_moment(&cursor)?),
    };
    let mut digest = Sha256::new();
    cursor.value().canonical(&mut |part: &[u8]| digest.update(part));
    Some(Arc::new(Revoked {
        token_ids: token_ids?,
        subjects: subjects?,
        clients: clients?,
        issued_before,
        digest: digest.finalize().into(),
    }))
}

fn names(fields: &Fields<'_>, key: &'static str) -> Option<SeededSet<Box<str>>> {
    match fields.optional(key) {
        None => Some(SeededSet::default()),
        Some(list) => Some(list.strings(false)?.into_iter().collect()),
    }
}

/// A string in RFC 3339, or a number of seconds since the epoch.
fn read_moment(cursor: &Cursor<'_>) -> Option<Duration> {
    match cursor.value() {
        Value::Number(_) => cursor.integer(0..=u32::MAX).map(|seconds| Duration::from_secs(seconds.into())),
        Value::String(_) => {
            let text = cursor.string()?;
            let moment = moment::parse(&text);
            if moment.is_none() {
                cursor.error(ErrorKind::WrongKind, format_args!(
                    "`{text}` is no moment; write for example \"2026-11-22T12:00:00Z\", or seconds since 1970 as a number"
                ));
            }
            moment
        }
        Value::Null | Value::Bool(_) | Value::List(_) | Value::Map(_) => {
            cursor.unexpected("a moment such as \"2026-11-22T12:00:00Z\", or seconds since 1970")
        }
    }
}
