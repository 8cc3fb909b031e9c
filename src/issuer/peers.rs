//! What the workers of one proxy tell each other, so that a fleet of them does not multiply the load on an issuer.
//!
//! Key sets stand under one key for each provider configuration and tenant name, with the time of their fetch; the same
//! record is the lease by which one worker fetches while the others wait. Introspection answers stand in a fixed number
//! of slots, since shared data is never freed. Both are read as strictly as an issuer's answer; a record that cannot be
//! read is as none.

use std::time::Duration;

use sha2::{Digest, Sha256};

use super::keys::{Cause, REFETCH_INTERVAL};
pub use crate::collections::shared_store::SharedStore;

/// How many introspection answers of either kind are shared at most.
const INTROSPECTION_SLOTS: u16 = 512;
/// How large a shared introspection answer may be, in bytes: 8 MiB in all.
const MAX_SHARED_ANSWER: usize = 8192;

/// What the workers know of one key set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeysRecord {
    /// When the body was fetched; 0 where there is none. An empty body: no key of the set was usable.
    pub fetched_at: Duration,
    /// When the last fetch ended that a token had caused.
    pub refetch_ended: Duration,
    /// When the last fetch failed; 0 where it brought keys.
    pub failed_at: Duration,
    /// When a failed fetch is to be tried again.
    pub retry_at: Duration,
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
    /// When the set was fetched that the worker learnt last; 0 where it learnt none.
    pub own_fetched_at: Duration,
    /// How long the fetch may take.
    pub timeout: Duration,
    /// For how long keys are fresh.
    pub cache_duration: Duration,
}

/// What a worker does about a fetch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FetchDecision {
    /// Take what another worker fetched.
    Adopt(KeysRecord),
    /// Another worker is fetching: look again soon.
    Wait,
    /// Do without: another worker's fetch failed, or it brought no keys, or those that this worker has.
    Take(PeerUpdate),
    /// Fetch.
    Fetch,
}

/// What another worker tells of a fetch of keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerUpdate {
    /// It failed.
    Failed {
        /// When it is to be tried again.
        retry_at: Duration,
    },
    /// It brought a set without a usable key.
    Withdrawn {
        /// When it was fetched.
        fetched_at: Duration,
        /// When it is to be tried again.
        retry_at: Duration,
    },
    /// A token had caused it, and it brought the keys that are at hand.
    Confirmed {
        /// When it ended.
        refetch_ended: Duration,
    },
}

/// How a fetch ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FetchOutcome<'b> {
    /// It brought this document.
    Keys(&'b [u8]),
    /// It brought a set without a usable key: the keys known before are none any more.
    Withdrawn {
        /// When it is to be tried again.
        retry_at: Duration,
    },
    /// It failed.
    Failed {
        /// When it is to be tried again.
        retry_at: Duration,
    },
}

/// Decides what to do about `fetch`; with [`FetchDecision::Fetch`] this worker holds the lease.
pub fn decide(store: &dyn SharedStore, key: &str, fetch: &Fetch, now: Duration) -> FetchDecision {
    let found = read_keys(store, key, now).or_else(|| {
        // Of two that come at once and find nothing, both may fetch, once.
        store.write(key, &KeysRecord::default().encode(), 0);
        read_keys(store, key, now)
    });
    let Some((record, version)) = found else { return FetchDecision::Fetch };
    let is_newer = record.fetched_at > fetch.own_fetched_at && !record.body.is_empty();
    let is_fresh = record.is_fresh(fetch.cache_duration, now);
    match fetch.cause {
        Cause::Age if is_newer && is_fresh => return FetchDecision::Adopt(record),
        Cause::Unverified if is_newer => return FetchDecision::Adopt(record),
        Cause::Age | Cause::Unverified => {}
    }
    let own_are_withdrawn = record.body.is_empty()
        && record.fetched_at > fetch.own_fetched_at
        && fetch.own_fetched_at > Duration::ZERO;
    if own_are_withdrawn {
        return FetchDecision::Take(record.withdrawn());
    }
    let has_failed = record.failed_at > Duration::ZERO;
    if has_failed && (record.failed_at > fetch.begun || now < record.retry_at) {
        return FetchDecision::Take(PeerUpdate::Failed { retry_at: record.retry_at });
    }
    let refetch_ended = record.refetch_ended;
    let budget_is_used =
        now < refetch_ended.saturating_add(REFETCH_INTERVAL) && refetch_ended > Duration::ZERO;
    if fetch.cause == Cause::Unverified && budget_is_used && !has_failed {
        // The proxy's one fetch in 30 s has been made, and this worker has what it brought.
        return FetchDecision::Take(PeerUpdate::Confirmed { refetch_ended });
    }
    if now < record.leased_until {
        return FetchDecision::Wait;
    }
    let leased = KeysRecord { leased_until: lease_end(fetch, now), ..record };
    if store.write(key, &leased.encode(), version) { FetchDecision::Fetch } else { FetchDecision::Wait }
}

/// Tells the others how a fetch ended.
pub fn publish(store: &dyn SharedStore, key: &str, cause: Cause, outcome: FetchOutcome<'_>, now: Duration) {
    let mut record = read_keys(store, key, now).map(|(record, _)| record).unwrap_or_default();
    record.leased_until = Duration::ZERO;
    match outcome {
        FetchOutcome::Keys(body) => {
            record.body = body.to_vec();
            record.fetched_at = now;
            record.failed_at = Duration::ZERO;
            record.retry_at = Duration::ZERO;
        }
        FetchOutcome::Withdrawn { retry_at } => {
            record.body = Vec::new();
            record.fetched_at = now;
            record.failed_at = now;
            record.retry_at = retry_at;
        }
        FetchOutcome::Failed { retry_at } => {
            record.failed_at = now;
            record.retry_at = retry_at;
        }
    }
    if cause == Cause::Unverified {
        record.refetch_ended = now;
    }
    // Whoever writes last has the newest document; a lost write costs another fetch.
    store.write(key, &record.encode(), 0);
}

/// What a worker learns from the others without asking for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// A newer set.
    Keys(KeysRecord),
    /// That the issuer withdrew the keys at hand.
    Withdrawn(PeerUpdate),
}

/// What the others have learnt of a key set since `own_fetched_at`, when the set was fetched that this worker learnt
/// last. An old document is no news: the issuer may have withdrawn a key of it meanwhile.
pub fn news(
    store: &dyn SharedStore,
    key: &str,
    own_fetched_at: Duration,
    cache_duration: Duration,
    now: Duration,
) -> Option<News> {
    let (value, _) = store.read(key)?;
    let (fetched_at, _) = time(value.strip_prefix(KEYS_MARK)?)?;
    if fetched_at <= own_fetched_at {
        return None;
    }
    let record = KeysRecord::decode(&value).filter(|record| record.is_plausible(now))?;
    if record.body.is_empty() {
        return Some(News::Withdrawn(record.withdrawn()));
    }
    record.is_fresh(cache_duration, now).then_some(News::Keys(record))
}

/// Tells the others that some key set of a provider has changed, so that they look only then.
pub fn announce(store: &dyn SharedStore, provider_digest: &[u8; 32]) {
    // Where the write fails they learn of it when they fetch.
    store.write(&announcement_name(provider_digest), b"!", 0);
}

/// The number of the last announcement about a provider: another one than before says that something has changed.
pub fn last_announcement(store: &dyn SharedStore, provider_digest: &[u8; 32]) -> Option<u32> {
    store.read(&announcement_name(provider_digest)).map(|(_, version)| version)
}

fn announcement_name(provider_digest: &[u8; 32]) -> String {
    format!("scopegate.jwks.changed.{}", base16ct::lower::encode_string(provider_digest))
}

/// Gives a lease back without having fetched.
pub fn release(store: &dyn SharedStore, key: &str, now: Duration) {
    if let Some((record, version)) = read_keys(store, key, now) {
        let released = KeysRecord { leased_until: Duration::ZERO, ..record };
        // Where it fails somebody has written since, or the lease ends by itself.
        store.write(key, &released.encode(), version);
    }
}

/// Makes a record if there is none, so that the first fetch already finds one to lease.
pub fn prepare(store: &dyn SharedStore, key: &str) {
    if store.read(key).is_none() {
        store.write(key, &KeysRecord::default().encode(), 0);
    }
}

/// The name under which a key set is shared.
pub fn keys_name(provider_digest: &[u8; 32], tenant: Option<&str>) -> String {
    format!(
        "scopegate.jwks.{}.{}",
        base16ct::lower::encode_string(provider_digest),
        tenant.unwrap_or_default()
    )
}

/// What came of an introspection answer. Each has slots of its own, so that a flood of bad tokens pushes no good one
/// out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answered {
    /// The token is good.
    Good,
    /// It is refused.
    Bad,
}

/// Shares an introspection answer about `token` (a question's key), in place of whatever had its slot.
pub fn publish_answer(
    store: &dyn SharedStore,
    provider_digest: &[u8; 32],
    token: &str,
    body: &[u8],
    answered: Answered,
    now: Duration,
) {
    if body.len() > MAX_SHARED_ANSWER {
        return;
    }
    let identity = answer_identity(provider_digest, token);
    let mut value = ANSWER_MARK.to_vec();
    value.extend(milliseconds(now));
    value.extend(identity);
    value.extend(body);
    store.write(&slot(&identity, answered), &value, 0);
}

/// The newest answer that another worker got about `token`, and when.
pub fn shared_answer(
    store: &dyn SharedStore,
    provider_digest: &[u8; 32],
    token: &str,
) -> Option<(Vec<u8>, Duration)> {
    let identity = answer_identity(provider_digest, token);
    let answers = [Answered::Good, Answered::Bad].into_iter().filter_map(|answered| {
        let (value, _) = store.read(&slot(&identity, answered))?;
        let rest = value.strip_prefix(ANSWER_MARK)?;
        let (received_at, rest) = time(rest)?;
        let body = rest.strip_prefix(&identity[..])?;
        (body.len() <= MAX_SHARED_ANSWER).then(|| (body.to_vec(), received_at))
    });
    // Of two of the same moment, the refusal.
    answers.max_by_key(|(_, received_at)| *received_at)
}

const KEYS_MARK: &[u8] = b"SGK2";
const ANSWER_MARK: &[u8] = b"SGI1";

fn lease_end(fetch: &Fetch, now: Duration) -> Duration {
    now.saturating_add(fetch.timeout).saturating_add(Duration::from_secs(1))
}

fn answer_identity(provider_digest: &[u8; 32], token: &str) -> [u8; 32] {
    Sha256::new().chain_update(provider_digest).chain_update(token.as_bytes()).finalize().into()
}

fn slot(identity: &[u8; 32], answered: Answered) -> String {
    let [high, low, ..] = *identity;
    let number = u16::from_be_bytes([high, low]) % INTROSPECTION_SLOTS;
    match answered {
        Answered::Good => format!("scopegate.introspection.good.{number}"),
        Answered::Bad => format!("scopegate.introspection.bad.{number}"),
    }
}

fn read_keys(store: &dyn SharedStore, key: &str, now: Duration) -> Option<(KeysRecord, u32)> {
    let (value, version) = store.read(key)?;
    let record = KeysRecord::decode(&value).filter(|record| record.is_plausible(now))?;
    Some((record, version))
}

impl KeysRecord {
    /// Whether no time in it is one that no worker writes, which would keep all of them from fetching for good.
    fn is_plausible(&self, now: Duration) -> bool {
        /// Another worker may have written after this one looked at the clock.
        const HASTE: Duration = Duration::from_secs(1);
        /// The longest lease: a timeout of a minute and what a lost answer is granted.
        const AHEAD: Duration = Duration::from_secs(62);
        let latest = now.saturating_add(HASTE);
        [self.fetched_at, self.refetch_ended, self.failed_at].into_iter().all(|time| time <= latest)
            && [self.retry_at, self.leased_until].into_iter().all(|time| time <= now.saturating_add(AHEAD))
    }

    /// Whether the document is young enough to be taken by who did not fetch it.
    fn is_fresh(&self, cache_duration: Duration, now: Duration) -> bool {
        now < self.fetched_at.saturating_add(cache_duration.saturating_mul(4) / 5)
    }

    fn withdrawn(&self) -> PeerUpdate {
        PeerUpdate::Withdrawn { fetched_at: self.fetched_at, retry_at: self.retry_at }
    }

    fn encode(&self) -> Vec<u8> {
        let Self { fetched_at, refetch_ended, failed_at, retry_at, leased_until, body } = self;
        let times = [*fetched_at, *refetch_ended, *failed_at, *retry_at, *leased_until];
        let mut bytes = KEYS_MARK.to_vec();
        bytes.extend(times.into_iter().flat_map(milliseconds));
        bytes.extend(body);
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let rest = bytes.strip_prefix(KEYS_MARK)?;
        let (fetched_at, rest) = time(rest)?;
        let (refetch_ended, rest) = time(rest)?;
        let (failed_at, rest) = time(rest)?;
        let (retry_at, rest) = time(rest)?;
        let (leased_until, body) = time(rest)?;
        let body = body.to_vec();
        Some(Self { fetched_at, refetch_ended, failed_at, retry_at, leased_until, body })
    }
}

fn milliseconds(time: Duration) -> [u8; 8] {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX).to_le_bytes()
}

fn time(bytes: &[u8]) -> Option<(Duration, &[u8])> {
    let (number, rest) = bytes.split_first_chunk::<8>()?;
    Some((Duration::from_millis(u64::from_le_bytes(*number)), rest))
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
        assert_eq!(decide(&store, "k", &fetch(Cause::Age, 0, None), at(0)), FetchDecision::Fetch);
        assert_eq!(decide(&store, "k", &fetch(Cause::Age, 1, None), at(1)), FetchDecision::Wait);
        publish(&store, "k", Cause::Age, FetchOutcome::Keys(b"set"), at(50));
        let FetchDecision::Adopt(record) = decide(&store, "k", &fetch(Cause::Age, 1, None), at(60)) else {
            panic!()
        };
        assert_eq!((record.body.as_slice(), record.fetched_at), (&b"set"[..], at(50)));
    }

    #[test]
    fn a_lease_ends_when_its_holder_cannot_answer_any_more() {
        let store = prepared();
        assert_eq!(decide(&store, "k", &fetch(Cause::Age, 0, None), at(0)), FetchDecision::Fetch);
        assert_eq!(decide(&store, "k", &fetch(Cause::Age, 1, None), at(2_999)), FetchDecision::Wait);
        assert_eq!(decide(&store, "k", &fetch(Cause::Age, 1, None), at(3_000)), FetchDecision::Fetch);
    }

    #[test]
    fn a_failed_fetch_fails_for_all_until_it_is_to_be_tried_again() {
        let store = prepared();
        decide(&store, "k", &fetch(Cause::Age, 0, None), at(0));
        let failed = FetchDecision::Take(PeerUpdate::Failed { retry_at: at(500) });
        publish(&store, "k", Cause::Age, FetchOutcome::Failed { retry_at: at(500) }, at(10));
        assert_eq!(decide(&store, "k", &fetch(Cause::Age, 1, None), at(11)), failed);
        assert_eq!(decide(&store, "k", &fetch(Cause::Age, 400, None), at(499)), failed);
        assert_eq!(decide(&store, "k", &fetch(Cause::Age, 400, None), at(500)), FetchDecision::Fetch);
    }

    #[test]
    fn keys_that_were_withdrawn_are_adopted_by_nobody_and_end_where_they_are_at_hand() {
        let store = prepared();
        publish(&store, "k", Cause::Age, FetchOutcome::Keys(b"set"), at(0));
        publish(&store, "k", Cause::Age, FetchOutcome::Withdrawn { retry_at: at(500) }, at(10));
        let withdrawn = FetchDecision::Take(PeerUpdate::Withdrawn { fetched_at: at(10), retry_at: at(500) });
        assert_eq!(decide(&store, "k", &fetch(Cause::Age, 20, Some(0)), at(20)), withdrawn);
        assert_eq!(decide(&store, "k", &fetch(Cause::Age, 900, Some(0)), at(900)), withdrawn);
        assert_eq!(decide(&store, "k", &fetch(Cause::Age, 600, None), at(600)), FetchDecision::Fetch);
    }

    #[test]
    fn a_fetch_for_an_unknown_kid_that_failed_tells_nobody_that_the_keys_at_hand_are_the_newest() {
        let store = prepared();
        publish(&store, "k", Cause::Age, FetchOutcome::Keys(b"old"), at(0));
        publish(&store, "k", Cause::Unverified, FetchOutcome::Failed { retry_at: at(500) }, at(10));
        let planned = decide(&store, "k", &fetch(Cause::Unverified, 20, Some(0)), at(20));
        assert_eq!(planned, FetchDecision::Take(PeerUpdate::Failed { retry_at: at(500) }));
    }

    #[test]
    fn a_refresh_adopts_only_what_is_newer_and_fresh() {
        let store = prepared();
        publish(&store, "k", Cause::Age, FetchOutcome::Keys(b"set"), at(0));
        assert!(matches!(
            decide(&store, "k", &fetch(Cause::Age, 1, None), at(479_999)),
            FetchDecision::Adopt(_)
        ));
        assert_eq!(decide(&store, "k", &fetch(Cause::Age, 1, Some(0)), at(1)), FetchDecision::Fetch);
        let store = prepared();
        publish(&store, "k", Cause::Age, FetchOutcome::Keys(b"set"), at(0));
        assert_eq!(decide(&store, "k", &fetch(Cause::Age, 1, None), at(480_000)), FetchDecision::Fetch);
    }

    #[test]
    fn unknown_kids_cause_one_fetch_in_thirty_seconds_for_all_workers_together() {
        let store = prepared();
        publish(&store, "k", Cause::Age, FetchOutcome::Keys(b"old"), at(0));
        assert_eq!(decide(&store, "k", &fetch(Cause::Unverified, 1, Some(0)), at(1)), FetchDecision::Fetch);
        publish(&store, "k", Cause::Unverified, FetchOutcome::Keys(b"new"), at(20));
        assert!(matches!(
            decide(&store, "k", &fetch(Cause::Unverified, 21, Some(0)), at(21)),
            FetchDecision::Adopt(_)
        ));
        for time in [21, 30_019] {
            let planned = decide(&store, "k", &fetch(Cause::Unverified, time, Some(20)), at(time));
            let refetch_ended = at(20);
            assert_eq!(planned, FetchDecision::Take(PeerUpdate::Confirmed { refetch_ended }), "{time}");
        }
        assert_eq!(
            decide(&store, "k", &fetch(Cause::Unverified, 30_020, Some(20)), at(30_020)),
            FetchDecision::Fetch
        );
    }

    #[test]
    fn what_cannot_be_read_is_as_none() {
        let store = Store::default();
        store.write("k", b"SGK1 too short", 0);
        assert_eq!(decide(&store, "k", &fetch(Cause::Age, 0, None), at(0)), FetchDecision::Fetch);
    }

    #[test]
    fn an_answer_is_found_for_its_own_provider_and_token_only() {
        let store = Store::default();
        publish_answer(&store, &[1; 32], "token", b"{}", Answered::Good, at(5));
        assert_eq!(shared_answer(&store, &[1; 32], "token"), Some((b"{}".to_vec(), at(5))));
        assert_eq!(shared_answer(&store, &[2; 32], "token"), None);
        assert_eq!(shared_answer(&store, &[1; 32], "tokem"), None);
    }

    #[test]
    fn a_flood_of_bad_tokens_pushes_no_good_answer_out_and_the_newest_of_a_token_counts() {
        let store = Store::default();
        publish_answer(&store, &[1; 32], "token", b"good", Answered::Good, at(5));
        for number in 0..5_000 {
            publish_answer(&store, &[1; 32], &format!("bad-{number}"), b"bad", Answered::Bad, at(6));
        }
        assert_eq!(shared_answer(&store, &[1; 32], "token"), Some((b"good".to_vec(), at(5))));
        for (answered, time) in [(Answered::Bad, 7), (Answered::Good, 8), (Answered::Bad, 8)] {
            let body: &[u8] = if answered == Answered::Good { b"good" } else { b"bad" };
            publish_answer(&store, &[1; 32], "token", body, answered, at(time));
            assert_eq!(shared_answer(&store, &[1; 32], "token"), Some((body.to_vec(), at(time))));
        }
    }

    #[test]
    fn a_large_answer_is_not_shared() {
        let store = Store::default();
        publish_answer(&store, &[1; 32], "token", &[b' '; MAX_SHARED_ANSWER + 1], Answered::Good, at(5));
        assert_eq!(shared_answer(&store, &[1; 32], "token"), None);
    }
}
