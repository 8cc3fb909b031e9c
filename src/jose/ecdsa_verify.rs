//! ECDSA signatures checked in numbers as WebAssembly multiplies them (FIPS 186-5 section 6.4.2, SEC 1 section 4.1.4).
//!
//! The crates `p256` and its like take some twenty times as long there, which makes a token that the host cannot verify
//! a lever for whoever sends many. Everything here is public, so nothing is done in constant time.
//!
//! Both scalars are multiplied in one pass by combs (Lim and Lee, "More Flexible Exponentiation with Precomputation",
//! 1994; with signs, Hedabou, Pinel and Bénéteau, 2005): a point has [`TEETH`] multiples by powers of two, and all sums
//! of these with signs are computed once. The bits of a scalar that lie as far apart as the teeth then choose one sum
//! together.

use std::fmt::Debug;
use std::iter;
use std::sync::OnceLock;

use sha2::{Digest, Sha256, Sha384, Sha512};

use super::montgomery::{Prime, Residue, digits_of_hex};

/// An elliptic curve `y² = x³ + ax + b` of prime order over a prime field, both of `N` digits, and the hash that JWS
/// uses with it (RFC 7518 section 3.4, RFC 8812 section 3.2), which is no longer than the order.
pub trait Curve<const N: usize>: Copy + Debug + 'static {
    /// The field of the coordinates.
    type Field: Prime<N>;
    /// The integers modulo the order, which is less than the field's.
    type Order: Prime<N>;
    /// The hash.
    type Digest: Digest;
    /// How many bytes coordinates, `r` and `s` have.
    const LENGTH: usize;
    /// Whether `a` is -3 and not 0.
    const A_IS_MINUS_3: bool;
    /// The coefficient `b`.
    const B: [i64; N];
    /// The coordinates of the generator.
    const GENERATOR: [[i64; N]; 2];

    /// The comb of the generator, made at first use.
    fn generator() -> &'static Comb<Self, N>;
}

/// A point that verifies signatures.
#[derive(Clone, Debug)]
pub struct PublicKey<C: Curve<N>, const N: usize> {
    point: Affine<C, N>,
    /// Made at first use: a host with crypto never asks for it.
    comb: OnceLock<Comb<C, N>>,
}

impl<C: Curve<N>, const N: usize> PublicKey<C, N> {
    /// The point of this uncompressed form (SEC 1 section 2.3.3), where it is on the curve.
    pub fn from_uncompressed(bytes: &[u8]) -> Option<Self> {
        let [0x04, coordinates @ ..] = bytes else { return None };
        let (x, y) = coordinates.split_at_checked(C::LENGTH).filter(|(_, y)| y.len() == C::LENGTH)?;
        let point =
            Affine::in_form([Residue::from_bytes_below_modulus(x)?, Residue::from_bytes_below_modulus(y)?]);
        point.is_on_curve().then_some(Self { point, comb: OnceLock::new() })
    }

    /// Whether `signature`, `r` and `s` at full length (RFC 7518 section 3.4), is the key owner's on `message`.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        self.is_valid(&C::Digest::digest(message), signature).unwrap_or(false)
    }

    fn is_valid(&self, digest: &[u8], signature: &[u8]) -> Option<bool> {
        let (r_bytes, s_bytes) =
            signature.split_at_checked(C::LENGTH).filter(|(_, s)| s.len() == C::LENGTH)?;
        let r = scalar::<C, N>(r_bytes)?;
        let s = scalar::<C, N>(s_bytes)?;
        let s_inverse = s.inverse().multiply(&Residue::R_SQUARED);
        let of_generator = Residue::from_bytes(digest).multiply(&s_inverse);
        let of_key = r.multiply(&s_inverse);
        let comb = self.comb.get_or_init(|| Comb::new(&self.point));
        let point = sum_of_multiples(&[(of_generator, C::generator()), (of_key, comb)]);
        Some(!point.is_infinity() && point.has_x_modulo_order(r_bytes))
    }
}

/// A number from 1 and below the order.
fn scalar<C: Curve<N>, const N: usize>(bytes: &[u8]) -> Option<Residue<C::Order, N>> {
    Residue::from_bytes_below_modulus(bytes).filter(|number| !number.is_zero())
}

type Coordinate<C, const N: usize> = Residue<<C as Curve<N>>::Field, N>;

/// A point but infinity, in Montgomery's form.
#[derive(Clone, Copy, Debug)]
struct Affine<C: Curve<N>, const N: usize> {
    x: Coordinate<C, N>,
    y: Coordinate<C, N>,
}

impl<C: Curve<N>, const N: usize> Affine<C, N> {
    fn in_form([x, y]: [Coordinate<C, N>; 2]) -> Self {
        Self { x: x.multiply(&Residue::R_SQUARED), y: y.multiply(&Residue::R_SQUARED) }
    }

    fn generator() -> Self {
        Self::in_form(C::GENERATOR.map(Residue::of))
    }

    fn is_on_curve(&self) -> bool {
        let cube = self.x.square().multiply(&self.x);
        let b = Residue::of(C::B).multiply(&Residue::R_SQUARED);
        let a = if C::A_IS_MINUS_3 { -3 } else { 0 };
        Residue::sum([(1, &cube), (a, &self.x), (1, &b), (-1, &self.y.square())]).is_zero()
    }

    fn negated(&self) -> Self {
        Self { x: self.x, y: Residue::sum([(-1, &self.y)]) }
    }
}

/// A point in Jacobian coordinates, `(x / z², y / z³)`, in Montgomery's form; infinity where `z` is zero.
#[derive(Clone, Copy, Debug)]
struct Jacobian<C: Curve<N>, const N: usize> {
    x: Coordinate<C, N>,
    y: Coordinate<C, N>,
    z: Coordinate<C, N>,
}

impl<C: Curve<N>, const N: usize> Jacobian<C, N> {
    fn infinity() -> Self {
        Self { x: one::<C, N>(), y: one::<C, N>(), z: Residue::ZERO }
    }

    fn is_infinity(&self) -> bool {
        self.z.is_zero()
    }

    fn double(&self) -> Self {
        let y_squared = self.y.square();
        let beta = self.x.multiply(&y_squared);
        let alpha = if C::A_IS_MINUS_3 {
            let z_squared = self.z.square();
            let below = Residue::sum([(1, &self.x), (-1, &z_squared)]);
            let above = Residue::sum([(3, &self.x), (3, &z_squared)]);
            below.multiply(&above)
        } else {
            Residue::sum([(3, &self.x.square())])
        };
        let x = Residue::sum([(1, &alpha.square()), (-8, &beta)]);
        let slope = alpha.multiply(&Residue::sum([(4, &beta), (-1, &x)]));
        let y = Residue::sum([(1, &slope), (-8, &y_squared.square())]);
        let z = Residue::sum([(2, &self.y)]).multiply(&self.z);
        Self { x, y, z }
    }

    fn add(&self, other: &Affine<C, N>) -> Self {
        if self.is_infinity() {
            return Self { x: other.x, y: other.y, z: one::<C, N>() };
        }
        let z_squared = self.z.square();
        let x_apart = Residue::sum([(1, &other.x.multiply(&z_squared)), (-1, &self.x)]);
        let y_apart = Residue::sum([(1, &other.y.multiply(&z_squared.multiply(&self.z))), (-1, &self.y)]);
        if x_apart.is_zero() {
            return if y_apart.is_zero() { self.double() } else { Self::infinity() };
        }
        let square = x_apart.square();
        let cube = square.multiply(&x_apart);
        let v = self.x.multiply(&square);
        let x = Residue::sum([(1, &y_apart.square()), (-1, &cube), (-2, &v)]);
        let slope = y_apart.multiply(&Residue::sum([(1, &v), (-1, &x)]));
        let y = Residue::sum([(1, &slope), (-1, &self.y.multiply(&cube))]);
        Self { x, y, z: self.z.multiply(&x_apart) }
    }

    /// Whether the coordinate x, not modulo the field's prime but the order, is this number below the order: it is the
    /// number, or that and the order, where that is still below the prime.
    fn has_x_modulo_order(&self, number: &[u8]) -> bool {
        let z_squared = self.z.square();
        let is_x = |x: Coordinate<C, N>| {
            let x = x.multiply(&Residue::R_SQUARED).multiply(&z_squared);
            Residue::sum([(1, &self.x), (-1, &x)]).is_zero()
        };
        let number = Residue::from_bytes(number);
        is_x(number) || number.plus_below_modulus(&C::Order::DIGITS).is_some_and(is_x)
    }
}

/// 1 in Montgomery's form.
fn one<C: Curve<N>, const N: usize>() -> Coordinate<C, N> {
    let mut one = [0; N];
    one.iter_mut().take(1).for_each(|lowest| *lowest = 1);
    Residue::of(one).multiply(&Residue::R_SQUARED)
}

/// How many multiples of a point a comb has, of which 2 to the power of one less sums are kept.
const TEETH: usize = 6;

/// Sums of multiples of a point: `±P ± 2^c P ± 2^2c P ... + 2^5c P`, where c is how many columns scalars have.
#[derive(Clone, Debug)]
pub struct Comb<C: Curve<N>, const N: usize> {
    /// The bits of a sum's place say which multiples are added, the lowest that of P itself.
    sums: Box<[Affine<C, N>]>,
}

impl<C: Curve<N>, const N: usize> Comb<C, N> {
    /// The comb of a point on the curve.
    fn new(point: &Affine<C, N>) -> Self {
        // Each multiple, and its double, by which the sums with and without it differ.
        let mut multiples = Vec::with_capacity(2 * TEETH);
        let mut multiple = Jacobian::infinity().add(point);
        for _ in 0..TEETH {
            let doubled = multiple.double();
            multiples.extend([multiple, doubled]);
            multiple = (1..columns::<C, N>()).fold(doubled, |multiple, _| multiple.double());
        }
        let multiples = to_affine(&multiples);
        let mut pairs = multiples.chunks_exact(2).rev();
        let highest = pairs.next().and_then(|pair| pair.first());
        let lower: Vec<_> = pairs.rev().collect();
        let all_off = lower
            .iter()
            .filter_map(|pair| pair.first())
            .map(Affine::negated)
            .chain(highest.copied())
            .fold(Jacobian::infinity(), |sum, term| sum.add(&term));
        let mut sums = vec![all_off];
        for doubled in lower.iter().filter_map(|pair| pair.last()) {
            let with: Vec<_> = sums.iter().map(|sum| sum.add(doubled)).collect();
            sums.extend(with);
        }
        Self { sums: to_affine(&sums).into() }
    }

    /// What a column of a scalar stands for: the sum of the multiples with the signs that its bits say.
    fn of_column(&self, column: u8) -> Option<Affine<C, N>> {
        let highest = 1 << (TEETH - 1);
        if column & highest == 0 {
            self.sums.get(usize::from(!column & (highest - 1))).map(Affine::negated)
        } else {
            self.sums.get(usize::from(column & (highest - 1))).copied()
        }
    }
}

/// How many columns scalars have: enough for those below four times the order.
fn columns<C: Curve<N>, const N: usize>() -> usize {
    (C::Order::BITS as usize + 2).div_ceil(TEETH)
}

/// The sum of multiples of points.
fn sum_of_multiples<C: Curve<N>, const N: usize>(
    terms: &[(Residue<C::Order, N>, &Comb<C, N>)],
) -> Jacobian<C, N> {
    let terms: Vec<_> = terms.iter().map(|(scalar, comb)| (columns_of::<C, N>(scalar), comb)).collect();
    (0..columns::<C, N>()).rev().fold(Jacobian::infinity(), |sum, at| {
        let points = terms.iter().filter_map(|(columns, comb)| comb.of_column(*columns.get(at)?));
        points.fold(sum.double(), |sum, point| sum.add(&point))
    })
}

/// The scalar, or one that differs by multiples of the order, as sum of powers of two with signs: bits say which are
/// added, and not subtracted. A column holds those of places that lie the number of columns apart.
fn columns_of<C: Curve<N>, const N: usize>(scalar: &Residue<C::Order, N>) -> Vec<u8> {
    let mut columns = vec![0; columns::<C, N>()];
    let places = columns.len() * TEETH;
    // An odd number is the sum of all powers of two with signs: that of each is what is the bit above it.
    let signs = scalar.odd_bits().skip(1).take(places - 1).chain(iter::once(true));
    let mut signs = signs.map(u8::from);
    for tooth in 0..TEETH {
        for (column, sign) in columns.iter_mut().zip(signs.by_ref()) {
            *column |= sign << tooth;
        }
    }
    columns
}

/// The points, none of which is infinity, with one inversion for all (Montgomery's trick).
fn to_affine<C: Curve<N>, const N: usize>(points: &[Jacobian<C, N>]) -> Vec<Affine<C, N>> {
    let mut product = one::<C, N>();
    let products: Vec<_> = points
        .iter()
        .map(|point| {
            let before = product;
            product = product.multiply(&point.z);
            before
        })
        .collect();
    let mut inverse = product.inverse().multiply(&Residue::R_SQUARED).multiply(&Residue::R_SQUARED);
    let mut affine: Vec<_> = iter::zip(points, products)
        .rev()
        .map(|(point, before)| {
            let z = inverse.multiply(&before);
            inverse = inverse.multiply(&point.z);
            let z_squared = z.square();
            Affine { x: point.x.multiply(&z_squared), y: point.y.multiply(&z_squared.multiply(&z)) }
        })
        .collect();
    affine.reverse();
    affine
}

/// Defines a curve by its numbers.
macro_rules! curve {
    (
        $(#[$doc:meta])*
        $name:ident, key $key:ident, field $field:ident, order $order:ident, digest $digest:ty;
        $digits:literal digits of $width:literal, $bits:literal bits, a is -3: $minus_3:literal;
        p $p:literal, n $n:literal, b $b:literal, x $x:literal, y $y:literal
    ) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug)]
        pub struct $name;

        /// A public key on the curve.
        pub type $key = PublicKey<$name, $digits>;

        /// The field of the curve.
        #[derive(Clone, Copy, Debug)]
        pub struct $field;

        impl Prime<$digits> for $field {
            const WIDTH: u32 = $width;
            const BITS: u32 = $bits;
            const DIGITS: [i64; $digits] = digits_of_hex($p, $width);
        }

        /// The integers modulo the order of the curve.
        #[derive(Clone, Copy, Debug)]
        pub struct $order;

        impl Prime<$digits> for $order {
            const WIDTH: u32 = $width;
            const BITS: u32 = $bits;
            const DIGITS: [i64; $digits] = digits_of_hex($n, $width);
        }

        impl Curve<$digits> for $name {
            type Field = $field;
            type Order = $order;
            type Digest = $digest;
            const LENGTH: usize = ($bits as usize).div_ceil(8);
            const A_IS_MINUS_3: bool = $minus_3;
            const B: [i64; $digits] = digits_of_hex($b, $width);
            const GENERATOR: [[i64; $digits]; 2] = [digits_of_hex($x, $width), digits_of_hex($y, $width)];

            fn generator() -> &'static Comb<Self, $digits> {
                static COMB: OnceLock<Comb<$name, $digits>> = OnceLock::new();
                COMB.get_or_init(|| Comb::new(&Affine::generator()))
            }
        }
    };
}

curve! {
    /// P-256 (SEC 2 version 2 section 2.4.2), with SHA-256: ES256.
    P256, key P256Key, field P256Field, order P256Order, digest Sha256;
    9 digits of 29, 256 bits, a is -3: true;
    p "ffffffff00000001000000000000000000000000ffffffffffffffffffffffff",
    n "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551",
    b "5ac635d8aa3a93e7b3ebbd55769886bc651d06b0cc53b0f63bce3c3e27d2604b",
    x "6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296",
    y "4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5"
}

curve! {
    /// P-384 (SEC 2 version 2 section 2.5.1), with SHA-384: ES384.
    P384, key P384Key, field P384Field, order P384Order, digest Sha384;
    14 digits of 28, 384 bits, a is -3: true;
    p "fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffeffffffff0000000000000000ffffffff",
    n "ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973",
    b "b3312fa7e23ee7e4988e056be3f82d19181d9c6efe8141120314088f5013875ac656398d8a2ed19d2a85c8edd3ec2aef",
    x "aa87ca22be8b05378eb1c71ef320ad746e1d3b628ba79b9859f741e082542a385502f25dbf55296c3a545e3872760ab7",
    y "3617de4a96262c6f5d9e98bf9292dc29f8f41dbd289a147ce9da3113b5f0b8c00a60b1ce1d7e819d7a431d7c90ea0e5f"
}

curve! {
    /// P-521 (SEC 2 version 2 section 2.6.1), with SHA-512: ES512.
    P521, key P521Key, field P521Field, order P521Order, digest Sha512;
    19 digits of 28, 521 bits, a is -3: true;
    p "1ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff\
       ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    n "1fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffa\
       51868783bf2f966b7fcc0148f709a5d03bb5c9b8899c47aebb6fb71e91386409",
    b "051953eb9618e1c9a1f929a21a0b68540eea2da725b99b315f3b8b489918ef109e1\
       56193951ec7e937b1652c0bd3bb1bf073573df883d2c34f1ef451fd46b503f00",
    x "0c6858e06b70404e9cd9e3ecb662395b4429c648139053fb521f828af606b4d3dba\
       a14b5e77efe75928fe1dc127a2ffa8de3348b3c1856a429bf97e7e31c2e5bd66",
    y "11839296a789a3bc0045c8a5fb42c7d1bd998f54449579b446817afbd17273e662c\
       97ee72995ef42640c550b9013fad0761353c7086a272c24088be94769fd16650"
}

curve! {
    /// secp256k1 (SEC 2 version 2 section 2.4.1), with SHA-256: ES256K.
    Secp256k1, key Secp256k1Key, field Secp256k1Field, order Secp256k1Order, digest Sha256;
    9 digits of 29, 256 bits, a is -3: false;
    p "fffffffffffffffffffffffffffffffffffffffffffffffffffffffefffffc2f",
    n "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141",
    b "0000000000000000000000000000000000000000000000000000000000000007",
    x "79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798",
    y "483ada7726a3c4655da4fbfc0e1108a8fd17b448a68554199c47d08ffb10d4b8"
}

#[cfg(test)]
mod tests {
    use rsa::BigUint;

    use super::*;

    /// A number in so many bytes, big-endian.
    fn bytes(number: &BigUint, length: usize) -> Vec<u8> {
        let number = number.to_bytes_be();
        [vec![0; length - number.len()], number].concat()
    }

    /// The same tests for each curve, against the crate that implements it.
    macro_rules! against_the_crate {
        ($module:ident, $library:ident, $curve:ident, $key:ident, $digits:literal) => {
            mod $module {
                use ::$library::ecdsa::signature::hazmat::PrehashVerifier as _;
                use ::$library::ecdsa::{Signature, VerifyingKey};
                use ::$library::elliptic_curve::PrimeField as _;
                use ::$library::elliptic_curve::sec1::{FromEncodedPoint as _, ToEncodedPoint as _};
                use ::$library::{AffinePoint, EncodedPoint, ProjectivePoint, Scalar};
                use proptest::prelude::*;

                use super::*;

                const LENGTH: usize = <$curve as Curve<$digits>>::LENGTH;
                const DIGEST: usize = if LENGTH < 64 { LENGTH } else { 64 };

                type Order = Residue<<$curve as Curve<$digits>>::Order, $digits>;
                type Field = Coordinate<$curve, $digits>;

                fn order() -> BigUint {
                    Order::modulus()
                }

                fn field() -> BigUint {
                    Field::modulus()
                }

                fn scalar(number: &BigUint) -> Scalar {
                    let mut repr = Scalar::ZERO.to_repr();
                    repr.copy_from_slice(&bytes(&(number % order()), LENGTH));
                    Scalar::from_repr(repr).unwrap()
                }

                fn public(secret: &BigUint) -> ProjectivePoint {
                    ProjectivePoint::GENERATOR * scalar(secret)
                }

                fn x_of(point: &ProjectivePoint) -> BigUint {
                    BigUint::from_bytes_be(&uncompressed(point)[1..=LENGTH])
                }

                /// FIPS 186-5 section 6.4.1, with a nonce that only tests may have.
                fn sign(secret: &BigUint, digest: &[u8]) -> (BigUint, BigUint) {
                    let nonce = BigUint::from(0x1234_5678_9abc_def1_u64) * (secret + 3_u8) % order();
                    let r = x_of(&public(&nonce)) % order();
                    let s = inverse(&nonce) * (BigUint::from_bytes_be(digest) + &r * secret) % order();
                    (r, s)
                }

                fn inverse(number: &BigUint) -> BigUint {
                    number.modpow(&(order() - 2_u8), &order())
                }

                fn uncompressed(point: &ProjectivePoint) -> Vec<u8> {
                    point.to_affine().to_encoded_point(false).as_bytes().to_vec()
                }

                fn key(point: &ProjectivePoint) -> $key {
                    $key::from_uncompressed(&uncompressed(point)).unwrap()
                }

                /// Whether the signature holds here, which the crate says too.
                fn verifies(point: &ProjectivePoint, digest: &[u8], r: &BigUint, s: &BigUint) -> bool {
                    let signature = [bytes(r, LENGTH), bytes(s, LENGTH)].concat();
                    let verifies = key(point).is_valid(digest, &signature).unwrap_or(false);
                    let known = VerifyingKey::from_sec1_bytes(&uncompressed(point)).unwrap();
                    let by_the_crate = Signature::from_slice(&signature).is_ok_and(|signature| {
                        // Of the two values of `s`, k256 takes the lower alone, as Bitcoin does.
                        let signature = signature.normalize_s().unwrap_or(signature);
                        known.verify_prehash(digest, &signature).is_ok()
                    });
                    assert_eq!(verifies, by_the_crate, "{digest:x?} {r:x} {s:x}");
                    verifies
                }

                fn sum(of_generator: &BigUint, of_key: &BigUint, key: &Comb<$curve, $digits>) -> Vec<u8> {
                    let terms = [
                        (Order::from_bytes(&bytes(of_generator, LENGTH)), $curve::generator()),
                        (Order::from_bytes(&bytes(of_key, LENGTH)), key),
                    ];
                    let sum = sum_of_multiples(&terms);
                    if sum.is_infinity() {
                        return vec![0];
                    }
                    let unit = Residue::of(std::array::from_fn(|place| i64::from(place == 0)));
                    let coordinate = |coordinate: Field| bytes(&coordinate.multiply(&unit).value(), LENGTH);
                    let affine = to_affine(&[sum]);
                    [vec![4], coordinate(affine[0].x), coordinate(affine[0].y)].concat()
                }

                #[test]
                fn sums_of_multiples_are_right_at_every_edge() {
                    let n = order();
                    let highest = BigUint::from(1_u8) << (n.bits() - 1);
                    let edges: Vec<BigUint> = (0_u8..3)
                        .flat_map(|small| [BigUint::from(small), &n - small])
                        .chain([&n >> 1, highest])
                        .collect();
                    let generator = ProjectivePoint::GENERATOR;
                    for key in [generator, -generator, generator + generator] {
                        let comb = Comb::new(&self::key(&key).point);
                        for (of_generator, of_key) in
                            edges.iter().flat_map(|first| edges.iter().map(move |second| (first, second)))
                        {
                            let expected = public(of_generator) + key * scalar(of_key);
                            assert_eq!(sum(of_generator, of_key, &comb), uncompressed(&expected));
                        }
                    }
                }

                #[test]
                fn a_digest_that_is_zero_modulo_the_order_is_signed_like_any() {
                    let secret = BigUint::from(77_u8);
                    let point = public(&secret);
                    let zero = [0; LENGTH];
                    let (r, s) = sign(&secret, &zero);
                    assert!(verifies(&point, &zero, &r, &s));
                    assert!(!verifies(&point, &bytes(&BigUint::from(1_u8), LENGTH), &r, &s));
                    // Of P-521 a digest is never as long as the order.
                    if order().bits() % 8 == 0 {
                        assert!(verifies(&point, &bytes(&order(), LENGTH), &r, &s));
                    }
                }

                #[test]
                fn a_sum_that_doubles_verifies_and_one_that_is_infinity_never() {
                    let n = order();
                    let (secret, nonce) = (BigUint::from(1_234_567_u32), BigUint::from(7_654_321_u32));
                    let point = public(&secret);
                    let r = x_of(&public(&nonce)) % &n;
                    let same = &r * &secret % &n;
                    let s = inverse(&nonce) * (&same + &r * &secret) % &n;
                    assert!(verifies(&point, &digest(&same), &r, &s), "both multiples are one point");
                    for s in [BigUint::from(1_u8), s, &n - 1_u8] {
                        assert!(!verifies(&point, &digest(&(&n - &same)), &r, &s), "they cancel out");
                    }
                }

                /// A digest that is the number modulo the order.
                fn digest(number: &BigUint) -> Vec<u8> {
                    bytes(number, LENGTH)
                }

                #[test]
                fn an_x_beyond_the_order_is_r_less_the_order() {
                    let n = order();
                    let on_curve = |x: &BigUint| {
                        let compressed = [vec![2], bytes(x, LENGTH)].concat();
                        let point = EncodedPoint::from_bytes(compressed).unwrap();
                        Option::<AffinePoint>::from(AffinePoint::from_encoded_point(&point))
                    };
                    let s = BigUint::from(99_u8);
                    let digest = bytes(&BigUint::from(1_000_u32), LENGTH);
                    let mut found = 0;
                    for r in (1_u32..).map(BigUint::from).take(8) {
                        for (x, is_beyond) in [(&r + &n, true), (r.clone(), false)] {
                            let Some(nonce) = on_curve(&x) else { continue };
                            // The key with which the signature leads to that point.
                            let of_generator = scalar(&(1_000_u32 * inverse(&s)));
                            let nonce =
                                ProjectivePoint::from(nonce) - ProjectivePoint::GENERATOR * of_generator;
                            let point = nonce * scalar(&(&s * inverse(&r)));
                            assert!(verifies(&point, &digest, &r, &s), "{r} {is_beyond}");
                            assert!(!verifies(&point, &digest, &(&r + 1_u8), &s));
                            found += u32::from(is_beyond);
                        }
                    }
                    assert!(found > 1, "{found}");
                    // And one too far beyond: r and the order are the field's prime and 1.
                    let Some(nonce) = on_curve(&BigUint::from(1_u8)) else { return };
                    let r = field() + 1_u8 - &n;
                    let of_generator = scalar(&(1_000_u32 * inverse(&s)));
                    let nonce = ProjectivePoint::from(nonce) - ProjectivePoint::GENERATOR * of_generator;
                    let point = nonce * scalar(&(&s * inverse(&r)));
                    assert!(!verifies(&point, &digest, &r, &s));
                }

                #[test]
                fn r_and_s_out_of_range_never_verify() {
                    let secret = BigUint::from(5_u8);
                    let point = public(&secret);
                    let n = order();
                    let all_ones = (BigUint::from(1_u8) << (8 * LENGTH)) - 1_u8;
                    let hash = [7; DIGEST];
                    let (r, s) = sign(&secret, &hash);
                    assert!(verifies(&point, &hash, &r, &s));
                    assert!(verifies(&point, &hash, &r, &(&n - &s)), "the other of two values");
                    for out in [BigUint::default(), n.clone(), &n + 1_u8, field(), all_ones] {
                        for (r, s) in [(&out, &s), (&r, &out), (&out, &out)] {
                            assert!(!verifies(&point, &hash, r, s));
                        }
                    }
                    for edge in [BigUint::from(1_u8), &n - 1_u8] {
                        for (r, s) in [(&edge, &s), (&r, &edge), (&edge, &edge)] {
                            assert!(!verifies(&point, &hash, r, s));
                        }
                    }
                    let signature = [bytes(&r, LENGTH), bytes(&s, LENGTH)].concat();
                    for length in [0, 1, LENGTH, 2 * LENGTH - 1] {
                        assert_eq!(key(&point).is_valid(&hash, &signature[..length]), None);
                    }
                    let longer = [&signature[..], &[0]].concat();
                    assert_eq!(key(&point).is_valid(&hash, &longer), None);
                }

                #[test]
                fn what_is_no_point_of_the_curve_is_no_key() {
                    let good = uncompressed(&ProjectivePoint::GENERATOR);
                    assert!($key::from_uncompressed(&good).is_some());
                    let (x, y) = (good[1..=LENGTH].to_vec(), good[LENGTH + 1..].to_vec());
                    let tagged = |tag: u8, x: &[u8], y: &[u8]| [&[tag], x, y].concat();
                    let p = bytes(&field(), LENGTH);
                    let zero = vec![0; LENGTH];
                    let mut off = y.clone();
                    off[LENGTH - 1] ^= 1;
                    let mut others = vec![
                        vec![],
                        vec![0],
                        vec![4],
                        tagged(2, &x, &[]),
                        tagged(6, &x, &y),
                        tagged(4, &x, &off),
                        tagged(4, &y, &x),
                        tagged(4, &zero, &zero),
                        tagged(4, &p, &zero),
                        tagged(4, &x, &p),
                        tagged(4, &p, &p),
                        tagged(4, &[0xff; LENGTH], &[0xff; LENGTH]),
                        tagged(4, &x, &y[1..]),
                        tagged(4, &x, &[&y[..], &[0]].concat()),
                    ];
                    // The same residues, where they fit.
                    for (x, y) in [
                        (BigUint::from_bytes_be(&x) + field(), BigUint::from_bytes_be(&y)),
                        (BigUint::from_bytes_be(&x), BigUint::from_bytes_be(&y) + field()),
                    ] {
                        if x.bits().max(y.bits()) <= 8 * LENGTH {
                            others.push(tagged(4, &bytes(&x, LENGTH), &bytes(&y, LENGTH)));
                        }
                    }
                    for other in others {
                        assert!($key::from_uncompressed(&other).is_none(), "{other:x?}");
                    }
                }

                proptest! {
                    #![proptest_config(ProptestConfig::with_cases(8))]

                    #[test]
                    fn signatures_hold_and_altered_ones_and_those_of_others_do_not(
                        secret in proptest::array::uniform32(any::<u8>()),
                        digest in proptest::collection::vec(any::<u8>(), DIGEST),
                        bit in 0..16 * LENGTH,
                    ) {
                        let secret = (BigUint::from_bytes_be(&secret) + 1_u8) % order();
                        let point = public(&secret);
                        let (r, s) = sign(&secret, &digest);
                        prop_assert!(verifies(&point, &digest, &r, &s));
                        let signature = [bytes(&r, LENGTH), bytes(&s, LENGTH)].concat();
                        let key = self::key(&point);
                        let mut altered = signature.clone();
                        altered[bit / 8] ^= 1 << (bit % 8);
                        prop_assert_ne!(key.is_valid(&digest, &altered), Some(true));
                        let mut other_digest = digest.clone();
                        other_digest[bit / 8 % digest.len()] ^= 1 << (bit % 8);
                        prop_assert_eq!(key.is_valid(&other_digest, &signature), Some(false));
                        let other = self::key(&(point + ProjectivePoint::GENERATOR));
                        prop_assert_eq!(other.is_valid(&digest, &signature), Some(false));
                        let mirrored = self::key(&-point);
                        prop_assert_eq!(mirrored.is_valid(&digest, &signature), Some(false));
                    }

                    #[test]
                    fn sums_of_multiples_are_those_of_the_crate(
                        of_generator in proptest::collection::vec(any::<u8>(), LENGTH),
                        of_key in proptest::collection::vec(any::<u8>(), LENGTH),
                        secret in 1_u64..,
                    ) {
                        let of_generator = BigUint::from_bytes_be(&of_generator) % order();
                        let of_key = BigUint::from_bytes_be(&of_key) % order();
                        let point = public(&BigUint::from(secret));
                        let expected = public(&of_generator) + point * scalar(&of_key);
                        let comb = Comb::new(&self::key(&point).point);
                        prop_assert_eq!(sum(&of_generator, &of_key, &comb), uncompressed(&expected));
                    }

                    #[test]
                    fn no_bytes_make_a_key_or_a_signature_that_verifies(
                        point in proptest::collection::vec(any::<u8>(), 2 * LENGTH + 1),
                        digest in proptest::collection::vec(any::<u8>(), 0..100),
                        signature in proptest::collection::vec(any::<u8>(), 0..2 * LENGTH + 2),
                    ) {
                        prop_assert!($key::from_uncompressed(&point).is_none());
                        let key = self::key(&ProjectivePoint::GENERATOR);
                        prop_assert_ne!(key.is_valid(&digest, &signature), Some(true));
                    }
                }
            }
        };
    }

    against_the_crate!(on_p256, p256, P256, P256Key, 9);
    against_the_crate!(on_p384, p384, P384, P384Key, 14);
    against_the_crate!(on_p521, p521, P521, P521Key, 19);
    against_the_crate!(on_secp256k1, k256, Secp256k1, Secp256k1Key, 9);
}
