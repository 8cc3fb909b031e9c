//! The keys of one issuer that are fetched over HTTP: when to fetch, who waits, what is served meanwhile.
//!
//! A state machine without clock and without IO: `now` comes in, [`Need`] goes out.
//!
//! 1. Keys at hand are served however old they are; they are refreshed in the background before they expire.
//! 2. A failed fetch keeps the keys at hand and is tried again with exponential backoff and jitter.
//! 3. A request that needs keys while there are none waits for the fetch in flight, or starts one; while a failed
//!    fetch backs off it is told at once that there are none.
//! 4. A `kid` that no key has, or under which no key verifies the signature, starts one fetch in 30 s for either cause;
//!    such requests that come while any fetch is in flight wait for it, and within the 30 s after it they are answered
//!    at once. The keys at hand are tried first.
//! 5. A set without a usable key takes the keys at hand away, and counts as a failed fetch.

use std::sync::Arc;
use std::time::Duration;

use super::fault::IssuerFault;
use crate::jose::algorithm::Algorithm;
use crate::jose::{KeySet, KeySource, SkippedKey};

/// How long after a fetch that a token caused (see [`Cause::Unverified`]) the next may be caused so.
pub const REFETCH_INTERVAL: Duration = Duration::from_secs(30);

/// How many fetches of one provider's key sets a worker has in flight at most; others wait for their turn.
pub const MAX_FETCHES: usize = 16;

const FIRST_BACKOFF: Duration = Duration::from_millis(500);
const LONGEST_BACKOFF: Duration = Duration::from_secs(30);
/// What a fetch may take beyond its own timeout before it is given up: its answer was lost, or its turn never came.
pub const GRACE: Duration = Duration::from_secs(1);
/// The share of the time to live after which keys are refreshed, in percent; jitter takes up to ten off.
const REFRESH_AT_PERCENT: u32 = 90;

/// The keys of one `remote_jwks` URI.
#[derive(Debug, Default)]
pub struct RemoteKeys {
    keys: Option<Arc<KeySet>>,
    fetched_at: Duration,
    refresh_at: Duration,
    in_flight: Option<InFlight>,
    failures: u32,
    retry_at: Duration,
    refetch_ended: Option<Duration>,
}

#[derive(Clone, Copy, Debug)]
struct InFlight {
    begun: Duration,
    deadline: Duration,
    is_refetch: bool,
}

/// What a request for keys gets.
#[derive(Clone, Debug)]
pub enum Need {
    /// Keys of which at least one fits, or none would if they were fetched again.
    Keys(Arc<KeySet>),
    /// A fetch is in flight: wait for it.
    Wait,
    /// Start a fetch (see [`RemoteKeys::begin`]) and wait for it.
    Fetch(Cause),
    /// There are none, and it is too early to try again.
    Unavailable {
        /// How long until the next try.
        retry_in: Duration,
    },
}

/// What a token needs keys for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wanted<'t> {
    /// The token's algorithm.
    pub algorithm: Option<Algorithm>,
    /// The token's `kid`.
    pub key_id: Option<&'t str>,
    /// Whether the keys at hand were tried, and none verified the signature.
    pub at_hand_tried: bool,
}

/// Whether what began at `begun` and ends at `end` lasts at `now`. Where the clock has gone back by more than [`GRACE`]
/// since it began, it is over: else it would last until the clock comes by again.
pub fn lasts(begun: Duration, end: Duration, now: Duration) -> bool {
    now < end && begun <= now.saturating_add(GRACE)
}

/// Why keys are fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// There are none, or they grow old.
    Age,
    /// A token names a `kid` that no key has, or no key that has it verifies the signature: a key may have been added, or
    /// replaced under its `kid`.
    Unverified,
}

impl RemoteKeys {
    /// Keys for a token as `wanted` says.
    pub fn need(&self, wanted: &Wanted<'_>, now: Duration) -> Need {
        let Wanted { algorithm, key_id, at_hand_tried } = *wanted;
        let waiting_or = |need: Need| if self.in_flight.is_some() { Need::Wait } else { need };
        let Some(keys) = &self.keys else {
            return waiting_or(self.fetch_unless_backing_off(Cause::Age, now));
        };
        let Some(key_id) = key_id else { return Need::Keys(Arc::clone(keys)) };
        let fits =
            || algorithm.is_none_or(|algorithm| keys.candidates(algorithm, Some(key_id)).next().is_some());
        if !at_hand_tried && (keys.knows_key_id(key_id) || fits()) {
            return Need::Keys(Arc::clone(keys));
        }
        waiting_or(match self.refetch_ended {
            Some(ended) if lasts(ended, ended.saturating_add(REFETCH_INTERVAL), now) => {
                if self.failures > 0 {
                    // The issuer could not be asked: that the token is bad is not known.
                    Need::Unavailable { retry_in: self.retry_at.saturating_sub(now) }
                } else {
                    Need::Keys(Arc::clone(keys))
                }
            }
            Some(_) | None => self.fetch_unless_backing_off(Cause::Unverified, now),
        })
    }

    /// The keys at hand.
    pub fn at_hand(&self) -> Option<&Arc<KeySet>> {
        self.keys.as_ref()
    }

    /// Whether a fetch should begin in the background now.
    pub fn is_due(&self, now: Duration) -> bool {
        let is_wanted = self.failures > 0 || !lasts(self.fetched_at, self.refresh_at, now);
        self.in_flight.is_none() && is_wanted && !self.backs_off(now)
    }

    /// Whether a fetch has begun that is not over.
    pub fn is_fetching(&self) -> bool {
        self.in_flight.is_some()
    }

    /// Whether the fetch that began at `begun` is still in flight.
    pub fn is_in_flight(&self, begun: Duration) -> bool {
        self.in_flight.is_some_and(|fetch| fetch.begun == begun)
    }

    /// Notes that a fetch begins, which may take `timeout`.
    pub fn begin(&mut self, cause: Cause, timeout: Duration, now: Duration) {
        let deadline = now.saturating_add(timeout).saturating_add(GRACE);
        self.in_flight = Some(InFlight { begun: now, deadline, is_refetch: cause == Cause::Unverified });
    }

    /// Takes the set that a fetch brought. `jitter` is in 0..=255.
    pub fn succeed(&mut self, keys: KeySet, cache_duration: Duration, jitter: u8, now: Duration) {
        self.end_fetch(now);
        self.failures = 0;
        self.retry_at = Duration::ZERO;
        self.take(keys, cache_duration, jitter, now);
    }

    /// Takes the set that another worker fetched at `fetched_at`, in place of a fetch of its own. A token may still
    /// cause one, unless `refetch_ended` says that another worker made it already.
    pub fn adopt(
        &mut self,
        keys: KeySet,
        cache_duration: Duration,
        jitter: u8,
        fetched_at: Duration,
        refetch_ended: Duration,
    ) {
        self.in_flight = None;
        self.failures = 0;
        self.retry_at = Duration::ZERO;
        if !refetch_ended.is_zero() {
            self.refetch_ended = self.refetch_ended.max(Some(refetch_ended));
        }
        self.take(keys, cache_duration, jitter, fetched_at);
    }

    /// When the set was fetched that was learnt last, also where it had no usable key; 0 where none was.
    pub fn fetched_at(&self) -> Duration {
        self.fetched_at
    }

    fn take(&mut self, keys: KeySet, cache_duration: Duration, jitter: u8, fetched_at: Duration) {
        self.keys = Some(Arc::new(keys));
        self.fetched_at = fetched_at;
        let percent = REFRESH_AT_PERCENT.saturating_sub(u32::from(jitter) * 10 / 255);
        self.refresh_at = fetched_at.saturating_add(cache_duration.saturating_mul(percent) / 100);
    }

    /// Notes that a fetch failed. `jitter` is in 0..=255: it spreads the next try over the second half of the backoff.
    pub fn fail(&mut self, jitter: u8, now: Duration) {
        self.end_fetch(now);
        let backoff = FIRST_BACKOFF.saturating_mul(1 << self.failures.min(10)).min(LONGEST_BACKOFF);
        self.failures = self.failures.saturating_add(1);
        self.retry_at = now.saturating_add(backoff / 2 + backoff.saturating_mul(u32::from(jitter)) / 510);
    }

    /// Notes that a fetch brought a set without a usable key: what the issuer withdrew ends, and as after a failed fetch
    /// it is asked again soon.
    pub fn withdraw(&mut self, jitter: u8, now: Duration) {
        self.drop_keys(now);
        self.fail(jitter, now);
    }

    /// As [`Self::withdraw`], of a fetch that another worker made, which ended at `fetched_at` and is to be tried again at
    /// `retry_at`.
    pub fn withdraw_as_told(&mut self, fetched_at: Duration, retry_at: Duration, now: Duration) {
        self.drop_keys(fetched_at);
        self.fail_as_told(retry_at, now);
    }

    fn drop_keys(&mut self, fetched_at: Duration) {
        self.keys = None;
        self.fetched_at = fetched_at;
        self.refresh_at = Duration::ZERO;
    }

    /// Notes that another worker's fetch failed, which is to be tried again at `retry_at`.
    pub fn fail_as_told(&mut self, retry_at: Duration, now: Duration) {
        self.end_fetch(now);
        self.failures = self.failures.saturating_add(1);
        self.retry_at = retry_at.min(now.saturating_add(LONGEST_BACKOFF));
    }

    /// Notes that another worker has made the fetch that a token caused, and that the keys at hand are what it brought.
    pub fn confirm(&mut self, refetch_ended: Duration) {
        self.in_flight = None;
        self.failures = 0;
        self.retry_at = Duration::ZERO;
        self.refetch_ended = self.refetch_ended.max(Some(refetch_ended));
    }

    /// When a failed fetch is to be tried again.
    pub fn retry_at(&self) -> Duration {
        self.retry_at
    }

    /// Whether the fetch in flight is past its deadline, so that its answer will not come.
    pub fn is_overdue(&self, now: Duration) -> bool {
        self.in_flight.is_some_and(|fetch| !lasts(fetch.begun, fetch.deadline, now))
    }

    fn backs_off(&self, now: Duration) -> bool {
        lasts(self.retry_at.saturating_sub(LONGEST_BACKOFF), self.retry_at, now)
    }

    fn fetch_unless_backing_off(&self, cause: Cause, now: Duration) -> Need {
        if self.backs_off(now) {
            Need::Unavailable { retry_in: self.retry_at.saturating_sub(now) }
        } else {
            Need::Fetch(cause)
        }
    }

    fn end_fetch(&mut self, now: Duration) {
        if self.in_flight.take().is_some_and(|fetch| fetch.is_refetch) {
            self.refetch_ended = Some(now);
        }
    }
}

/// Reads the answer to a fetch of keys: the usable ones, and why others are not used.
///
/// # Errors
///
/// What makes the answer none that keys could be taken from.
pub fn read_key_set(
    reply: Result<(u16, &[u8]), IssuerFault>,
) -> Result<(KeySet, Vec<SkippedKey>), IssuerFault> {
    let (status, body) = reply?;
    if status != 200 {
        return Err(IssuerFault::Status(status));
    }
    if body.len() > MAX_JWKS_BYTES {
        return Err(IssuerFault::TooLarge);
    }
    KeySet::parse(body, KeySource::Remote).map_err(IssuerFault::NotAKeySet)
}

/// How large a key set may be, in bytes.
pub const MAX_JWKS_BYTES: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jose::key_set::KeySource;

    const TIMEOUT: Duration = Duration::from_secs(2);

    fn wanted(key_id: Option<&str>) -> Wanted<'_> {
        Wanted { algorithm: Some(Algorithm::Es256), key_id, at_hand_tried: false }
    }

    fn at(milliseconds: u64) -> Duration {
        Duration::from_secs(1_000_000) + Duration::from_millis(milliseconds)
    }

    fn key_set(key_id: &str) -> KeySet {
        // RFC 7515 appendix A.3.1.
        let jwks = format!(
            r#"{{"keys":[{{"kty":"EC","crv":"P-256","kid":"{key_id}","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}}]}}"#
        );
        KeySet::parse(jwks.as_bytes(), KeySource::Remote).unwrap().0
    }

    fn with_keys(key_id: &str) -> RemoteKeys {
        let mut remote = RemoteKeys::default();
        remote.begin(Cause::Age, TIMEOUT, at(0));
        remote.succeed(key_set(key_id), Duration::from_secs(600), 0, at(0));
        remote
    }

    #[test]
    fn the_first_request_starts_the_fetch_and_the_next_wait_for_it() {
        let mut remote = RemoteKeys::default();
        assert!(matches!(remote.need(&wanted(Some("a")), at(0)), Need::Fetch(Cause::Age)));
        remote.begin(Cause::Age, TIMEOUT, at(0));
        assert!(matches!(remote.need(&wanted(Some("a")), at(1)), Need::Wait));
        remote.succeed(key_set("a"), Duration::from_secs(600), 0, at(2));
        assert!(matches!(remote.need(&wanted(Some("a")), at(3)), Need::Keys(_)));
    }

    #[test]
    fn a_clock_that_goes_back_prolongs_nothing() {
        let back = Duration::from_secs(900_000);
        let mut remote = with_keys("a");
        assert!(!remote.is_due(at(0) - GRACE) && remote.is_due(back));
        remote.begin(Cause::Unverified, TIMEOUT, at(0));
        assert!(!remote.is_overdue(at(0) - GRACE) && remote.is_overdue(back));
        remote.fail(255, at(0));
        assert!(!remote.is_due(at(0)) && remote.is_due(back));
        let unknown = || wanted(Some("b"));
        assert!(matches!(remote.need(&unknown(), at(0)), Need::Unavailable { .. }));
        assert!(matches!(remote.need(&unknown(), back), Need::Fetch(Cause::Unverified)));
    }

    #[test]
    fn while_a_failed_fetch_backs_off_requests_are_told_at_once() {
        let mut remote = RemoteKeys::default();
        remote.begin(Cause::Age, TIMEOUT, at(0));
        remote.fail(255, at(0));
        assert!(matches!(remote.need(&wanted(None), at(499)), Need::Unavailable { .. }));
        assert!(matches!(remote.need(&wanted(None), at(500)), Need::Fetch(Cause::Age)));
    }

    #[test]
    fn what_another_worker_fetched_leaves_the_fetch_is_refetchs_unless_that_was_it() {
        let mut remote = with_keys("a");
        remote.begin(Cause::Unverified, TIMEOUT, at(10));
        remote.adopt(key_set("a"), Duration::from_secs(600), 0, at(5), Duration::ZERO);
        assert!(matches!(remote.need(&wanted(Some("b")), at(11)), Need::Fetch(Cause::Unverified)));
        remote.adopt(key_set("a"), Duration::from_secs(600), 0, at(5), at(5));
        assert!(matches!(remote.need(&wanted(Some("b")), at(11)), Need::Keys(..)));
        assert!(matches!(remote.need(&wanted(Some("b")), at(30_005)), Need::Fetch(Cause::Unverified)));
    }

    #[test]
    fn backoff_doubles_to_thirty_seconds_and_jitter_takes_up_to_half_off() {
        let mut remote = RemoteKeys::default();
        for expected in [500, 1000, 2000, 4000, 8000, 16000, 30000, 30000] {
            remote.begin(Cause::Age, TIMEOUT, at(0));
            remote.fail(255, at(0));
            assert_eq!(remote.retry_at().saturating_sub(at(0)), Duration::from_millis(expected));
        }
        remote.begin(Cause::Age, TIMEOUT, at(0));
        remote.fail(0, at(0));
        assert_eq!(remote.retry_at().saturating_sub(at(0)), Duration::from_secs(15));
    }

    #[test]
    fn keys_at_hand_are_served_while_the_issuer_is_down_however_old() {
        let mut remote = with_keys("a");
        for _ in 0..5 {
            remote.begin(Cause::Age, TIMEOUT, at(700_000));
            remote.fail(0, at(700_000));
        }
        assert!(matches!(remote.need(&wanted(Some("a")), at(9_000_000)), Need::Keys(_)));
    }

    #[test]
    fn keys_are_refreshed_before_they_expire() {
        let remote = with_keys("a");
        assert!(!remote.is_due(at(539_999)));
        assert!(remote.is_due(at(540_000)));
        let mut early = RemoteKeys::default();
        early.succeed(key_set("a"), Duration::from_secs(600), 255, at(0));
        assert!(!early.is_due(at(479_999)) && early.is_due(at(480_000)));
    }

    #[test]
    fn an_unknown_kid_is_worth_one_fetch_in_thirty_seconds() {
        let mut remote = with_keys("a");
        assert!(matches!(remote.need(&wanted(Some("b")), at(10)), Need::Fetch(Cause::Unverified)));
        remote.begin(Cause::Unverified, TIMEOUT, at(10));
        assert!(matches!(remote.need(&wanted(Some("c")), at(20)), Need::Wait));
        remote.succeed(key_set("a"), Duration::from_secs(600), 0, at(100));
        for time in [100, 101, 30_099] {
            assert!(matches!(remote.need(&wanted(Some("b")), at(time)), Need::Keys(..)), "{time}");
        }
        assert!(matches!(remote.need(&wanted(Some("b")), at(30_100)), Need::Fetch(Cause::Unverified)));
    }

    #[test]
    fn a_refresh_does_not_use_up_the_fetch_is_refetchs() {
        let mut remote = with_keys("a");
        remote.begin(Cause::Age, TIMEOUT, at(10));
        assert!(matches!(remote.need(&wanted(Some("b")), at(11)), Need::Wait));
        remote.succeed(key_set("a"), Duration::from_secs(600), 0, at(20));
        assert!(matches!(remote.need(&wanted(Some("b")), at(21)), Need::Fetch(Cause::Unverified)));
    }

    #[test]
    fn after_a_failed_fetch_an_unknown_kid_is_the_issuers_fault() {
        let mut remote = with_keys("a");
        remote.begin(Cause::Unverified, TIMEOUT, at(0));
        remote.fail(255, at(10));
        assert!(matches!(remote.need(&wanted(Some("b")), at(11)), Need::Unavailable { .. }));
        assert!(matches!(remote.need(&wanted(Some("a")), at(11)), Need::Keys(..)));
    }

    #[test]
    fn a_failed_fetch_is_tried_again_in_the_background_though_the_keys_are_fresh() {
        let mut remote = with_keys("a");
        remote.begin(Cause::Unverified, TIMEOUT, at(0));
        remote.fail(255, at(10));
        assert!(!remote.is_due(at(509)));
        assert!(remote.is_due(at(510)));
    }

    #[test]
    fn a_known_kid_of_another_type_is_not_worth_a_fetch() {
        let remote = with_keys("a");
        let wanted = Wanted { algorithm: Some(Algorithm::Rs256), ..wanted(Some("a")) };
        assert!(matches!(remote.need(&wanted, at(1)), Need::Keys(..)));
    }

    #[test]
    fn keys_without_a_kid_are_tried_before_an_unknown_kid_is_worth_a_fetch() {
        // RFC 7515 appendix A.3.1.
        let jwks = r#"{"keys":[{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}"#;
        let (keys, _) = KeySet::parse(jwks.as_bytes(), KeySource::Remote).unwrap();
        let mut remote = RemoteKeys::default();
        remote.succeed(keys, Duration::from_secs(600), 0, at(0));
        assert!(matches!(remote.need(&wanted(Some("b")), at(1)), Need::Keys(..)));
        let tried = Wanted { at_hand_tried: true, ..wanted(Some("b")) };
        assert!(matches!(remote.need(&tried, at(1)), Need::Fetch(Cause::Unverified)));
        let nameless = Wanted { at_hand_tried: true, ..wanted(None) };
        assert!(matches!(remote.need(&nameless, at(1)), Need::Keys(..)));
    }

    #[test]
    fn a_set_without_a_usable_key_ends_the_keys_at_hand_and_is_asked_for_again_soon() {
        let mut remote = with_keys("a");
        remote.begin(Cause::Age, TIMEOUT, at(1000));
        remote.withdraw(255, at(1000));
        assert!(remote.at_hand().is_none());
        assert!(matches!(remote.need(&wanted(Some("a")), at(1499)), Need::Unavailable { .. }));
        assert!(matches!(remote.need(&wanted(Some("a")), at(1500)), Need::Fetch(Cause::Age)));
    }

    #[test]
    fn a_fetch_whose_answer_is_lost_is_given_up() {
        let mut remote = RemoteKeys::default();
        remote.begin(Cause::Age, TIMEOUT, at(0));
        assert!(!remote.is_overdue(at(2_999)));
        assert!(remote.is_overdue(at(3_000)));
    }
}
