//! What the workers of one proxy tell each other, so that a fleet of them does not multiply the load on an issuer.
//!
//! Key sets stand under one key for each provider configuration and tenant name, with the time of their fetch; the same
//! record is the lease by which one worker fetches while the others wait. Introspection answers stand in a fixed number
//! of slots, since shared data is never freed. Both are read as strictly as an issuer's answer; a record that cannot be
//! read is as none.

use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::authenticate::remote_keys::{Cause, UNKNOWN_KID_INTERVAL};

/// Data that workers share, with versions for compare-and-swap.
pub trait SharedStore {
    /// The value at `key` and its version.
    fn read(&self, key: &str) -> Option<(Vec<u8>, u32)>;
    /// Sets the value at `key` if its version is still this one; 0 for whatever it is. False where it is not.
    fn write(&self, key: &str, value: &[u8], version: u32) -> bool;
}

/// How many introspection answers are shared at most.
const INTROSPECTION_SLOTS: u16 = 512;
/// How large a shared introspection answer may be, in bytes: 4 MiB in all.
const MAX_SHARED_ANSWER: usize = 8192;

/// What the workers know of one key set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeysRecord {
    /// When the body was fetched; 0 where there is none.
    pub fetched_at: Duration,
    /// When the last fetch ended that an unknown `kid` had caused.
    pub unknown_kid_fetch_ended: Duration,
    /// When the last fetch failed.
    pub failed_at: Duration,
    /// Until when a worker is fetching.
    pub leased_until: Duration,
    /// The JWKS document.
    pub body: Vec<u8>,
}

/// A fetch of keys that a worker is about to make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fetch {
    /// Why.
    pub cause: Cause,
    /// Since when it is wanted.
    pub begun: Duration,
    /// When the worker's own keys were fetched; 0 where it has none.
    pub own_fetched_at: Duration,
    /// How long the fetch may take.
    pub timeout: Duration,
    /// For how long keys are fresh.
    pub cache_duration: Duration,
}

/// What a worker does about a fetch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plan {
    /// Take what another worker fetched.
    Adopt(KeysRecord),
    /// Another worker is fetching: look again soon.
    Wait,
    /// Another worker's fetch failed.
    Fail,
    /// Fetch.
    Fetch,
}

/// Decides what to do about `fetch`; with [`Plan::Fetch`] this worker holds the lease.
pub fn plan(store: &dyn SharedStore, key: &str, fetch: &Fetch, now: Duration) -> Plan {
    let known = read_keys(store, key).filter(|(record, _)| record.is_of_the_past(fetch, now));
    let Some((record, version)) = known else {
        // The first to come. Two that come at once both fetch, once.
        let record = KeysRecord { leased_until: lease_end(fetch, now), ..KeysRecord::default() };
        store.write(key, &record.encode(), 0);
        return Plan::Fetch;
    };
    let is_newer = record.fetched_at > fetch.own_fetched_at && !record.body.is_empty();
    let is_fresh = now < record.fetched_at.saturating_add(fetch.cache_duration.saturating_mul(4) / 5);
    let budget_is_used = now < record.unknown_kid_fetch_ended.saturating_add(UNKNOWN_KID_INTERVAL)
        && record.unknown_kid_fetch_ended > Duration::ZERO;
    match fetch.cause {
        Cause::Age if is_newer && is_fresh => return Plan::Adopt(record),
        // The proxy's one fetch in 30 s has been made: what it brought is the answer.
        Cause::UnknownKid if budget_is_used && !record.body.is_empty() => return Plan::Adopt(record),
        Cause::UnknownKid if is_newer => return Plan::Adopt(record),
        Cause::Age | Cause::UnknownKid => {}
    }
    if record.failed_at > fetch.begun {
        return Plan::Fail;
    }
    if now < record.leased_until {
        return Plan::Wait;
    }
    let leased = KeysRecord { leased_until: lease_end(fetch, now), ..record };
    if store.write(key, &leased.encode(), version) { Plan::Fetch } else { Plan::Wait }
}

/// Tells the others how a fetch ended: the document it brought, or that it failed.
pub fn publish(store: &dyn SharedStore, key: &str, cause: Cause, body: Option<&[u8]>, now: Duration) {
    let mut record = read_keys(store, key).map(|(record, _)| record).unwrap_or_default();
    record.leased_until = Duration::ZERO;
    match body {
        Some(body) => {
            record.body = body.to_vec();
            record.fetched_at = now;
        }
        None => record.failed_at = now,
    }
    if cause == Cause::UnknownKid {
        record.unknown_kid_fetch_ended = now;
    }
    // Whoever writes last has the newest document; a lost write costs another fetch.
    store.write(key, &record.encode(), 0);
}

/// Makes a record if there is none, so that the first fetch already finds one to lease.
pub fn prepare(store: &dyn SharedStore, key: &str) {
    if store.read(key).is_none() {
        store.write(key, &KeysRecord::default().encode(), 0);
    }
}

/// The name under which a key set is shared.
pub fn keys_name(provider_digest: &[u8; 32], tenant: Option<&str>) -> String {
    format!("scopegate.jwks.{}.{}", hex(provider_digest), tenant.unwrap_or_default())
}

/// Shares an introspection answer, in place of whatever had its slot.
pub fn publish_answer(
    store: &dyn SharedStore,
    provider_digest: &[u8; 32],
    token: &str,
    body: &[u8],
    now: Duration,
) {
    if body.len() > MAX_SHARED_ANSWER {
        return;
    }
    let (name, identity) = slot(provider_digest, token);
    let mut value = ANSWER_MARK.to_vec();
    value.extend(milliseconds(now));
    value.extend(identity);
    value.extend(body);
    store.write(&name, &value, 0);
}

/// The answer that another worker got about `token`, and when.
pub fn shared_answer(
    store: &dyn SharedStore,
    provider_digest: &[u8; 32],
    token: &str,
) -> Option<(Vec<u8>, Duration)> {
    let (name, identity) = slot(provider_digest, token);
    let (value, _) = store.read(&name)?;
    let rest = value.strip_prefix(ANSWER_MARK)?;
    let (received_at, rest) = time(rest)?;
    let body = rest.strip_prefix(&identity[..])?;
    (body.len() <= MAX_SHARED_ANSWER).then(|| (body.to_vec(), received_at))
}

const KEYS_MARK: &[u8] = b"SGK1";
const ANSWER_MARK: &[u8] = b"SGI1";

fn lease_end(fetch: &Fetch, now: Duration) -> Duration {
    now.saturating_add(fetch.timeout).saturating_add(Duration::from_secs(1))
}

fn slot(provider_digest: &[u8; 32], token: &str) -> (String, [u8; 32]) {
    let identity: [u8; 32] =
        Sha256::new().chain_update(provider_digest).chain_update(token.as_bytes()).finalize().into();
    let [high, low, ..] = identity;
    let number = u16::from_be_bytes([high, low]) % INTROSPECTION_SLOTS;
    (format!("scopegate.introspection.{number}"), identity)
}

fn read_keys(store: &dyn SharedStore, key: &str) -> Option<(KeysRecord, u32)> {
    let (value, version) = store.read(key)?;
    KeysRecord::decode(&value).map(|record| (record, version))
}

impl KeysRecord {
    fn encode(&self) -> Vec<u8> {
        let times = [self.fetched_at, self.unknown_kid_fetch_ended, self.failed_at, self.leased_until];
        let mut bytes = KEYS_MARK.to_vec();
        bytes.extend(times.into_iter().flat_map(milliseconds));
        bytes.extend(&self.body);
        bytes
    }

    /// Whether no time in it is later than a worker can have written by now. Other plugins can write here too: a lease
    /// without end, or keys that never grow old, would keep every worker from fetching.
    fn is_of_the_past(&self, fetch: &Fetch, now: Duration) -> bool {
        [self.fetched_at, self.unknown_kid_fetch_ended, self.failed_at].iter().all(|time| *time <= now)
            && self.leased_until <= lease_end(fetch, now)
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let rest = bytes.strip_prefix(KEYS_MARK)?;
        let (fetched_at, rest) = time(rest)?;
        let (unknown_kid_fetch_ended, rest) = time(rest)?;
        let (failed_at, rest) = time(rest)?;
        let (leased_until, body) = time(rest)?;
        Some(Self { fetched_at, unknown_kid_fetch_ended, failed_at, leased_until, body: body.to_vec() })
    }
}

fn milliseconds(time: Duration) -> [u8; 8] {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX).to_le_bytes()
}

fn time(bytes: &[u8]) -> Option<(Duration, &[u8])> {
    let (number, rest) = bytes.split_first_chunk::<8>()?;
    Some((Duration::from_millis(u64::from_le_bytes(*number)), rest))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;
    use std::collections::HashMap;

    #[derive(Default)]
    struct Store(RefCell<HashMap<String, (Vec<u8>, u32)>>);

    impl SharedStore for Store {
        fn read(&self, key: &str) -> Option<(Vec<u8>, u32)> {
            self.0.borrow().get(key).cloned()
        }

        fn write(&self, key: &str, value: &[u8], version: u32) -> bool {
            let mut store = self.0.borrow_mut();
            let known = store.get(key).map_or(0, |(_, version)| *version);
            if version != 0 && version != known {
                return false;
            }
            store.insert(key.to_owned(), (value.to_vec(), known + 1));
            true
        }
    }

    fn at(milliseconds: u64) -> Duration {
        Duration::from_secs(1_000_000) + Duration::from_millis(milliseconds)
    }

    fn fetch(cause: Cause, begun: u64, own_fetched_at: Option<u64>) -> Fetch {
        Fetch {
            cause,
            begun: at(begun),
            own_fetched_at: own_fetched_at.map_or(Duration::ZERO, at),
            timeout: Duration::from_secs(2),
            cache_duration: Duration::from_secs(600),
        }
    }

    fn prepared() -> Store {
        let store = Store::default();
        prepare(&store, "k");
        store
    }

    #[test]
    fn one_worker_fetches_and_the_others_wait_and_adopt() {
        let store = prepared();
        assert_eq!(plan(&store, "k", &fetch(Cause::Age, 0, None), at(0)), Plan::Fetch);
        assert_eq!(plan(&store, "k", &fetch(Cause::Age, 1, None), at(1)), Plan::Wait);
        publish(&store, "k", Cause::Age, Some(b"set"), at(50));
        let Plan::Adopt(record) = plan(&store, "k", &fetch(Cause::Age, 1, None), at(60)) else { panic!() };
        assert_eq!((record.body.as_slice(), record.fetched_at), (&b"set"[..], at(50)));
    }

    #[test]
    fn a_lease_ends_when_its_holder_cannot_answer_any_more() {
        let store = prepared();
        assert_eq!(plan(&store, "k", &fetch(Cause::Age, 0, None), at(0)), Plan::Fetch);
        assert_eq!(plan(&store, "k", &fetch(Cause::Age, 1, None), at(2_999)), Plan::Wait);
        assert_eq!(plan(&store, "k", &fetch(Cause::Age, 1, None), at(3_000)), Plan::Fetch);
    }

    #[test]
    fn a_failed_fetch_fails_for_all_who_waited_and_not_for_who_comes_later() {
        let store = prepared();
        plan(&store, "k", &fetch(Cause::Age, 0, None), at(0));
        publish(&store, "k", Cause::Age, None, at(10));
        assert_eq!(plan(&store, "k", &fetch(Cause::Age, 1, None), at(11)), Plan::Fail);
        assert_eq!(plan(&store, "k", &fetch(Cause::Age, 10, None), at(11)), Plan::Fetch);
    }

    #[test]
    fn a_refresh_adopts_only_what_is_newer_and_fresh() {
        let store = prepared();
        publish(&store, "k", Cause::Age, Some(b"set"), at(0));
        assert!(matches!(plan(&store, "k", &fetch(Cause::Age, 1, None), at(479_999)), Plan::Adopt(_)));
        assert_eq!(plan(&store, "k", &fetch(Cause::Age, 1, Some(0)), at(1)), Plan::Fetch);
        let store = prepared();
        publish(&store, "k", Cause::Age, Some(b"set"), at(0));
        assert_eq!(plan(&store, "k", &fetch(Cause::Age, 1, None), at(480_000)), Plan::Fetch);
    }

    #[test]
    fn unknown_kids_cause_one_fetch_in_thirty_seconds_for_all_workers_together() {
        let store = prepared();
        publish(&store, "k", Cause::Age, Some(b"old"), at(0));
        assert_eq!(plan(&store, "k", &fetch(Cause::UnknownKid, 1, Some(0)), at(1)), Plan::Fetch);
        publish(&store, "k", Cause::UnknownKid, Some(b"new"), at(20));
        for time in [21, 30_019] {
            let planned = plan(&store, "k", &fetch(Cause::UnknownKid, time, Some(20)), at(time));
            assert!(matches!(planned, Plan::Adopt(_)), "{time}");
        }
        assert_eq!(plan(&store, "k", &fetch(Cause::UnknownKid, 30_020, Some(20)), at(30_020)), Plan::Fetch);
    }

    #[test]
    fn what_cannot_be_read_is_as_none() {
        let store = Store::default();
        store.write("k", b"SGK1 too short", 0);
        assert_eq!(plan(&store, "k", &fetch(Cause::Age, 0, None), at(0)), Plan::Fetch);
    }

    #[test]
    fn an_answer_is_found_for_its_own_provider_and_token_only() {
        let store = Store::default();
        publish_answer(&store, &[1; 32], "token", b"{}", at(5));
        assert_eq!(shared_answer(&store, &[1; 32], "token"), Some((b"{}".to_vec(), at(5))));
        assert_eq!(shared_answer(&store, &[2; 32], "token"), None);
        assert_eq!(shared_answer(&store, &[1; 32], "tokem"), None);
    }

    #[test]
    fn a_large_answer_is_not_shared() {
        let store = Store::default();
        publish_answer(&store, &[1; 32], "token", &[b' '; MAX_SHARED_ANSWER + 1], at(5));
        assert_eq!(shared_answer(&store, &[1; 32], "token"), None);
    }
}
