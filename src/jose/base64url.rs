//! Base64url without padding (RFC 7515 section 2, appendix C).

use base64::Engine as _;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, URL_SAFE_NO_PAD};

/// Decodes the one canonical form: the URL-safe alphabet, no padding, no white space, unused bits zero. Two texts
/// never decode to the same bytes, so a token cannot be rewritten without its signature noticing.
pub fn decode(text: &(impl AsRef<[u8]> + ?Sized)) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
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

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(bytes in any::<Vec<u8>>()) {
            prop_assert_eq!(decode(&encode(&bytes)), Some(bytes));
        }

        #[test]
        fn no_other_text_is_decoded_than_the_encoding_of_its_bytes(text in "[A-Za-z0-9_-]{0,9}") {
            if let Some(bytes) = decode(&text) {
                prop_assert_eq!(encode(&bytes), text);
            }
        }
    }
}
