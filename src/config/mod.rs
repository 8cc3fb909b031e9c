//! From the bytes of a configuration to a [`Policy`] that can decide, or to every error in them.
//!
//! 1. The bytes become a [`document`]: JSON or a `google.protobuf.Struct` (as Envoy hands them over), or YAML in the
//!    native tool.
//! 2. `reader` walks it with cursors that know their path. Nothing is left out silently: unknown and repeated keys,
//!    wrong types, values out of bounds, duplicate names and dangling references are errors.
//! 3. `sections` turns it into the [`Policy`]. All errors are reported together.
//!
//! `null` is a value of its own kind here, not the absence of a key: a template engine that leaves `applications`
//! empty must not open a tenant to every client.
//!
//! [`parse_plugin`] is a pure function of its bytes: every worker comes to the same result.

pub mod compact;
pub mod document;
pub mod duration;
pub mod error;
pub mod kind;
pub mod lint;
pub mod moment;
mod protobuf;
pub mod reader;
mod sections;
mod size;
pub mod suggestion;
#[cfg(feature = "yaml")]
mod yaml;

use sha2::{Digest, Sha256};

pub use document::Mark;
pub use error::{ConfigError, ConfigErrors, Warning};
pub use kind::{ErrorKind, WarningKind};
pub use sections::DEFAULT_MEMORY_BUDGET;

use crate::policy::Policy;

/// A valid configuration.
#[derive(Debug)]
pub struct Loaded {
    /// What decisions are made with.
    pub policy: Policy,
    /// What is allowed and probably not meant; the first [`error::MAX_REPORTED`].
    pub warnings: Vec<Warning>,
    /// How long its JSON is, unpacked; 0 where it was read from something else.
    pub text_bytes: usize,
}

/// Reads a configuration in JSON, plain or compact.
///
/// # Errors
///
/// All that is wrong with it, in one report.
pub fn parse_json(bytes: &[u8]) -> Result<Loaded, ConfigErrors> {
    parse_node(&document::parse_json(bytes)?, bytes)
}

/// Reads `document`, which stands in `bytes`. In the compact form it is what it holds, digest and all.
fn parse_node(document: &document::Node<'_>, bytes: &[u8]) -> Result<Loaded, ConfigErrors> {
    let unpacked = compact::unpack(document)?;
    let loaded = match &unpacked {
        None => sections::policy(document, Sha256::digest(bytes).into())?,
        Some(json) => sections::policy(&compact::parse_unpacked(json)?, Sha256::digest(json).into())?,
    };
    Ok(Loaded { text_bytes: unpacked.as_deref().unwrap_or(bytes).len(), ..loaded })
}

/// Reads a plugin's configuration as a host hands it over: JSON, or a `google.protobuf.Struct` in its wire format.
///
/// # Errors
///
/// All that is wrong with it, in one report.
pub fn parse_plugin(bytes: &[u8]) -> Result<Loaded, ConfigErrors> {
    // A template that puts a file in here may bring its byte order mark along.
    let bytes = bytes.strip_prefix(document::BYTE_ORDER_MARK).unwrap_or(bytes);
    // Both may begin with a line feed, but no text is both: JSON has no control characters but white space, and the
    // length of the first key's entry is followed by another field's tag.
    match (document::parse_json(bytes), protobuf::parse_struct(bytes)) {
        (Err(_), Some(node)) if !bytes.is_empty() => parse_node(&node, bytes),
        (json, _) => parse_node(&json?, bytes),
    }
}

/// Reads a configuration in YAML 1.2, which JSON is a subset of. Errors have lines and columns.
///
/// # Errors
///
/// All that is wrong with it, in one report. YAML aliases, and tags other than `!!str`, are not supported.
#[cfg(feature = "yaml")]
pub fn parse_yaml(text: &str) -> Result<Loaded, ConfigErrors> {
    sections::policy(&yaml::parse(text)?, Sha256::digest(text).into())
}

/// Checks a document that was read before: its errors and warnings have the marks of its nodes.
///
/// # Errors
///
/// All that is wrong with it, in one report.
pub fn from_document(document: &document::Node<'_>) -> Result<Loaded, ConfigErrors> {
    let mut digest = Sha256::new();
    document.value.canonical(&mut |part| digest.update(part));
    sections::policy(document, digest.finalize().into())
}

/// Looks for keys that a document repeats.
///
/// # Errors
///
/// Each key that stands in one map twice, with its path.
pub fn check_repeated_keys(document: &document::Node<'_>) -> Result<(), ConfigErrors> {
    let report = reader::Report::default();
    let _ = reader::Cursor::root(document, &report);
    report.finish().map(|_| ())
}

/// For each map that is read in a document: its path as errors have it, and the keys that are known there. It is what a
/// schema is held against.
pub fn known_keys(document: &document::Node<'_>) -> Vec<(String, &'static [&'static str])> {
    sections::known_keys(document)
}

/// The document that a YAML text holds, with lines and columns, whether or not it is a valid configuration.
///
/// # Errors
///
/// What is not one YAML document, and a key that is repeated.
#[cfg(feature = "yaml")]
pub fn parse_yaml_document(text: &str) -> Result<document::Node<'_>, ConfigErrors> {
    let node = yaml::parse(text)?;
    check_repeated_keys(&node)?;
    Ok(node)
}

/// The document that a YAML text holds, repeated keys and all.
///
/// # Errors
///
/// What is not one YAML document.
#[cfg(feature = "yaml")]
pub fn read_yaml(text: &str) -> Result<document::Node<'_>, ConfigError> {
    yaml::parse(text)
}

/// The documents of a YAML stream, repeated keys and all; empty ones are left out.
///
/// # Errors
///
/// What is not YAML, and a stream without a document.
#[cfg(feature = "yaml")]
pub fn read_yaml_stream(text: &str) -> Result<Vec<document::Node<'_>>, ConfigError> {
    yaml::parse_stream(text)
}

/// The JSON that a YAML configuration stands for, whether or not it is a valid configuration.
///
/// # Errors
///
/// What is not one YAML document, and a key that is repeated.
#[cfg(feature = "yaml")]
pub fn yaml_to_json(text: &str) -> Result<serde_json::Value, ConfigErrors> {
    Ok(parse_yaml_document(text)?.value.to_json())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_struct_and_json_are_the_same_configuration() {
        let yaml = include_str!("../../tests/fixtures/config/full.yaml");
        let json = yaml_to_json(yaml).unwrap();
        let from_json = parse_plugin(json.to_string().as_bytes()).unwrap();
        let from_struct = parse_plugin(&protobuf::tests::encode(&json)).unwrap();
        let digests = |loaded: &Loaded| {
            loaded.policy.providers.iter().map(|provider| provider.digest).collect::<Vec<_>>()
        };
        assert_eq!(digests(&from_json), digests(&from_struct));
        assert_eq!(from_json.policy.tenants.len(), from_struct.policy.tenants.len());
    }

    #[test]
    fn no_configuration_at_all_is_refused() {
        assert!(parse_plugin(b"").is_err());
    }
}
