//! Asking issuers over this machine's network, for `--fetch`.
//!
//! Plain HTTP is sent by this process, HTTPS by the machine's `curl`: it has the certificates and proxies that the machine trusts,
//! and a TLS library would take longer to build than half of the tool. Redirects are not followed, as the filter does not.

use std::io::Read;
use std::process::{Command, Stdio};
use std::time::Duration;

use scopegate::issuer::HttpCall;
use scopegate::issuer::keys::MAX_JWKS_BYTES;

const TIMEOUT_SECONDS: u64 = 10;

/// Whether issuers are asked, and where the proxy's clusters lead.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Fetching {
    /// Ask the issuers for their metadata and keys, as the filter would. Nothing else is asked, and no token is sent.
    #[arg(long)]
    pub fetch: bool,
    /// With --fetch: where a cluster of the proxy leads, for example `idp=http://127.0.0.1:8080`; repeatable. Without it a
    /// call goes to the host of its URI.
    #[arg(long, value_name = "CLUSTER=URL", value_parser = parse_resolved, requires = "fetch")]
    pub resolve: Vec<(String, Address)>,
}

/// Where a cluster leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// `http` or `https`.
    scheme: String,
    /// Host and port.
    authority: String,
}

/// An answer, or why there is none.
pub type Reply = Result<(u16, Vec<u8>), String>;

impl Fetching {
    /// Sends a call of the filter's as the proxy would send it over `cluster`.
    pub fn send(&self, cluster: &str, call: &HttpCall) -> Reply {
        let header = |name: &str| {
            call.headers.iter().find(|(known, _)| *known == name).map_or("", |(_, value)| value.as_str())
        };
        let resolved = self.resolve.iter().find(|(name, _)| name == cluster).map(|(_, address)| address);
        let scheme = resolved.map_or(header(":scheme"), |address| &address.scheme);
        let (authority, path, accept) = (header(":authority"), header(":path"), header("accept"));
        let to = resolved.map(|address| &*address.authority);
        if scheme == "https" {
            curl(&format!("https://{authority}{path}"), to, accept)
        } else {
            plain(&format!("http://{}{path}", to.unwrap_or(authority)), authority, accept)
        }
    }
}

fn plain(url: &str, host: &str, accept: &str) -> Reply {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_global(Some(Duration::from_secs(TIMEOUT_SECONDS)))
        .max_redirects(0)
        .http_status_as_error(false)
        .proxy(None)
        .build()
        .into();
    let request = agent.get(url).header("host", host).header("accept", accept);
    let mut answer = request.call().map_err(|error| error.to_string())?;
    let status = answer.status().as_u16();
    let body = answer.body_mut().with_config().limit(MAX_JWKS_BYTES as u64).read_to_vec();
    body.map(|body| (status, body)).map_err(|error| format!("the answer cannot be read: {error}"))
}

/// HTTPS; `to` is where the connection goes, which is the URL's host by itself.
fn curl(url: &str, to: Option<&str>, accept: &str) -> Reply {
    let mut command = Command::new("curl");
    command.args(["--disable", "--silent", "--show-error", "--proto", "=https"]);
    command.args(["--max-time", &TIMEOUT_SECONDS.to_string(), "--header", &format!("accept: {accept}")]);
    if let Some(to) = to {
        command.args(["--connect-to", &format!("::{to}")]);
    }
    // Its answer is the body, and the status on the last line.
    command.args(["--globoff", "--path-as-is", "--write-out", "\n%{http_code}", "--url", url]);
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("`curl`, which sends what is HTTPS, cannot be run: {error}"))?;
    let mut answer = Vec::new();
    if let Some(output) = child.stdout.take() {
        let limit = MAX_JWKS_BYTES as u64 + 4;
        output.take(limit).read_to_end(&mut answer).map_err(|error| error.to_string())?;
    }
    // What is too long ends here, and `curl` with it.
    let ended = child.wait_with_output().map_err(|error| error.to_string())?;
    let end = answer.iter().rposition(|byte| *byte == b'\n').unwrap_or_default();
    let status = answer.get(end + 1..).and_then(|line| std::str::from_utf8(line).ok());
    match status.and_then(|status| status.parse().ok()) {
        Some(status) if ended.status.success() => {
            answer.truncate(end);
            Ok((status, answer))
        }
        Some(_) | None => Err(match String::from_utf8_lossy(&ended.stderr).lines().next() {
            Some(why) => why.trim_start_matches("curl: ").to_owned(),
            None => "the answer cannot be read, or is too long".to_owned(),
        }),
    }
}

fn parse_resolved(text: &str) -> Result<(String, Address), String> {
    const FORM: &str = "write it as CLUSTER=http://HOST:PORT or CLUSTER=https://HOST:PORT";
    let (cluster, url) = text.split_once('=').ok_or(FORM)?;
    let (scheme, authority) = url.split_once("://").ok_or(FORM)?;
    let authority = authority.trim_end_matches('/');
    let is_address = ["http", "https"].contains(&scheme) && !authority.contains(['/', '@', '?', '#']);
    if cluster.is_empty() || authority.is_empty() || !is_address {
        return Err(FORM.to_owned());
    }
    Ok((cluster.to_owned(), Address { scheme: scheme.to_owned(), authority: authority.to_owned() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_leads_to_an_address() {
        let address =
            |scheme: &str| Address { scheme: scheme.to_owned(), authority: "[::1]:8080".to_owned() };
        assert_eq!(parse_resolved("idp=http://[::1]:8080/"), Ok(("idp".to_owned(), address("http"))));
        assert_eq!(parse_resolved("idp=https://[::1]:8080"), Ok(("idp".to_owned(), address("https"))));
        for wrong in ["idp", "=http://a", "idp=a:80", "idp=ftp://a", "idp=http://", "idp=http://a/path"] {
            assert!(parse_resolved(wrong).is_err(), "{wrong}");
        }
    }
}
