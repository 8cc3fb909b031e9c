//! What an issuer publishes about itself, as the filter would take it: its metadata (RFC 8414, OpenID Connect Discovery) and its
//! keys.

mod fetch;

use serde_json::{Value, json};

use crate::codes::Code;

pub use self::fetch::{Fetched, fetch, fetch_all};

/// What was found.
#[derive(Debug, Default)]
pub struct Published {
    /// The provider's name.
    pub provider: String,
    /// Of which tenant, where each has an issuer of its own.
    pub tenant: Option<String>,
    /// The metadata, where the provider is discovered and an answer came.
    pub metadata: Option<Metadata>,
    /// The keys, where an answer came.
    pub keys: Option<Keys>,
    /// What is wrong.
    pub problems: Vec<Problem>,
}

/// Metadata that was read.
#[derive(Debug)]
pub struct Metadata {
    /// Where it was.
    pub uri: String,
    /// Who it says that it is of.
    pub issuer: String,
    /// Whether that is the provider.
    pub is_of_provider: bool,
    /// The endpoints that it names.
    pub endpoints: Vec<Endpoint>,
}

/// An endpoint that the metadata names.
#[derive(Debug)]
pub struct Endpoint {
    /// The member's name.
    pub name: &'static str,
    /// Its value.
    pub uri: String,
    /// Whether calls may go there.
    pub is_allowed: bool,
    /// Whether calls would go there; else the configuration says where.
    pub is_used: bool,
}

/// Keys that were read.
#[derive(Debug)]
pub struct Keys {
    /// Where they were.
    pub uri: String,
    /// Each member of the set.
    pub keys: Vec<Key>,
}

/// A member of a key set.
#[derive(Debug)]
pub struct Key {
    /// Its `kid`.
    pub key_id: Option<String>,
    /// Its `kty`.
    pub key_type: String,
    /// What it may verify of what the provider accepts.
    pub algorithms: Vec<&'static str>,
    /// Why it is not used.
    pub unused: Option<String>,
}

/// Something wrong.
#[derive(Debug)]
pub struct Problem {
    /// Of an error where tokens cannot be verified as things are; of a warning where it is worth knowing.
    pub code: Code,
    /// The provider's key that it is about.
    pub key: &'static str,
    /// What it is.
    pub message: String,
}

impl Published {
    /// For people: a name and a value for each line.
    pub fn lines(&self) -> Vec<(String, String)> {
        let mut lines = Vec::new();
        if let Some(metadata) = &self.metadata {
            lines.push(("metadata".to_owned(), metadata.uri.clone()));
            let whose =
                if metadata.is_of_provider { "the provider's" } else { "another than the provider's" };
            lines.push(("issuer".to_owned(), format!("{}, {whose}", metadata.issuer)));
            for endpoint in &metadata.endpoints {
                let place = if endpoint.is_allowed { "at an allowed host" } else { "not allowed" };
                let used = if endpoint.is_used { "" } else { ", not used: the configuration says where" };
                lines.push((endpoint.name.to_owned(), format!("{}, {place}{used}", endpoint.uri)));
            }
        }
        if let Some(keys) = &self.keys {
            lines.push(("keys".to_owned(), keys.uri.clone()));
            lines.extend(keys.keys.iter().map(|key| {
                let name = key.key_id.as_ref().map_or("without kid".to_owned(), |id| format!("`{id}`"));
                let fate = match &key.unused {
                    Some(why) => format!("not used: {why}"),
                    None => key.algorithms.join(" "),
                };
                ("key".to_owned(), format!("{name}, {}, {fate}", key.key_type))
            }));
        }
        if lines.is_empty() {
            lines.push(("nothing".to_owned(), "no answer that can be read".to_owned()));
        }
        lines
    }

    /// For machines.
    pub fn json(&self) -> Value {
        let endpoint = |endpoint: &Endpoint| json!({"name": endpoint.name, "uri": endpoint.uri, "allowed": endpoint.is_allowed, "used": endpoint.is_used});
        let metadata = self.metadata.as_ref().map(|metadata| {
            json!({
                "uri": metadata.uri,
                "issuer": metadata.issuer,
                "issuer_is_the_providers": metadata.is_of_provider,
                "endpoints": metadata.endpoints.iter().map(endpoint).collect::<Vec<_>>(),
            })
        });
        let key = |key: &Key| {
            json!({
                "kid": key.key_id,
                "kty": key.key_type,
                "algorithms": key.algorithms,
                "usable": key.unused.is_none(),
                "unused": key.unused,
            })
        };
        let keys = self
            .keys
            .as_ref()
            .map(|keys| json!({"uri": keys.uri, "keys": keys.keys.iter().map(key).collect::<Vec<_>>()}));
        json!({"provider": self.provider, "tenant": self.tenant, "metadata": metadata, "key_set": keys})
    }
}
