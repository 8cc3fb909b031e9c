//! Hash maps that are looked into on every request.
//!
//! foldhash takes a fraction of what the standard library's SipHash takes (of a name some 20 instructions rather than
//! 150). It does not withstand an attacker who knows its seeds: those are random, per VM and per map.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::OnceLock;

use foldhash::SharedSeed;
use foldhash::quality::{FoldHasher, SeedableRandomState};

/// A map with [`SeededState`].
pub type SeededMap<K, V> = HashMap<K, V, SeededState>;

/// A set with [`SeededState`].
pub type SeededSet<T> = HashSet<T, SeededState>;

/// A fast hash with seeds of its own.
#[derive(Clone)]
pub struct SeededState(SeedableRandomState);

impl fmt::Debug for SeededState {
    /// Without the seeds.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SeededState")
    }
}

impl Default for SeededState {
    fn default() -> Self {
        static SHARED_SEED: OnceLock<SharedSeed> = OnceLock::new();
        let shared_seed = SHARED_SEED.get_or_init(|| SharedSeed::from_u64(random_seed()));
        Self(SeedableRandomState::with_seed(random_seed(), shared_seed))
    }
}

impl BuildHasher for SeededState {
    type Hasher = FoldHasher<'static>;

    fn build_hasher(&self) -> Self::Hasher {
        self.0.build_hasher()
    }
}

/// A random number. The standard library's random state is the source of randomness that every target has.
pub fn random_seed() -> u64 {
    RandomState::new().build_hasher().finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_maps_hash_the_same_key_differently() {
        let hashes: std::collections::BTreeSet<u64> =
            (0..8).map(|_| SeededState::default().hash_one("tenant")).collect();
        assert!(hashes.len() > 1, "{hashes:?}");
    }
}
