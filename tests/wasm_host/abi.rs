//! The functions that a host offers a module: `env.proxy_*` of ABI 0.2.1 and a part of WASI preview 1, as Envoy does
//! them, with what they leave behind for a test to look at.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use wasmi::{Caller, Error, Linker, Memory, TypedFunc};

use super::crypto;
use super::profile::{Contexts, Profile, Removal};

/// Statuses of the ABI.
pub mod status {
    pub const OK: u32 = 0;
    pub const NOT_FOUND: u32 = 1;
    pub const BAD_ARGUMENT: u32 = 2;
    pub const EMPTY: u32 = 7;
    pub const CAS_MISMATCH: u32 = 8;
    pub const INTERNAL_FAILURE: u32 = 10;
    pub const UNIMPLEMENTED: u32 = 12;
    pub const INVALID_MEMORY_ACCESS: u32 = 6;
    /// Every status that is an error.
    pub const ERRORS: std::ops::RangeInclusive<u32> = 1..=12;
}

/// Header names and values as bytes.
pub type HeaderMap = Vec<(Vec<u8>, Vec<u8>)>;

/// What the VMs of one proxy have in common.
#[derive(Default)]
pub struct Shared {
    /// Since the epoch.
    pub now: Duration,
    random: u64,
    /// Values with their versions.
    pub data: BTreeMap<Vec<u8>, (Vec<u8>, u32)>,
    queues: Vec<Queue>,
}

struct Queue {
    name: Vec<u8>,
    vm: usize,
    root: u32,
    messages: VecDeque<Vec<u8>>,
    notifications: usize,
}

impl Shared {
    /// Bytes that differ at each call and are the same in each run.
    fn random(&mut self) -> u8 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.random ^ (self.random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (mixed >> 33) as u8
    }

    /// The next queue of a VM that has to be told of a message, with the root context that registered it.
    pub fn next_ready(&mut self, vm: usize) -> Option<(u32, u32)> {
        let (place, queue) = self
            .queues
            .iter_mut()
            .enumerate()
            .find(|(_, queue)| queue.vm == vm && queue.notifications > 0)?;
        queue.notifications -= 1;
        Some((queue.root, place as u32 + 1))
    }

    /// The names of the queues.
    pub fn queue_names(&self) -> impl Iterator<Item = &[u8]> {
        self.queues.iter().map(|queue| queue.name.as_slice())
    }
}

/// A request.
#[derive(Debug, Default)]
pub struct Stream {
    pub root: u32,
    pub headers: HeaderMap,
    pub trailers: HeaderMap,
    /// The upstream's response.
    pub response: HeaderMap,
    /// What the module is given in place of the serialized headers: None inside means that there are none.
    pub raw_headers: Option<Option<Vec<u8>>>,
    /// SHA-256 of the client's certificate, in hex.
    pub certificate: Option<Vec<u8>>,
    /// Whether parts of a body come after the headers, and those that came, or what the module made of them.
    pub has_body: bool,
    pub body: Vec<u8>,
    pub phase: Phase,
    pub replies: Vec<LocalReply>,
    pub resumed: u32,
    pub properties: BTreeMap<String, Vec<u8>>,
    pub is_gone: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// In the callback, nothing decided.
    #[default]
    Deciding,
    /// The module keeps the request.
    Paused,
    /// It went on to the upstream.
    Passed,
    /// The module answered it.
    Answered,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalReply {
    pub status: u32,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    /// Negative: none.
    pub grpc_status: i32,
}

/// A call that the module made.
#[derive(Clone, Debug)]
pub struct Callout {
    pub token: u32,
    pub root: u32,
    pub cluster: String,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    pub timeout: Duration,
}

/// The answer to a call, while the module is told of it.
#[derive(Clone, Debug, Default)]
pub struct CalloutAnswer {
    /// None: the call failed on its way.
    pub headers: Option<HeaderMap>,
    pub body: Vec<u8>,
    /// What the callback is told, where that is not the body's own size.
    pub claimed_body_size: Option<u32>,
}

/// One VM, as its host sees it.
pub struct State {
    /// What kind of host this is.
    pub profile: Profile,
    pub vm: usize,
    pub shared: Rc<RefCell<Shared>>,
    pub memory: Option<Memory>,
    pub allocate: Option<TypedFunc<u32, u32>>,

    /// The context of the callback under way.
    pub current: u32,
    pub effective: Option<u32>,
    pub roots: BTreeMap<u32, Vec<u8>>,
    pub tick_periods: BTreeMap<u32, u32>,
    pub streams: BTreeMap<u32, Stream>,

    pub callouts: BTreeMap<u32, Callout>,
    pub callouts_made: u32,
    pub answer: Option<CalloutAnswer>,

    /// Whether the host has the foreign function `verify_signature`.
    pub offers_verify_signature: bool,
    /// Clusters that calls may go to.
    pub clusters: BTreeSet<String>,
    pub environment: Vec<(String, String)>,
    pub vm_id: String,

    /// Calls that fail, with their statuses.
    pub faults: BTreeMap<String, u32>,
    /// Callbacks that the host does not make: an operator has left them out.
    pub left_out: BTreeSet<String>,
    /// Whether a callback has trapped. The host calls a lost VM no more.
    pub is_lost: bool,
    /// Fails every call but these.
    pub fail_all_but: Option<(u32, &'static [&'static str])>,
    pub calls: BTreeMap<&'static str, u32>,
    /// Metrics by name: what counters came to, what gauges were set to last.
    pub metrics: BTreeMap<String, i64>,
    /// The names of metrics, in the order of their numbers.
    pub metric_names: Vec<String>,
    pub logs: Vec<(u32, String)>,
    /// Calls of which the host would have crashed.
    pub traps: Vec<&'static str>,
    /// What no module should do.
    pub violations: Vec<String>,
}

impl State {
    /// The context that calls are about.
    fn context(&self) -> u32 {
        self.effective.unwrap_or(self.current)
    }

    fn stream(&mut self) -> Option<&mut Stream> {
        let id = self.context();
        self.streams.get_mut(&id).filter(|stream| !stream.is_gone)
    }

    fn exists(&self, context: u32) -> bool {
        self.roots.contains_key(&context) || self.streams.get(&context).is_some_and(|stream| !stream.is_gone)
    }

    /// The headers of the stream in force, as long as they may be changed.
    fn request_headers(&mut self) -> Result<&mut HeaderMap, u32> {
        match self.stream() {
            Some(stream) if matches!(stream.phase, Phase::Deciding | Phase::Paused) => {
                Ok(&mut stream.headers)
            }
            Some(_) | None => Err(status::BAD_ARGUMENT),
        }
    }

    /// The headers as the host shows them to the module.
    fn shown_headers(&mut self) -> Result<HeaderMap, u32> {
        let profile = self.profile;
        let mut headers = self.request_headers()?.clone();
        if let Some(limit) = profile.header_limit {
            headers.truncate(limit);
        }
        if profile.normalises_path {
            for (name, value) in &mut headers {
                if name == b":path" {
                    *value = normalised(value);
                }
            }
        }
        Ok(headers)
    }

    /// A header map of the stream in force, as long as it may be changed.
    fn stream_map(&mut self, map: u32) -> Result<&mut HeaderMap, u32> {
        match map {
            REQUEST_HEADERS => self.request_headers(),
            REQUEST_TRAILERS => self.stream().map(|stream| &mut stream.trailers).ok_or(status::BAD_ARGUMENT),
            RESPONSE_HEADERS => match self.stream() {
                Some(stream) if !stream.response.is_empty() => Ok(&mut stream.response),
                Some(_) | None => Err(status::BAD_ARGUMENT),
            },
            _ => Err(status::BAD_ARGUMENT),
        }
    }

    fn metric(&mut self, number: u32) -> Result<&mut i64, u32> {
        let name = self.metric_names.get(number as usize).ok_or(status::NOT_FOUND)?;
        Ok(self.metrics.entry(name.clone()).or_default())
    }

    fn fault(&self, name: &str) -> Option<u32> {
        let general =
            self.fail_all_but.filter(|(_, spared)| !spared.contains(&name)).map(|(status, _)| status);
        self.faults.get(name).copied().or(general)
    }
}

/// The module's side of a call.
struct Guest<'a, 'c> {
    caller: &'a mut Caller<'c, State>,
}

type Outcome = Result<(), u32>;

impl Guest<'_, '_> {
    fn state(&mut self) -> &mut State {
        self.caller.data_mut()
    }

    fn memory(&self) -> Memory {
        self.caller.data().memory.expect("the module exports its memory")
    }

    fn read(&self, at: u32, size: u32) -> Result<Vec<u8>, u32> {
        let end = at.checked_add(size).ok_or(status::INVALID_MEMORY_ACCESS)?;
        let bytes = self.memory().data(&*self.caller).get(at as usize..end as usize);
        bytes.map(<[u8]>::to_vec).ok_or(status::INVALID_MEMORY_ACCESS)
    }

    fn text(&self, at: u32, size: u32) -> Result<String, u32> {
        Ok(String::from_utf8_lossy(&self.read(at, size)?).into_owned())
    }

    fn write(&mut self, at: u32, bytes: &[u8]) -> Outcome {
        self.memory().write(&mut *self.caller, at as usize, bytes).map_err(|_| status::INVALID_MEMORY_ACCESS)
    }

    fn write_number(&mut self, at: u32, number: u32) -> Outcome {
        self.write(at, &number.to_le_bytes())
    }

    /// Hands bytes over in memory that the module allocates.
    fn give(&mut self, bytes: &[u8], pointer_at: u32, size_at: u32) -> Outcome {
        let mut pointer = 0;
        if !bytes.is_empty() {
            let allocate = self.caller.data().allocate.ok_or(status::INVALID_MEMORY_ACCESS)?;
            pointer = allocate
                .call(&mut *self.caller, bytes.len() as u32)
                .map_err(|_| status::INVALID_MEMORY_ACCESS)?;
            self.write(pointer, bytes)?;
        }
        self.write_number(pointer_at, pointer)?;
        self.write_number(size_at, bytes.len() as u32)
    }
}

/// Counts a call, fails it where a test wants that, and turns its outcome into a status.
fn serve(
    mut caller: Caller<'_, State>,
    name: &'static str,
    work: impl FnOnce(&mut Guest<'_, '_>) -> Outcome,
) -> u32 {
    *caller.data_mut().calls.entry(name).or_default() += 1;
    if let Some(status) = caller.data().fault(name) {
        return status;
    }
    let state = caller.data_mut();
    if state.profile.traps_on(name) {
        state.traps.push(name);
    }
    if !state.profile.has(name) {
        return status::UNIMPLEMENTED;
    }
    work(&mut Guest { caller: &mut caller }).err().unwrap_or(status::OK)
}

pub const REQUEST_HEADERS: u32 = 0;
pub const REQUEST_TRAILERS: u32 = 1;
pub const RESPONSE_HEADERS: u32 = 2;
pub const CALL_RESPONSE_HEADERS: u32 = 6;
const HTTP_REQUEST_BODY: u32 = 0;
const CALL_RESPONSE_BODY: u32 = 4;
const PLUGIN_CONFIGURATION: u32 = 7;

/// The ABI's form of a header map.
pub fn serialize(headers: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = (headers.len() as u32).to_le_bytes().to_vec();
    for (name, value) in headers {
        bytes.extend((name.len() as u32).to_le_bytes());
        bytes.extend((value.len() as u32).to_le_bytes());
    }
    for (name, value) in headers {
        for part in [name, value] {
            bytes.extend(part);
            bytes.push(0);
        }
    }
    bytes
}

/// The header map that a module sent; it has to be whole.
pub fn deserialize(bytes: &[u8]) -> Option<HeaderMap> {
    let number = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?) as usize);
    if bytes.is_empty() {
        return Some(HeaderMap::new());
    }
    let count = number(0)?;
    let mut at = 4 + count * 8;
    let mut take = |size: usize| {
        let part = bytes.get(at..at + size)?.to_vec();
        (*bytes.get(at + size)? == 0).then_some(())?;
        at += size + 1;
        Some(part)
    };
    let headers: Option<HeaderMap> = (0..count)
        .map(|index| Some((take(number(4 + index * 8)?)?, take(number(8 + index * 8)?)?)))
        .collect();
    headers.filter(|_| at == bytes.len())
}

/// The first value of a header.
pub fn header<'h>(headers: &'h [(Vec<u8>, Vec<u8>)], name: &str) -> Option<&'h str> {
    let (_, value) = headers.iter().find(|(known, _)| known == name.as_bytes())?;
    std::str::from_utf8(value).ok()
}

/// Defines everything that the host offers.
pub fn define(linker: &mut Linker<State>) -> Result<(), Error> {
    define_streams(linker)?;
    define_headers(linker)?;
    define_surroundings(linker)?;
    define_shared(linker)?;
    define_wasi(linker)
}

/// A path with its escapes decoded and its dot segments gone, as nginx hands it over.
fn normalised(path: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(path);
    let (path, query) = text.split_once('?').map_or((&*text, None), |(path, query)| (path, Some(query)));
    let decoded = percent_encoding::percent_decode_str(path).decode_utf8_lossy().into_owned();
    let mut segments = Vec::new();
    for segment in decoded.split('/').skip(1) {
        match segment {
            "." | "" => {}
            ".." => drop(segments.pop()),
            other => segments.push(other),
        }
    }
    let query = query.map_or_else(String::new, |query| format!("?{query}"));
    format!("/{}{query}", segments.join("/")).into_bytes()
}

fn define_streams(linker: &mut Linker<State>) -> Result<(), Error> {
    linker.func_wrap(
        "env",
        "proxy_send_local_response",
        |caller: Caller<'_, State>,
         code: u32,
         _details: u32,
         _details_size: u32,
         body: u32,
         body_size: u32,
         headers: u32,
         headers_size: u32,
         grpc_status: i32| {
            serve(caller, "proxy_send_local_response", |guest| {
                let body = guest.read(body, body_size)?;
                let headers = deserialize(&guest.read(headers, headers_size)?).ok_or(status::BAD_ARGUMENT)?;
                let context = guest.state().context();
                let reply = LocalReply { status: code, headers, body, grpc_status };
                match guest.state().stream() {
                    // One whose headers went on may still be ended at its trailers.
                    Some(stream)
                        if matches!(stream.phase, Phase::Deciding | Phase::Paused)
                            || (stream.phase == Phase::Passed && !stream.trailers.is_empty()) =>
                    {
                        stream.phase = Phase::Answered;
                        stream.replies.push(reply);
                    }
                    Some(stream) => {
                        stream.replies.push(reply);
                        guest
                            .state()
                            .violations
                            .push(format!("stream {context} is answered when it is over"));
                    }
                    None => {
                        guest.state().violations.push(format!("context {context}, no stream, is answered"))
                    }
                }
                Ok(())
            })
        },
    )?;
    linker.func_wrap("env", "proxy_continue_stream", |caller: Caller<'_, State>, stream_type: u32| {
        serve(caller, "proxy_continue_stream", |guest| {
            let context = guest.state().context();
            match guest.state().stream() {
                Some(stream) if stream_type == 0 && stream.phase == Phase::Paused => {
                    stream.phase = Phase::Passed;
                    stream.resumed += 1;
                }
                Some(_) | None => {
                    guest
                        .state()
                        .violations
                        .push(format!("context {context} is resumed, which is not paused"));
                }
            }
            Ok(())
        })
    })?;
    linker.func_wrap("env", "proxy_set_effective_context", |caller: Caller<'_, State>, context: u32| {
        serve(caller, "proxy_set_effective_context", |guest| {
            if guest.state().profile.contexts == Contexts::Pretended {
                return Ok(());
            }
            if !guest.state().exists(context) {
                return Err(status::BAD_ARGUMENT);
            }
            guest.state().effective = Some(context);
            Ok(())
        })
    })?;
    linker.func_wrap(
        "env",
        "proxy_http_call",
        |caller: Caller<'_, State>,
         cluster: u32,
         cluster_size: u32,
         headers: u32,
         headers_size: u32,
         body: u32,
         body_size: u32,
         _trailers: u32,
         _trailers_size: u32,
         timeout: u32,
         token_at: u32| {
            serve(caller, "proxy_http_call", |guest| {
                let cluster = guest.text(cluster, cluster_size)?;
                let headers = deserialize(&guest.read(headers, headers_size)?).ok_or(status::BAD_ARGUMENT)?;
                let body = guest.read(body, body_size)?;
                let is_complete =
                    [":method", ":path", ":authority"].iter().all(|name| header(&headers, name).is_some());
                if !is_complete || !guest.state().clusters.contains(&cluster) {
                    return Err(status::BAD_ARGUMENT);
                }
                let state = guest.state();
                state.callouts_made += 1;
                let (token, context) = (state.callouts_made, state.context());
                let root = state.streams.get(&context).map_or(context, |stream| stream.root);
                let timeout = Duration::from_millis(timeout.into());
                state.callouts.insert(token, Callout { token, root, cluster, headers, body, timeout });
                guest.write_number(token_at, token)
            })
        },
    )?;
    Ok(())
}

fn define_headers(linker: &mut Linker<State>) -> Result<(), Error> {
    linker.func_wrap(
        "env",
        "proxy_get_header_map_pairs",
        |caller: Caller<'_, State>, map: u32, pointer_at: u32, size_at: u32| {
            serve(caller, "proxy_get_header_map_pairs", |guest| {
                let bytes = match map {
                    REQUEST_HEADERS => {
                        let raw = guest.state().stream().and_then(|stream| stream.raw_headers.clone());
                        match raw {
                            Some(raw) => raw.ok_or(status::NOT_FOUND)?,
                            None => {
                                let shown = guest.state().shown_headers()?;
                                serialize(&shown)
                            }
                        }
                    }
                    REQUEST_TRAILERS => serialize(guest.state().stream_map(map)?),
                    CALL_RESPONSE_HEADERS => {
                        let answer = guest.state().answer.as_ref().and_then(|answer| answer.headers.as_ref());
                        serialize(answer.ok_or(status::BAD_ARGUMENT)?)
                    }
                    _ => return Err(status::BAD_ARGUMENT),
                };
                guest.give(&bytes, pointer_at, size_at)
            })
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_replace_header_map_value",
        |caller: Caller<'_, State>, map: u32, name: u32, name_size: u32, value: u32, value_size: u32| {
            serve(caller, "proxy_replace_header_map_value", |guest| {
                let (name, value) = (guest.read(name, name_size)?, guest.read(value, value_size)?);
                if !matches!(map, REQUEST_HEADERS | RESPONSE_HEADERS) {
                    return Err(status::BAD_ARGUMENT);
                }
                let headers = guest.state().stream_map(map)?;
                headers.retain(|(known, _)| !known.eq_ignore_ascii_case(&name));
                headers.push((name, value));
                Ok(())
            })
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_add_header_map_value",
        |caller: Caller<'_, State>, map: u32, name: u32, name_size: u32, value: u32, value_size: u32| {
            serve(caller, "proxy_add_header_map_value", |guest| {
                let (name, value) = (guest.read(name, name_size)?, guest.read(value, value_size)?);
                if map != REQUEST_HEADERS {
                    return Err(status::BAD_ARGUMENT);
                }
                guest.state().request_headers()?.push((name, value));
                Ok(())
            })
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_remove_header_map_value",
        |caller: Caller<'_, State>, map: u32, name: u32, name_size: u32| {
            serve(caller, "proxy_remove_header_map_value", |guest| {
                let name = guest.read(name, name_size)?;
                if guest.state().profile.removal == Removal::Pretended {
                    return Ok(());
                }
                guest.state().stream_map(map)?.retain(|(known, _)| !known.eq_ignore_ascii_case(&name));
                Ok(())
            })
        },
    )?;
    Ok(())
}

fn define_surroundings(linker: &mut Linker<State>) -> Result<(), Error> {
    linker.func_wrap("env", "proxy_log", |caller: Caller<'_, State>, level: u32, text: u32, size: u32| {
        serve(caller, "proxy_log", |guest| {
            let text = guest.text(text, size)?;
            guest.state().logs.push((level, text));
            Ok(())
        })
    })?;
    linker.func_wrap(
        "env",
        "proxy_get_buffer_bytes",
        |caller: Caller<'_, State>, buffer: u32, start: u32, max: u32, pointer_at: u32, size_at: u32| {
            serve(caller, "proxy_get_buffer_bytes", |guest| {
                let state = guest.state();
                let bytes = match buffer {
                    HTTP_REQUEST_BODY => state.stream().map(|stream| stream.body.clone()),
                    CALL_RESPONSE_BODY => state.answer.as_ref().map(|answer| answer.body.clone()),
                    PLUGIN_CONFIGURATION => state.roots.get(&state.current).cloned(),
                    _ => None,
                };
                let bytes = bytes.ok_or(status::NOT_FOUND)?;
                let start = bytes.len().min(start as usize);
                let end = bytes.len().min(start + max as usize);
                guest.give(&bytes[start..end], pointer_at, size_at)
            })
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_set_buffer_bytes",
        |caller: Caller<'_, State>, buffer: u32, start: u32, size: u32, value: u32, value_size: u32| {
            serve(caller, "proxy_set_buffer_bytes", |guest| {
                let value = guest.read(value, value_size)?;
                let stream = guest.state().stream().filter(|_| buffer == HTTP_REQUEST_BODY);
                let body = &mut stream.ok_or(status::NOT_FOUND)?.body;
                let start = body.len().min(start as usize);
                let end = body.len().min(start + size as usize);
                body.splice(start..end, value);
                Ok(())
            })
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_get_property",
        |caller: Caller<'_, State>, path: u32, path_size: u32, pointer_at: u32, size_at: u32| {
            serve(caller, "proxy_get_property", |guest| {
                let path = guest.read(path, path_size)?;
                let state = guest.state();
                if state.profile.traps_on_properties_of_plugins && path.starts_with(b"plugin_") {
                    state.traps.push("proxy_get_property of a plugin");
                }
                let value = match path.as_slice() {
                    b"connection\0sha256_peer_certificate_digest" => {
                        guest.state().stream().and_then(|stream| stream.certificate.clone())
                    }
                    b"request\0path" => {
                        let headers = guest.state().request_headers()?;
                        headers.iter().find(|(name, _)| name == b":path").map(|(_, value)| value.clone())
                    }
                    b"plugin_vm_id" => Some(guest.state().vm_id.clone().into_bytes()),
                    _ => None,
                };
                guest.give(&value.ok_or(status::NOT_FOUND)?, pointer_at, size_at)
            })
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_set_property",
        |caller: Caller<'_, State>, path: u32, path_size: u32, value: u32, value_size: u32| {
            serve(caller, "proxy_set_property", |guest| {
                let (path, value) = (guest.text(path, path_size)?, guest.read(value, value_size)?);
                let stream = guest.state().stream().ok_or(status::NOT_FOUND)?;
                stream.properties.insert(path, value);
                Ok(())
            })
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_call_foreign_function",
        |caller: Caller<'_, State>,
         name: u32,
         name_size: u32,
         arguments: u32,
         arguments_size: u32,
         pointer_at: u32,
         size_at: u32| {
            serve(caller, "proxy_call_foreign_function", |guest| {
                let name = guest.text(name, name_size)?;
                if name != "verify_signature" || !guest.state().offers_verify_signature {
                    return Err(status::NOT_FOUND);
                }
                let arguments = guest.read(arguments, arguments_size)?;
                let answer = crypto::verify_signature(&arguments).ok_or(status::BAD_ARGUMENT)?;
                guest.give(&answer, pointer_at, size_at)
            })
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_set_tick_period_milliseconds",
        |caller: Caller<'_, State>, period: u32| {
            serve(caller, "proxy_set_tick_period_milliseconds", |guest| {
                let state = guest.state();
                let root = state.current;
                if state.profile.sets_ticks_once && state.tick_periods.contains_key(&root) {
                    state.traps.push("proxy_set_tick_period_milliseconds again");
                }
                state.tick_periods.insert(root, period);
                Ok(())
            })
        },
    )?;
    define_metrics(linker)
}

fn define_metrics(linker: &mut Linker<State>) -> Result<(), Error> {
    linker.func_wrap(
        "env",
        "proxy_define_metric",
        |caller: Caller<'_, State>, _kind: u32, name: u32, name_size: u32, id_at: u32| {
            serve(caller, "proxy_define_metric", |guest| {
                let name = guest.text(name, name_size)?;
                let names = &mut guest.state().metric_names;
                let number = names.len() as u32;
                names.push(name);
                guest.write_number(id_at, number)
            })
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_increment_metric",
        |caller: Caller<'_, State>, metric: u32, offset: i64| {
            serve(caller, "proxy_increment_metric", |guest| {
                *guest.state().metric(metric)? += offset;
                Ok(())
            })
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_record_metric",
        |caller: Caller<'_, State>, metric: u32, value: u64| {
            serve(caller, "proxy_record_metric", |guest| {
                *guest.state().metric(metric)? = i64::try_from(value).unwrap_or(i64::MAX);
                Ok(())
            })
        },
    )?;
    Ok(())
}

fn define_shared(linker: &mut Linker<State>) -> Result<(), Error> {
    linker.func_wrap(
        "env",
        "proxy_get_shared_data",
        |caller: Caller<'_, State>, key: u32, key_size: u32, pointer_at: u32, size_at: u32, cas_at: u32| {
            serve(caller, "proxy_get_shared_data", |guest| {
                let key = guest.read(key, key_size)?;
                let found = guest.state().shared.borrow().data.get(&key).cloned();
                let (value, cas) = found.ok_or(status::NOT_FOUND)?;
                guest.give(&value, pointer_at, size_at)?;
                guest.write_number(cas_at, cas)
            })
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_set_shared_data",
        |caller: Caller<'_, State>, key: u32, key_size: u32, value: u32, value_size: u32, cas: u32| {
            serve(caller, "proxy_set_shared_data", |guest| {
                let (key, value) = (guest.read(key, key_size)?, guest.read(value, value_size)?);
                let shared = Rc::clone(&guest.state().shared);
                let mut shared = shared.borrow_mut();
                // As Envoy: where there is no value yet, any version is right.
                let known = shared.data.get(&key).map(|(_, version)| *version);
                let version = known.unwrap_or_default();
                if cas != 0 && known.is_some_and(|known| cas != known) {
                    return Err(status::CAS_MISMATCH);
                }
                shared.data.insert(key, (value, version + 1));
                Ok(())
            })
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_register_shared_queue",
        |caller: Caller<'_, State>, name: u32, name_size: u32, queue_at: u32| {
            serve(caller, "proxy_register_shared_queue", |guest| {
                let name = guest.read(name, name_size)?;
                let (vm, root) = (guest.state().vm, guest.state().current);
                let shared = Rc::clone(&guest.state().shared);
                let queues = &mut shared.borrow_mut().queues;
                let place = queues.iter().position(|queue| queue.name == name).unwrap_or_else(|| {
                    queues.push(Queue { name, vm, root, messages: VecDeque::new(), notifications: 0 });
                    queues.len() - 1
                });
                guest.write_number(queue_at, place as u32 + 1)
            })
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_enqueue_shared_queue",
        |caller: Caller<'_, State>, queue: u32, value: u32, value_size: u32| {
            serve(caller, "proxy_enqueue_shared_queue", |guest| {
                let value = guest.read(value, value_size)?;
                let shared = Rc::clone(&guest.state().shared);
                let mut shared = shared.borrow_mut();
                let place = (queue as usize).checked_sub(1).ok_or(status::NOT_FOUND)?;
                let queue = shared.queues.get_mut(place).ok_or(status::NOT_FOUND)?;
                queue.messages.push_back(value);
                queue.notifications += 1;
                Ok(())
            })
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_dequeue_shared_queue",
        |caller: Caller<'_, State>, queue: u32, pointer_at: u32, size_at: u32| {
            serve(caller, "proxy_dequeue_shared_queue", |guest| {
                let shared = Rc::clone(&guest.state().shared);
                let message = {
                    let mut shared = shared.borrow_mut();
                    let place = (queue as usize).checked_sub(1).ok_or(status::NOT_FOUND)?;
                    let queue = shared.queues.get_mut(place).ok_or(status::NOT_FOUND)?;
                    queue.messages.pop_front().ok_or(status::EMPTY)?
                };
                guest.give(&message, pointer_at, size_at)
            })
        },
    )?;
    Ok(())
}

const BAD_DESCRIPTOR: u32 = 8;
const FAULT: u32 = 21;
const NOT_SUPPORTED: u32 = 58;

fn define_wasi(linker: &mut Linker<State>) -> Result<(), Error> {
    const WASI: &str = "wasi_snapshot_preview1";
    linker.func_wrap(
        WASI,
        "clock_time_get",
        |caller: Caller<'_, State>, clock: u32, _precision: u64, time_at: u32| {
            serve(caller, "clock_time_get", |guest| {
                if clock > 1 {
                    return Err(NOT_SUPPORTED);
                }
                let now = guest.state().shared.borrow().now.as_nanos() as u64;
                guest.write(time_at, &now.to_le_bytes()).map_err(|_| FAULT)
            })
        },
    )?;
    linker.func_wrap(WASI, "random_get", |caller: Caller<'_, State>, at: u32, size: u32| {
        serve(caller, "random_get", |guest| {
            let shared = Rc::clone(&guest.state().shared);
            let bytes: Vec<u8> = (0..size).map(|_| shared.borrow_mut().random()).collect();
            guest.write(at, &bytes).map_err(|_| FAULT)
        })
    })?;
    linker.func_wrap(
        WASI,
        "environ_sizes_get",
        |caller: Caller<'_, State>, count_at: u32, size_at: u32| {
            serve(caller, "environ_sizes_get", |guest| {
                let variables = &guest.state().environment;
                let size: usize = variables.iter().map(|(name, value)| name.len() + value.len() + 2).sum();
                let count = variables.len() as u32;
                guest.write_number(count_at, count)?;
                guest.write_number(size_at, size as u32)
            })
        },
    )?;
    linker.func_wrap(WASI, "environ_get", |caller: Caller<'_, State>, pointers_at: u32, text_at: u32| {
        serve(caller, "environ_get", |guest| {
            let (mut pointers_at, mut text_at) = (pointers_at, text_at);
            for (name, value) in guest.state().environment.clone() {
                let text = format!("{name}={value}\0");
                guest.write_number(pointers_at, text_at)?;
                guest.write(text_at, text.as_bytes())?;
                pointers_at += 4;
                text_at += text.len() as u32;
            }
            Ok(())
        })
    })?;
    linker.func_wrap(
        WASI,
        "fd_write",
        |caller: Caller<'_, State>, descriptor: u32, vectors: u32, count: u32, written_at: u32| {
            serve(caller, "fd_write", |guest| {
                let level = match descriptor {
                    1 => 2,
                    2 => 4,
                    _ => return Err(BAD_DESCRIPTOR),
                };
                let mut text = Vec::new();
                for index in 0..count {
                    let vector = guest.read(vectors + index * 8, 8)?;
                    let number = |at: usize| u32::from_le_bytes(vector[at..at + 4].try_into().unwrap());
                    text.extend(guest.read(number(0), number(4))?);
                }
                guest.state().logs.push((level, String::from_utf8_lossy(&text).into_owned()));
                guest.write_number(written_at, text.len() as u32)
            })
        },
    )?;
    linker.func_wrap(WASI, "proc_exit", |mut caller: Caller<'_, State>, code: u32| -> Result<(), Error> {
        caller.data_mut().violations.push(format!("the module exits with {code}"));
        Err(Error::i32_exit(code as i32))
    })?;
    Ok(())
}
