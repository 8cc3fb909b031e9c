//! Wycheproof's vectors as raw signatures, each checked with its own key as an issuer would publish it.

use scopegate::jose::json::Value;
use scopegate::jose::{Algorithm, Key, KeySet, KeySource, PureVerifier, SignatureVerifier as _, base64url};
use serde_json::json;
use wycheproof::{HashFunction, TestResult, ecdsa, eddsa, mac, rsa_pkcs1_verify, rsa_pss_verify};

fn key(jwk: &Value) -> Option<Key> {
    let document = json!({"keys": [jwk]}).to_string();
    let (keys, _) = KeySet::parse(document.as_bytes(), KeySource::Local { allow_symmetric: true }).unwrap();
    keys.keys().first().cloned()
}

fn rsa_key(n: &[u8], e: &[u8]) -> Key {
    key(&json!({"kty": "RSA", "n": base64url::encode(n), "e": base64url::encode(e)})).unwrap()
}

/// How many vectors verify and how many do not, where all do as expected.
#[derive(Debug, Default, PartialEq)]
struct Tally {
    valid: usize,
    invalid: usize,
}

impl Tally {
    fn check(&mut self, algorithm: Algorithm, key: &Key, vector: Vector<'_>) {
        let verified = PureVerifier.verify(algorithm, key, vector.message, vector.signature);
        assert_eq!(verified, vector.is_valid, "{algorithm} {}: {}", vector.id, vector.comment);
        if verified {
            self.valid += 1;
        } else {
            self.invalid += 1;
        }
    }
}

struct Vector<'a> {
    id: usize,
    comment: &'a str,
    message: &'a [u8],
    signature: &'a [u8],
    is_valid: bool,
}

/// A vector of any of the crate's modules, each of which has a type of its own.
macro_rules! vector {
    ($test:expr, $signature:expr, $is_valid:expr) => {
        Vector {
            id: $test.tc_id,
            comment: &$test.comment,
            message: &$test.msg,
            signature: $signature,
            is_valid: $is_valid,
        }
    };
}

#[test]
fn rsassa_pkcs1_v1_5_with_sha256() {
    use rsa_pkcs1_verify::TestName::{Rsa2048Sha256, Rsa3072Sha256, Rsa4096Sha256, Rsa8192Sha256};
    let tally =
        rsassa_pkcs1_v1_5(Algorithm::Rs256, &[Rsa2048Sha256, Rsa3072Sha256, Rsa4096Sha256, Rsa8192Sha256]);
    assert_eq!(tally, Tally { valid: 31, invalid: 1003 });
}

#[test]
fn rsassa_pkcs1_v1_5_with_sha384() {
    use rsa_pkcs1_verify::TestName::{Rsa2048Sha384, Rsa3072Sha384, Rsa4096Sha384, Rsa8192Sha384};
    let tally =
        rsassa_pkcs1_v1_5(Algorithm::Rs384, &[Rsa2048Sha384, Rsa3072Sha384, Rsa4096Sha384, Rsa8192Sha384]);
    assert_eq!(tally, Tally { valid: 28, invalid: 1007 });
}

#[test]
fn rsassa_pkcs1_v1_5_with_sha512() {
    use rsa_pkcs1_verify::TestName::{Rsa2048Sha512, Rsa3072Sha512, Rsa4096Sha512, Rsa8192Sha512};
    let tally =
        rsassa_pkcs1_v1_5(Algorithm::Rs512, &[Rsa2048Sha512, Rsa3072Sha512, Rsa4096Sha512, Rsa8192Sha512]);
    assert_eq!(tally, Tally { valid: 30, invalid: 1007 });
}

fn rsassa_pkcs1_v1_5(algorithm: Algorithm, sets: &[rsa_pkcs1_verify::TestName]) -> Tally {
    let mut tally = Tally::default();
    for group in sets.iter().flat_map(|set| rsa_pkcs1_verify::TestSet::load(*set).unwrap().test_groups) {
        let key = rsa_key(&group.key.n, &group.key.e);
        for test in &group.tests {
            // Acceptable is a DigestInfo without the NULL that RFC 8017 appendix A.2.4 prescribes: refused.
            let is_valid = match test.result {
                TestResult::Valid => true,
                TestResult::Acceptable | TestResult::Invalid => false,
            };
            tally.check(algorithm, &key, vector!(test, &test.sig, is_valid));
        }
    }
    tally
}

/// RFC 7518 section 3.5: MGF1 with the hash of the signature, and a salt as long as that. Others do not verify.
#[test]
fn rsassa_pss() {
    use rsa_pss_verify::{TestName, TestSet};
    let mut tally = Tally::default();
    for group in [
        TestName::RsaPss2048Sha256Mgf1SaltLen0,
        TestName::RsaPss2048Sha256Mgf1SaltLen32,
        TestName::RsaPss2048Sha256Mgf1Sha1_20,
        TestName::RsaPss2048Sha384Mgf1SaltLen48,
        TestName::RsaPss3072Sha256Mgf1SaltLen32,
        TestName::RsaPss4096Sha256Mgf1SaltLen32,
        TestName::RsaPss4096Sha384Mgf1SaltLen48,
        TestName::RsaPss4096Sha512Mgf1SaltLen32,
        TestName::RsaPss4096Sha512Mgf1SaltLen64,
        TestName::RsaPssmisc,
    ]
    .into_iter()
    .flat_map(|set| TestSet::load(set).unwrap().test_groups)
    {
        let (algorithm, length) = match group.hash {
            HashFunction::Sha2_256 => (Algorithm::Ps256, 32),
            HashFunction::Sha2_384 => (Algorithm::Ps384, 48),
            HashFunction::Sha2_512 => (Algorithm::Ps512, 64),
            _ => continue,
        };
        let is_as_jws_says = group.salt_size == length && group.mgf_hash == Some(group.hash);
        let key = rsa_key(&group.key.n, &group.key.e);
        for test in &group.tests {
            let is_valid = test.result == TestResult::Valid;
            // What is invalid with other parameters may be valid with these.
            if is_valid || is_as_jws_says {
                tally.check(algorithm, &key, vector!(test, &test.sig, is_valid && is_as_jws_says));
            }
        }
    }
    assert_eq!(tally, Tally { valid: 514, invalid: 617 });
}

#[test]
fn ecdsa_on_p256() {
    let tally = ecdsa(Algorithm::Es256, "P-256", ecdsa::TestName::EcdsaSecp256r1Sha256P1363);
    assert_eq!(tally, Tally { valid: 173, invalid: 89 });
}

#[test]
fn ecdsa_on_p384() {
    let tally = ecdsa(Algorithm::Es384, "P-384", ecdsa::TestName::EcdsaSecp384r1Sha384P1363);
    assert_eq!(tally, Tally { valid: 193, invalid: 87 });
}

#[test]
fn ecdsa_on_p521() {
    let tally = ecdsa(Algorithm::Es512, "P-521", ecdsa::TestName::EcdsaSecp521r1Sha512P1363);
    assert_eq!(tally, Tally { valid: 231, invalid: 87 });
}

#[test]
fn ecdsa_on_secp256k1() {
    let tally = ecdsa(Algorithm::Es256k, "secp256k1", ecdsa::TestName::EcdsaSecp256k1Sha256P1363);
    assert_eq!(tally, Tally { valid: 167, invalid: 85 });
}

/// Signatures are r and s at full length (RFC 7518 section 3.4), which others call the form of IEEE P1363.
fn ecdsa(algorithm: Algorithm, curve: &str, set: ecdsa::TestName) -> Tally {
    let mut tally = Tally::default();
    for group in ecdsa::TestSet::load(set).unwrap().test_groups {
        let (x, y) = group.key.key[1..].split_at((group.key.key.len() - 1) / 2);
        let (x, y) = (base64url::encode(x), base64url::encode(y));
        let key = key(&json!({"kty": "EC", "crv": curve, "x": x, "y": y})).unwrap();
        for test in &group.tests {
            let is_valid = test.result == TestResult::Valid;
            tally.check(algorithm, &key, vector!(test, &test.sig, is_valid));
        }
    }
    tally
}

#[test]
fn ed25519() {
    use eddsa::{TestName, TestSet};
    let mut tally = Tally::default();
    for group in TestSet::load(TestName::Ed25519).unwrap().test_groups {
        let key =
            key(&json!({"kty": "OKP", "crv": "Ed25519", "x": base64url::encode(&group.key.pk)})).unwrap();
        for test in &group.tests {
            let is_valid = test.result == TestResult::Valid;
            tally.check(Algorithm::EdDsa, &key, vector!(test, &test.sig, is_valid));
        }
    }
    assert_eq!(tally, Tally { valid: 88, invalid: 63 });
}

/// RFC 7518 section 3.2: keys at least as long as the hash, and nothing truncated.
#[test]
fn hmac() {
    use mac::{TestName, TestSet};
    let mut tally = Tally::default();
    for (algorithm, bits, set) in [
        (Algorithm::Hs256, 256, TestName::HmacSha256),
        (Algorithm::Hs384, 384, TestName::HmacSha384),
        (Algorithm::Hs512, 512, TestName::HmacSha512),
    ] {
        for group in TestSet::load(set).unwrap().test_groups {
            for test in &group.tests {
                let key = key(&json!({"kty": "oct", "k": base64url::encode(&test.key)}));
                assert_eq!(key.is_some(), test.key.len() >= 32, "{algorithm} {}", test.tc_id);
                let Some(key) = key else { continue };
                let is_valid =
                    test.result == TestResult::Valid && group.tag_size == bits && 8 * test.key.len() >= bits;
                tally.check(algorithm, &key, vector!(test, &test.tag, is_valid));
            }
        }
    }
    assert_eq!(tally, Tally { valid: 90, invalid: 420 });
}
