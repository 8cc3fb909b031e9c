//! An issuer for tests: keys of every type, and tokens signed with them.
//!
//! ```ignore
//! let signer = Signer::new("RS256", "key-1", 1);
//! let token = signer.mint(json!({"typ": "at+jwt"}), &json!({"iss": "https://issuer.example", "exp": 2}));
//! let key_set = jwks([&signer]).to_string();
//! ```

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jwt_compact::alg::{Ed25519, Hs256, Hs256Key, Hs384, Hs384Key, Hs512, Hs512Key};
use jwt_compact::{Algorithm, AlgorithmSignature};
use rsa::BoxedUint;
use rsa::sha2::{Sha256, Sha384, Sha512};
use rsa::signature::Signer as _;
use serde_json::{Value, json};

/// Two RSA keys of 2048 bits, private parts included, made for these tests: generating one takes seconds.
const RSA_KEYS: &str = include_str!("../fixtures/jose/rsa-test-keys.json");

/// Every `alg` that can be minted.
pub const ALGORITHMS: [&str; 15] = [
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519",
    "HS256", "HS384", "HS512", "ES256K",
];

/// A key of the issuer with the algorithm that it signs with.
pub struct Signer {
    algorithm: &'static str,
    key_id: Option<String>,
    key: PrivateKey,
}

enum PrivateKey {
    Rsa(Box<rsa::PrivateKey>),
    P256(p256::ecdsa::SigningKey),
    P384(p384::ecdsa::SigningKey),
    P521(p521::ecdsa::SigningKey),
    Secp256k1(k256::ecdsa::SigningKey),
    Ed25519(<Ed25519 as Algorithm>::SigningKey),
    Symmetric(Vec<u8>),
}

impl Signer {
    /// A key with a `kid`. The same `seed`, from 1, gives the same key; there are two RSA keys, for odd and for even
    /// seeds.
    pub fn new(algorithm: &'static str, key_id: &str, seed: u8) -> Self {
        Self { key_id: Some(key_id.to_owned()), ..Self::anonymous(algorithm, seed) }
    }

    /// A key without a `kid`.
    pub fn anonymous(algorithm: &'static str, seed: u8) -> Self {
        assert_ne!(seed, 0, "zero is no private key");
        let key = match algorithm {
            "RS256" | "RS384" | "RS512" | "PS256" | "PS384" | "PS512" => {
                PrivateKey::Rsa(Box::new(rsa_key(usize::from(1 - seed % 2))))
            }
            "ES256" => PrivateKey::P256(p256::ecdsa::SigningKey::from_slice(&[seed; 32]).unwrap()),
            "ES384" => PrivateKey::P384(p384::ecdsa::SigningKey::from_slice(&[seed; 48]).unwrap()),
            "ES512" => {
                let mut scalar = [seed; 66];
                scalar[0] = 0;
                PrivateKey::P521(p521::ecdsa::SigningKey::from_slice(&scalar).unwrap())
            }
            "ES256K" => PrivateKey::Secp256k1(k256::ecdsa::SigningKey::from_slice(&[seed; 32]).unwrap()),
            "EdDSA" | "Ed25519" => {
                PrivateKey::Ed25519(jwt_compact::alg::SigningKey::<Ed25519>::from_slice(&[seed; 32]).unwrap())
            }
            "HS256" | "HS384" | "HS512" => PrivateKey::Symmetric(vec![seed; 64]),
            other => panic!("no algorithm `{other}`"),
        };
        Self { algorithm, key_id: None, key }
    }

    /// A token with these claims. `header` replaces members of the header (`alg`, and `kid` where the key has one)
    /// and adds others; `null` removes one.
    pub fn mint(&self, header: Value, claims: &Value) -> String {
        let mut members = json!({"alg": self.algorithm});
        if let Some(key_id) = &self.key_id {
            members["kid"] = json!(key_id);
        }
        for (name, value) in header.as_object().expect("the header's members are an object") {
            match value {
                Value::Null => drop(members.as_object_mut().unwrap().remove(name)),
                value => members[name] = value.clone(),
            }
        }
        self.sign_parts(members.to_string().as_bytes(), claims.to_string().as_bytes())
    }

    /// A token of these very bytes, good JSON or not.
    pub fn sign_parts(&self, header: &[u8], payload: &[u8]) -> String {
        let signing_input = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
        let signature = self.sign(signing_input.as_bytes());
        format!("{signing_input}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// The signature on `message`.
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        match (&self.key, self.algorithm) {
            (PrivateKey::Rsa(key), "RS256") => key.pkcs1v15_sign::<Sha256>(message).unwrap(),
            (PrivateKey::Rsa(key), "RS384") => key.pkcs1v15_sign::<Sha384>(message).unwrap(),
            (PrivateKey::Rsa(key), "RS512") => key.pkcs1v15_sign::<Sha512>(message).unwrap(),
            (PrivateKey::Rsa(key), "PS256") => key.pss_sign::<Sha256>(message).unwrap(),
            (PrivateKey::Rsa(key), "PS384") => key.pss_sign::<Sha384>(message).unwrap(),
            (PrivateKey::Rsa(key), _) => key.pss_sign::<Sha512>(message).unwrap(),
            (PrivateKey::P256(key), _) => {
                let signature: p256::ecdsa::Signature = key.sign(message);
                signature.to_bytes().to_vec()
            }
            (PrivateKey::P384(key), _) => {
                let signature: p384::ecdsa::Signature = key.sign(message);
                signature.to_bytes().to_vec()
            }
            (PrivateKey::P521(key), _) => {
                let signature: p521::ecdsa::Signature = key.sign(message);
                signature.to_bytes().to_vec()
            }
            (PrivateKey::Secp256k1(key), _) => {
                let signature: k256::ecdsa::Signature = key.sign(message);
                signature.to_bytes().to_vec()
            }
            (PrivateKey::Ed25519(key), _) => Ed25519.sign(key, message).as_bytes().into_owned(),
            (PrivateKey::Symmetric(key), "HS256") => {
                Hs256.sign(&Hs256Key::new(key), message).as_bytes().into_owned()
            }
            (PrivateKey::Symmetric(key), "HS384") => {
                Hs384.sign(&Hs384Key::new(key), message).as_bytes().into_owned()
            }
            (PrivateKey::Symmetric(key), _) => {
                Hs512.sign(&Hs512Key::new(key), message).as_bytes().into_owned()
            }
        }
    }

    /// The public key as a JWK, without `alg`; of a symmetric key the secret itself.
    pub fn jwk(&self) -> Value {
        use rsa::traits::PublicKeyParts as _;
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let on_curve = |curve: &str, uncompressed: &[u8]| {
            let (x, y) = uncompressed[1..].split_at((uncompressed.len() - 1) / 2);
            json!({"kty": "EC", "crv": curve, "x": text(x), "y": text(y)})
        };
        let mut jwk = match &self.key {
            PrivateKey::Rsa(key) => {
                json!({"kty": "RSA", "n": text(&key.n_bytes()), "e": text(&key.e_bytes())})
            }
            PrivateKey::P256(key) => on_curve("P-256", key.verifying_key().to_sec1_point(false).as_bytes()),
            PrivateKey::P384(key) => on_curve("P-384", key.verifying_key().to_sec1_point(false).as_bytes()),
            PrivateKey::P521(key) => on_curve("P-521", key.verifying_key().to_sec1_point(false).as_bytes()),
            PrivateKey::Secp256k1(key) => {
                on_curve("secp256k1", key.verifying_key().to_sec1_point(false).as_bytes())
            }
            PrivateKey::Ed25519(key) => {
                json!({"kty": "OKP", "crv": "Ed25519", "x": text(key.verifying_key().as_bytes())})
            }
            PrivateKey::Symmetric(key) => json!({"kty": "oct", "k": text(key)}),
        };
        if let Some(key_id) = &self.key_id {
            jwk["kid"] = json!(key_id);
        }
        jwk
    }
}

/// The key set of these keys.
pub fn jwks<'a>(signers: impl IntoIterator<Item = &'a Signer>) -> Value {
    json!({"keys": signers.into_iter().map(Signer::jwk).collect::<Vec<_>>()})
}

fn rsa_key(index: usize) -> rsa::PrivateKey {
    let keys: Value = serde_json::from_str(RSA_KEYS).unwrap();
    let number = |name: &str| {
        let text = keys["keys"][index][name].as_str().unwrap();
        BoxedUint::from_be_slice_vartime(&URL_SAFE_NO_PAD.decode(text).unwrap())
    };
    rsa::PrivateKey::from_components(number("n"), number("e"), number("d"), vec![number("p"), number("q")])
        .unwrap()
}
