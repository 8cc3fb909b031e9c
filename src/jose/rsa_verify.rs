//! RSA signatures checked in numbers as WebAssembly multiplies them (RFC 8017).
//!
//! The crate `rsa` takes some seven times as long there, which makes a token that the host cannot verify (PSS, or any on
//! a host without crypto) a lever for whoever sends many. Everything here is public, so nothing is done in constant time.

use sha2::{Digest, Sha256, Sha384, Sha512};

use super::algorithm::Algorithm;
use super::montgomery::Modulus;

/// A public key, ready for use.
#[derive(Clone, Debug)]
pub struct PublicKey {
    modulus: Modulus,
    exponent: u64,
}

impl PublicKey {
    /// A key with an odd modulus, big-endian without leading zeros, and an exponent above 0.
    pub fn new(modulus: &[u8], exponent: u64) -> Option<Self> {
        (exponent > 0).then_some(Self { modulus: Modulus::new(modulus)?, exponent })
    }

    /// Whether `signature`, as long as the modulus, is the key owner's on `message`. False for other algorithms than
    /// RSA's.
    pub fn verify(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        let encoded = self.power(signature);
        match algorithm {
            Algorithm::Rs256 => is_pkcs1_v1_5::<Sha256>(&encoded, message, &SHA256_INFO),
            Algorithm::Rs384 => is_pkcs1_v1_5::<Sha384>(&encoded, message, &SHA384_INFO),
            Algorithm::Rs512 => is_pkcs1_v1_5::<Sha512>(&encoded, message, &SHA512_INFO),
            Algorithm::Ps256 => is_pss::<Sha256>(&encoded, self.modulus.bits() - 1, message),
            Algorithm::Ps384 => is_pss::<Sha384>(&encoded, self.modulus.bits() - 1, message),
            Algorithm::Ps512 => is_pss::<Sha512>(&encoded, self.modulus.bits() - 1, message),
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
        self.modulus.power(base, self.exponent)
    }
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

    /// Digits have 28 bits in moduli of up to 3,583, 27 up to 13,823, and then 26.
    #[test]
    fn the_largest_moduli_of_each_width_of_digits_leave_room_for_every_carry() {
        for bits in [3_583_usize, 3_584, 13_823, 13_824, 16_384] {
            let mut modulus = vec![0xff_u8; bits.div_ceil(8)];
            modulus[0] >>= (8 - bits % 8) % 8;
            let mut highest = modulus.clone();
            *highest.last_mut().unwrap() -= 1;
            let mut middle = modulus.clone();
            middle[bits / 16] -= 1;
            let key = PublicKey::new(&modulus, 5).unwrap();
            for base in [highest, middle] {
                let power = BigUint::from_bytes_be(&key.power(&base));
                assert!(power == power_by_the_crate(&base, 5, &modulus), "{bits}");
            }
        }
    }

    #[test]
    fn a_modulus_that_is_even_or_short_or_beyond_all_measure_makes_no_key() {
        assert!(PublicKey::new(&[0xff; 7_000], 3).is_none());
        assert!(PublicKey::new(&[0x80, 0, 0, 0, 0, 0, 0, 2], 3).is_none());
        assert!(PublicKey::new(&[5], 3).is_none());
        assert!(PublicKey::new(&[], 3).is_none());
        assert!(PublicKey::new(&[0x80, 0, 0, 0, 0, 0, 0, 1], 0).is_none());
    }
}
