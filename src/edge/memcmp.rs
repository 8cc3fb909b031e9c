//! C's `memcmp`, by which `==`, `match` and maps compare texts. That of wasi-libc goes byte by byte: a token of 700 bytes
//! takes it 6,300 instructions, and this one, which the linker takes in its place, 740. No text takes it longer.

#![allow(unsafe_code, reason = "a function of C, which reads as many bytes as its caller says there are")]

/// Negative, zero or positive: as `a` comes before, is the same as or comes after `b`, by the first byte that differs.
///
/// # Safety
///
/// There are `size` bytes to read at `a` and at `b`.
// Some 900 places call it: inlined, it makes the wasm file 130 kB larger and warm requests slower.
#[inline(never)]
#[cfg_attr(target_arch = "wasm32", unsafe(no_mangle))]
unsafe extern "C" fn memcmp(mut a: *const u8, mut b: *const u8, mut size: usize) -> i32 {
    unsafe {
        while size >= 8 && a.cast::<u64>().read_unaligned() == b.cast::<u64>().read_unaligned() {
            (a, b, size) = (a.add(8), b.add(8), size - 8);
        }
        // Of a word that differs, or of what is less than a word.
        while size > 0 {
            let (of_a, of_b) = (a.read(), b.read());
            if of_a != of_b {
                return i32::from(of_a) - i32::from(of_b);
            }
            (a, b, size) = (a.add(1), b.add(1), size - 1);
        }
    }
    0
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
