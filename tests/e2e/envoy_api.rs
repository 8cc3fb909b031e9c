//! Envoy's messages, as far as a management server for one kind of resource needs them, and how a resource is read from
//! the JSON that a file of Envoy's has. The numbers are those of Envoy's `api/`; fields left out are never sent, and a
//! resource that has one of them is refused.

use std::collections::HashMap;

use prost::Message;
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// `envoy.service.discovery.v3.DiscoveryRequest`: a subscription, an acknowledgement or a rejection.
#[derive(Clone, PartialEq, Message)]
pub struct DiscoveryRequest {
    #[prost(string, tag = "1")]
    pub version_info: String,
    #[prost(message, optional, tag = "2")]
    pub node: Option<Node>,
    #[prost(string, repeated, tag = "3")]
    pub resource_names: Vec<String>,
    #[prost(string, tag = "4")]
    pub type_url: String,
    #[prost(string, tag = "5")]
    pub response_nonce: String,
    #[prost(message, optional, tag = "6")]
    pub error_detail: Option<Status>,
}

/// `envoy.service.discovery.v3.DiscoveryResponse`.
#[derive(Clone, PartialEq, Message)]
pub struct DiscoveryResponse {
    #[prost(string, tag = "1")]
    pub version_info: String,
    #[prost(message, repeated, tag = "2")]
    pub resources: Vec<Any>,
    #[prost(string, tag = "4")]
    pub type_url: String,
    #[prost(string, tag = "5")]
    pub nonce: String,
}

/// `envoy.config.core.v3.Node`.
#[derive(Clone, PartialEq, Message)]
pub struct Node {
    #[prost(string, tag = "1")]
    pub id: String,
}

/// `google.rpc.Status`.
#[derive(Clone, PartialEq, Message)]
pub struct Status {
    #[prost(string, tag = "2")]
    pub message: String,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, Message)]
pub struct Any {
    #[prost(string, tag = "1")]
    pub type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    pub value: Vec<u8>,
}

pub const TYPED_EXTENSION_CONFIG: &str = "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig";
const WASM: &str = "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm";
const STRING_VALUE: &str = "type.googleapis.com/google.protobuf.StringValue";

impl<'de> Deserialize<'de> for Any {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut json = serde_json::Map::deserialize(deserializer)?;
        let Some(Value::String(type_url)) = json.remove("@type") else {
            return Err(D::Error::missing_field("@type"));
        };
        let json = Value::Object(json);
        let value = match type_url.as_str() {
            TYPED_EXTENSION_CONFIG => encoded::<TypedExtensionConfig>(json),
            WASM => encoded::<Wasm>(json),
            STRING_VALUE => encoded::<StringValue>(json),
            _ => return Err(D::Error::custom(format!("unknown type {type_url}"))),
        };
        Ok(Self { type_url, value: value.map_err(D::Error::custom)? })
    }
}

fn encoded<M: Message + DeserializeOwned>(json: Value) -> serde_json::Result<Vec<u8>> {
    serde_json::from_value::<M>(json).map(|message| message.encode_to_vec())
}

#[derive(Clone, PartialEq, Message, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct TypedExtensionConfig {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, optional, tag = "2")]
    typed_config: Option<Any>,
}

#[derive(Clone, PartialEq, Message, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct StringValue {
    #[prost(string, tag = "1")]
    value: String,
}

/// `envoy.extensions.filters.http.wasm.v3.Wasm`.
#[derive(Clone, PartialEq, Message, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Wasm {
    #[prost(message, optional, tag = "1")]
    config: Option<PluginConfig>,
}

/// `envoy.extensions.wasm.v3.PluginConfig`.
#[derive(Clone, PartialEq, Message, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct PluginConfig {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    root_id: String,
    #[prost(message, optional, tag = "3")]
    vm_config: Option<VmConfig>,
    #[prost(message, optional, tag = "4")]
    configuration: Option<Any>,
    #[prost(enumeration = "FailurePolicy", tag = "7")]
    #[serde(deserialize_with = "failure_policy")]
    failure_policy: i32,
    #[prost(message, optional, tag = "8")]
    reload_config: Option<ReloadConfig>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, prost::Enumeration, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[repr(i32)]
enum FailurePolicy {
    Unspecified = 0,
    FailReload = 1,
    FailClosed = 2,
    FailOpen = 3,
}

fn failure_policy<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i32, D::Error> {
    FailurePolicy::deserialize(deserializer).map(i32::from)
}

/// `envoy.extensions.wasm.v3.VmConfig`.
#[derive(Clone, PartialEq, Message, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct VmConfig {
    #[prost(string, tag = "1")]
    vm_id: String,
    #[prost(string, tag = "2")]
    runtime: String,
    #[prost(message, optional, tag = "3")]
    code: Option<AsyncDataSource>,
    #[prost(message, optional, tag = "7")]
    environment_variables: Option<EnvironmentVariables>,
    #[prost(message, optional, tag = "8")]
    capability_restriction_config: Option<CapabilityRestrictionConfig>,
}

#[derive(Clone, PartialEq, Message, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct CapabilityRestrictionConfig {
    #[prost(map = "string, message", tag = "1")]
    allowed_capabilities: HashMap<String, SanitizationConfig>,
}

#[derive(Clone, PartialEq, Message, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct SanitizationConfig {}

#[derive(Clone, PartialEq, Message, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct EnvironmentVariables {
    #[prost(string, repeated, tag = "1")]
    host_env_keys: Vec<String>,
    #[prost(map = "string, string", tag = "2")]
    key_values: HashMap<String, String>,
}

#[derive(Clone, PartialEq, Message, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct AsyncDataSource {
    #[prost(message, optional, tag = "1")]
    local: Option<DataSource>,
}

#[derive(Clone, PartialEq, Message, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct DataSource {
    #[prost(string, tag = "1")]
    filename: String,
}

#[derive(Clone, PartialEq, Message, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct ReloadConfig {
    #[prost(message, optional, tag = "1")]
    backoff: Option<BackoffStrategy>,
}

#[derive(Clone, PartialEq, Message, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct BackoffStrategy {
    #[prost(message, optional, tag = "1")]
    base_interval: Option<Duration>,
    #[prost(message, optional, tag = "2")]
    max_interval: Option<Duration>,
}

/// `google.protobuf.Duration`; in JSON, seconds with an `s`.
#[derive(Clone, PartialEq, Message)]
struct Duration {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let seconds = text.strip_suffix('s').and_then(|seconds| seconds.parse().ok());
        let duration = std::time::Duration::try_from_secs_f64(seconds.unwrap_or(-1.0));
        let duration = duration.map_err(|_| D::Error::custom(format!("`{text}` is no duration")))?;
        let seconds = i64::try_from(duration.as_secs()).map_err(D::Error::custom)?;
        let nanos = i32::try_from(duration.subsec_nanos()).map_err(D::Error::custom)?;
        Ok(Self { seconds, nanos })
    }
}
