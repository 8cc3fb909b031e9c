//! Arithmetic modulo odd numbers, in numbers as WebAssembly multiplies them: 64 bits by 64 bits to 64 bits.
//!
//! A number is a list of digits, the lowest first, each of fewer bits than half a word: products of digits are summed
//! without a look at carries. Products are Montgomery's: that of `a` and `b` is `a * b / R` modulo the modulus, where R
//! is 2 to the power of all bits of all digits; a number times R is said to be in Montgomery's form, which products
//! keep. There are two forms of it: [`Modulus`] of any size, for RSA, and [`Residue`], whose modulus the compiler
//! knows and writes products out for.
//!
//! Everything computed here is public, so nothing is done in constant time.

use std::fmt::Debug;
use std::iter;
use std::marker::PhantomData;

/// An odd modulus of any size.
#[derive(Clone, Debug)]
pub struct Modulus {
    /// With one bit to spare at least, so that its double has no more digits; a multiple of [`ROWS`] of them.
    digits: Box<[u64]>,
    /// How many bits each digit has.
    width: u32,
    bits: usize,
    /// The negated inverse of the modulus modulo 2 to the power of the width.
    negated_inverse: u64,
    /// R² modulo the modulus.
    r_squared: Box<[u64]>,
}

/// How many digits of a factor are multiplied in one pass: then one load and one store of a sum serve four products.
const ROWS: usize = 4;

impl Modulus {
    /// A modulus as big-endian number without leading zeros. None where it is even, shorter than 64 bits, or longer
    /// than some 53,000.
    pub fn new(modulus: &[u8]) -> Option<Self> {
        let leading_zeros = modulus.first().filter(|first| **first != 0)?.leading_zeros() as usize;
        let bits = modulus.len() * 8 - leading_zeros;
        let length = |width: &u32| (bits / *width as usize + 1).next_multiple_of(ROWS);
        // The sum of a place: a product for each digit of a factor and one for each of the multiple of the modulus, each
        // at most (2^width - 1)², and a carry of at most 2^(64 - width). Digits that are 2^(63 - 2 width) or fewer keep
        // that below 2^64: 128 of 28 bits, 512 of 27, 2,048 of 26.
        let width = [28, 27, 26].into_iter().find(|width| length(width) <= 1 << (63 - 2 * width))?;
        let mut digits: Vec<u64> = digits_of(modulus, width).collect();
        digits.resize(length(&width), 0);
        let low = *digits.first().filter(|low| *low % 2 == 1 && bits >= 64)?;
        let mut modulus = Self {
            digits: digits.into(),
            width,
            bits,
            negated_inverse: inverse(low).wrapping_neg() & mask(width),
            r_squared: Box::default(),
        };
        modulus.r_squared = modulus.r_squared()?;
        Some(modulus)
    }

    /// How many bits the modulus has.
    pub fn bits(&self) -> usize {
        self.bits
    }

    /// `base` to the power of `exponent`, modulo the modulus: big-endian and as long as the modulus. `base` is below the
    /// modulus, and `exponent` above 0.
    pub fn power(&self, base: &[u8], exponent: u64) -> Vec<u8> {
        let length = self.digits.len();
        let base: Vec<u64> = digits_of(base, self.width).chain(iter::repeat(0)).take(length).collect();
        let unit: Vec<u64> = iter::once(1).chain(iter::repeat(0)).take(length).collect();
        let mut sums = self.sums();
        let mut in_form = base.clone();
        self.multiply(&mut in_form, &self.r_squared, &mut sums);
        let mut power = in_form.clone();
        let highest = exponent.checked_ilog2().unwrap_or_default();
        for bit in (1..highest).rev() {
            self.square(&mut power, &mut sums);
            if exponent >> bit & 1 == 1 {
                self.multiply(&mut power, &in_form, &mut sums);
            }
        }
        if highest > 0 {
            self.square(&mut power, &mut sums);
        }
        // A factor that is not in Montgomery's form takes the product out of it.
        let last = if highest > 0 && exponent & 1 == 1 { &base } else { &unit };
        self.multiply(&mut power, last, &mut sums);
        self.bytes_of(&power)
    }

    /// R² modulo the modulus.
    fn r_squared(&self) -> Option<Box<[u64]>> {
        let width = self.width as usize;
        let r_bits = self.digits.len() * width;
        // R, from the highest power of two below the modulus on: what is 1 in Montgomery's form.
        let mut power = vec![0; self.digits.len()];
        *power.get_mut((self.bits - 1) / width)? = 1 << ((self.bits - 1) % width);
        (self.bits - 1..r_bits).for_each(|_| self.double(&mut power));
        // R in Montgomery's form: two to the power of its bits.
        let mut sums = self.sums();
        for bit in (0..=r_bits.ilog2()).rev() {
            self.square(&mut power, &mut sums);
            if r_bits >> bit & 1 == 1 {
                self.double(&mut power);
            }
        }
        Some(power.into())
    }

    /// What a product is summed in: its digits, and what the highest of [`ROWS`] rows may touch beyond them.
    fn sums(&self) -> Vec<u64> {
        vec![0; 2 * self.digits.len() + ROWS]
    }

    /// Makes `a` the Montgomery product of itself and `b`.
    fn multiply(&self, a: &mut [u64], b: &[u64], sums: &mut [u64]) {
        sums.fill(0);
        for (block, factors) in b.chunks_exact(ROWS).enumerate() {
            if let (Some(sums), &[f0, f1, f2, f3]) = (sums.get_mut(block * ROWS..), factors) {
                add_rows(sums, a, [f0, f1, f2, f3]);
            }
        }
        self.reduce(a, sums);
    }

    /// Makes `a` the Montgomery product of itself and itself.
    fn square(&self, a: &mut [u64], sums: &mut [u64]) {
        sums.fill(0);
        let mut rest = &*a;
        let mut place = 0;
        while let ([f0, f1, f2, f3, after @ ..], Some([s0, s1, s2, s3, higher @ ..])) =
            (rest, sums.get_mut(place..))
        {
            let doubled = [2 * f0, 2 * f1, 2 * f2, 2 * f3];
            let [d0, d1, d2, _] = doubled;
            add_rows(higher, after, doubled);
            *s0 += f0 * f0;
            *s1 += d0 * f1;
            *s2 += d0 * f2 + f1 * f1;
            *s3 += d0 * f3 + d1 * f2;
            if let [s4, s5, s6, ..] = higher {
                *s4 += d1 * f3 + f2 * f2;
                *s5 += d2 * f3;
                *s6 += f3 * f3;
            }
            (rest, place) = (after, place + 2 * ROWS);
        }
        self.reduce(a, sums);
    }

    /// Divides what was summed by R, modulo the modulus.
    fn reduce(&self, product: &mut [u64], sums: &mut [u64]) {
        let (width, mask) = (self.width, mask(self.width));
        let [n0, n1, n2, n3, ..] = *self.digits else { return };
        // The lower half becomes multiples of R's digits and is left behind.
        for place in (0..self.digits.len()).step_by(ROWS) {
            let Some(sums) = sums.get_mut(place..) else { return };
            let &mut [t0, s1, s2, s3, ..] = sums else { return };
            let m0 = t0.wrapping_mul(self.negated_inverse) & mask;
            let t1 = s1 + m0 * n1 + ((t0 + m0 * n0) >> width);
            let m1 = t1.wrapping_mul(self.negated_inverse) & mask;
            let t2 = s2 + m0 * n2 + m1 * n1 + ((t1 + m1 * n0) >> width);
            let m2 = t2.wrapping_mul(self.negated_inverse) & mask;
            let t3 = s3 + m0 * n3 + m1 * n2 + m2 * n1 + ((t2 + m2 * n0) >> width);
            let m3 = t3.wrapping_mul(self.negated_inverse) & mask;
            add_rows(sums, &self.digits, [m0, m1, m2, m3]);
            if let [_, _, _, _, next, ..] = sums {
                *next += (t3 + m3 * n0) >> width;
            }
        }
        let mut carry = 0;
        for (digit, sum) in product.iter_mut().zip(sums.iter().skip(self.digits.len())) {
            let wide = sum + carry;
            (*digit, carry) = (wide & mask, wide >> width);
        }
        self.reduce_once(product);
    }

    /// Doubles a number below the modulus, modulo the modulus.
    fn double(&self, number: &mut [u64]) {
        let mut carry = 0;
        for digit in number.iter_mut() {
            let doubled = *digit << 1 | carry;
            (*digit, carry) = (doubled & mask(self.width), doubled >> self.width);
        }
        self.reduce_once(number);
    }

    /// Takes the modulus off a number below twice the modulus, where it is not below the modulus.
    fn reduce_once(&self, number: &mut [u64]) {
        if number.iter().rev().lt(self.digits.iter().rev()) {
            return;
        }
        let mut borrow = 0;
        for (digit, modulus) in number.iter_mut().zip(&self.digits) {
            let difference = digit.wrapping_sub(modulus + borrow);
            (*digit, borrow) = (difference & mask(self.width), difference >> 63);
        }
    }

    /// Big-endian, as long as the modulus.
    fn bytes_of(&self, digits: &[u64]) -> Vec<u8> {
        let mut bytes: Vec<u8> = Vec::with_capacity(digits.len() * self.width as usize / 8 + 1);
        let (mut held, mut held_bits) = (0_u64, 0);
        for digit in digits {
            held |= digit << held_bits;
            held_bits += self.width;
            while held_bits >= 8 {
                bytes.push(held as u8);
                held >>= 8;
                held_bits -= 8;
            }
        }
        bytes.push(held as u8);
        bytes.truncate(self.bits.div_ceil(8));
        bytes.reverse();
        bytes
    }
}

/// Adds to `sums` the product of `number`, of a multiple of four digits, and the number that four digits make.
fn add_rows(sums: &mut [u64], number: &[u64], [f0, f1, f2, f3]: [u64; ROWS]) {
    // The three digits before.
    let (mut p1, mut p2, mut p3) = (0, 0, 0);
    let mut add_block = |sums: &mut [u64], digits: &[u64]| {
        if let ([s0, s1, s2, s3], &[d0, d1, d2, d3]) = (sums, digits) {
            *s0 += d0 * f0 + p1 * f1 + p2 * f2 + p3 * f3;
            *s1 += d1 * f0 + d0 * f1 + p1 * f2 + p2 * f3;
            *s2 += d2 * f0 + d1 * f1 + d0 * f2 + p1 * f3;
            *s3 += d3 * f0 + d2 * f1 + d1 * f2 + d0 * f3;
            (p1, p2, p3) = (d3, d2, d1);
        }
    };
    // Two blocks at a time: else the loop itself takes a quarter of what it does.
    let paired = number.len() / (2 * ROWS) * (2 * ROWS);
    let (pairs, last) = number.split_at(paired);
    let Some((sums, rest)) = sums.split_at_mut_checked(paired) else { return };
    for (sums, digits) in sums.chunks_exact_mut(2 * ROWS).zip(pairs.chunks_exact(2 * ROWS)) {
        let ((low_sums, high_sums), (low, high)) = (sums.split_at_mut(ROWS), digits.split_at(ROWS));
        add_block(low_sums, low);
        add_block(high_sums, high);
    }
    let Some((sums, highest)) = rest.split_at_mut_checked(last.len()) else { return };
    add_block(sums, last);
    if let [s0, s1, s2, ..] = highest {
        *s0 += p1 * f1 + p2 * f2 + p3 * f3;
        *s1 += p1 * f2 + p2 * f3;
        *s2 += p1 * f3;
    }
}

/// The inverse of an odd number modulo 2^64.
const fn inverse(odd: u64) -> u64 {
    // Newton's iteration doubles the number of right bits, of which an odd number has three.
    let mut inverse = odd;
    let mut right_bits = 3;
    while right_bits < u64::BITS {
        inverse = inverse.wrapping_mul(2_u64.wrapping_sub(odd.wrapping_mul(inverse)));
        right_bits *= 2;
    }
    inverse
}

/// The highest digit of so many bits.
const fn mask(width: u32) -> u64 {
    (1 << width) - 1
}

/// The digits of a big-endian number, the lowest first.
fn digits_of(bytes: &[u8], width: u32) -> impl Iterator<Item = u64> {
    let mut bytes = bytes.iter().rev();
    let (mut held, mut held_bits) = (0_u64, 0);
    iter::from_fn(move || {
        while held_bits < width {
            let Some(byte) = bytes.next() else { break };
            held |= u64::from(*byte) << held_bits;
            held_bits += 8;
        }
        let digit = (held_bits > 0).then_some(held & mask(width));
        held >>= width;
        held_bits = held_bits.saturating_sub(width);
        digit
    })
}

/// A prime modulus that the compiler knows, of `N` digits.
pub trait Prime<const N: usize>: Copy + Debug {
    /// How many bits each digit has: so few that `2 * N` products of digits leave room in 63 bits, and so many that `N`
    /// digits have five more than the modulus at least.
    const WIDTH: u32;
    /// How many bits the modulus has.
    const BITS: u32;
    /// The modulus in digits nearest to zero, which are few where it is a sum of few powers of two: see
    /// [`digits_of_hex`].
    const DIGITS: [i64; N];
    /// The inverse of the modulus modulo 2 to the power of the width.
    const INVERSE: i64 = (inverse(lowest(&Self::DIGITS) as u64) & mask(Self::WIDTH)) as i64;
    /// R² modulo the modulus.
    const R_SQUARED: [i64; N] = r_squared(&Self::DIGITS, Self::WIDTH);
}

/// A number modulo a prime. It stands for all that differ by multiples of the modulus, and is itself above the negated
/// and below the doubled modulus. A digit is at most an eighth off the range of its width, but for the highest, which
/// has the sign.
#[derive(Clone, Copy, Debug)]
pub struct Residue<P, const N: usize> {
    digits: [i64; N],
    modulus: PhantomData<P>,
}

/// Repeats what is to be done for each place of a product of up to 19 digits, the place a constant: loops that the compiler
/// does not unroll take twice as long.
macro_rules! for_each_place {
    ($place:ident => $act:block) => {
        for_each_place!(@ $place, $act, 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28
            29 30 31 32 33 34 35 36)
    };
    (@ $place:ident, $act:block, $($value:literal)*) => {
        $({
            const $place: usize = $value;
            $act
        })*
    };
}

#[allow(clippy::indexing_slicing, reason = "arrays of one length, and places within it")]
impl<P: Prime<N>, const N: usize> Residue<P, N> {
    /// Zero.
    pub const ZERO: Self = Self::of([0; N]);
    /// R², by which a product brings the other factor into Montgomery's form.
    pub const R_SQUARED: Self = Self::of(P::R_SQUARED);
    const MASK: i64 = mask(P::WIDTH) as i64;
    /// Whether 24 times the modulus is less than an eighth of the range in every digit but the highest.
    const HAS_SMALL_DIGITS: bool = {
        let mut place = 0;
        while place < N - 1 && P::DIGITS[place].abs() < 1 << (P::WIDTH - 8) {
            place += 1;
        }
        place == N - 1
    };

    /// A number of these digits.
    pub const fn of(digits: [i64; N]) -> Self {
        Self { digits, modulus: PhantomData }
    }

    /// A big-endian number. It is below the doubled modulus where it has no more bits than that.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let mut digits = [0; N];
        for (digit, value) in digits.iter_mut().zip(digits_of(bytes, P::WIDTH)) {
            *digit = value as i64;
        }
        Self::of(digits)
    }

    /// A big-endian number, where it is below the modulus.
    pub fn from_bytes_below_modulus(bytes: &[u8]) -> Option<Self> {
        let number = Self::from_bytes(bytes);
        number.plus_moduli(-1).is_negative().then_some(number)
    }

    /// This, which is no sum or product, and a number of these digits, where that is below the modulus.
    pub fn plus_below_modulus(&self, digits: &[i64; N]) -> Option<Self> {
        let sum = Self::of(weighted_sum(&self.digits, 1, digits, 1, P::WIDTH));
        sum.plus_moduli(-1).is_negative().then_some(sum)
    }

    /// The Montgomery product.
    #[inline(never)]
    pub fn multiply(&self, other: &Self) -> Self {
        let (a, b) = (&self.digits, &other.digits);
        Self::divided_by_r(
            #[inline(always)]
            |from, to, place| (from..to).map(|at| a[at] * b[place - at]).sum(),
        )
    }

    /// The Montgomery product by itself.
    #[inline(never)]
    pub fn square(&self) -> Self {
        let a = &self.digits;
        Self::divided_by_r(
            #[inline(always)]
            |from, to, place| {
                let half = (from + to) / 2;
                let twice: i64 = (from..half).map(|at| a[at] * a[place - at]).sum();
                2 * twice + if place % 2 == 0 { a[half] * a[half] } else { 0 }
            },
        )
    }

    /// What `column(from, to, place)` gives as sum of the products of digits whose places add up to `place`, of which
    /// the one is from `from` and below `to`, divided by R.
    #[inline(always)]
    fn divided_by_r(column: impl Fn(usize, usize, usize) -> i64) -> Self {
        let mut multiple = [0; N];
        let mut quotient = [0; N];
        let mut sum = 0_i64;
        for_each_place!(PLACE => {
            if PLACE < N {
                sum += column(0, PLACE + 1, PLACE);
                sum += (0..PLACE).map(|at| multiple[at] * P::DIGITS[PLACE - at]).sum::<i64>();
                multiple[PLACE] = sum.wrapping_mul(P::INVERSE).wrapping_neg() & Self::MASK;
                sum = (sum + multiple[PLACE] * P::DIGITS[0]) >> P::WIDTH;
            } else if PLACE < 2 * N - 1 {
                sum += column(PLACE + 1 - N, N, PLACE);
                sum += (PLACE + 1 - N..N).map(|at| multiple[at] * P::DIGITS[PLACE - at]).sum::<i64>();
                quotient[PLACE - N] = sum & Self::MASK;
                sum >>= P::WIDTH;
            }
        });
        quotient[N - 1] = sum;
        Self::of(quotient)
    }

    /// The sum of multiples of numbers, of no more than 24 altogether.
    pub fn sum<const TERMS: usize>(terms: [(i64, &Self); TERMS]) -> Self {
        let mut digits = [0; N];
        for (factor, number) in terms {
            for (digit, other) in digits.iter_mut().zip(&number.digits) {
                *digit += factor * other;
            }
        }
        let mut sum = Self::of(digits).carried();
        let moduli = sum.digits[N - 1] >> (P::BITS - P::WIDTH * (N as u32 - 1));
        for (digit, modulus) in sum.digits.iter_mut().zip(P::DIGITS) {
            *digit -= moduli * modulus;
        }
        // Digits are near their range still where those of the modulus are small.
        if Self::HAS_SMALL_DIGITS { sum } else { sum.carried() }
    }

    /// Whether it is zero modulo the modulus.
    pub fn is_zero(&self) -> bool {
        let lowest = self.digits[0] & Self::MASK;
        (lowest == 0 || lowest == P::DIGITS[0] & Self::MASK)
            && (-1..=0).any(|times| self.plus_moduli(times).digits == [0; N])
    }

    /// The same number with all digits but the highest in the range of their width.
    fn carried(&self) -> Self {
        self.plus_moduli(0)
    }

    /// This and so many times the modulus, with all digits but the highest in the range of their width.
    fn plus_moduli(&self, times: i64) -> Self {
        Self::of(weighted_sum(&self.digits, 1, &P::DIGITS, times, P::WIDTH))
    }

    fn is_negative(&self) -> bool {
        self.digits[N - 1] < 0
    }

    /// An odd number of the same residue class, not negative and below four times the modulus, bit by bit from the
    /// lowest on.
    pub fn odd_bits(&self) -> impl Iterator<Item = bool> {
        let odd = (0..3)
            .map(|times| self.plus_moduli(times))
            .find(|number| !number.is_negative() && number.digits[0] & 1 == 1)
            .unwrap_or(*self);
        odd.digits.into_iter().flat_map(|digit| (0..P::WIDTH).map(move |bit| digit >> bit & 1 == 1))
    }

    /// The inverse of the number itself, not of what it is in Montgomery's form. What comes of zero is not
    /// said.
    ///
    /// By division steps (Bernstein and Yang, "Fast constant-time gcd computation and modular inversion", 2019), which
    /// keep `f = number * d` and `g = number * e` modulo the modulus.
    pub fn inverse(&self) -> Self {
        let (mut f, mut g) = (Self::of(P::DIGITS).carried().digits, self.carried().digits);
        let (mut d, mut e) = ([0; N], [0; N]);
        e[0] = 1;
        let mut delta = 1;
        while g.iter().any(|digit| *digit != 0) {
            let steps =
                division_steps(&mut delta, f[0] | f[1] << P::WIDTH, g[0] | g[1] << P::WIDTH, P::WIDTH);
            let [[u, v], [q, r]] = steps;
            (f, g) = (Self::combined(u, &f, v, &g), Self::combined(q, &f, r, &g));
            (d, e) = (Self::combined(u, &d, v, &e), Self::combined(q, &d, r, &e));
        }
        let sign = if f[N - 1] < 0 { -1 } else { 1 };
        Self::sum([(sign, &Self::of(d))])
    }

    /// `(u * a + v * b) / 2^width`, modulo the modulus where it is not whole.
    fn combined(u: i64, a: &[i64; N], v: i64, b: &[i64; N]) -> [i64; N] {
        let lowest = u * a[0] + v * b[0];
        let multiple = lowest.wrapping_mul(P::INVERSE).wrapping_neg() & Self::MASK;
        let mut carry = (lowest + multiple * P::DIGITS[0]) >> P::WIDTH;
        let mut result = [0; N];
        for place in 1..N {
            let wide = u * a[place] + v * b[place] + multiple * P::DIGITS[place] + carry;
            (result[place - 1], carry) = (wide & Self::MASK, wide >> P::WIDTH);
        }
        result[N - 1] = carry;
        result
    }
}

/// So many division steps on the lowest bits of an odd `f` and of `g`: the matrix by which the steps take both to
/// multiples of two to the power of that many.
fn division_steps(delta: &mut i64, mut f: i64, mut g: i64, mut steps: u32) -> [[i64; 2]; 2] {
    let [mut f_row, mut g_row] = [[1, 0], [0, 1]];
    loop {
        // As many halvings of `g` as come one after another.
        let halvings = g.trailing_zeros().min(steps);
        g >>= halvings;
        f_row = f_row.map(|factor| factor << halvings);
        *delta += i64::from(halvings);
        steps -= halvings;
        if steps == 0 {
            return [f_row, g_row];
        }
        if *delta > 0 {
            *delta = -*delta;
            (f, g) = (g, -f);
            (f_row, g_row) = (g_row, f_row.map(|factor: i64| -factor));
        }
        g += f;
        g_row = [g_row[0] + f_row[0], g_row[1] + f_row[1]];
    }
}

/// A number in digits nearest to zero, from its hexadecimal digits.
#[allow(clippy::indexing_slicing, reason = "for constants: the compiler would find a place beyond the end")]
pub const fn digits_of_hex<const N: usize>(hex: &str, width: u32) -> [i64; N] {
    let hex = hex.as_bytes();
    let mut digits = [0; N];
    let (mut held, mut held_bits) = (0, 0);
    let (mut at, mut place) = (hex.len(), 0);
    while place < N {
        while held_bits < width && at > 0 {
            at -= 1;
            let value = match hex[at] {
                decimal @ b'0'..=b'9' => decimal - b'0',
                letter => letter - b'a' + 10,
            };
            held += (value as i64) << held_bits;
            held_bits += 4;
        }
        let digit = held & mask(width) as i64;
        let carry = digit >> (width - 1) & (place + 1 < N) as i64;
        digits[place] = digit - (carry << width);
        held = (held >> width) + carry;
        held_bits = held_bits.saturating_sub(width);
        place += 1;
    }
    digits
}

/// R² modulo a modulus of these digits: 1, doubled for each bit of R and again.
#[allow(clippy::indexing_slicing, reason = "for constants: the compiler would find a place beyond the end")]
const fn r_squared<const N: usize>(modulus: &[i64; N], width: u32) -> [i64; N] {
    let mut power = [0; N];
    power[0] = 1;
    let mut doublings = 0;
    while doublings < 2 * N as u32 * width {
        let doubled = weighted_sum(&power, 2, modulus, 0, width);
        let reduced = weighted_sum(&power, 2, modulus, -1, width);
        power = if reduced[N - 1] < 0 { doubled } else { reduced };
        doublings += 1;
    }
    power
}

/// `p * a + q * b`, with all digits but the highest in the range of the width.
#[allow(clippy::indexing_slicing, reason = "arrays of one length")]
const fn weighted_sum<const N: usize>(a: &[i64; N], p: i64, b: &[i64; N], q: i64, width: u32) -> [i64; N] {
    let mut sum = [0; N];
    let (mut carry, mut place) = (0, 0);
    while place < N {
        let wide = p * a[place] + q * b[place] + carry;
        (sum[place], carry) = (wide & mask(width) as i64, wide >> width);
        place += 1;
    }
    sum[N - 1] += carry << width;
    sum
}

const fn lowest<const N: usize>(digits: &[i64; N]) -> i64 {
    let [lowest, ..] = digits.as_slice() else { return 0 };
    *lowest
}

#[cfg(test)]
impl<P: Prime<N>, const N: usize> Residue<P, N> {
    /// The modulus.
    pub fn modulus() -> rsa::BigUint {
        let negated = Self::of(P::DIGITS.map(|digit| -digit));
        Self::of(P::DIGITS).positive_digits() - negated.positive_digits()
    }

    /// The number modulo the modulus, below it.
    pub fn value(&self) -> rsa::BigUint {
        let negative = Self::of(self.digits.map(|digit| -digit)).positive_digits() % Self::modulus();
        (self.positive_digits() + Self::modulus() - negative) % Self::modulus()
    }

    fn positive_digits(&self) -> rsa::BigUint {
        let digits = self.digits.iter().rev().map(|digit| (*digit).max(0) as u64);
        digits.fold(rsa::BigUint::default(), |sum, digit| (sum << P::WIDTH as usize) + digit)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rsa::BigUint;

    use super::*;
    use crate::jose::ecdsa_verify::*;

    /// Bytes of a number, of the edges of the modulus as often as of any other.
    fn numbers(modulus: BigUint) -> impl Strategy<Value = BigUint> {
        let ones = (BigUint::from(1_u8) << modulus.bits()) - 1_u8;
        let edges = [
            BigUint::default(),
            1_u8.into(),
            2_u8.into(),
            &modulus - 1_u8,
            &modulus - 2_u8,
            modulus.clone(),
            &modulus + 1_u8,
            &ones >> 1,
            (&ones >> 1) + 1_u8,
            ones.clone(),
        ];
        let any = proptest::collection::vec(any::<u8>(), modulus.bits().div_ceil(8))
            .prop_map(move |bytes| BigUint::from_bytes_be(&bytes) & &ones);
        prop_oneof![proptest::sample::select(edges.to_vec()), any]
    }

    macro_rules! laws {
        ($name:ident, $prime:ident, $digits:literal, $hex:literal) => {
            mod $name {
                use super::*;

                type Number = Residue<$prime, $digits>;

                fn modulus() -> BigUint {
                    Number::modulus()
                }

                fn number(value: &BigUint) -> Number {
                    Number::from_bytes(&value.to_bytes_be())
                }

                /// What a product is to be times.
                fn r() -> BigUint {
                    (BigUint::from(1_u8) << ($digits * $prime::WIDTH as usize)) % modulus()
                }

                #[test]
                fn the_constants_are_those_of_the_modulus() {
                    assert_eq!(format!("{:x}", modulus()), $hex);
                    assert_eq!(modulus().bits(), $prime::BITS as usize);
                    assert_eq!(Number::R_SQUARED.value(), r() * r() % modulus());
                    assert!($digits * $prime::WIDTH >= $prime::BITS + 5);
                    let lowest = $prime::INVERSE.wrapping_mul($prime::DIGITS[0]);
                    assert_eq!(lowest & Number::MASK, 1);
                }

                #[test]
                fn the_largest_digits_leave_room_in_a_sum() {
                    let loose = (1 << $prime::WIDTH) + (1 << ($prime::WIDTH - 3)) - 1;
                    let highest = 1 << ($prime::BITS - ($digits - 1) * $prime::WIDTH);
                    for (digit, last) in
                        [(loose, highest), (-loose, highest), (loose, -highest), (-loose, -highest)]
                    {
                        let mut digits = [digit; $digits];
                        digits[$digits - 1] = last;
                        let number = Number::of(digits);
                        let square = number.value() * number.value() % modulus();
                        assert_eq!(number.multiply(&number).value() * r() % modulus(), square);
                        assert_eq!(number.square().value() * r() % modulus(), square);
                        assert_eq!(Number::sum([(12, &number), (-12, &number)]).value(), BigUint::default());
                        let times = number.value() * 24_u8 % modulus();
                        assert_eq!(Number::sum([(12, &number), (12, &number)]).value(), times);
                    }
                }

                #[test]
                fn zero_is_whatever_is_a_multiple_of_the_modulus() {
                    let unit = number(&1_u8.into());
                    for (value, is_zero) in
                        [(BigUint::default(), true), (modulus(), true), (modulus() - 1_u8, false)]
                    {
                        let number = number(&value);
                        assert_eq!(number.is_zero(), is_zero);
                        assert_eq!(number.multiply(&Number::R_SQUARED).is_zero(), is_zero);
                        assert_eq!(Number::sum([(1, &number), (0, &unit)]).is_zero(), is_zero);
                        let apart = Number::sum([(1, &unit), (-1, &number), (-1, &unit)]);
                        assert_eq!(apart.is_zero(), is_zero);
                    }
                }

                proptest! {
                    #![proptest_config(ProptestConfig::with_cases(64))]

                    #[test]
                    fn the_laws_of_a_field_hold(
                        a in numbers(modulus()),
                        b in numbers(modulus()),
                        first in -8_i64..=8,
                        second in -8_i64..=8,
                        third in -8_i64..=8,
                    ) {
                        let p = modulus();
                        let (x, y) = (number(&a), number(&b));
                        prop_assert_eq!(x.value(), &a % &p);
                        prop_assert_eq!(x.multiply(&y).value() * r() % &p, &a * &b % &p);
                        prop_assert_eq!(x.square().value() * r() % &p, &a * &a % &p);
                        let is_below = Number::from_bytes_below_modulus(&a.to_bytes_be()).is_some();
                        prop_assert_eq!(is_below, a < p);
                        prop_assert_eq!(x.is_zero(), &a % &p == BigUint::default());

                        let times = |factor: i64, value: &BigUint| match factor {
                            0.. => value * factor as u64 % &p,
                            _ => (&p - value * factor.unsigned_abs() % &p) % &p,
                        };
                        let product = x.multiply(&y);
                        let sum = Number::sum([(first, &x), (second, &y), (third, &product)]);
                        let expected =
                            (times(first, &a) + times(second, &b) + times(third, &product.value())) % &p;
                        prop_assert_eq!(sum.value(), expected.clone());
                        prop_assert_eq!(sum.is_zero(), expected == BigUint::default());
                        // Sums are factors, too.
                        let square = &expected * &expected % &p;
                        prop_assert_eq!(sum.square().value() * r() % &p, square.clone());
                        prop_assert_eq!(sum.multiply(&sum).value() * r() % &p, square);

                        for number in [x, sum] {
                            let inverse = number.inverse().value() * number.value() % &p;
                            prop_assert_eq!(inverse == BigUint::from(1_u8), !number.is_zero());
                        }
                    }

                    #[test]
                    fn odd_bits_are_those_of_the_same_number(a in numbers(modulus())) {
                        for number in [number(&a), number(&a).multiply(&Number::R_SQUARED)] {
                            let bits: Vec<bool> = number.odd_bits().collect();
                            let value = bits
                                .iter()
                                .rev()
                                .fold(BigUint::default(), |value, bit| (value << 1) + u8::from(*bit));
                            prop_assert!(bits[0]);
                            prop_assert!(value < modulus() << 2);
                            prop_assert_eq!(value % modulus(), number.value());
                        }
                    }
                }
            }
        };
    }

    laws!(p256_field, P256Field, 9, "ffffffff00000001000000000000000000000000ffffffffffffffffffffffff");
    laws!(p256_order, P256Order, 9, "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551");
    laws!(
        p384_field,
        P384Field,
        14,
        "fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffeffffffff0000000000000000ffffffff"
    );
    laws!(
        p384_order,
        P384Order,
        14,
        "ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973"
    );
    laws!(
        p521_field,
        P521Field,
        19,
        "1ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff\
         ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
    );
    laws!(
        p521_order,
        P521Order,
        19,
        "1fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffa\
         51868783bf2f966b7fcc0148f709a5d03bb5c9b8899c47aebb6fb71e91386409"
    );
    laws!(
        secp256k1_field,
        Secp256k1Field,
        9,
        "fffffffffffffffffffffffffffffffffffffffffffffffffffffffefffffc2f"
    );
    laws!(
        secp256k1_order,
        Secp256k1Order,
        9,
        "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141"
    );
}
