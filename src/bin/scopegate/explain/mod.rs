//! `scopegate explain`: one request's way through the filter, step by step.
//!
//! The decision is the filter's own: [`scopegate::exchange::Exchange::advance_traced`], with what the command line says of
//! issuers. Its facts and its trace tell how each step went; nothing is decided again here.

pub mod explanation;
mod from_log;
pub mod narrate;
mod nearby;
mod remedy;
mod sender;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use scopegate::issuer::provider::ProviderKeys;
use scopegate::policy::Policy;

use self::explanation::Explanation;
use crate::issuer_http::Fetching;
use crate::scene::{Scene, decide, put_token};
use crate::source::{Inputs, read_bytes};
use crate::terminal::{Terminal, shown};
use crate::{CommandOutput, Failure, clock};

/// Walk one request through the filter and tell what each step sees and concludes.
///
/// Nothing is sent anywhere, unless `--fetch` is there: keys and introspection answers come from files. An issuer without a
/// file counts as unreachable. The token is never printed; what it says is.
#[derive(clap::Args)]
#[command(after_help = "\
Exit codes: 0 the request passes, 1 it is refused, 2 there is no answer.

Examples:
  scopegate explain --config gateway.yaml --path /health
  scopegate explain --config gateway.yaml --method POST --path /acme/books \\
      --token token.jwt --jwks corp=jwks.json
  pbpaste | scopegate explain --config gateway.yaml --path /acme/books --token - \\
      --header 'x-tenant-id: acme' --introspection answer.json \\
      --now 2026-11-22T12:00:00Z --format json
  scopegate explain --config gateway.yaml --path /acme/books --token token.jwt --fetch
  tail -1 audit.log | scopegate explain --config gateway/ --from-log -")]
pub struct Arguments {
    /// The configuration: a file, a directory, or what carries one; repeatable for the parts of a table.
    #[arg(long, value_name = "FILE", required_unless_present = "admin")]
    config: Vec<PathBuf>,
    /// Take the configuration that a running Envoy has, by the address of its administration interface.
    #[arg(long, value_name = "URL", conflicts_with = "config")]
    admin: Option<String>,
    /// The request's method.
    #[arg(long, default_value = "GET")]
    method: String,
    /// The request's path, with the query if any.
    #[arg(long, required_unless_present = "from_log", default_value = "/", hide_default_value = true)]
    path: String,
    /// Tell a decision of before by its audit line, or by its line of the JSON access log; `-` reads it from standard
    /// input.
    #[arg(long, value_name = "LINE", conflicts_with_all = ["token", "body", "introspection"])]
    from_log: Option<String>,
    /// A header of the request; repeatable.
    #[arg(long = "header", value_name = "NAME: VALUE", value_parser = parse_header)]
    headers: Vec<(String, String)>,
    /// The request's scheme.
    #[arg(long, default_value = "https")]
    scheme: String,
    /// The request's host. Without one, only operations for any host match.
    #[arg(long, default_value = "")]
    host: String,
    /// A file with the access token; it is put where the configuration looks for one.
    #[arg(long, value_name = "FILE|-")]
    token: Option<PathBuf>,
    /// A provider's JWK Set, as its `remote_jwks` would give it; repeatable.
    #[arg(long, value_name = "PROVIDER=FILE", value_parser = parse_assignment)]
    jwks: Vec<(String, PathBuf)>,
    /// A provider's metadata, as its `discovery` would give it; repeatable. Its keys still come from --jwks or --fetch.
    #[arg(long, value_name = "PROVIDER=FILE", value_parser = parse_assignment)]
    discovery: Vec<(String, PathBuf)>,
    #[command(flatten)]
    fetching: Fetching,
    /// The issuer's answer to the introspection of the token (RFC 7662 section 2.2).
    #[arg(long, value_name = "FILE")]
    introspection: Option<PathBuf>,
    /// The form of a token request, where `--path` is one of `token_endpoints`.
    #[arg(long, value_name = "FILE|-")]
    body: Option<PathBuf>,
    /// SHA-256 of the client's certificate in DER, 64 hex digits (RFC 8705).
    #[arg(long, value_name = "HEX", value_parser = parse_digest)]
    client_certificate_sha256: Option<[u8; 32]>,
    /// The address of the connection's peer, for `certificate_header`.
    #[arg(long, value_name = "ADDRESS")]
    peer_address: Option<IpAddr>,
    /// The moment of the request, in RFC 3339 or seconds since the epoch; default the clock's.
    #[arg(long, value_name = "TIME", value_parser = clock::parse)]
    now: Option<Duration>,
    /// How to tell it.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

/// `--format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// For people.
    Text,
    /// One JSON object.
    Json,
}

/// Runs the command.
pub fn run(arguments: &Arguments, terminal: &Terminal) -> Result<CommandOutput, Failure> {
    let inputs = Inputs { files: arguments.config.clone(), admin: arguments.admin.clone() };
    let policy = inputs.read()?.load_valid()?.policy;
    if let Some(line) = &arguments.from_log {
        return tell_log(line, &policy, arguments, terminal);
    }
    let scene = scene(arguments, &policy)?;
    let explanation = explain(policy, &scene);
    let text = match arguments.format {
        Format::Text => explanation.text(terminal),
        Format::Json => format!("{:#}\n", explanation.json()),
    };
    Ok(CommandOutput { text, notes: Vec::new(), yes: explanation.passes() })
}

fn tell_log(
    line: &str,
    policy: &Policy,
    arguments: &Arguments,
    terminal: &Terminal,
) -> Result<CommandOutput, Failure> {
    let line = match line {
        "-" => String::from_utf8_lossy(&read_bytes(std::path::Path::new("-"))?.1).into_owned(),
        line => line.to_owned(),
    };
    let facts = from_log::read(&line).map_err(|message| Failure(format!("--from-log: {message}")))?;
    let story = from_log::tell(&facts, policy);
    let text = match arguments.format {
        Format::Text => story.text(terminal),
        Format::Json => format!("{:#}\n", story.json()),
    };
    let mut notes = Vec::new();
    if !story.same_policy {
        notes.push("scopegate: note: another policy than the one at hand made this decision".to_owned());
    }
    Ok(CommandOutput { text, notes, yes: story.passed })
}

/// Decides the request and explains each step.
pub fn explain(policy: Policy, scene: &Scene) -> Explanation {
    narrate::narrate(scene, &decide(policy, scene))
}

/// The request that the command line describes.
fn scene(arguments: &Arguments, policy: &Policy) -> Result<Scene, Failure> {
    let reads_standard_input =
        [arguments.token.as_ref(), arguments.introspection.as_ref(), arguments.body.as_ref()]
            .into_iter()
            .flatten()
            .chain(&arguments.config)
            .chain(arguments.jwks.iter().chain(&arguments.discovery).map(|(_, file)| file))
            .filter(|path| path.as_os_str() == "-")
            .count();
    if reads_standard_input > 1 {
        return Err(Failure("only one file can be standard input".to_owned()));
    }
    let mut scene = Scene {
        client_certificate: arguments.client_certificate_sha256,
        peer_address: arguments.peer_address,
        fetching: arguments.fetching.clone(),
        now: arguments.now.unwrap_or_else(clock::now),
        ..Scene::default()
    };
    let pseudo_headers = [
        (":method", &arguments.method),
        (":scheme", &arguments.scheme),
        (":authority", &arguments.host),
        (":path", &arguments.path),
    ];
    let own = arguments.headers.iter().map(|(name, value)| (name.as_str(), value));
    scene.headers = pseudo_headers
        .into_iter()
        .chain(own)
        .map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec()))
        .collect();
    for (option, files) in [("--jwks", &arguments.jwks), ("--discovery", &arguments.discovery)] {
        for (name, file) in files {
            let Some(provider) = policy.providers.iter().find(|known| *known.name == **name) else {
                return Err(Failure(format!("{option}: no provider is called `{}`", shown(name))));
            };
            let read = (name.clone(), read_bytes(file)?.1);
            if option == "--jwks" {
                scene.jwks.push(read);
                continue;
            }
            match &provider.keys {
                ProviderKeys::Remote(remote) if remote.discovery.is_some() => scene.metadata.push(read),
                ProviderKeys::Remote(_) | ProviderKeys::Local(_) | ProviderKeys::None => {
                    return Err(Failure(format!("--discovery: provider `{name}` has no `discovery`")));
                }
            }
        }
    }
    if let Some(file) = &arguments.introspection {
        scene.introspection = Some(read_bytes(file)?.1);
    }
    if let Some(file) = &arguments.body {
        scene.body = Some(read_bytes(file)?.1);
    }
    if let Some(file) = &arguments.token {
        let (name, bytes) = read_bytes(file)?;
        let token =
            String::from_utf8(bytes).map_err(|_| Failure(format!("{name} holds no token: not UTF-8")))?;
        let token = token.trim();
        if token.is_empty() {
            return Err(Failure(format!("{name} holds no token: it is empty")));
        }
        put_token(&mut scene, token, policy);
    }
    Ok(scene)
}

fn parse_header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or("write it as `name: value`")?;
    let name = name.trim().to_ascii_lowercase();
    let is_name = !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte));
    if !is_name {
        return Err("the name is empty or holds a character that no header's name may hold".to_owned());
    }
    if name == "host" {
        return Err("give the host with --host".to_owned());
    }
    Ok((name, value.trim().to_owned()))
}

fn parse_assignment(text: &str) -> Result<(String, PathBuf), String> {
    let (name, file) = text.split_once('=').ok_or("write it as PROVIDER=FILE")?;
    if name.is_empty() || file.is_empty() {
        return Err("write it as PROVIDER=FILE".to_owned());
    }
    Ok((name.to_owned(), PathBuf::from(file)))
}

pub fn parse_digest(text: &str) -> Result<[u8; 32], String> {
    let digits: Vec<u8> = text
        .chars()
        .filter(|c| *c != ':')
        .filter_map(|c| c.to_digit(16))
        .filter_map(|d| u8::try_from(d).ok())
        .collect();
    let mut digest = [0; 32];
    let is_hex = text.chars().all(|c| c == ':' || c.is_ascii_hexdigit());
    if !is_hex || digits.len() != 64 {
        return Err("a SHA-256 digest is 64 hex digits".to_owned());
    }
    for (byte, pair) in digest.iter_mut().zip(digits.chunks(2)) {
        *byte = pair.iter().fold(0, |byte, digit| byte << 4 | digit);
    }
    Ok(digest)
}
