//! Nonces for proofs (RFC 9449 section 8) that no one has to remember: each says when it was given out, and a MAC under a
//! secret that all proxies of a fleet share says that one of them gave it out.

use std::time::Duration;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::jose::base64url;

/// How long a secret must be, in bytes: as long as the hash's output (RFC 2104 section 3).
pub const MIN_SECRET_BYTES: usize = 32;

/// The nonces of one provider.
pub struct Nonces {
    /// The secret under which they are made, and the ones under which they may have been made before.
    secrets: Vec<Box<[u8]>>,
    lifetime: Duration,
}

impl Nonces {
    /// Nonces under `secret`. One is good for two lifetimes at most, and for one at least; those made under `previous`
    /// are good as well. None where a secret is too short.
    pub fn new(secret: &str, previous: Option<&str>, lifetime: Duration) -> Option<Self> {
        let secrets: Vec<Box<[u8]>> =
            std::iter::once(secret).chain(previous).map(|secret| secret.as_bytes().into()).collect();
        let are_long = secrets.iter().all(|secret| secret.len() >= MIN_SECRET_BYTES);
        (are_long && lifetime >= Duration::from_secs(1)).then_some(Self { secrets, lifetime })
    }

    /// The nonce to give out at `now`.
    pub fn fresh(&self, now: Duration) -> Box<str> {
        let period = now.as_secs() / self.lifetime.as_secs().max(1);
        let secret = self.secrets.first().map(|secret| &**secret).unwrap_or_default();
        encode(secret, self.lifetime, period).into()
    }

    /// Until when `nonce` is good; None where it is not good at `now`. One that another proxy gave out, whose clock is
    /// ahead by `skew` at most, is good too.
    pub fn judge(&self, nonce: &str, skew: Duration, now: Duration) -> Option<GoodNonce> {
        let bytes = base64url::decode(nonce)?;
        let period = u64::from_be_bytes(bytes.first_chunk().copied()?);
        let lifetime = self.lifetime.as_secs().max(1);
        let begin = Duration::from_secs(period.checked_mul(lifetime)?);
        let end = begin.checked_add(Duration::from_secs(lifetime.checked_mul(2)?))?;
        if now >= end || begin > now.saturating_add(skew) {
            return None;
        }
        let is_ours = |secret: &[u8]| {
            let mac = bytes.get(8..).unwrap_or_default();
            authenticator(secret, self.lifetime, period)
                .is_some_and(|expected| expected.verify_slice(mac).is_ok())
        };
        let is_ours = self.secrets.iter().any(|secret| is_ours(secret));
        // Another one is given out since.
        let is_ageing = now >= begin.saturating_add(Duration::from_secs(lifetime));
        is_ours.then_some(GoodNonce { until: end, is_ageing })
    }
}

/// A nonce that is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GoodNonce {
    /// Until when.
    pub until: Duration,
    /// Whether the half of its time is over, so that the client is given the next one (RFC 9449 section 8.2).
    pub is_ageing: bool,
}

fn encode(secret: &[u8], lifetime: Duration, period: u64) -> String {
    let mut bytes = period.to_be_bytes().to_vec();
    if let Some(mac) = authenticator(secret, lifetime, period) {
        bytes.extend_from_slice(&mac.finalize().into_bytes());
    }
    base64url::encode(&bytes)
}

/// The lifetime is among what is authenticated: a change of it must not make old nonces good for longer.
fn authenticator(secret: &[u8], lifetime: Duration, period: u64) -> Option<Hmac<Sha256>> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).ok()?;
    mac.update(b"scopegate DPoP-Nonce");
    mac.update(&lifetime.as_secs().to_be_bytes());
    mac.update(&period.to_be_bytes());
    Some(mac)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "0123456789abcdef0123456789abcdef";
    const OTHER: &str = "another secret, as long as a hash";
    const SKEW: Duration = Duration::from_secs(60);

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn nonces(secret: &str, previous: Option<&str>) -> Nonces {
        Nonces::new(secret, previous, at(300)).unwrap()
    }

    #[test]
    fn a_nonce_is_good_in_its_lifetime_and_the_next_one() {
        let nonces = nonces(SECRET, None);
        let nonce = nonces.fresh(at(3_100));
        for (now, good) in
            [(2_939, false), (2_940, true), (3_299, true), (3_300, true), (3_599, true), (3_600, false)]
        {
            let expected = good.then_some(GoodNonce { until: at(3_600), is_ageing: now >= 3_300 });
            assert_eq!(nonces.judge(&nonce, SKEW, at(now)), expected, "{now}");
        }
        let last_moment = Duration::from_millis(3_599_999);
        let expected = GoodNonce { until: at(3_600), is_ageing: true };
        assert_eq!(nonces.judge(&nonce, SKEW, last_moment), Some(expected));
    }

    #[test]
    fn a_secret_is_rotated_without_loss() {
        let old = nonces(SECRET, None);
        let new = nonces(OTHER, Some(SECRET));
        assert!(new.judge(&old.fresh(at(3_100)), SKEW, at(3_100)).is_some());
        assert!(new.judge(&new.fresh(at(3_100)), SKEW, at(3_100)).is_some());
        assert_eq!(old.judge(&new.fresh(at(3_100)), SKEW, at(3_100)), None);
    }

    #[test]
    fn what_nobody_of_the_fleet_gave_out_is_not_good() {
        let nonces = nonces(SECRET, None);
        let nonce = nonces.fresh(at(3_100));
        let bytes = base64url::decode(&*nonce).unwrap();
        for place in 0..bytes.len() * 8 {
            let mut bytes = bytes.clone();
            bytes[place / 8] ^= 1 << (place % 8);
            assert_eq!(nonces.judge(&base64url::encode(&bytes), SKEW, at(3_100)), None, "{place}");
        }
        for cut in 0..bytes.len() {
            assert_eq!(nonces.judge(&base64url::encode(&bytes[..cut]), SKEW, at(3_100)), None);
        }
        assert_eq!(nonces.judge("", SKEW, at(3_100)), None);
        let longer = Nonces::new(SECRET, None, at(301)).unwrap();
        assert_eq!(longer.judge(&nonce, SKEW, at(3_100)), None);
    }

    #[test]
    fn a_short_secret_makes_no_nonces() {
        assert!(Nonces::new("short", None, at(300)).is_none());
        assert!(Nonces::new(SECRET, Some("short"), at(300)).is_none());
    }
}
