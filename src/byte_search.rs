//! Where a byte stands in a short text.

/// The place of the first `byte` in `text`, looked for eight bytes at a time: the standard library's search, made for
/// longer texts, takes half as much WebAssembly again.
pub fn position(byte: u8, text: &[u8]) -> Option<usize> {
    const ONES: u64 = u64::from_ne_bytes([0x01; 8]);
    let sought = ONES * u64::from(byte);
    let words = text.chunks_exact(8);
    let rest = words.remainder();
    let mut at = 0;
    for word in words {
        let word = word.try_into().map_or(0, u64::from_le_bytes) ^ sought;
        // The lowest byte that is zero now, and perhaps some above it, borrow.
        let borrows = word.wrapping_sub(ONES) & !word & (ONES << 7);
        if borrows != 0 {
            return Some(at + borrows.trailing_zeros() as usize / 8);
        }
        at += 8;
    }
    rest.iter().position(|other| *other == byte).map(|place| at + place)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_first_place_of_a_byte_is_found(
            text in proptest::collection::vec(prop_oneof![2 => Just(b'-'), 1 => 0x2c_u8..0x31, 1 => any::<u8>()], 0..70),
            byte in prop_oneof![Just(b'.'), any::<u8>()],
        ) {
            prop_assert_eq!(position(byte, &text), text.iter().position(|other| *other == byte));
        }
    }
}
