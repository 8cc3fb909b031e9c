//! RSA signatures checked in numbers as WebAssembly multiplies them (RFC 8017).
//!
//! The crate `rsa` takes four times as long there, which makes a token that the host cannot verify (PSS, or any on a host
//! without crypto) a lever for whoever sends many. Everything here is public, so nothing is done in constant time.
//!
//! A number is a list of digits of 26 bits, the lowest first, each in a word of 64: products of digits are summed without
//! a look at carries, of which there is room for those of 16,384-bit moduli.

use sha2::{Digest, Sha256, Sha384, Sha512};

use super::algorithm::Algorithm;

/// A public key, ready for use.
#[derive(Clone, Debug)]
pub struct PublicKey {
    /// With one bit to spare at least, so that its double has no more digits.
    modulus: Box<[u64]>,
    modulus_bits: usize,
    exponent: u64,
    /// The negated inverse of the modulus modulo 2^26.
    negated_inverse: u64,
    /// R² modulo the modulus, where R is 2^26 to the power of the number of digits.
    r_squared: Box<[u64]>,
}

impl PublicKey {
    /// A key with an odd modulus, big-endian without leading zeros, and an exponent above 0.
    pub fn new(modulus: &[u8], exponent: u64) -> Option<Self> {
        let leading_zeros = modulus.first().filter(|first| **first != 0)?.leading_zeros() as usize;
        let modulus_bits = modulus.len() * 8 - leading_zeros;
        let digits = digits_of(modulus, (modulus_bits / DIGIT_BITS + 1).next_multiple_of(BLOCK));
        let low = *digits.first().filter(|low| *low % 2 == 1)?;
        if exponent == 0 || modulus_bits < 64 {
            return None;
        }
        // Newton's iteration doubles the number of right bits, of which an odd number has three.
        let inverse = (0..4)
            .fold(low, |inverse: u64, _| inverse.wrapping_mul(2_u64.wrapping_sub(low.wrapping_mul(inverse))));
        let mut key = Self {
            modulus: digits,
            modulus_bits,
            exponent,
            negated_inverse: inverse.wrapping_neg() & DIGIT,
            r_squared: Box::default(),
        };
        let r_bits = key.modulus.len() * DIGIT_BITS;
        // R, from the highest power of two below the modulus on: what is 1 in Montgomery's form.
        let mut power = vec![0; key.modulus.len()];
        *power.get_mut((modulus_bits - 1) / DIGIT_BITS)? = 1 << ((modulus_bits - 1) % DIGIT_BITS);
        (modulus_bits - 1..r_bits).for_each(|_| key.double(&mut power));
        // R in Montgomery's form: two to the power of its bits.
        for bit in (0..usize::BITS).rev().skip_while(|bit| r_bits >> bit == 0) {
            power = key.multiply(&power, &power);
            if r_bits >> bit & 1 == 1 {
                key.double(&mut power);
            }
        }
        key.r_squared = power.into();
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
        let base = digits_of(base, self.modulus.len());
        let in_form = self.multiply(&base, &self.r_squared);
        let mut power = in_form.clone();
        let highest = u64::BITS - 1 - self.exponent.leading_zeros();
        for bit in (1..highest).rev() {
            power = self.multiply(&power, &power);
            if self.exponent >> bit & 1 == 1 {
                power = self.multiply(&power, &in_form);
            }
        }
        // A factor that is not in Montgomery's form takes the product out of it.
        let unit: Vec<u64> =
            std::iter::once(1).chain(std::iter::repeat(0)).take(self.modulus.len()).collect();
        if highest > 0 {
            power = self.multiply(&power, &power);
        }
        let last = if highest > 0 && self.exponent & 1 == 1 { &*base } else { &unit };
        self.bytes_of(&self.multiply(&power, last))
    }

    /// Montgomery's product: `a * b / R` modulo the modulus.
    fn multiply(&self, a: &[u64], b: &[u64]) -> Vec<u64> {
        let length = self.modulus.len();
        // The lower half becomes multiples of R's digits and is left behind.
        let mut sum = vec![0_u64; 2 * length];
        for (place, factor) in b.iter().enumerate() {
            let (Some(window), Some(a_lowest)) = (sum.get_mut(place..place + length), a.first()) else {
                break;
            };
            let lowest = window.first().copied().unwrap_or_default() + a_lowest * factor;
            let multiple = lowest.wrapping_mul(self.negated_inverse) & DIGIT;
            let blocks = window.chunks_exact_mut(BLOCK).zip(a.chunks_exact(BLOCK));
            for ((sum, a), modulus) in blocks.zip(self.modulus.chunks_exact(BLOCK)) {
                // Four at a time: else the loop itself takes as long as what it does.
                if let ([s0, s1, s2, s3], [a0, a1, a2, a3], [m0, m1, m2, m3]) = (sum, a, modulus) {
                    *s0 += a0 * factor + multiple * m0;
                    *s1 += a1 * factor + multiple * m1;
                    *s2 += a2 * factor + multiple * m2;
                    *s3 += a3 * factor + multiple * m3;
                }
            }
            if let [lowest, next, ..] = window {
                *next += *lowest >> DIGIT_BITS;
            }
        }
        let mut product = sum.split_off(length);
        let mut carry = 0;
        for digit in &mut product {
            let wide = *digit + carry;
            (*digit, carry) = (wide & DIGIT, wide >> DIGIT_BITS);
        }
        self.reduce_once(&mut product);
        product
    }

    /// Doubles a number below the modulus, modulo the modulus.
    fn double(&self, number: &mut [u64]) {
        let mut carry = 0;
        for digit in number.iter_mut() {
            let doubled = *digit << 1 | carry;
            (*digit, carry) = (doubled & DIGIT, doubled >> DIGIT_BITS);
        }
        self.reduce_once(number);
    }

    /// Takes the modulus off a number below twice the modulus, where it is not below the modulus.
    fn reduce_once(&self, number: &mut [u64]) {
        if number.iter().rev().lt(self.modulus.iter().rev()) {
            return;
        }
        let mut borrow = 0;
        for (digit, modulus) in number.iter_mut().zip(&self.modulus) {
            let difference = digit.wrapping_sub(modulus + borrow);
            (*digit, borrow) = (difference & DIGIT, difference >> 63);
        }
    }

    /// Big-endian, as long as the modulus.
    fn bytes_of(&self, digits: &[u64]) -> Vec<u8> {
        let mut bytes: Vec<u8> = Vec::with_capacity(digits.len() * DIGIT_BITS / 8 + 1);
        let (mut held, mut held_bits) = (0_u64, 0);
        for digit in digits {
            held |= digit << held_bits;
            held_bits += DIGIT_BITS;
            while held_bits >= 8 {
                bytes.push(held as u8);
                held >>= 8;
                held_bits -= 8;
            }
        }
        bytes.push(held as u8);
        bytes.truncate(self.modulus_bits.div_ceil(8));
        bytes.reverse();
        bytes
    }
}

/// How many digits are multiplied at a time; numbers have a multiple of them.
const BLOCK: usize = 4;
/// How many bits a digit has.
const DIGIT_BITS: usize = 26;
/// The highest digit.
const DIGIT: u64 = (1 << DIGIT_BITS) - 1;

/// A big-endian number as so many digits, the lowest first.
fn digits_of(bytes: &[u8], count: usize) -> Box<[u64]> {
    let mut digits = Vec::with_capacity(count + 1);
    let (mut held, mut held_bits) = (0_u64, 0);
    for byte in bytes.iter().rev() {
        held |= u64::from(*byte) << held_bits;
        held_bits += 8;
        if held_bits >= DIGIT_BITS {
            digits.push(held & DIGIT);
            held >>= DIGIT_BITS;
            held_bits -= DIGIT_BITS;
        }
    }
    digits.push(held);
    digits.resize(count, 0);
    digits.into()
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
            mut modulus in proptest::collection::vec(any::<u8>(), 9..300),
            base in proptest::collection::vec(any::<u8>(), 300),
            exponent in prop_oneof![Just(1_u64), Just(2), Just(3), Just(65_537), 1..1_u64 << 33],
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

    /// PSS leaves one bit of the modulus unused, which moves through a byte as the size grows.
    #[test]
    fn signatures_of_keys_of_any_size_hold_and_altered_ones_do_not() {
        use rand::SeedableRng as _;
        use rsa::traits::PublicKeyParts as _;
        let mut random = rand::rngs::StdRng::seed_from_u64(7);
        for bits in 1_024..=1_032 {
            let signer = rsa::RsaPrivateKey::new(&mut random, bits).unwrap();
            let key = PublicKey::new(&signer.n().to_bytes_be(), 65_537).unwrap();
            let digest = Sha256::digest(b"message");
            let pss =
                signer.sign_with_rng(&mut random, rsa::Pss::new_with_salt::<Sha256>(32), &digest).unwrap();
            let short =
                signer.sign_with_rng(&mut random, rsa::Pss::new_with_salt::<Sha256>(20), &digest).unwrap();
            let pkcs1 = signer.sign(rsa::Pkcs1v15Sign::new::<Sha256>(), &digest).unwrap();
            assert!(!key.verify(Algorithm::Ps256, b"message", &short), "{bits}: another salt length");
            for (algorithm, other, signature) in
                [(Algorithm::Ps256, Algorithm::Rs256, pss), (Algorithm::Rs256, Algorithm::Ps256, pkcs1)]
            {
                assert!(key.verify(algorithm, b"message", &signature), "{algorithm:?} {bits}");
                assert!(!key.verify(algorithm, b"massage", &signature), "{algorithm:?} {bits}");
                assert!(!key.verify(other, b"message", &signature), "{algorithm:?} {bits}");
                for place in [0, signature.len() / 2, signature.len() - 1] {
                    let mut altered = signature.clone();
                    altered[place] ^= 1;
                    assert!(!key.verify(algorithm, b"message", &altered), "{algorithm:?} {bits} {place}");
                }
            }
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
    fn the_largest_modulus_that_is_taken_leaves_room_for_every_carry() {
        let modulus = vec![0xff; 2_048];
        let base = [vec![0xff; 2_047], vec![0xfe]].concat();
        let key = PublicKey::new(&modulus, 3).unwrap();
        assert_eq!(BigUint::from_bytes_be(&key.power(&base)), power_by_the_crate(&base, 3, &modulus));
    }

    #[test]
    fn a_modulus_that_is_even_or_short_makes_no_key() {
        assert!(PublicKey::new(&[0x80, 0, 0, 0, 0, 0, 0, 2], 3).is_none());
        assert!(PublicKey::new(&[5], 3).is_none());
        assert!(PublicKey::new(&[], 3).is_none());
        assert!(PublicKey::new(&[0x80, 0, 0, 0, 0, 0, 0, 1], 0).is_none());
    }
}
