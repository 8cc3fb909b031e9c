//! RSA signatures checked with 32-bit words, as WebAssembly multiplies them (RFC 8017).
//!
//! The crate `rsa` takes seven times as long there, which makes a token that the host cannot verify (PSS, or any on a
//! host without crypto) a lever for whoever sends many. Everything here is public, so nothing is done in constant time.

use std::cell::Cell;

use sha2::{Digest, Sha256, Sha384, Sha512};

use super::algorithm::Algorithm;

/// A public key, ready for use.
#[derive(Clone, Debug)]
pub struct PublicKey {
    /// Little-endian words.
    modulus: Box<[u32]>,
    modulus_bits: usize,
    exponent: u64,
    /// The negated inverse of the modulus modulo 2^32.
    negated_inverse: u32,
    /// R and R² modulo the modulus, where R is 2^32 to the power of the number of words.
    one: Box<[u32]>,
    r_squared: Box<[u32]>,
}

impl PublicKey {
    /// A key with an odd modulus, big-endian without leading zeros, and an exponent above 0.
    pub fn new(modulus: &[u8], exponent: u64) -> Option<Self> {
        let words = words_of(modulus, modulus.len().div_ceil(4));
        let low = *words.first().filter(|low| *low % 2 == 1)?;
        if exponent == 0 || words.last() == Some(&0) || words.iter().skip(1).all(|word| *word == 0) {
            return None;
        }
        // Newton's iteration doubles the number of right bits, of which an odd number has three.
        let inverse = (0..4)
            .fold(low, |inverse: u32, _| inverse.wrapping_mul(2_u32.wrapping_sub(low.wrapping_mul(inverse))));
        let modulus_bits = words.len() * 32 - words.last()?.leading_zeros() as usize;
        let mut key = Self {
            negated_inverse: inverse.wrapping_neg(),
            one: Box::default(),
            r_squared: Box::default(),
            modulus: words,
            modulus_bits,
            exponent,
        };
        let r_bits = key.modulus.len() * 32;
        // From the highest power of two below the modulus up to R.
        let mut power = vec![0; key.modulus.len()];
        *power.get_mut((modulus_bits - 1) / 32)? = 1 << ((modulus_bits - 1) % 32);
        (modulus_bits - 1..r_bits).for_each(|_| key.double(&mut power));
        key.one = power.into();
        // 2 to the power of `r_bits`, in Montgomery's form.
        let mut r_squared = key.one.to_vec();
        for bit in (0..usize::BITS).rev().skip_while(|bit| r_bits >> bit == 0) {
            r_squared = key.multiply(&r_squared, &r_squared);
            if r_bits >> bit & 1 == 1 {
                key.double(&mut r_squared);
            }
        }
        key.r_squared = r_squared.into();
        Some(key)
    }

    /// Whether `signature`, as long as the modulus, is the key owner's on `message`. False for other algorithms than
    /// RSA's.
    pub fn verify(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        let encoded = self.power(signature);
        match algorithm {
            Algorithm::Rs256 => is_pkcs1_v1_5::<Sha256>(&encoded, message, &SHA256_INFO),
            Algorithm::Rs384 => is_pkcs1_v1_5::<Sha384>(&encoded, message, &SHA384_INFO),
            Algorithm::Rs512 => is_pkcs1_v1_5::<Sha512>(&encoded, message, &SHA512_INFO),
            Algorithm::Ps256 => is_pss::<Sha256>(&encoded, self.modulus_bits - 1, message),
            Algorithm::Ps384 => is_pss::<Sha384>(&encoded, self.modulus_bits - 1, message),
            Algorithm::Ps512 => is_pss::<Sha512>(&encoded, self.modulus_bits - 1, message),
            Algorithm::Es256
            | Algorithm::Es384
            | Algorithm::Es512
            | Algorithm::EdDsa
            | Algorithm::Hs256
            | Algorithm::Hs384
            | Algorithm::Hs512
            | Algorithm::Es256k => false,
        }
    }

    /// RSAVP1 (section 5.2.2): `base` to the power of the exponent, big-endian and as long as the modulus.
    fn power(&self, base: &[u8]) -> Vec<u8> {
        let base = words_of(base, self.modulus.len());
        let base = self.multiply(&base, &self.r_squared);
        let mut power = base.clone();
        let below_the_highest = u64::BITS - 1 - self.exponent.leading_zeros();
        for bit in (0..below_the_highest).rev() {
            power = self.multiply(&power, &power);
            if self.exponent >> bit & 1 == 1 {
                power = self.multiply(&power, &base);
            }
        }
        let mut unit = vec![0; self.modulus.len()];
        unit.iter_mut().take(1).for_each(|low| *low = 1);
        let words = self.multiply(&power, &unit);
        let bytes: Vec<u8> = words.iter().rev().flat_map(|word| word.to_be_bytes()).collect();
        let surplus = bytes.len() - self.modulus_bits.div_ceil(8);
        bytes.get(surplus..).unwrap_or_default().to_vec()
    }

    /// Montgomery's product: `a * b / R` modulo the modulus, of numbers with as many words.
    fn multiply(&self, a: &[u32], b: &[u32]) -> Vec<u32> {
        let wide = |word: u32| u64::from(word);
        // One word more than the modulus; it shrinks again below.
        let mut sum = vec![0_u32; self.modulus.len() + 1];
        let cells = Cell::from_mut(sum.as_mut_slice()).as_slice_of_cells();
        let (Some(first), Some(&a_low), Some(&modulus_low), [.., before_last, last]) =
            (cells.first(), a.first(), self.modulus.first(), cells)
        else {
            return Vec::new();
        };
        let a_rest = a.get(1..).unwrap_or_default();
        let modulus_rest = self.modulus.get(1..).unwrap_or_default();
        for &factor in b {
            let product = wide(first.get()) + wide(a_low) * wide(factor);
            let multiple = (product as u32).wrapping_mul(self.negated_inverse);
            let reduced = wide(product as u32) + wide(multiple) * wide(modulus_low);
            let (mut product_carry, mut reduced_carry) = (product >> 32, reduced >> 32);
            // Each word of the sum moves down by one: its lowest has become zero.
            for ((pair, &a), &modulus) in cells.windows(2).zip(a_rest).zip(modulus_rest) {
                let [below, here] = pair else { continue };
                let product = wide(here.get()) + wide(a) * wide(factor) + product_carry;
                let reduced = wide(product as u32) + wide(multiple) * wide(modulus) + reduced_carry;
                (product_carry, reduced_carry) = (product >> 32, reduced >> 32);
                below.set(reduced as u32);
            }
            let top = wide(last.get()) + product_carry + reduced_carry;
            before_last.set(top as u32);
            last.set((top >> 32) as u32);
        }
        let overflow = last.get();
        sum.pop();
        self.reduce_once(&mut sum, overflow);
        sum
    }

    /// Doubles a number below the modulus, modulo the modulus.
    fn double(&self, number: &mut [u32]) {
        let mut carry = 0;
        for word in number.iter_mut() {
            let doubled = *word << 1 | carry;
            carry = *word >> 31;
            *word = doubled;
        }
        self.reduce_once(number, carry);
    }

    /// Takes the modulus off a number below twice the modulus, where it is not below the modulus. `overflow` is its word
    /// beyond those in `number`.
    fn reduce_once(&self, number: &mut [u32], overflow: u32) {
        if overflow == 0 && number.iter().rev().lt(self.modulus.iter().rev()) {
            return;
        }
        let mut borrow = false;
        for (word, modulus) in number.iter_mut().zip(&self.modulus) {
            let (difference, first) = word.overflowing_sub(*modulus);
            let (difference, second) = difference.overflowing_sub(u32::from(borrow));
            (*word, borrow) = (difference, first || second);
        }
    }
}

/// Big-endian bytes as little-endian words, with zeros up to `count` of them.
fn words_of(bytes: &[u8], count: usize) -> Box<[u32]> {
    let words = bytes.rchunks(4).map(|chunk| chunk.iter().fold(0, |word, byte| word << 8 | u32::from(*byte)));
    words.chain(std::iter::repeat(0)).take(count).collect()
}

/// What stands before a digest in a DigestInfo (section 9.2, note 1).
type DigestInfoPrefix = [u8; 19];
const SHA256_INFO: DigestInfoPrefix = [
    0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00,
    0x04, 0x20,
];
const SHA384_INFO: DigestInfoPrefix = [
    0x30, 0x41, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x02, 0x05, 0x00,
    0x04, 0x30,
];
const SHA512_INFO: DigestInfoPrefix = [
    0x30, 0x51, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x03, 0x05, 0x00,
    0x04, 0x40,
];

/// RSASSA-PKCS1-v1_5 (section 8.2.2): the one encoding of the message is made and compared, never parsed.
fn is_pkcs1_v1_5<D: Digest>(encoded: &[u8], message: &[u8], info: &DigestInfoPrefix) -> bool {
    let digest = D::digest(message);
    let Some(padding) =
        encoded.len().checked_sub(info.len() + digest.len() + 3).filter(|length| *length >= 8)
    else {
        return false;
    };
    let expected = [0x00, 0x01].into_iter().chain(std::iter::repeat_n(0xff, padding)).chain([0x00]);
    encoded.iter().copied().eq(expected.chain(*info).chain(digest))
}

/// EMSA-PSS (section 9.1.2) with MGF1 and a salt as long as the digest (RFC 7518 section 3.5). `bits` is the size of the
/// modulus less one.
fn is_pss<D: Digest>(encoded: &[u8], bits: usize, message: &[u8]) -> bool {
    let digest = D::digest(message);
    let length = bits.div_ceil(8);
    let surplus = encoded.len().saturating_sub(length);
    let (Some(leading), Some(encoded)) = (encoded.get(..surplus), encoded.get(surplus..)) else {
        return false;
    };
    let Some(block_length) = length.checked_sub(digest.len() + 1) else { return false };
    // Zeros, one, and the salt.
    let Some(zeros) = block_length.checked_sub(digest.len() + 1) else { return false };
    let (Some((masked_block, rest)), Some((&trailer, _))) =
        (encoded.split_at_checked(block_length), encoded.split_last())
    else {
        return false;
    };
    let Some(hash) = rest.get(..digest.len()) else { return false };
    let unused = 8 * length - bits;
    let has_unused_bits = masked_block.first().is_none_or(|first| u32::from(*first) >> (8 - unused) != 0);
    if leading.iter().any(|byte| *byte != 0) || trailer != 0xbc || has_unused_bits {
        return false;
    }
    let mut block: Vec<u8> =
        masked_block.iter().zip(mask::<D>(hash)).map(|(masked, mask)| masked ^ mask).collect();
    block.iter_mut().take(1).for_each(|first| *first &= (0xff_u32 >> unused) as u8);
    let Some((padding, salt)) = block.split_at_checked(zeros + 1) else { return false };
    let is_padding = padding.iter().copied().eq(std::iter::repeat_n(0, zeros).chain([1]));
    let expected = D::new().chain_update([0; 8]).chain_update(digest).chain_update(salt).finalize();
    is_padding && *expected == *hash
}

/// MGF1 (appendix B.2.1), as far as it is asked for.
fn mask<D: Digest>(seed: &[u8]) -> impl Iterator<Item = u8> {
    (0_u32..)
        .flat_map(move |counter| D::new().chain_update(seed).chain_update(counter.to_be_bytes()).finalize())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rsa::BigUint;

    use super::*;

    fn power_by_the_crate(base: &[u8], exponent: u64, modulus: &[u8]) -> BigUint {
        BigUint::from_bytes_be(base).modpow(&BigUint::from(exponent), &BigUint::from_bytes_be(modulus))
    }

    proptest! {
        #[test]
        fn powers_are_those_of_another_implementation(
            mut modulus in proptest::collection::vec(any::<u8>(), 9..140),
            base in proptest::collection::vec(any::<u8>(), 140),
            exponent in prop_oneof![Just(3_u64), Just(65_537), 1..1_u64 << 33],
            shape in 0..4,
        ) {
            match shape {
                0 => modulus[0] |= 0x80,
                1 => modulus[0] = 1,
                // Words of ones, where carries are longest.
                2 => modulus.fill(0xff),
                _ => modulus[0] |= 1,
            }
            *modulus.last_mut().unwrap() |= 1;
            let reduced = BigUint::from_bytes_be(&base) % BigUint::from_bytes_be(&modulus);
            let base = reduced.to_bytes_be();
            let key = PublicKey::new(&modulus, exponent).unwrap();
            let power = key.power(&base);
            prop_assert_eq!(power.len(), modulus.len());
            prop_assert_eq!(BigUint::from_bytes_be(&power), power_by_the_crate(&base, exponent, &modulus));
        }
    }

    #[test]
    fn the_edges_of_the_range_are_powers_too() {
        let modulus = [0xff; 16];
        let key = PublicKey::new(&modulus, 65_537).unwrap();
        for base in [vec![0; 16], [vec![0; 15], vec![1]].concat(), [vec![0xff; 15], vec![0xfe]].concat()] {
            let expected = power_by_the_crate(&base, 65_537, &modulus);
            assert_eq!(BigUint::from_bytes_be(&key.power(&base)), expected, "{base:?}");
        }
    }

    #[test]
    fn a_modulus_that_is_even_or_short_makes_no_key() {
        assert!(PublicKey::new(&[0x80, 0, 0, 0, 0, 0, 0, 2], 3).is_none());
        assert!(PublicKey::new(&[5], 3).is_none());
        assert!(PublicKey::new(&[], 3).is_none());
        assert!(PublicKey::new(&[0x80, 0, 0, 0, 0, 0, 0, 1], 0).is_none());
    }
}
