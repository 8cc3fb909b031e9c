//! Which proofs came before (RFC 9449 section 11.1).
//!
//! Proofs are remembered in a fixed number of records, each with the ends of its proofs' time in seconds; a record is
//! cleaned of what has ended whenever a proof is added to it. Where a record is full, a proof that cannot be remembered
//! is refused as one that may have come before: what is forgotten early could be used again.
//!
//! The records stand in the data that the workers of a proxy share, written by compare-and-swap, so that of two workers
//! that get one proof at the same moment one refuses it; they outlive reloads there. Where nothing is shared, each worker
//! keeps records of its own, which outlive reloads of the configuration.

use std::time::Duration;

use super::proof::Proof;
use crate::collections::seeded_hash::SeededMap;
use crate::collections::shared_store::SharedStore;

/// How many records there are.
const RECORDS: u16 = 4096;
/// How many proofs a shared record holds: 10 MiB in all, for some 500,000 proofs at a time.
const SHARED_PROOFS: usize = 128;
/// How many proofs a record of one worker holds: 2.5 MiB in all.
const OWN_PROOFS: usize = 32;
/// How often a record is read and written again because another worker came between.
const ATTEMPTS: usize = 16;
/// A version that no record has but after four thousand million writes. A host takes it for a record that is not there
/// yet, and refuses it for one that another worker has made meanwhile.
const NOT_THERE: u32 = u32::MAX;

const MARK: &[u8; 4] = b"SGP1";
/// The digest, and the second in which it ends.
const ENTRY: usize = 16 + 4;

/// What is known of a proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// It did not come before, and is remembered now.
    Fresh,
    /// It came before.
    Before,
    /// Too many are remembered to say, or to remember it.
    Full,
}

/// The proofs that one worker remembers by itself.
#[derive(Debug, Default)]
pub struct OwnProofs(SeededMap<u16, Vec<u8>>);

impl OwnProofs {
    /// What they take, in bytes.
    pub fn bytes(&self) -> usize {
        self.0.values().map(|record| record.capacity() + 64).sum()
    }
}

/// Remembers `proof` until it is no longer good, and says whether it came before.
pub fn remember(proof: &Proof, shared: Option<&dyn SharedStore>, own: &mut OwnProofs, now: Duration) -> Seen {
    if let Some(seen) = shared.and_then(|store| remember_shared(proof, store, now)) {
        return seen;
    }
    let record = own.0.entry(place(proof)).or_default();
    let (seen, written) = add(proof, record, OWN_PROOFS, now);
    if let Some(written) = written {
        *record = written;
    }
    seen
}

/// None where the store does not take it.
fn remember_shared(proof: &Proof, store: &dyn SharedStore, now: Duration) -> Option<Seen> {
    let key = format!("scopegate.dpop.{}", place(proof));
    for _ in 0..ATTEMPTS {
        let (record, version) = store.read(&key).unwrap_or((Vec::new(), NOT_THERE));
        let (seen, written) = add(proof, &record, SHARED_PROOFS, now);
        match written {
            None => return Some(seen),
            Some(written) if store.write(&key, &written, version) => {
                // Where a host takes what it never gives back, nobody would find the proof again.
                let is_kept = version != NOT_THERE || store.read(&key).is_some();
                return is_kept.then_some(seen);
            }
            Some(_) => {}
        }
    }
    // A store that is there and never takes a proof would let it pass again and again.
    store.read(&key).map(|_| Seen::Full)
}

fn place(proof: &Proof) -> u16 {
    let [first, second, ..] = proof.id;
    u16::from_be_bytes([first, second]) % RECORDS
}

/// What is known of `proof` by `record`, and the record with it; None where it stays as it is.
fn add(proof: &Proof, record: &[u8], most: usize, now: Duration) -> (Seen, Option<Vec<u8>>) {
    let entries = record.strip_prefix(MARK).unwrap_or_default();
    let now = now.as_secs();
    let mut written = MARK.to_vec();
    let mut count = 0;
    for entry in entries.chunks_exact(ENTRY) {
        let Some((id, end)) = entry.split_first_chunk::<16>() else { continue };
        let end = end.first_chunk().map_or(0, |end| u32::from_be_bytes(*end));
        if u64::from(end) < now {
            continue;
        }
        if *id == proof.id {
            return (Seen::Before, None);
        }
        written.extend_from_slice(entry);
        count += 1;
    }
    if count >= most {
        return (Seen::Full, None);
    }
    // The proof is good at the very end of its time.
    let end = u32::try_from(proof.good_until.as_secs().saturating_add(1)).unwrap_or(u32::MAX);
    written.extend_from_slice(&proof.id);
    written.extend_from_slice(&end.to_be_bytes());
    (Seen::Fresh, Some(written))
}
