//! From the bytes of a configuration to a [`Policy`] that can decide, or to every error in them.
//!
//! 1. The text becomes a [`document`]: JSON (as Envoy hands it over), or YAML in the native tool.
//! 2. [`reader`] walks it with cursors that know their path. Nothing is left out silently: unknown and repeated keys,
//!    wrong types, values out of bounds, duplicate names and dangling references are errors.
//! 3. [`build`] makes the [`Policy`] of it. All errors are reported together.
//!
//! `null` is a value of its own kind here, not the absence of a key: a template engine that leaves `applications`
//! empty must not open a tenant to every client.
//!
//! [`parse_json`] is a pure function of its bytes: every worker comes to the same result.

mod build;
pub mod document;
mod duration;
pub mod error;
pub mod policy;
mod reader;
mod suggestion;
#[cfg(feature = "yaml")]
mod yaml;

use sha2::{Digest, Sha256};

pub use document::Mark;
pub use error::{ConfigError, ConfigErrors, Warning};
pub use policy::Policy;

/// A valid configuration.
#[derive(Debug)]
pub struct Loaded {
    /// What decisions are made with.
    pub policy: Policy,
    /// What is allowed and probably not meant; the first [`error::MAX_REPORTED`].
    pub warnings: Vec<Warning>,
}

/// Reads a configuration in JSON.
///
/// # Errors
///
/// All that is wrong with it, in one report.
pub fn parse_json(bytes: &[u8]) -> Result<Loaded, ConfigErrors> {
    build::policy(&document::parse_json(bytes)?, Sha256::digest(bytes).into())
}

/// Reads a configuration in YAML 1.2, which JSON is a subset of. Errors have lines and columns.
///
/// # Errors
///
/// All that is wrong with it, in one report. YAML aliases, and tags other than `!!str`, are not supported.
#[cfg(feature = "yaml")]
pub fn parse_yaml(text: &str) -> Result<Loaded, ConfigErrors> {
    build::policy(&yaml::parse(text)?, Sha256::digest(text).into())
}

/// The JSON that a YAML configuration stands for, whether or not it is a valid configuration.
///
/// # Errors
///
/// What is not one YAML document, and a key that is repeated.
#[cfg(feature = "yaml")]
pub fn yaml_to_json(text: &str) -> Result<serde_json::Value, ConfigErrors> {
    let node = yaml::parse(text)?;
    let report = reader::Report::default();
    let _ = reader::Cursor::root(&node, &report);
    report.finish()?;
    Ok(node.value.to_json())
}
