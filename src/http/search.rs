//! Octets looked at eight at a time.
//!
//! WebAssembly's `memcmp` goes byte by byte: of a token of 700 bytes it makes some 5,000 instructions, [`are_equal`] 500;
//! of a header's name 60, and this 15. The standard library's searches are made for longer texts than a request holds.

/// Whether `a` and `b` are the same octets.
#[inline]
pub fn are_equal(a: &[u8], b: &[u8]) -> bool {
    // Nearly always the lengths tell.
    a.len() == b.len() && have_equal_words(a, b)
}

/// For octets of the same length.
fn have_equal_words(a: &[u8], b: &[u8]) -> bool {
    if let (Some(a_last), Some(b_last)) = (a.last_chunk(), b.last_chunk()) {
        // Without a way out in between, since nearly always they are the same. Blocks of four words, else the loop takes
        // as long as what it does; the last word may overlap others.
        let (a_blocks, b_blocks) = (a.chunks_exact(32), b.chunks_exact(32));
        let rest = difference(a_blocks.remainder(), b_blocks.remainder());
        let blocks = a_blocks.zip(b_blocks).fold(0, |found, (a, b)| found | difference(a, b));
        return blocks | rest | (u64::from_ne_bytes(*a_last) ^ u64::from_ne_bytes(*b_last)) == 0;
    }
    if let (Some(a_first), Some(b_first), Some(a_last), Some(b_last)) =
        (a.first_chunk(), b.first_chunk(), a.last_chunk(), b.last_chunk())
    {
        return u32::from_ne_bytes(*a_first) == u32::from_ne_bytes(*b_first)
            && u32::from_ne_bytes(*a_last) == u32::from_ne_bytes(*b_last);
    }
    a.iter().zip(b).all(|(a, b)| a == b)
}

/// What differs between the whole words of both; 0 where nothing does. Inlined, for a length that is known to be unrolled.
#[inline(always)]
fn difference(a: &[u8], b: &[u8]) -> u64 {
    words(a).zip(words(b)).fold(0, |found, (a, b)| found | (a ^ b))
}

#[inline(always)]
fn words(octets: &[u8]) -> impl Iterator<Item = u64> {
    octets.chunks_exact(8).map(|word| word.first_chunk().map_or(0, |word| u64::from_ne_bytes(*word)))
}

/// The place of the first `octet` in `octets`.
pub fn position(octet: u8, octets: &[u8]) -> Option<usize> {
    const ONES: u64 = u64::from_ne_bytes([0x01; 8]);
    let sought = ONES * u64::from(octet);
    let mut at = 0;
    for word in words(octets) {
        let word = u64::from_le(word) ^ sought;
        // The lowest octet that is zero now, and perhaps some above it, borrow.
        let borrows = word.wrapping_sub(ONES) & !word & (ONES << 7);
        if borrows != 0 {
            return Some(at + borrows.trailing_zeros() as usize / 8);
        }
        at += 8;
    }
    let rest = octets.chunks_exact(8).remainder();
    rest.iter().position(|other| *other == octet).map(|place| at + place)
}

/// The part of `text` before the first `separator`, which is ASCII, and what follows that, if there is one.
pub fn first_part(separator: u8, text: &str) -> (&str, Option<&str>) {
    let end = position(separator, text.as_bytes()).unwrap_or(text.len());
    (text.get(..end).unwrap_or_default(), text.get(end + 1..))
}

/// Whether each of them is visible ASCII, from `!` to `~`.
pub fn are_visible(octets: &[u8]) -> bool {
    const HIGH_BITS: u64 = u64::from_ne_bytes([0x80; 8]);
    const UP_FROM_EXCLAMATION_MARK: u64 = u64::from_ne_bytes([0x80 - b'!'; 8]);
    const UP_FROM_DELETE: u64 = u64::from_ne_bytes([0x01; 8]);
    // No sum carries into the next octet, but of one that is not ASCII, which settles the matter. To the end without a
    // way out: nearly always they are all visible.
    let (mut high_in_all, mut high_in_some) = (HIGH_BITS, 0);
    for word in words(octets) {
        high_in_all &= word.wrapping_add(UP_FROM_EXCLAMATION_MARK);
        high_in_some |= word | word.wrapping_add(UP_FROM_DELETE);
    }
    let rest = octets.chunks_exact(8).remainder();
    high_in_all == HIGH_BITS && high_in_some & HIGH_BITS == 0 && rest.iter().all(u8::is_ascii_graphic)
}

/// Whether any of them is an upper case letter of ASCII.
pub fn have_upper_case(octets: &[u8]) -> bool {
    match octets.last_chunk() {
        Some(last) => words(octets).any(has_upper_case) || has_upper_case(u64::from_ne_bytes(*last)),
        None => octets.iter().any(u8::is_ascii_uppercase),
    }
}

/// Whether any octet of `word` is from `A` to `Z`. No sum carries into the next octet.
fn has_upper_case(word: u64) -> bool {
    const HIGH_BITS: u64 = u64::from_ne_bytes([0x80; 8]);
    const UP_FROM_A: u64 = u64::from_ne_bytes([0x80 - b'A'; 8]);
    const UP_FROM_BEYOND_Z: u64 = u64::from_ne_bytes([0x7f - b'Z'; 8]);
    let low_bits = word & !HIGH_BITS;
    let is_letter = (low_bits + UP_FROM_A) & !(low_bits + UP_FROM_BEYOND_Z);
    is_letter & !word & HIGH_BITS != 0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_first_place_of_an_octet_is_found(
            text in proptest::collection::vec(prop_oneof![2 => Just(b'-'), 1 => 0x2c_u8..0x31, 1 => any::<u8>()], 0..70),
            octet in prop_oneof![Just(b'.'), any::<u8>()],
        ) {
            prop_assert_eq!(position(octet, &text), text.iter().position(|other| *other == octet));
        }
    }

    /// Checks octets that are all the same but for one, which is any in any place.
    fn with_any_octet_in_any_place(check: impl Fn(&[u8], u8)) {
        for length in 0..40 {
            for place in 0..length {
                for octet in 0..=u8::MAX {
                    let mut octets = vec![b'a'; length];
                    octets[place] = octet;
                    check(&octets, octet);
                }
            }
        }
    }

    #[test]
    fn what_is_not_visible_is_found_in_any_place() {
        with_any_octet_in_any_place(|octets, octet| {
            assert_eq!(are_visible(octets), octet.is_ascii_graphic(), "{octets:?}");
        });
    }

    #[test]
    fn upper_case_is_found_in_any_place() {
        with_any_octet_in_any_place(|octets, octet| {
            assert_eq!(have_upper_case(octets), octet.is_ascii_uppercase(), "{octets:?}");
        });
    }

    #[test]
    fn octets_that_differ_in_any_one_place_are_different() {
        for length in 0..140 {
            let octets: Vec<u8> = (0..length).collect();
            assert!(are_equal(&octets, &octets.clone()));
            assert!(!are_equal(&octets, &[&octets[..], b"x"].concat()));
            for place in 0..octets.len() {
                let mut other = octets.clone();
                other[place] ^= 0x80;
                assert!(!are_equal(&octets, &other), "{length} {place}");
            }
        }
    }
}
