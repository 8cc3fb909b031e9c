//! Octets compared in words.
//!
//! WebAssembly's `memcmp` goes byte by byte: of a token of 700 bytes it makes some 5,000 instructions, these 500; of a
//! header's name 60, these 15.

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
    use super::*;

    #[test]
    fn upper_case_is_found_in_any_place() {
        for length in 0..40 {
            for place in 0..length {
                for octet in 0..=u8::MAX {
                    let mut octets = vec![b'a'; length];
                    octets[place] = octet;
                    assert_eq!(have_upper_case(&octets), octet.is_ascii_uppercase(), "{octets:?}");
                }
            }
        }
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
