//! The JWS algorithms that are implemented, and sets of them.

use std::fmt;

/// A JWS signature or MAC algorithm (RFC 7518 section 3.1, RFC 8037 section 3.1, RFC 8812 section 3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Algorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// RSASSA-PKCS1-v1_5 with SHA-384.
    Rs384,
    /// RSASSA-PKCS1-v1_5 with SHA-512.
    Rs512,
    /// RSASSA-PSS with SHA-256.
    Ps256,
    /// RSASSA-PSS with SHA-384.
    Ps384,
    /// RSASSA-PSS with SHA-512.
    Ps512,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// ECDSA on P-384 with SHA-384.
    Es384,
    /// ECDSA on P-521 with SHA-512.
    Es512,
    /// EdDSA on Ed25519; `Ed25519` (RFC 9864) is another name for it.
    EdDsa,
    /// HMAC with SHA-256.
    Hs256,
    /// HMAC with SHA-384.
    Hs384,
    /// HMAC with SHA-512.
    Hs512,
    /// ECDSA on secp256k1 with SHA-256.
    Es256k,
}

impl Algorithm {
    /// Every algorithm.
    pub const ALL: &[Self] = &[
        Self::Rs256,
        Self::Rs384,
        Self::Rs512,
        Self::Ps256,
        Self::Ps384,
        Self::Ps512,
        Self::Es256,
        Self::Es384,
        Self::Es512,
        Self::EdDsa,
        Self::Hs256,
        Self::Hs384,
        Self::Hs512,
        Self::Es256k,
    ];

    /// What a provider accepts that names no algorithms: all but the symmetric ones and `ES256K`.
    pub const DEFAULT: &[Self] = &[
        Self::Rs256,
        Self::Rs384,
        Self::Rs512,
        Self::Ps256,
        Self::Ps384,
        Self::Ps512,
        Self::Es256,
        Self::Es384,
        Self::Es512,
        Self::EdDsa,
    ];

    /// The algorithm of this `alg` value. Names are case-sensitive (RFC 7515 section 4.1.1).
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "RS256" => Self::Rs256,
            "RS384" => Self::Rs384,
            "RS512" => Self::Rs512,
            "PS256" => Self::Ps256,
            "PS384" => Self::Ps384,
            "PS512" => Self::Ps512,
            "ES256" => Self::Es256,
            "ES384" => Self::Es384,
            "ES512" => Self::Es512,
            "EdDSA" | "Ed25519" => Self::EdDsa,
            "HS256" => Self::Hs256,
            "HS384" => Self::Hs384,
            "HS512" => Self::Hs512,
            "ES256K" => Self::Es256k,
            _ => return None,
        })
    }

    /// The `alg` value; `EdDSA` for both of its names.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Rs384 => "RS384",
            Self::Rs512 => "RS512",
            Self::Ps256 => "PS256",
            Self::Ps384 => "PS384",
            Self::Ps512 => "PS512",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::Es512 => "ES512",
            Self::EdDsa => "EdDSA",
            Self::Hs256 => "HS256",
            Self::Hs384 => "HS384",
            Self::Hs512 => "HS512",
            Self::Es256k => "ES256K",
        }
    }

    /// Whether signer and verifier share one secret key.
    pub fn is_symmetric(self) -> bool {
        match self {
            Self::Hs256 | Self::Hs384 | Self::Hs512 => true,
            Self::Rs256
            | Self::Rs384
            | Self::Rs512
            | Self::Ps256
            | Self::Ps384
            | Self::Ps512
            | Self::Es256
            | Self::Es384
            | Self::Es512
            | Self::EdDsa
            | Self::Es256k => false,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A set of algorithms.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct AlgorithmSet(u16);

impl AlgorithmSet {
    /// The set without a member.
    pub const EMPTY: Self = Self(0);

    /// The set of these algorithms.
    pub const fn of(algorithms: &[Algorithm]) -> Self {
        let mut set = Self::EMPTY;
        let mut rest = algorithms;
        while let [algorithm, others @ ..] = rest {
            set.0 |= Self::bit(*algorithm);
            rest = others;
        }
        set
    }

    /// Whether the algorithm is in the set.
    pub const fn contains(self, algorithm: Algorithm) -> bool {
        self.0 & Self::bit(algorithm) != 0
    }

    /// The algorithms that are in both sets.
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Whether no algorithm is in the set.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The algorithms in the set, in the order of [`Algorithm::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Algorithm> {
        Algorithm::ALL.iter().copied().filter(move |&algorithm| self.contains(algorithm))
    }

    const fn bit(algorithm: Algorithm) -> u16 {
        1 << algorithm as u16
    }
}

impl Default for AlgorithmSet {
    /// [`Algorithm::DEFAULT`].
    fn default() -> Self {
        Self::of(Algorithm::DEFAULT)
    }
}

impl FromIterator<Algorithm> for AlgorithmSet {
    fn from_iter<I: IntoIterator<Item = Algorithm>>(algorithms: I) -> Self {
        algorithms.into_iter().fold(Self::EMPTY, |set, algorithm| Self(set.0 | Self::bit(algorithm)))
    }
}

impl fmt::Debug for AlgorithmSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_algorithm_is_found_by_its_name() {
        for &algorithm in Algorithm::ALL {
            assert_eq!(Algorithm::parse(algorithm.as_str()), Some(algorithm));
        }
        assert_eq!(Algorithm::parse("Ed25519"), Some(Algorithm::EdDsa), "RFC 9864 section 2.2");
    }

    #[test]
    fn a_name_in_another_case_or_of_no_signature_is_no_algorithm() {
        for name in [
            "none", "None", "NONE", "", "rs256", "RS256 ", "HS1", "RS1", "RSA-OAEP", "dir", "Ed448", "ES256k",
        ] {
            assert_eq!(Algorithm::parse(name), None, "{name}");
        }
    }

    #[test]
    fn the_default_set_leaves_out_the_symmetric_algorithms_and_es256k() {
        let default = AlgorithmSet::default();
        for &algorithm in Algorithm::ALL {
            let opt_in = algorithm.is_symmetric() || algorithm == Algorithm::Es256k;
            assert_eq!(default.contains(algorithm), !opt_in, "{algorithm}");
        }
    }

    #[test]
    fn an_intersection_holds_what_is_in_both_sets() {
        use Algorithm::{Es256, Es384, Rs256};
        let (one, other) = (AlgorithmSet::of(&[Rs256, Es256]), AlgorithmSet::of(&[Es256, Es384]));
        assert_eq!(one.intersection(other), AlgorithmSet::of(&[Es256]));
        assert!(one.intersection(AlgorithmSet::of(&[Es384])).is_empty());
    }

    #[test]
    fn a_set_holds_what_was_put_in_and_nothing_else() {
        for &one in Algorithm::ALL {
            let set = AlgorithmSet::of(&[one]);
            assert_eq!(set.iter().collect::<Vec<_>>(), [one]);
            assert!(!set.is_empty());
        }
        assert!(AlgorithmSet::EMPTY.is_empty());
        assert_eq!(
            Algorithm::ALL.iter().copied().collect::<AlgorithmSet>().iter().count(),
            Algorithm::ALL.len()
        );
        for &one in Algorithm::ALL {
            assert_eq!([one, one].into_iter().collect::<AlgorithmSet>(), AlgorithmSet::of(&[one]), "twice");
        }
    }
}
