//! Makes a wasm file that is shipped out of the one that cargo builds: `finish-wasm envoy|portable BUILT FINISHED`.
//!
//! The SDK exports every callback of the ABI. A host calls each callback that is exported, for each request, and each
//! call is an entry into the VM: some 5,000 instructions a request in Envoy for those that would do nothing. The file for
//! Envoy does without them. Other hosts refuse a file that lacks one, so the portable file keeps them all.
//!
//! The portable file says so in its data, and does without what some hosts trap on.
//!
//! Custom sections (names, producers) are left out of both.

use std::collections::BTreeSet;
use std::error::Error;
use std::{env, fs};

use wasm_encoder::{ExportKind, ExportSection, Module, RawSection};
use wasmparser::{ExternalKind, Parser, Payload};

/// What Envoy needs of the filter.
const KEPT: [&str; 14] = [
    "memory",
    "_initialize",
    "proxy_abi_version_0_2_1",
    "proxy_on_memory_allocate",
    "proxy_on_context_create",
    "proxy_on_configure",
    "proxy_on_tick",
    "proxy_on_queue_ready",
    "proxy_on_http_call_response",
    "proxy_on_request_headers",
    "proxy_on_request_body",
    "proxy_on_request_trailers",
    "proxy_on_response_headers",
    "proxy_on_delete",
];

/// What the file says of itself (`src/edge/host.rs`), and what it is to say.
const FILE: &[u8; 24] = b"scopegate-file: envoy   ";
const PORTABLE: &[u8; 24] = b"scopegate-file: portable";

/// Which of the two files is made.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Envoy,
    Portable,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [kind, built, finished] = arguments.as_slice() else { return Err(USAGE.into()) };
    let kind = match kind.as_str() {
        "envoy" => Kind::Envoy,
        "portable" => Kind::Portable,
        _ => return Err(USAGE.into()),
    };
    Ok(fs::write(finished, finish(&fs::read(built)?, kind)?)?)
}

const USAGE: &str = "usage: finish-wasm envoy|portable BUILT FINISHED";

fn finish(bytes: &[u8], kind: Kind) -> Result<Vec<u8>, Box<dyn Error>> {
    let mut bytes = bytes.to_vec();
    let mut places = bytes.windows(FILE.len()).enumerate().filter(|(_, window)| window == FILE);
    let (Some((place, _)), None) = (places.next(), places.next()) else {
        return Err("the module has to say once which file it is".into());
    };
    if kind == Kind::Portable {
        bytes[place..place + PORTABLE.len()].copy_from_slice(PORTABLE);
    }
    let mut module = Module::new();
    let mut missing = BTreeSet::from(KEPT);
    for payload in Parser::new(0).parse_all(&bytes) {
        let payload = payload?;
        match &payload {
            Payload::ExportSection(exports) => {
                let mut kept = ExportSection::new();
                for export in exports.clone() {
                    let export = export?;
                    if missing.remove(export.name) || kind == Kind::Portable {
                        let kind = match export.kind {
                            ExternalKind::Func => ExportKind::Func,
                            ExternalKind::Memory => ExportKind::Memory,
                            other => return Err(format!("`{}` is exported as {other:?}", export.name).into()),
                        };
                        kept.export(export.name, kind, export.index);
                    }
                }
                module.section(&kept);
            }
            Payload::CustomSection(_) => {}
            other => {
                if let Some((id, range)) = other.as_section() {
                    let data = bytes.get(range);
                    module.section(&RawSection { id, data: data.ok_or("a section ends after the file")? });
                }
            }
        }
    }
    if missing.is_empty() {
        Ok(module.finish())
    } else {
        Err(format!("the module does not export {missing:?}").into())
    }
}
