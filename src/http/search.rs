//! Searches of what each request holds, eight octets at a time where that saves a request more than 1 %.

/// The part of `text` before the first `separator`, which is ASCII, and what follows that, if there is one.
pub fn first_part(separator: u8, text: &str) -> (&str, Option<&str>) {
    let end = text.bytes().position(|octet| octet == separator).unwrap_or(text.len());
    (text.get(..end).unwrap_or_default(), text.get(end + 1..))
}

/// Whether each of them is visible ASCII, from `!` to `~`. Octet by octet, a token that is not cached takes 7,000 of
/// 84,000 instructions more.
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

/// Whether any of them is an upper case letter of ASCII. To make all names lower case without asking takes 300 of 18,500
/// instructions more.
pub fn have_upper_case(octets: &[u8]) -> bool {
    match octets.last_chunk() {
        Some(last) => words(octets).any(has_upper_case) || has_upper_case(u64::from_ne_bytes(*last)),
        None => octets.iter().any(u8::is_ascii_uppercase),
    }
}

fn words(octets: &[u8]) -> impl Iterator<Item = u64> {
    octets.chunks_exact(8).map(|word| word.first_chunk().map_or(0, |word| u64::from_ne_bytes(*word)))
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
}
