//! Digests of what clients send, to remember it by in a few bytes.

use std::hash::{BuildHasher, RandomState};

/// A digest of 128 bits under keys that no client knows: SipHash, a pseudorandom function, twice. Whoever cannot see the
/// digests cannot find two texts of the same one.
#[derive(Clone, Debug, Default)]
pub struct KeyedDigest([RandomState; 2]);

impl KeyedDigest {
    /// The digest of `text`.
    pub fn of(&self, text: &[u8]) -> [u8; 16] {
        let [one, other] = &self.0;
        let mut digest = [0; 16];
        let (first, second) = digest.split_at_mut(8);
        first.copy_from_slice(&one.hash_one(text).to_le_bytes());
        second.copy_from_slice(&other.hash_one(text).to_le_bytes());
        digest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_that_of_its_text_under_its_keys() {
        let digest = KeyedDigest::default();
        assert_eq!(digest.of(b"token"), digest.of(b"token"));
        assert_ne!(digest.of(b"token"), digest.of(b"tokem"));
        assert_ne!(digest.of(b"token"), KeyedDigest::default().of(b"token"));
        assert_ne!(digest.of(b"token")[..8], digest.of(b"token")[8..]);
    }
}
