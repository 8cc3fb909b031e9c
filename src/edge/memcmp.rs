//! C's `memcmp`, by which `==`, `match` and maps compare texts. That of wasi-libc goes byte by byte: a token of 700 bytes
//! takes it 5,000 instructions, and this one, which the linker takes in its place, 500.

#![allow(unsafe_code, reason = "a function of C, which reads as many bytes as its caller says there are")]

/// Negative, zero or positive: as `a` comes before, is the same as or comes after `b`, by the first byte that differs.
///
/// # Safety
///
/// There are `size` bytes to read at `a` and at `b`.
#[cfg_attr(target_arch = "wasm32", unsafe(no_mangle))]
unsafe extern "C" fn memcmp(a: *const u8, b: *const u8, size: usize) -> i32 {
    let byte = |text: *const u8, at| u64::from(unsafe { text.add(at).read() });
    let half =
        |text: *const u8, at| u64::from(u32::from_le(unsafe { text.add(at).cast::<u32>().read_unaligned() }));
    let word = |text: *const u8, at| u64::from_le(unsafe { text.add(at).cast::<u64>().read_unaligned() });
    match size {
        0 => 0,
        // Names that differ do so in their first byte, nearly always.
        _ if byte(a, 0) != byte(b, 0) => difference(byte(a, 0), byte(b, 0)),
        1..4 => {
            let all = |text| byte(text, 0) | byte(text, size / 2) << 8 | byte(text, size - 1) << 16;
            difference(all(a), all(b))
        }
        4..8 => {
            let all = |text| half(text, 0) | half(text, size - 4) << 32;
            difference(all(a), all(b))
        }
        _ => {
            let last = size - 8;
            let mut at = 0;
            // Four words at a time: one branch for them, which nearly always goes on.
            while size - at >= 32
                && (at..at + 32).step_by(8).fold(0, |found, at| found | (word(a, at) ^ word(b, at))) == 0
            {
                at += 32;
            }
            while at < last {
                if word(a, at) != word(b, at) {
                    return difference(word(a, at), word(b, at));
                }
                at += 8;
            }
            // Some of these bytes were compared before, and are the same.
            difference(word(a, last), word(b, last))
        }
    }
}

/// How the first bytes differ that do, where the first of a word are its lowest.
fn difference(a: u64, b: u64) -> i32 {
    if a == b {
        return 0;
    }
    let first = (a ^ b).trailing_zeros() & !7;
    ((a >> first) & 0xff) as i32 - ((b >> first) & 0xff) as i32
}

#[cfg(test)]
mod tests {
    use std::cmp::Ordering;

    use proptest::prelude::*;

    use super::memcmp;

    fn compared(a: &[u8], b: &[u8]) -> Ordering {
        assert_eq!(a.len(), b.len());
        unsafe { memcmp(a.as_ptr(), b.as_ptr(), a.len()) }.cmp(&0)
    }

    #[test]
    fn bytes_that_differ_in_any_one_place_are_ordered_by_it() {
        for size in 0..100 {
            let bytes = vec![0x80; size];
            assert_eq!(compared(&bytes, &bytes.clone()), Ordering::Equal);
            for place in 0..size {
                for other in [0, 0x7f, 0x81, 0xff] {
                    let mut others = bytes.clone();
                    others[place] = other;
                    assert_eq!(compared(&bytes, &others), 0x80.cmp(&other), "{size} {place} {other}");
                }
            }
        }
    }

    proptest! {
        #[test]
        fn bytes_are_ordered_as_their_first_difference_is(
            pairs in proptest::collection::vec(prop_oneof![3 => any::<u8>().prop_map(|byte| (byte, byte)), 1 => any::<(u8, u8)>()], 0..200),
            from in 0_usize..8,
        ) {
            let (a, b): (Vec<u8>, Vec<u8>) = pairs.into_iter().unzip();
            let from = from.min(a.len());
            prop_assert_eq!(compared(&a[from..], &b[from..]), a[from..].iter().cmp(&b[from..]));
        }
    }
}
