//! The compact form of a configuration: `{"version": 1, "compact": "<base64 of gzip of the JSON>"}`, for places that hold
//! little, such as a Kubernetes resource.
//!
//! It is unpacked within a bound and read as if it had stood there. Whatever is wrong with it refuses the whole.

use std::io::Read;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::bufread::GzDecoder;

use super::document::{Node, Value, parse_json};
use super::error::{ConfigError, ConfigErrors};
use super::kind::ErrorKind;
use super::reader::{Cursor, Report};

/// How long an unpacked configuration may be, in bytes.
pub const MAX_UNPACKED: usize = 64 << 20;

/// The key that makes a configuration a compact one.
pub const KEY: &str = "compact";

const KEYS: &[&str] = &["version", KEY];

/// Whether a document is a configuration in the compact form.
pub fn is_compact(document: &Node<'_>) -> bool {
    matches!(&document.value, Value::Map(members) if members.iter().any(|member| member.key == KEY))
}

/// The JSON that a configuration in the compact form holds; None for a document in another form.
///
/// # Errors
///
/// What is wrong with it.
pub fn unpack(document: &Node<'_>) -> Result<Option<Vec<u8>>, ConfigErrors> {
    if !is_compact(document) {
        return Ok(None);
    }
    let report = Report::default();
    let unpacked = read(&Cursor::root(document, &report));
    report.finish()?;
    Ok(unpacked)
}

/// Reads what was unpacked.
///
/// # Errors
///
/// It is no JSON, or compact once more.
pub fn parse_unpacked(json: &[u8]) -> Result<Node<'_>, ConfigErrors> {
    let within = |message: String| ConfigError {
        kind: ErrorKind::CompactForm,
        path: KEY.to_owned(),
        mark: None,
        message,
    };
    let document =
        parse_json(json).map_err(|error| within(format!("what is unpacked is {}", error.message)))?;
    if is_compact(&document) {
        return Err(within("what is unpacked is in the compact form again".to_owned()).into());
    }
    Ok(document)
}

fn read(root: &Cursor<'_>) -> Option<Vec<u8>> {
    let fields = root.map(KEYS)?;
    if let Some(version) = fields.required("version") {
        version.integer(1..=1);
    }
    let cursor = fields.required(KEY)?;
    let text = cursor.text()?;
    let packed = match STANDARD.decode(text.as_bytes()) {
        Ok(packed) => packed,
        Err(error) => {
            cursor.error(ErrorKind::CompactForm, format_args!("not base64 (RFC 4648 section 4): {error}"));
            return None;
        }
    };
    gunzip(&packed).map_err(|message| cursor.error(ErrorKind::CompactForm, message)).ok()
}

/// One gzip member (RFC 1952) and nothing behind it.
fn gunzip(packed: &[u8]) -> Result<Vec<u8>, String> {
    let mut decoder = GzDecoder::new(packed);
    let mut unpacked = Vec::new();
    let most = MAX_UNPACKED as u64 + 1;
    decoder
        .by_ref()
        .take(most)
        .read_to_end(&mut unpacked)
        .map_err(|error| format!("not gzip (RFC 1952): {error}"))?;
    if unpacked.len() > MAX_UNPACKED {
        return Err(format!("unpacks to more than {} MiB", MAX_UNPACKED >> 20));
    }
    if !decoder.into_inner().is_empty() {
        return Err("something follows the gzip data".to_owned());
    }
    Ok(unpacked)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::super::{parse_json as parse_configuration, parse_plugin, yaml_to_json};
    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn compact(packed: &[u8]) -> Vec<u8> {
        format!(r#"{{"version": 1, "compact": "{}"}}"#, STANDARD.encode(packed)).into_bytes()
    }

    fn refused(bytes: &[u8]) -> String {
        parse_plugin(bytes).unwrap_err().to_string()
    }

    fn full() -> Vec<u8> {
        yaml_to_json(include_str!("../../tests/fixtures/config/full.yaml")).unwrap().to_string().into_bytes()
    }

    #[test]
    fn it_is_the_configuration_that_it_holds_digest_and_all() {
        let plain = parse_configuration(&full()).unwrap();
        let packed = parse_plugin(&compact(&gzip(&full()))).unwrap();
        assert_eq!(packed.policy.digest, plain.policy.digest);
        assert_eq!(packed.policy.tenants.len(), plain.policy.tenants.len());
        assert_eq!(packed.text_bytes, full().len());
    }

    #[test]
    fn whatever_is_wrong_with_it_refuses_it_and_names_the_key() {
        let good = gzip(&full());
        let mut spoilt = good.clone();
        let at = spoilt.len() / 2;
        spoilt[at] ^= 0x55;
        let mut wrong_sum = good.clone();
        let at = wrong_sum.len() - 6;
        wrong_sum[at] ^= 1;
        for (packed, message) in [
            (&b""[..], "not gzip"),
            (b"{}", "not gzip"),
            (&good[..good.len() - 1], "not gzip"),
            (&good[..20], "not gzip"),
            (&spoilt, ""),
            (&wrong_sum, "not gzip"),
            (&[&*good, b"x"].concat(), "something follows"),
            (&[&*good, &*good].concat(), "something follows"),
            (&gzip(b"version: 1"), "what is unpacked is not JSON"),
            (&gzip(&compact(&good)), "in the compact form again"),
        ] {
            let error = refused(&compact(packed));
            assert!(error.starts_with("compact: ") && error.contains(message), "{error}");
        }
        assert!(refused(br#"{"version": 1, "compact": "****"}"#).starts_with("compact: not base64"));
        assert!(refused(br#"{"version": 1, "compact": 1}"#).starts_with("compact: expected a string"));
        assert!(refused(br#"{"version": 2, "compact": ""}"#).contains("version: must be 1"));
        assert!(refused(br#"{"compact": "H4s="}"#).contains("missing key `version`"));
        let error = refused(br#"{"version": 1, "compact": "H4s=", "tenants": []}"#);
        assert!(error.contains("tenants: unknown key") || error.contains("unknown key `tenants`"), "{error}");
    }

    #[test]
    fn what_unpacks_to_too_much_is_refused_at_the_bound() {
        let blanks = |length: usize| {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
            let block = vec![b' '; 1 << 20];
            (0..length >> 20).for_each(|_| encoder.write_all(&block).unwrap());
            encoder.write_all(&block[..length % (1 << 20)]).unwrap();
            encoder.finish().unwrap()
        };
        let error = refused(&compact(&blanks(MAX_UNPACKED + 1)));
        assert_eq!(error, "compact: unpacks to more than 64 MiB");
        assert!(refused(&compact(&blanks(MAX_UNPACKED))).contains("what is unpacked is not JSON"));
    }

    #[test]
    fn errors_within_it_have_their_own_paths() {
        let error = refused(&compact(&gzip(br#"{"version": 1, "providers": {}, "tenants": []}"#)));
        assert!(error.contains("tenants: "), "{error}");
    }
}
