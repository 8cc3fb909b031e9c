//! What a running Envoy has, by its administration interface.

use std::time::Duration;

use crate::Failure;
use crate::progress;
use crate::terminal::shown;

/// The longest dump that is read: a table of ten thousand tenants, escaped, stands in it several times.
const MAX_BYTES: u64 = 512 << 20;

/// The configuration of the Envoy whose administration interface is at `url`, as JSON.
pub fn config_dump(url: &str) -> Result<String, Failure> {
    let failed = |what: String| Failure(format!("{}: {what}", shown(url)));
    if !url.starts_with("http://") {
        return Err(failed(
            "the address of Envoy's administration interface begins with `http://`".to_owned(),
        ));
    }
    let address = format!("{}/config_dump", url.trim_end_matches('/').trim_end_matches("/config_dump"));
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_global(Some(Duration::from_secs(60)))
        .proxy(None)
        .build()
        .into();
    progress::doing("asking Envoy", 0);
    let mut answer = agent.get(&address).call().map_err(|error| failed(format!("no answer: {error}")))?;
    answer
        .body_mut()
        .with_config()
        .limit(MAX_BYTES)
        .read_to_string()
        .map_err(|error| failed(format!("the answer cannot be read: {error}")))
}
