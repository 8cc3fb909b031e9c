//! Takes the exports out of a wasm file that the filter has nothing to do in: `strip-exports FILE`.
//!
//! The SDK exports every callback of the ABI. A host calls each callback that is exported, for each request, and each
//! call is an entry into the VM: some 5,000 instructions a request in Envoy for those that would do nothing.

use std::collections::BTreeSet;
use std::error::Error;
use std::{env, fs};

use wasm_encoder::{ExportKind, ExportSection, Module, RawSection};
use wasmparser::{ExternalKind, Parser, Payload};

/// What a host needs of the filter.
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

fn main() -> Result<(), Box<dyn Error>> {
    let path = env::args().nth(1).ok_or("usage: strip-exports FILE")?;
    let stripped = strip(&fs::read(&path)?)?;
    // Under another name first: whoever reads the file meanwhile gets a whole one.
    let new = format!("{path}.new");
    fs::write(&new, stripped)?;
    Ok(fs::rename(new, path)?)
}

fn strip(bytes: &[u8]) -> Result<Vec<u8>, Box<dyn Error>> {
    let mut module = Module::new();
    let mut missing = BTreeSet::from(KEPT);
    for payload in Parser::new(0).parse_all(bytes) {
        let payload = payload?;
        if let Payload::ExportSection(exports) = payload {
            let mut kept = ExportSection::new();
            for export in exports {
                let export = export?;
                if missing.remove(export.name) {
                    let kind = match export.kind {
                        ExternalKind::Func => ExportKind::Func,
                        ExternalKind::Memory => ExportKind::Memory,
                        other => return Err(format!("`{}` is exported as {other:?}", export.name).into()),
                    };
                    kept.export(export.name, kind, export.index);
                }
            }
            module.section(&kept);
        } else if let Some((id, range)) = payload.as_section() {
            let data = bytes.get(usize::try_from(range.start)?..usize::try_from(range.end)?);
            module.section(&RawSection { id, data: data.ok_or("a section ends after the file")? });
        }
    }
    if missing.is_empty() {
        Ok(module.finish())
    } else {
        Err(format!("the module does not export {missing:?}").into())
    }
}
