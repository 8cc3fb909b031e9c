//! `scopegate bundle` and `scopegate unbundle`: a table of many files as the one text that the filter takes, and back.

use std::io::Write;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::{Compression, GzBuilder};
use scopegate::config::document::Node;

use crate::document_text::{json, yaml};
use crate::progress;
use crate::source::{Inputs, digest};
use crate::terminal::shown;
use crate::{CommandOutput, Failure};

/// Write a table of one or many files as the one text that the filter takes.
///
/// The table is checked first; one that the filter would refuse is not bundled. The same files give the same bytes. The
/// digest on standard error is the one by which the filter's logs name the policy, in both forms.
#[derive(clap::Args)]
#[command(after_help = "\
Exit codes: 0 written, 2 there is nothing to write.

Examples:
  scopegate bundle gateway/ -o policy.json
  scopegate bundle gateway/ --compact -o policy.json
  scopegate render policy.json --as istio | kubectl apply -f -")]
pub struct Arguments {
    #[command(flatten)]
    inputs: Inputs,
    /// In the compact form: gzip in base64, for places that hold little, such as a Kubernetes resource.
    #[arg(long)]
    compact: bool,
    /// Where to write it; default standard output.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Write any form of a configuration as readable YAML.
///
/// Comments, and which file of a table said what, are not in a bundle and so do not come back.
#[derive(clap::Args)]
#[command(after_help = "\
Exit codes: 0 written, 2 there is nothing to write.

Examples:
  scopegate unbundle gateway.yaml
  scopegate unbundle envoy.yaml -o deployed.yaml")]
pub struct UnbundleArguments {
    #[command(flatten)]
    inputs: Inputs,
    /// Where to write it; default standard output.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Runs `bundle`.
pub fn run(arguments: &Arguments) -> Result<CommandOutput, Failure> {
    let source = arguments.inputs.read()?;
    let (loaded, document) = source.load_whole()?;
    progress::doing("packing", 0);
    let text = json(&document.value);
    let note = format!(
        "scopegate: policy {}, {} tenants, {} operations",
        digest(text.as_bytes()).get(..16).unwrap_or_default(),
        loaded.policy.tenants.len(),
        loaded.policy.catalog.operations.len()
    );
    let text = if arguments.compact { compact(&text)? } else { text };
    // Nothing follows the text in a file: the digest is that of its bytes.
    let mut output = written(text, arguments.output.as_deref())?;
    output.notes.push(note);
    Ok(output)
}

/// Runs `unbundle`.
pub fn run_unbundle(arguments: &UnbundleArguments) -> Result<CommandOutput, Failure> {
    let source = arguments.inputs.read()?;
    let (_, document) = source.load_whole()?;
    written(yaml(&document.value), arguments.output.as_deref())
}

/// The compact form of a configuration's JSON. The same for the same text: no name and no time is in it.
pub fn compact(text: &str) -> Result<String, Failure> {
    let failed = |error| Failure(format!("cannot pack: {error}"));
    let mut packer = GzBuilder::new().mtime(0).write(Vec::new(), Compression::default());
    packer.write_all(text.as_bytes()).map_err(failed)?;
    let packed = packer.finish().map_err(failed)?;
    Ok(format!("{{\"version\": 1, \"compact\": \"{}\"}}", STANDARD.encode(packed)))
}

/// The compact form as a document.
pub fn compact_document(document: &Node<'_>) -> Result<Node<'static>, Failure> {
    let text = compact(&json(&document.value))?;
    let node = scopegate::config::document::parse_json(text.as_bytes());
    node.map(|node| crate::envoy_file::owned(&node)).map_err(|error| Failure(error.to_string()))
}

fn written(text: String, output: Option<&Path>) -> Result<CommandOutput, Failure> {
    let Some(output) = output else {
        return Ok(CommandOutput::yes(if text.ends_with('\n') { text } else { format!("{text}\n") }));
    };
    std::fs::write(output, text).map_err(|error| {
        Failure(format!("cannot write {}: {error}", shown(&output.display().to_string())))
    })?;
    Ok(CommandOutput::yes(String::new()))
}
