//! Base64url without padding (RFC 7515 section 2, appendix C).

use base64::Engine as _;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, URL_SAFE_NO_PAD};

/// Decodes the one canonical form: the URL-safe alphabet, no padding, no white space, unused bits zero. Two texts
/// never decode to the same bytes, so a token cannot be rewritten without its signature noticing.
///
/// By tables, eight characters a step: the crate `base64` takes twice the WebAssembly for the same (13
/// instructions a character), and a token is all base64url. It is what the tests compare this with.
pub fn decode(text: &(impl AsRef<[u8]> + ?Sized)) -> Option<Vec<u8>> {
    let characters = text.as_ref();
    let octets = characters.chunks_exact(8);
    let last = octets.remainder();
    let mut bytes = vec![0; octets.len() * 6 + last.len() * 3 / 4];
    let (whole, end) = bytes.split_at_mut_checked(octets.len() * 6)?;
    let mut seen = 0;
    for (octet, six) in octets.zip(whole.chunks_exact_mut(6)) {
        let (first, second) = octet.split_first_chunk()?;
        let (four, two) = six.split_first_chunk_mut()?;
        let (first, second) = (bits_of(*first), bits_of(*second.first_chunk()?));
        seen |= first | second;
        *four = (first | second << 24).to_le_bytes();
        two.copy_from_slice(&((second >> 8) as u16).to_le_bytes());
    }
    let (group, rest) = last.split_at_checked(last.len() & 4)?;
    let (triple, tail) = end.split_at_mut_checked(group.len() * 3 / 4)?;
    if let Ok(group) = <[u8; 4]>::try_from(group) {
        let bits = bits_of(group);
        seen |= bits;
        put(triple, bits);
    }
    // Bits behind the last whole byte have to be zero.
    let (bits, unused) = match *rest {
        [] => (0, 0),
        [a, b] => (FIRST.of(a) | SECOND.of(b), 0x00_ff00),
        [a, b, c] => (FIRST.of(a) | SECOND.of(b) | THIRD.of(c), 0xff_0000),
        _ => return None,
    };
    put(tail, bits);
    ((seen | bits) & NO_CHARACTER == 0 && bits & unused == 0).then_some(bytes)
}

/// Up to three bytes, of which the first is the lowest of `bits`.
fn put(bytes: &mut [u8], bits: u32) {
    for (byte, decoded) in bytes.iter_mut().zip(bits.to_le_bytes()) {
        *byte = decoded;
    }
}

/// What four characters stand for. They are taken from one number: that saves a load for each.
fn bits_of(group: [u8; 4]) -> u32 {
    let group = u32::from_le_bytes(group);
    FIRST.of(group as u8)
        | SECOND.of((group >> 8) as u8)
        | THIRD.of((group >> 16) as u8)
        | FOURTH.of((group >> 24) as u8)
}

/// What a character at one of the four places of a group adds to the group's three bytes, of which the first is the
/// lowest byte of the number.
struct Place([u32; 256]);

/// The mark of a byte that is no character of the alphabet.
const NO_CHARACTER: u32 = 1 << 31;

static FIRST: Place = Place::shifted_by(18);
static SECOND: Place = Place::shifted_by(12);
static THIRD: Place = Place::shifted_by(6);
static FOURTH: Place = Place::shifted_by(0);

impl Place {
    #[expect(clippy::indexing_slicing, reason = "evaluated by the compiler, which would say so")]
    const fn shifted_by(shift: u32) -> Self {
        const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let mut table = [NO_CHARACTER; 256];
        let mut value = 0;
        while value < ALPHABET.len() {
            // From the order in which the bits are read to that in which the bytes are written.
            let [_, first, second, third] = ((value as u32) << shift).to_be_bytes();
            table[ALPHABET[value] as usize] = u32::from_le_bytes([first, second, third, 0]);
            value += 1;
        }
        Self(table)
    }

    fn of(&self, character: u8) -> u32 {
        self.0.get(usize::from(character)).copied().unwrap_or(NO_CHARACTER)
    }
}

/// Encodes in the canonical form.
pub fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Decodes whatever some decoder somewhere might: either alphabet, padding or none, unused bits set. Good for
/// guessing what a text was meant to be, never for reading it.
pub(crate) fn decode_leniently(text: &str) -> Option<Vec<u8>> {
    const LENIENT: GeneralPurpose = GeneralPurpose::new(
        &alphabet::URL_SAFE,
        GeneralPurposeConfig::new()
            .with_decode_allow_trailing_bits(true)
            .with_decode_padding_mode(DecodePaddingMode::RequireNone),
    );
    let url_safe = text.trim_end_matches('=').replace('+', "-").replace('/', "_");
    LENIENT.decode(url_safe).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_example_of_rfc_7515_appendix_c_goes_both_ways() {
        assert_eq!(encode(&[3, 236, 255, 224, 193]), "A-z_4ME");
        assert_eq!(decode("A-z_4ME"), Some(vec![3, 236, 255, 224, 193]));
        assert_eq!(decode(""), Some(vec![]));
    }

    #[test]
    fn only_the_canonical_form_is_decoded() {
        for text in ["A+z/4ME", "A-z_4ME=", "A-z_4MF", "A-z_4", "A-z_ 4ME", "A-z_4ME\n", "A-z_4M\u{e9}"] {
            assert_eq!(decode(text), None, "{text:?}");
        }
    }

    #[test]
    fn the_lenient_form_takes_padding_both_alphabets_and_stray_bits() {
        for text in ["A-z_4ME", "A+z/4ME=", "A-z_4MF", "A+z_4ME=="] {
            assert_eq!(decode_leniently(text), Some(vec![3, 236, 255, 224, 193]), "{text:?}");
        }
        assert_eq!(decode_leniently("A.z"), None);
    }

    #[test]
    fn any_byte_at_any_place_is_decoded_as_the_crate_does() {
        for length in 0..=20 {
            for place in 0..length {
                for byte in 0..=0x7f {
                    for filler in [b'A', b'_', b'0'] {
                        let mut text = vec![filler; length];
                        text[place] = byte;
                        let text = std::str::from_utf8(&text).unwrap();
                        assert_eq!(decode(text), URL_SAFE_NO_PAD.decode(text).ok(), "{text:?}");
                    }
                }
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(bytes in any::<Vec<u8>>()) {
            prop_assert_eq!(decode(&encode(&bytes)), Some(bytes));
        }

        #[test]
        fn texts_are_decoded_as_the_crate_does(text in "[A-Za-z0-9_-]{0,40}[+/=. \n\u{e9}A]{0,2}[A-Za-z0-9_-]{0,6}") {
            prop_assert_eq!(decode(&text), URL_SAFE_NO_PAD.decode(&text).ok());
        }

        #[test]
        fn no_other_text_is_decoded_than_the_encoding_of_its_bytes(text in "[A-Za-z0-9_-]{0,9}") {
            if let Some(bytes) = decode(&text) {
                prop_assert_eq!(encode(&bytes), text);
            }
        }
    }
}
