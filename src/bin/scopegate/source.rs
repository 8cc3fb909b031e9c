//! Input files of the commands.

use std::io::Read;
use std::path::Path;

use scopegate::config::document::{BYTE_ORDER_MARK, Mark, Node, parse_json};
use scopegate::config::{self, ConfigError, ConfigErrors, Loaded};

use crate::Failure;
use crate::envoy_file::{configurations, is_envoy_file};
use crate::terminal::shown;

/// A file's text, with its name for messages.
#[derive(Debug)]
pub struct Source {
    /// The file's name, or `<stdin>`.
    pub name: String,
    /// Its text, without a byte order mark.
    pub text: String,
    is_json: bool,
}

impl Source {
    /// Reads `path`, or standard input for `-`.
    pub fn read(path: &Path) -> Result<Self, Failure> {
        let (name, bytes) = read_bytes(path)?;
        let text = String::from_utf8(bytes).map_err(|error| {
            let at = error.utf8_error().valid_up_to();
            Failure(format!("{name} is not UTF-8: byte {at} begins no character"))
        })?;
        let is_json = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"));
        Ok(Self { name, text, is_json })
    }

    /// The configurations in it: the file itself, or those within an Envoy file, perhaps none. With lines and
    /// columns.
    ///
    /// JSON is read as the filter reads it; by way of the YAML that it also is where that says the same, for
    /// lines and columns.
    pub fn documents(&self) -> Result<Vec<Node<'_>>, ConfigErrors> {
        let mut json = None;
        if self.is_json {
            json = Some(parse_json(self.text.as_bytes())?);
        }
        let document = match (json, config::read_yaml(&self.text)) {
            (None, yaml) => yaml?,
            (Some(json), Ok(yaml)) if yaml.value.to_json() == json.value.to_json() => yaml,
            (Some(json), Ok(_) | Err(_)) => json,
        };
        if !is_envoy_file(&document) {
            return Ok(vec![document]);
        }
        config::check_repeated_keys(&document)?;
        configurations(&document, &self.text)
    }

    /// The one configuration that it holds.
    pub fn load(&self) -> Result<Loaded, ConfigErrors> {
        let mut documents = self.documents()?;
        match (documents.pop(), documents.pop()) {
            (Some(document), None) => config::from_document(&document),
            (None, _) => Err(error(None, NO_CONFIGURATION)),
            (Some(second), Some(_)) => Err(error(
                second.mark(),
                "the Envoy file holds several configurations of a filter `scopegate`, and one is needed here",
            )),
        }
    }

    /// The document of that configuration.
    pub fn document(&self) -> Result<Node<'_>, Failure> {
        let documents = self.documents().map_err(|errors| Failure(format!("{}: {errors}", self.name)))?;
        documents.into_iter().next().ok_or_else(|| Failure(format!("{}: no configuration", self.name)))
    }

    /// The configuration, for commands that need a valid one.
    pub fn load_valid(&self) -> Result<Loaded, Failure> {
        self.load().map_err(|errors| {
            let mut message = format!("{} is not a valid configuration", self.name);
            for error in errors.iter() {
                let place = error.mark.map_or_else(String::new, |mark| format!(":{mark}"));
                message.push_str(&format!("\n{}{place}: {}", self.name, shown(&error.to_string())));
            }
            if errors.omitted() > 0 {
                message.push_str(&format!("\nand {} more", errors.omitted()));
            }
            Failure(message)
        })
    }
}

/// For an Envoy file that gets the filter's configuration from elsewhere, such as a discovery service.
pub const NO_CONFIGURATION: &str = "the Envoy file holds no configuration of a filter `scopegate`";

fn error(mark: Option<Mark>, message: &str) -> ConfigErrors {
    ConfigError { path: String::new(), mark, message: message.to_owned() }.into()
}

/// The name for messages and the bytes of `path`, or of standard input for `-`.
pub fn read_bytes(path: &Path) -> Result<(String, Vec<u8>), Failure> {
    // Larger than a configuration of ten thousand tenants. Limits what a mistaken path can cost.
    const MAX_BYTES: u64 = 256 << 20;
    let is_standard_input = path.as_os_str() == "-";
    let name = if is_standard_input { "<stdin>".to_owned() } else { shown(&path.display().to_string()) };
    let mut bytes = Vec::new();
    let read = if is_standard_input {
        std::io::stdin().take(MAX_BYTES + 1).read_to_end(&mut bytes)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut bytes))
    };
    read.map_err(|error| Failure(format!("cannot read {name}: {error}")))?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(Failure(format!("{name} is larger than {} MiB", MAX_BYTES >> 20)));
    }
    // Some editors write a byte order mark, which readers may ignore (RFC 8259 section 8.1).
    if bytes.starts_with(BYTE_ORDER_MARK) {
        bytes.drain(..BYTE_ORDER_MARK.len());
    }
    Ok((name, bytes))
}
