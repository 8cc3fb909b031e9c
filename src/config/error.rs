//! What is wrong with a configuration, and what is doubtful in it.
//!
//! A message names paths, keys and names of the configuration. It never holds the value of a secret.

use std::fmt;

use super::document::Mark;
use super::kind::{ErrorKind, WarningKind};

/// How many errors are kept, and how many warnings. The rest is counted.
pub const MAX_REPORTED: usize = 100;

/// One error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// What kind of error it is.
    pub kind: ErrorKind,
    /// Where: `tenants[2].applications[0].scopes[1]`; empty for the document itself.
    pub path: String,
    /// Line and column, where the document has them.
    pub mark: Option<Mark>,
    /// What is wrong.
    pub message: String,
}

/// All errors of a configuration, in the order in which they were found; at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors {
    errors: Vec<ConfigError>,
    omitted: usize,
}

/// Something that is allowed and probably not meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// What kind of warning it is.
    pub kind: WarningKind,
    /// Where, as [`ConfigError::path`].
    pub path: String,
    /// Line and column, where the document has them.
    pub mark: Option<Mark>,
    /// What is doubtful.
    pub message: String,
}

impl ConfigErrors {
    pub(super) fn new(errors: Vec<ConfigError>, omitted: usize) -> Self {
        Self { errors, omitted }
    }

    /// The report of these errors, of which the first [`MAX_REPORTED`] are kept; None where there is none.
    pub fn of(mut errors: Vec<ConfigError>) -> Option<Self> {
        let omitted = errors.len().saturating_sub(MAX_REPORTED);
        errors.truncate(MAX_REPORTED);
        (!errors.is_empty()).then_some(Self { errors, omitted })
    }

    /// The same errors; those without a place stand at `mark`.
    #[must_use]
    pub fn at(mut self, mark: Option<Mark>) -> Self {
        for error in &mut self.errors {
            error.mark = error.mark.or(mark);
        }
        self
    }

    /// The errors, [`MAX_REPORTED`] at most.
    pub fn iter(&self) -> impl Iterator<Item = &ConfigError> {
        self.errors.iter()
    }

    /// How many more there are.
    pub fn omitted(&self) -> usize {
        self.omitted
    }
}

impl From<ConfigError> for ConfigErrors {
    fn from(error: ConfigError) -> Self {
        Self::new(vec![error], 0)
    }
}

impl std::error::Error for ConfigErrors {}

impl std::error::Error for ConfigError {}

impl fmt::Display for ConfigErrors {
    /// One error a line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.errors.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            error.fmt(f)?;
        }
        if self.omitted > 0 {
            write!(f, "\nand {} more", self.omitted)?;
        }
        Ok(())
    }
}

impl fmt::Display for ConfigError {
    /// ``path: message``.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_line(f, &self.path, &self.message)
    }
}

impl fmt::Display for Warning {
    /// ``path: message``.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_line(f, &self.path, &self.message)
    }
}

fn write_line(f: &mut fmt::Formatter<'_>, path: &str, message: &str) -> fmt::Result {
    let path = if path.is_empty() { "configuration" } else { path };
    write!(f, "{path}: {message}")
}
