//! The wasm file that was built, with a fault put into it: what the host calls goes through the fault first. No file
//! that is shipped is ever compiled with one.

use std::fs;

use wasm_encoder::{
    BlockType, CodeSection, ExportKind, ExportSection, Function, FunctionSection, InstructionSink, MemArg,
    Module, RawSection, ValType,
};
use wasmparser::{ExternalKind, Parser, Payload, TypeRef};

use scopegate_testing::harness::built_module;

/// What goes wrong.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// A request with so many headers traps the VM.
    TrapAtHeaders(i32),
    /// An issuer's answer with so many bytes traps the VM.
    TrapAtAnswer(i32),
    /// Each tick traps the VM.
    TrapInTick,
    /// The first so many calls of `proxy_on_configure` in this proxy, which are those of the canary and whoever comes
    /// next, are as ever; the others trap the VM.
    TrapInConfigureAfter(i32),
    /// The same, but the others return `false`.
    RefuseConfigureAfter(i32),
}

impl Fault {
    /// The export that it is put before.
    fn export(self) -> &'static str {
        match self {
            Self::TrapAtHeaders(_) => "proxy_on_request_headers",
            Self::TrapAtAnswer(_) => "proxy_on_http_call_response",
            Self::TrapInTick => "proxy_on_tick",
            Self::TrapInConfigureAfter(_) | Self::RefuseConfigureAfter(_) => "proxy_on_configure",
        }
    }

    /// `local` is the first of four that are free.
    fn write(self, code: &mut InstructionSink<'_>, local: u32, module: &Parts<'_>) {
        let trap_where_argument_reaches = |code: &mut InstructionSink<'_>, argument, limit| {
            code.local_get(argument).i32_const(limit).i32_ge_u().if_(BlockType::Empty).unreachable().end();
        };
        match self {
            Self::TrapAtHeaders(count) => trap_where_argument_reaches(code, 1, count),
            Self::TrapAtAnswer(size) => trap_where_argument_reaches(code, 3, size),
            Self::TrapInTick => {
                code.unreachable();
            }
            Self::TrapInConfigureAfter(count) | Self::RefuseConfigureAfter(count) => {
                count_in_proxy(code, local, module);
                code.i32_const(count).i32_ge_u().if_(BlockType::Empty);
                match self {
                    Self::RefuseConfigureAfter(_) => code.i32_const(0).return_(),
                    _ => code.unreachable(),
                };
                code.end();
            }
        }
    }
}

/// Counts in the proxy's shared data, and leaves on the stack how often that was done before.
fn count_in_proxy(code: &mut InstructionSink<'_>, local: u32, module: &Parts<'_>) {
    let [page, before, version] = [local, local + 1, local + 2];
    let at = |offset| MemArg { offset, align: 0, memory_index: 0 };
    // Memory that nobody else has: the key, where the host writes data, size and version, and the new count.
    code.i32_const(1).memory_grow(0).i32_const(16).i32_shl().local_set(page);
    code.local_get(page).i64_const(i64::from_le_bytes(*b"sabotage")).i64_store(at(0));
    let offset = |code: &mut InstructionSink<'_>, bytes| {
        code.local_get(page).i32_const(bytes).i32_add();
    };
    code.loop_(BlockType::Empty);
    code.i32_const(0).local_set(before).i32_const(0).local_set(version);
    code.local_get(page).i32_const(8);
    [8, 12, 16].into_iter().for_each(|bytes| offset(code, bytes));
    code.call(module.import("proxy_get_shared_data")).i32_eqz().if_(BlockType::Empty);
    code.local_get(page).i32_load(at(8)).i32_load(at(0)).local_set(before);
    code.local_get(page).i32_load(at(16)).local_set(version);
    code.end();
    code.local_get(page).local_get(before).i32_const(1).i32_add().i32_store(at(20));
    code.local_get(page).i32_const(8);
    offset(code, 20);
    code.i32_const(4).local_get(version);
    // Another thread may have been quicker.
    code.call(module.import("proxy_set_shared_data")).br_if(0).end();
    code.local_get(before);
}

/// A module as far as it has to be understood.
#[derive(Default)]
struct Parts<'m> {
    imports: Vec<&'m str>,
    /// How many parameters each type has.
    parameters: Vec<u32>,
    /// The types of the functions that are defined here.
    functions: Vec<u32>,
    exports: Vec<(&'m str, ExportKind, u32)>,
    bodies: Vec<&'m [u8]>,
    sections: Vec<(u8, &'m [u8])>,
}

impl<'m> Parts<'m> {
    fn of(bytes: &'m [u8]) -> Self {
        let mut parts = Self::default();
        let slice = |range: std::ops::Range<usize>| &bytes[range];
        for payload in Parser::new(0).parse_all(bytes) {
            let payload = payload.expect("the built module");
            if let Some((id, range)) = payload.as_section() {
                parts.sections.push((id, slice(range)));
            }
            match payload {
                Payload::TypeSection(types) => {
                    let types = types.into_iter_err_on_gc_types().map(|kind| kind.expect("a type"));
                    parts.parameters.extend(types.map(|kind| kind.params().len() as u32));
                }
                Payload::ImportSection(imports) => {
                    let imports = imports.into_iter().map(|import| import.expect("an import"));
                    let functions = imports.filter(|import| matches!(import.ty, TypeRef::Func(_)));
                    parts.imports.extend(functions.map(|import| import.name));
                }
                Payload::FunctionSection(functions) => {
                    parts.functions.extend(functions.into_iter().map(|kind| kind.expect("a type's number")));
                }
                Payload::ExportSection(exports) => {
                    for export in exports {
                        let export = export.expect("an export");
                        let kind = match export.kind {
                            ExternalKind::Func => ExportKind::Func,
                            ExternalKind::Memory => ExportKind::Memory,
                            other => panic!("an export of an unexpected kind: {other:?}"),
                        };
                        parts.exports.push((export.name, kind, export.index));
                    }
                }
                Payload::CodeSectionEntry(body) => parts.bodies.push(slice(body.range())),
                _ => {}
            }
        }
        parts
    }

    fn import(&self, name: &str) -> u32 {
        self.imports.iter().position(|import| *import == name).expect("an import of the filter") as u32
    }

    /// The module with one more function, and other exports.
    fn write(&self, exports: &[(&str, ExportKind, u32)], added: Option<(u32, Function)>) -> Vec<u8> {
        let mut module = Module::new();
        for (id, bytes) in &self.sections {
            match (*id, &added) {
                (3, Some((kind, _))) => {
                    let mut section = FunctionSection::new();
                    for kind in self.functions.iter().chain([kind]) {
                        section.function(*kind);
                    }
                    module.section(&section);
                }
                (10, Some((_, function))) => {
                    let mut section = CodeSection::new();
                    for body in &self.bodies {
                        section.raw(body);
                    }
                    module.section(section.function(function));
                }
                (7, _) => {
                    let mut section = ExportSection::new();
                    for (name, kind, index) in exports {
                        section.export(name, *kind, *index);
                    }
                    module.section(&section);
                }
                _ => {
                    module.section(&RawSection { id: *id, data: bytes });
                }
            }
        }
        module.finish()
    }
}

fn built() -> Vec<u8> {
    fs::read(built_module()).expect("the built module")
}

/// The built module with a fault in it.
pub fn with(fault: Fault) -> Vec<u8> {
    put(&built(), fault)
}

/// The built module with both faults in it, which are put before different exports.
pub fn with_both(one: Fault, other: Fault) -> Vec<u8> {
    put(&with(one), other)
}

fn put(bytes: &[u8], fault: Fault) -> Vec<u8> {
    let parts = Parts::of(bytes);
    let imports = parts.imports.len() as u32;
    let mut exports = parts.exports.clone();
    let export = exports.iter_mut().find(|(name, ..)| *name == fault.export()).expect("an export");
    let original = std::mem::replace(&mut export.2, imports + parts.functions.len() as u32);

    let kind = parts.functions[(original - imports) as usize];
    let parameters = parts.parameters[kind as usize];
    let mut function = Function::new([(4, ValType::I32)]);
    let mut code = function.instructions();
    fault.write(&mut code, parameters, &parts);
    for parameter in 0..parameters {
        code.local_get(parameter);
    }
    code.call(original).end();
    parts.write(&exports, Some((kind, function)))
}

/// The built module, which a host sees as another one: there is something in it that does nothing.
pub fn renamed(name: &str) -> Vec<u8> {
    let mut bytes = built();
    let length = u8::try_from(name.len()).expect("a short name");
    assert!(length < 127, "a short name");
    bytes.extend([0, length + 1, length]);
    bytes.extend(name.as_bytes());
    bytes
}

/// The built module without what a host calls for requests: Envoy takes it, and every request passes it by.
pub fn without_callbacks() -> Vec<u8> {
    let bytes = built();
    let parts = Parts::of(&bytes);
    let is_kept = |name: &str| !name.starts_with("proxy_on_") || name == "proxy_on_memory_allocate";
    let kept: Vec<_> = parts.exports.iter().copied().filter(|(name, ..)| is_kept(name)).collect();
    parts.write(&kept, None)
}
