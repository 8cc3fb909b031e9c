//! `providers.*.dpop`: tokens that are bound to a key (RFC 9449).

use std::time::Duration;

use super::providers::{read_algorithms, read_secret};
use super::sender;
use crate::authenticate::nonce::MIN_SECRET_BYTES;
use crate::authenticate::proof::{ProofRules, PublicOrigin};
use crate::config::kind::{ErrorKind, WarningKind};
use crate::config::reader::Cursor;
use crate::credential::ProviderPlaces;
use crate::issuer::dpop::{Dpop, NonceRules};
use crate::issuer::provider::SecretSource;
use crate::jose::AlgorithmSet;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Off,
    Optional,
    Required,
}

/// Reads `dpop`: None where it is off, or where there is an error.
pub fn read(cursor: &Cursor<'_>, clock_skew: Duration, is_fapi2: bool) -> Option<Dpop> {
    let fields = cursor.map(&["mode", "public_origin", "algorithms", "max_age", "nonce"])?;
    let mode = fields.required("mode").and_then(|mode| {
        mode.choice(&[("off", Mode::Off), ("optional", Mode::Optional), ("required", Mode::Required)])
    });
    let origin = match mode {
        Some(Mode::Optional | Mode::Required) => fields.required("public_origin"),
        Some(Mode::Off) | None => fields.optional("public_origin"),
    };
    let origin = origin.and_then(|cursor| read_origin(&cursor));
    let algorithms = match fields.optional("algorithms") {
        None => Some(AlgorithmSet::default()),
        Some(list) => read_algorithms(&list).filter(|algorithms| {
            let symmetric = algorithms.iter().find(|algorithm| algorithm.is_symmetric());
            if let Some(algorithm) = symmetric {
                list.error(
                    ErrorKind::WrongKind,
                    format_args!("`{algorithm}` is symmetric: such a key is no proof of who holds it"),
                );
            }
            symmetric.is_none()
        }),
    };
    let algorithms = match is_fapi2 {
        true => {
            algorithms.map(|algorithms| sender::narrow(fields.optional("algorithms").as_ref(), algorithms))
        }
        false => algorithms,
    };
    let max_age = fields.duration("max_age", SECOND..=10 * MINUTE, MINUTE);
    let nonce = fields.optional("nonce").map(|nonce| read_nonce(&nonce));
    let required = match mode? {
        Mode::Off => return None,
        Mode::Optional => false,
        Mode::Required => true,
    };
    let rules = ProofRules { algorithms: algorithms?, max_age, clock_skew, origin: origin? };
    Some(Dpop {
        required,
        rules,
        nonce: match nonce {
            None => None,
            Some(nonce) => Some(nonce?),
        },
    })
}

/// A token that is bound to a key comes under the scheme `DPoP` in `Authorization` (RFC 9449 section 7.1), wherever the
/// provider's other tokens come from.
pub fn add_place(places: &mut ProviderPlaces) {
    const PLACE: (&str, &str) = ("authorization", "DPoP ");
    let is_place = |(name, prefix): &(Box<str>, Box<str>)| {
        **name == *PLACE.0 && prefix.trim_end().eq_ignore_ascii_case(PLACE.1.trim_end())
    };
    if !places.from_headers.iter().any(is_place) {
        places.from_headers.push((PLACE.0.into(), PLACE.1.into()));
    }
}

fn read_origin(cursor: &Cursor<'_>) -> Option<PublicOrigin> {
    let text = cursor.string()?;
    let origin = PublicOrigin::parse(&text);
    match &origin {
        None => cursor.error(
            ErrorKind::WrongKind,
            "expected `https://` and a host with an optional port, and nothing else",
        ),
        Some(origin) if !origin.is_secure() => {
            cursor.warning(WarningKind::Open, "over `http` anybody on the way reads the token and its proof");
        }
        Some(_) => {}
    }
    origin
}

fn read_nonce(cursor: &Cursor<'_>) -> Option<NonceRules> {
    let fields = cursor.map(&["secret", "previous_secret", "lifetime"])?;
    let secret = |cursor: Cursor<'_>| {
        let secret = read_secret(&cursor)?;
        if let SecretSource::Inline(text) = &secret {
            if text.reveal().len() < MIN_SECRET_BYTES {
                cursor.error(
                    ErrorKind::OutOfBounds,
                    format_args!("a secret for nonces needs {MIN_SECRET_BYTES} bytes or more"),
                );
                return None;
            }
        }
        Some(secret)
    };
    let current = fields.required("secret").and_then(secret);
    let previous = fields.optional("previous_secret").map(secret);
    let lifetime = fields.duration("lifetime", 10 * SECOND..=HOUR, 5 * MINUTE);
    Some(NonceRules {
        secret: current?,
        previous_secret: match previous {
            None => None,
            Some(previous) => Some(previous?),
        },
        lifetime,
    })
}
