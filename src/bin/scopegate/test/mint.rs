//! Throw-away keys, and tokens signed with them.
//!
//! A key lives as long as this process and is nobody's: the public part stands in for the provider's own keys.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jwt_compact::alg::{Ed25519, Hs256, Hs256Key, Hs384, Hs384Key, Hs512, Hs512Key};
use jwt_compact::{Algorithm as _, AlgorithmSignature as _};
use rsa::pkcs1::{DecodeRsaPrivateKey as _, EncodeRsaPrivateKey as _};
use rsa::sha2::{Sha256, Sha384, Sha512};
use rsa::signature::Signer as _;
use rsa::traits::PublicKeyParts as _;
use scopegate::jose::{Algorithm, AlgorithmSet};
use serde_json::{Map, Value, json};

/// The keys of one process, by who signs with them.
#[derive(Default)]
pub struct Keys {
    keys: BTreeMap<(String, Family), PrivateKey>,
}

/// What one key serves for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Family {
    Rsa,
    P256,
    P384,
    P521,
    Secp256k1,
    Ed25519,
    Symmetric,
}

impl Family {
    const ALL: [Self; 7] =
        [Self::Rsa, Self::P256, Self::P384, Self::P521, Self::Secp256k1, Self::Ed25519, Self::Symmetric];

    fn of(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Rs256
            | Algorithm::Rs384
            | Algorithm::Rs512
            | Algorithm::Ps256
            | Algorithm::Ps384
            | Algorithm::Ps512 => Self::Rsa,
            Algorithm::Es256 => Self::P256,
            Algorithm::Es384 => Self::P384,
            Algorithm::Es512 => Self::P521,
            Algorithm::Es256k => Self::Secp256k1,
            Algorithm::EdDsa => Self::Ed25519,
            Algorithm::Hs256 | Algorithm::Hs384 | Algorithm::Hs512 => Self::Symmetric,
        }
    }

    fn key_id(self) -> &'static str {
        match self {
            Self::Rsa => "throw-away-rsa",
            Self::P256 => "throw-away-p256",
            Self::P384 => "throw-away-p384",
            Self::P521 => "throw-away-p521",
            Self::Secp256k1 => "throw-away-secp256k1",
            Self::Ed25519 => "throw-away-ed25519",
            Self::Symmetric => "throw-away-symmetric",
        }
    }
}

enum PrivateKey {
    Rsa(Box<rsa::PrivateKey>),
    P256(p256::ecdsa::SigningKey),
    P384(p384::ecdsa::SigningKey),
    P521(p521::ecdsa::SigningKey),
    Secp256k1(k256::ecdsa::SigningKey),
    Ed25519(<Ed25519 as jwt_compact::Algorithm>::SigningKey),
    Symmetric([u8; 64]),
}

/// The algorithm to sign with where a case names none: of those accepted, the one whose key is made soonest.
pub fn usual_algorithm(accepted: AlgorithmSet) -> Option<Algorithm> {
    const SOONEST_FIRST: [Algorithm; 14] = [
        Algorithm::EdDsa,
        Algorithm::Es256,
        Algorithm::Es384,
        Algorithm::Es512,
        Algorithm::Es256k,
        Algorithm::Hs256,
        Algorithm::Hs384,
        Algorithm::Hs512,
        Algorithm::Rs256,
        Algorithm::Rs384,
        Algorithm::Rs512,
        Algorithm::Ps256,
        Algorithm::Ps384,
        Algorithm::Ps512,
    ];
    SOONEST_FIRST.into_iter().find(|algorithm| accepted.contains(*algorithm))
}

impl Keys {
    /// Makes sure that `signer` has a key for this algorithm.
    pub fn prepare(&mut self, signer: &str, algorithm: Algorithm) -> Result<(), String> {
        let name = (signer.to_owned(), Family::of(algorithm));
        if let Entry::Vacant(place) = self.keys.entry(name) {
            let family = place.key().1;
            place.insert(PrivateKey::generate(family).ok_or("this machine gives no random numbers")?);
        }
        Ok(())
    }

    /// The private keys, so that a later process can go on with them.
    pub fn to_json(&self) -> Option<Value> {
        let mut all = Vec::new();
        for ((signer, family), key) in &self.keys {
            let secret = URL_SAFE_NO_PAD.encode(key.secret()?);
            all.push(json!({"signer": signer, "family": family.key_id(), "secret": secret}));
        }
        Some(all.into())
    }

    /// What [`Self::to_json`] has written. What cannot be read is left out, and made anew.
    pub fn from_json(written: &Value) -> Self {
        let mut keys = BTreeMap::new();
        for entry in written.as_array().into_iter().flatten() {
            let text = |member: &str| entry.get(member).and_then(Value::as_str);
            let (Some(signer), Some(family), Some(secret)) = (text("signer"), text("family"), text("secret"))
            else {
                continue;
            };
            let family = Family::ALL.into_iter().find(|known| known.key_id() == family);
            let read = family.zip(URL_SAFE_NO_PAD.decode(secret).ok());
            if let Some((family, key)) =
                read.and_then(|(family, secret)| Some((family, PrivateKey::of_secret(family, &secret)?)))
            {
                keys.insert((signer.to_owned(), family), key);
            }
        }
        Self { keys }
    }

    /// The public keys of `signer` as a JWK Set.
    pub fn jwks(&self, signer: &str) -> Value {
        let own = self.keys.iter().filter(|((of, _), _)| of == signer);
        json!({"keys": own.map(|((_, family), key)| key.jwk(*family)).collect::<Vec<_>>()})
    }

    /// The public key of `signer` for this algorithm, without a `kid`.
    pub fn jwk(&self, signer: &str, algorithm: Algorithm) -> Option<Value> {
        let family = Family::of(algorithm);
        let mut jwk = self.keys.get(&(signer.to_owned(), family))?.jwk(family);
        jwk.as_object_mut()?.remove("kid");
        Some(jwk)
    }

    /// A JWT of `signer`. Members of `header` replace those that it has by itself; `null` removes one.
    pub fn sign(
        &self,
        signer: &str,
        algorithm: Algorithm,
        header: Map<String, Value>,
        claims: &Map<String, Value>,
    ) -> Option<String> {
        let family = Family::of(algorithm);
        let key = self.keys.get(&(signer.to_owned(), family))?;
        let mut members = Map::new();
        members.insert("alg".to_owned(), algorithm.as_str().into());
        members.insert("kid".to_owned(), family.key_id().into());
        members.extend(header);
        members.retain(|_, value| !value.is_null());
        let encoded =
            |members: &Map<String, Value>| Some(URL_SAFE_NO_PAD.encode(serde_json::to_vec(members).ok()?));
        let input = format!("{}.{}", encoded(&members)?, encoded(claims)?);
        let signature = key.sign(algorithm, input.as_bytes())?;
        Some(format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }
}

impl PrivateKey {
    fn generate(family: Family) -> Option<Self> {
        // A random number is no private key with a probability below 2^-30.
        fn scalar<const N: usize, T>(read: impl Fn(&[u8]) -> Option<T>) -> Option<T> {
            (0..8).find_map(|_| read(&random::<N>()?))
        }
        Some(match family {
            Family::Rsa => Self::Rsa(Box::new(rsa::PrivateKey::new(&mut getrandom::SysRng, 2048).ok()?)),
            Family::P256 => {
                Self::P256(scalar::<32, _>(|bytes| p256::ecdsa::SigningKey::from_slice(bytes).ok())?)
            }
            Family::P384 => {
                Self::P384(scalar::<48, _>(|bytes| p384::ecdsa::SigningKey::from_slice(bytes).ok())?)
            }
            Family::P521 => Self::P521(scalar::<66, _>(|bytes| {
                // The order has 521 bits.
                let mut bytes = bytes.to_vec();
                *bytes.first_mut()? &= 1;
                p521::ecdsa::SigningKey::from_slice(&bytes).ok()
            })?),
            Family::Secp256k1 => {
                Self::Secp256k1(scalar::<32, _>(|bytes| k256::ecdsa::SigningKey::from_slice(bytes).ok())?)
            }
            Family::Ed25519 => {
                Self::Ed25519(jwt_compact::alg::SigningKey::<Ed25519>::from_slice(&random::<32>()?).ok()?)
            }
            Family::Symmetric => Self::Symmetric(random()?),
        })
    }

    /// Its secret part: a scalar, a seed, the key itself; of RSA the whole in DER.
    fn secret(&self) -> Option<Vec<u8>> {
        Some(match self {
            Self::Rsa(key) => key.to_pkcs1_der().ok()?.as_bytes().to_vec(),
            Self::P256(key) => key.to_bytes().to_vec(),
            Self::P384(key) => key.to_bytes().to_vec(),
            Self::P521(key) => key.to_bytes().to_vec(),
            Self::Secp256k1(key) => key.to_bytes().to_vec(),
            Self::Ed25519(key) => key.as_bytes().to_vec(),
            Self::Symmetric(key) => key.to_vec(),
        })
    }

    fn of_secret(family: Family, secret: &[u8]) -> Option<Self> {
        Some(match family {
            Family::Rsa => Self::Rsa(Box::new(rsa::PrivateKey::from_pkcs1_der(secret).ok()?)),
            Family::P256 => Self::P256(p256::ecdsa::SigningKey::from_slice(secret).ok()?),
            Family::P384 => Self::P384(p384::ecdsa::SigningKey::from_slice(secret).ok()?),
            Family::P521 => Self::P521(p521::ecdsa::SigningKey::from_slice(secret).ok()?),
            Family::Secp256k1 => Self::Secp256k1(k256::ecdsa::SigningKey::from_slice(secret).ok()?),
            Family::Ed25519 => {
                Self::Ed25519(jwt_compact::alg::SigningKey::<Ed25519>::from_slice(secret).ok()?)
            }
            Family::Symmetric => Self::Symmetric(secret.try_into().ok()?),
        })
    }

    fn sign(&self, algorithm: Algorithm, message: &[u8]) -> Option<Vec<u8>> {
        Some(match self {
            Self::Rsa(key) => match algorithm {
                Algorithm::Rs256 => key.pkcs1v15_sign::<Sha256>(message).ok()?,
                Algorithm::Rs384 => key.pkcs1v15_sign::<Sha384>(message).ok()?,
                Algorithm::Rs512 => key.pkcs1v15_sign::<Sha512>(message).ok()?,
                Algorithm::Ps256 => key.pss_sign::<Sha256>(message).ok()?,
                Algorithm::Ps384 => key.pss_sign::<Sha384>(message).ok()?,
                Algorithm::Ps512 => key.pss_sign::<Sha512>(message).ok()?,
                Algorithm::Es256
                | Algorithm::Es384
                | Algorithm::Es512
                | Algorithm::Es256k
                | Algorithm::EdDsa
                | Algorithm::Hs256
                | Algorithm::Hs384
                | Algorithm::Hs512 => return None,
            },
            Self::P256(key) => {
                let signature: p256::ecdsa::Signature = key.try_sign(message).ok()?;
                signature.to_bytes().to_vec()
            }
            Self::P384(key) => {
                let signature: p384::ecdsa::Signature = key.try_sign(message).ok()?;
                signature.to_bytes().to_vec()
            }
            Self::P521(key) => {
                let signature: p521::ecdsa::Signature = key.try_sign(message).ok()?;
                signature.to_bytes().to_vec()
            }
            Self::Secp256k1(key) => {
                let signature: k256::ecdsa::Signature = key.try_sign(message).ok()?;
                signature.to_bytes().to_vec()
            }
            Self::Ed25519(key) => Ed25519.sign(key, message).as_bytes().into_owned(),
            Self::Symmetric(key) => match algorithm {
                Algorithm::Hs256 => Hs256.sign(&Hs256Key::new(key), message).as_bytes().into_owned(),
                Algorithm::Hs384 => Hs384.sign(&Hs384Key::new(key), message).as_bytes().into_owned(),
                Algorithm::Hs512 => Hs512.sign(&Hs512Key::new(key), message).as_bytes().into_owned(),
                Algorithm::Rs256
                | Algorithm::Rs384
                | Algorithm::Rs512
                | Algorithm::Ps256
                | Algorithm::Ps384
                | Algorithm::Ps512
                | Algorithm::Es256
                | Algorithm::Es384
                | Algorithm::Es512
                | Algorithm::Es256k
                | Algorithm::EdDsa => return None,
            },
        })
    }

    /// The public key; of a symmetric key the key itself.
    fn jwk(&self, family: Family) -> Value {
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        // Uncompressed: a byte, then both coordinates (SEC 1 section 2.3.3).
        let on_curve = |curve: &str, point: &[u8]| {
            let coordinates = point.get(1..).unwrap_or_default();
            let (x, y) = coordinates.split_at(coordinates.len() / 2);
            json!({"kty": "EC", "crv": curve, "x": text(x), "y": text(y)})
        };
        let mut jwk = match self {
            Self::Rsa(key) => json!({"kty": "RSA", "n": text(&key.n_bytes()), "e": text(&key.e_bytes())}),
            Self::P256(key) => on_curve("P-256", key.verifying_key().to_sec1_point(false).as_bytes()),
            Self::P384(key) => on_curve("P-384", key.verifying_key().to_sec1_point(false).as_bytes()),
            Self::P521(key) => on_curve("P-521", key.verifying_key().to_sec1_point(false).as_bytes()),
            Self::Secp256k1(key) => {
                on_curve("secp256k1", key.verifying_key().to_sec1_point(false).as_bytes())
            }
            Self::Ed25519(key) => {
                json!({"kty": "OKP", "crv": "Ed25519", "x": text(key.verifying_key().as_bytes())})
            }
            Self::Symmetric(key) => json!({"kty": "oct", "k": text(key)}),
        };
        if let Some(members) = jwk.as_object_mut() {
            members.insert("kid".to_owned(), family.key_id().into());
        }
        jwk
    }
}

/// Random bytes. None where the machine gives none.
pub fn random<const N: usize>() -> Option<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).ok()?;
    Some(bytes)
}
