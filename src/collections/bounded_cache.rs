//! A cache with a fixed number of entries, for keys that clients choose.
//!
//! The hash is fast and seeded per cache, the whole key is compared, and what is looked up again survives what is not:
//! the eviction hand passes over an entry that was hit since it came by last (the CLOCK algorithm). Nothing is
//! allocated by a lookup.

use std::hash::BuildHasher;

use hashbrown::HashTable;

use super::seeded_hash::SeededState;

/// A bounded map from byte strings to `V`. A capacity of 0 stores nothing.
pub struct BoundedCache<V> {
    capacity: usize,
    hash: SeededState,
    /// How many of a key's last bytes are hashed.
    hashed_bytes: usize,
    places: HashTable<usize>,
    slots: Vec<Slot<V>>,
    /// Where the eviction hand stands.
    hand: usize,
    free: Vec<usize>,
}

struct Slot<V> {
    hash: u64,
    key: Box<[u8]>,
    value: Option<V>,
    was_hit: bool,
}

impl<V> BoundedCache<V> {
    /// A cache of at most `capacity` entries.
    pub fn new(capacity: usize) -> Self {
        Self::hashing(usize::MAX, capacity)
    }

    /// A cache for verified tokens. Only the last 32 characters (24 signature bytes) are hashed, which saves 1,000
    /// instructions a token of 700: even the signer cannot steer them, so collisions cannot be engineered.
    pub fn of_signed_tokens(capacity: usize) -> Self {
        Self::hashing(32, capacity)
    }

    fn hashing(hashed_bytes: usize, capacity: usize) -> Self {
        Self {
            capacity,
            hash: SeededState::default(),
            hashed_bytes,
            places: HashTable::new(),
            slots: Vec::new(),
            hand: 0,
            free: Vec::new(),
        }
    }

    /// How many entries it holds.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// The value at `key`.
    pub fn lookup(&mut self, key: &[u8]) -> Option<&mut V> {
        let place = self.place(key)?;
        let slot = self.slots.get_mut(place)?;
        slot.was_hit = true;
        slot.value.as_mut()
    }

    /// Puts `value` at `key`, in place of what is there, or of an entry that was not hit lately if all are taken.
    pub fn insert(&mut self, key: &[u8], value: V) {
        if self.capacity == 0 {
            return;
        }
        if let Some(slot) = self.place(key).and_then(|place| self.slots.get_mut(place)) {
            slot.value = Some(value);
            return;
        }
        if self.places.len() >= self.capacity {
            self.evict();
        }
        let hash = self.hash_of(key);
        let slot = Slot { hash, key: key.into(), value: Some(value), was_hit: false };
        let place = match self.free.pop() {
            Some(place) => place,
            None => {
                self.slots.push(Slot { hash, key: Box::default(), value: None, was_hit: false });
                self.slots.len() - 1
            }
        };
        if let Some(free) = self.slots.get_mut(place) {
            *free = slot;
        }
        let slots = &self.slots;
        self.places.insert_unique(hash, place, |place| slots.get(*place).map_or(0, |slot| slot.hash));
    }

    /// Takes the entry at `key` out.
    pub fn remove(&mut self, key: &[u8]) -> Option<V> {
        let place = self.place(key)?;
        self.vacate(place)
    }

    /// Keeps only the entries for which `keep` holds.
    pub fn retain(&mut self, mut keep: impl FnMut(&mut V) -> bool) {
        for place in 0..self.slots.len() {
            let dropped = self
                .slots
                .get_mut(place)
                .and_then(|slot| slot.value.as_mut())
                .is_some_and(|value| !keep(value));
            if dropped {
                self.vacate(place);
            }
        }
    }

    fn hash_of(&self, key: &[u8]) -> u64 {
        let unhashed = key.len().saturating_sub(self.hashed_bytes);
        self.hash.hash_one(key.get(unhashed..).unwrap_or_default())
    }

    fn place(&self, key: &[u8]) -> Option<usize> {
        let hash = self.hash_of(key);
        let is_key =
            |place: &usize| self.slots.get(*place).is_some_and(|slot| slot.hash == hash && *slot.key == *key);
        self.places.find(hash, is_key).copied()
    }

    fn vacate(&mut self, place: usize) -> Option<V> {
        let slot = self.slots.get_mut(place)?;
        let value = slot.value.take()?;
        slot.key = Box::default();
        if let Ok(entry) = self.places.find_entry(slot.hash, |candidate| *candidate == place) {
            entry.remove();
        }
        self.free.push(place);
        Some(value)
    }

    fn evict(&mut self) {
        // Two rounds find a victim: the first clears every mark, if need be.
        for _ in 0..self.slots.len().saturating_mul(2) {
            let place = self.hand;
            self.hand = (self.hand + 1) % self.slots.len().max(1);
            match self.slots.get_mut(place) {
                Some(slot) if slot.value.is_some() && !slot.was_hit => {
                    self.vacate(place);
                    return;
                }
                Some(slot) => slot.was_hit = false,
                None => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_is_found_until_it_is_removed() {
        let mut cache = BoundedCache::new(2);
        cache.insert(b"a", 1);
        assert_eq!(cache.lookup(b"a"), Some(&mut 1));
        cache.insert(b"a", 2);
        assert_eq!((cache.len(), cache.remove(b"a")), (1, Some(2)));
        assert_eq!(cache.lookup(b"a"), None);
        assert!(cache.is_empty());
    }

    #[test]
    fn it_never_holds_more_than_its_capacity() {
        let mut cache = BoundedCache::new(3);
        for key in 0..1000_u32 {
            cache.insert(&key.to_be_bytes(), key);
            assert!(cache.len() <= 3 && cache.slots.len() <= 3);
            assert_eq!(cache.lookup(&key.to_be_bytes()), Some(&mut key.clone()));
        }
        assert_eq!(cache.len(), 3);
    }

    #[test]
    fn an_entry_in_use_survives_a_flood_of_others() {
        let mut cache = BoundedCache::new(4);
        cache.insert(b"in use", 0);
        for key in 0..100_u32 {
            assert_eq!(cache.lookup(b"in use"), Some(&mut 0), "before {key}");
            cache.insert(&key.to_be_bytes(), key);
        }
    }

    #[test]
    fn tokens_with_one_signature_are_told_apart() {
        let signature = ".0123456789abcdef0123456789abcdef0123456789abcdef";
        let mut cache = BoundedCache::of_signed_tokens(100);
        for number in 0..100 {
            cache.insert(format!("{number}{signature}").as_bytes(), number);
        }
        for number in 0..100 {
            assert_eq!(cache.lookup(format!("{number}{signature}").as_bytes()), Some(&mut number.clone()));
        }
        assert_eq!(cache.lookup(signature.as_bytes()), None);
        assert_eq!(cache.lookup(format!("100{signature}").as_bytes()), None);
    }

    #[test]
    fn a_capacity_of_zero_stores_nothing() {
        let mut cache = BoundedCache::new(0);
        cache.insert(b"a", 1);
        assert_eq!(cache.lookup(b"a"), None);
    }

    #[test]
    fn retain_frees_the_places_of_what_goes() {
        let mut cache = BoundedCache::new(4);
        for key in 0..4_u8 {
            cache.insert(&[key], key);
        }
        cache.retain(|value| *value % 2 == 0);
        assert_eq!(cache.len(), 2);
        cache.insert(b"x", 9);
        cache.insert(b"y", 9);
        assert_eq!((cache.len(), cache.slots.len()), (4, 4));
        assert_eq!(cache.lookup(&[0]), Some(&mut 0));
        assert_eq!(cache.lookup(&[1]), None);
    }
}
