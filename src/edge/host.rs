//! Calls of the host, none of which traps where the host refuses.
//!
//! The SDK's own wrappers panic on each status that they do not expect (rust-sdk #185; PR #319, `no-panic`, is open), and
//! a panic loses the VM with every request in it. Its `Status` also lacks 5, 6, 9, 11 and 12, so that even reading one of
//! these is undefined behaviour. Hosts do refuse: they lack a function, an operator leaves a capability out, a stream is
//! over. So these are declared anew in [`raw`], with statuses as numbers, the only `unsafe` beside `memcmp`:
//!
//! - Header pairs: the SDK panics on a name that is not UTF-8, which a client may send, and allocates twice for each
//!   header of each request.
//! - Header edits and the request's body: refused for a stream that is over; the request is then answered, not passed on.
//! - Buffers: a worker that traps in `on_configure` forwards unfiltered traffic.
//! - Local responses: the SDK cannot send an HTTP and a gRPC status together.
//! - Properties, the log, metrics, ticks, queues, shared data, foreign functions: the filter works without any of them.
//!
//! The SDK makes the calls whose refusal leaves nothing to go on with: [`call`], whose tokens its dispatcher has to know,
//! [`resume_request`] and [`set_effective_context`]. Of these it expects what Envoy returns.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use proxy_wasm::hostcalls;
use proxy_wasm::types::{BufferType, MapType, Status};

use crate::http::header_pairs::read_pairs;
use crate::http::headers::Header;

pub use self::raw::{
    add_request_header, buffer, call_foreign_function, define_metric, dequeue, enqueue, increment_metric,
    log, record_metric, register_queue, remove_header, send_local_response, set_property, set_request_header,
    set_response_header, set_shared_data, shared_data,
};

/// Headers or trailers as the host has written them, in one buffer.
pub struct HeaderMap {
    bytes: Vec<u8>,
}

impl HeaderMap {
    /// Reads a map of the effective context from the host; None where it does not give it.
    pub fn read(map: MapType) -> Option<Self> {
        Some(Self { bytes: raw::header_map(map)? })
    }

    /// How many bytes they take.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Names in lower case, and values; None where the host has written something else.
    pub fn pairs(&mut self) -> Option<Vec<Header<'_>>> {
        read_pairs(&mut self.bytes)
    }
}

/// A header of a callout's response; None where it has none of that name.
pub fn call_response_header(wanted: &str) -> Option<Vec<u8>> {
    let mut headers = HeaderMap::read(MapType::HttpCallResponseHeaders)?;
    let found = headers.pairs()?.into_iter().find(|(name, _)| *name == wanted.as_bytes());
    found.map(|(_, value)| value.to_vec())
}

/// Puts `value` in the place of the request's body, which is `size` bytes long. False where the host refuses.
pub fn replace_request_body(size: usize, value: &[u8]) -> bool {
    raw::replace_buffer(BufferType::HttpRequestBody, size, value)
}

/// Since the epoch.
pub fn now() -> Duration {
    #[expect(clippy::disallowed_methods, reason = "this is where time comes in")]
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// A property of the host; None where there is none.
pub fn property(path: &[&str]) -> Option<Vec<u8>> {
    raw::property(&path.join("\0"))
}

/// Whether the workers of this proxy may share data: a blank `vm_id` is one namespace with every other plugin.
pub fn shares_data() -> bool {
    !is_portable() && property(&["plugin_vm_id"]).is_some_and(|vm_id| !vm_id.is_empty())
}

/// Sets how often the root context is called. False where the host has no ticks.
pub fn set_tick_period(period: Duration) -> bool {
    raw::set_tick_period(u32::try_from(period.as_millis()).unwrap_or(u32::MAX))
}

/// Whether this is the portable file, which does without what some hosts trap on.
pub fn is_portable() -> bool {
    raw::file().ends_with(b"portable")
}

/// Makes an HTTP call. The token under which its response will come, or the status by which the host refuses.
///
/// Only from a root context, while the effective context is its own: the response goes to the context that called.
pub fn call(
    cluster: &str,
    headers: &[(&str, String)],
    body: &[u8],
    timeout: Duration,
) -> Result<u32, Status> {
    let headers = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    hostcalls::dispatch_http_call(cluster, headers, Some(body), Vec::new(), timeout)
}

/// Lets the paused request of the effective context go on.
pub fn resume_request() {
    // Of an error, the SDK panics.
    let _ = hostcalls::resume_http_request();
}

/// Makes the following calls speak of another context. False where it is gone.
pub fn set_effective_context(context: u32) -> bool {
    hostcalls::set_effective_context(context).is_ok()
}

/// Whether one context can act for another. A host that only says so says it of a context that there cannot be, too.
pub fn has_effective_contexts() -> bool {
    const NOBODY: u32 = u32::MAX;
    const NOT_FOUND: u32 = 1;
    const BAD_ARGUMENT: u32 = 2;
    [NOT_FOUND, BAD_ARGUMENT].contains(&raw::set_effective_context(NOBODY))
}

/// Whether the host makes HTTP calls, found out by one to nowhere. The SDK panics of an error other than these two.
pub fn has_callouts() -> bool {
    const BAD_ARGUMENT: u32 = 2;
    const INTERNAL_FAILURE: u32 = 10;
    [BAD_ARGUMENT, INTERNAL_FAILURE].contains(&raw::call_to_nowhere())
}

/// The functions of the host that the SDK's wrappers do not do for.
mod raw {
    #![allow(
        unsafe_code,
        reason = "the ABI is C: each block passes pointers and lengths of live slices, or takes ownership of what the host wrote to memory that it had from the SDK's `proxy_on_memory_allocate`"
    )]

    use std::ptr::{null, null_mut};

    use proxy_wasm::types::{BufferType, LogLevel, MapType, MetricType};

    use crate::respond::Answer;

    /// Each function returns a status.
    pub const OK: u32 = 0;

    /// Which of the files this is: `tools/finish-wasm` writes `portable` into the other one.
    static FILE: [u8; 24] = *b"scopegate-file: envoy   ";

    /// As it stands in the file, not as the compiler knows it.
    pub fn file() -> [u8; 24] {
        unsafe { std::ptr::read_volatile(&raw const FILE) }
    }

    #[link(wasm_import_module = "env")]
    unsafe extern "C" {
        fn proxy_log(level: LogLevel, message: *const u8, size: usize) -> u32;
        fn proxy_get_header_map_pairs(map: MapType, data: *mut *mut u8, size: *mut usize) -> u32;
        fn proxy_replace_header_map_value(
            map: MapType,
            name: *const u8,
            name_size: usize,
            value: *const u8,
            value_size: usize,
        ) -> u32;
        fn proxy_add_header_map_value(
            map: MapType,
            name: *const u8,
            name_size: usize,
            value: *const u8,
            value_size: usize,
        ) -> u32;
        fn proxy_remove_header_map_value(map: MapType, name: *const u8, name_size: usize) -> u32;
        fn proxy_get_buffer_bytes(
            buffer: BufferType,
            start: usize,
            max: usize,
            data: *mut *mut u8,
            size: *mut usize,
        ) -> u32;
        fn proxy_set_buffer_bytes(
            buffer: BufferType,
            start: usize,
            size: usize,
            value: *const u8,
            value_size: usize,
        ) -> u32;
        fn proxy_send_local_response(
            status: u32,
            details: *const u8,
            details_size: usize,
            body: *const u8,
            body_size: usize,
            headers: *const u8,
            headers_size: usize,
            grpc_status: i32,
        ) -> u32;
        fn proxy_get_property(path: *const u8, path_size: usize, data: *mut *mut u8, size: *mut usize)
        -> u32;
        fn proxy_set_property(path: *const u8, path_size: usize, value: *const u8, value_size: usize) -> u32;
        fn proxy_call_foreign_function(
            name: *const u8,
            name_size: usize,
            arguments: *const u8,
            arguments_size: usize,
            data: *mut *mut u8,
            size: *mut usize,
        ) -> u32;
        fn proxy_get_shared_data(
            key: *const u8,
            key_size: usize,
            data: *mut *mut u8,
            size: *mut usize,
            version: *mut u32,
        ) -> u32;
        fn proxy_set_shared_data(
            key: *const u8,
            key_size: usize,
            value: *const u8,
            value_size: usize,
            version: u32,
        ) -> u32;
        fn proxy_register_shared_queue(name: *const u8, name_size: usize, queue: *mut u32) -> u32;
        fn proxy_enqueue_shared_queue(queue: u32, value: *const u8, value_size: usize) -> u32;
        fn proxy_dequeue_shared_queue(queue: u32, data: *mut *mut u8, size: *mut usize) -> u32;
        fn proxy_set_tick_period_milliseconds(period: u32) -> u32;
        fn proxy_set_effective_context(context: u32) -> u32;
        fn proxy_http_call(
            upstream: *const u8,
            upstream_size: usize,
            headers: *const u8,
            headers_size: usize,
            body: *const u8,
            body_size: usize,
            trailers: *const u8,
            trailers_size: usize,
            timeout: u32,
            token: *mut u32,
        ) -> u32;
        fn proxy_define_metric(kind: MetricType, name: *const u8, name_size: usize, metric: *mut u32) -> u32;
        fn proxy_increment_metric(metric: u32, offset: i64) -> u32;
        fn proxy_record_metric(metric: u32, value: u64) -> u32;
    }

    /// What a function of the host returns in memory that it has allocated here; None where it returns an error.
    fn returned(function: impl FnOnce(*mut *mut u8, *mut usize) -> u32) -> Option<Vec<u8>> {
        let (mut data, mut size) = (null_mut(), 0);
        if function(&raw mut data, &raw mut size) != OK {
            return None;
        }
        Some(if data.is_null() { Vec::new() } else { unsafe { Vec::from_raw_parts(data, size, size) } })
    }

    /// Writes a log line.
    pub fn log(level: LogLevel, message: &str) {
        // A line that cannot be written can be reported nowhere.
        let _ = unsafe { proxy_log(level, message.as_ptr(), message.len()) };
    }

    /// Headers as the host has written them; None where it does not give them.
    pub fn header_map(map: MapType) -> Option<Vec<u8>> {
        returned(|data, size| unsafe { proxy_get_header_map_pairs(map, data, size) })
    }

    /// Sets a request header, in place of all of its name. False where the host refuses.
    pub fn set_request_header(name: &[u8], value: &[u8]) -> bool {
        set_header(MapType::HttpRequestHeaders, name, value)
    }

    /// Sets a header of the upstream's response, in place of all of its name. False where the host refuses.
    pub fn set_response_header(name: &[u8], value: &[u8]) -> bool {
        set_header(MapType::HttpResponseHeaders, name, value)
    }

    fn set_header(map: MapType, name: &[u8], value: &[u8]) -> bool {
        unsafe {
            proxy_replace_header_map_value(map, name.as_ptr(), name.len(), value.as_ptr(), value.len()) == OK
        }
    }

    /// Adds a request header. False where the host refuses.
    pub fn add_request_header(name: &[u8], value: &[u8]) -> bool {
        let map = MapType::HttpRequestHeaders;
        unsafe {
            proxy_add_header_map_value(map, name.as_ptr(), name.len(), value.as_ptr(), value.len()) == OK
        }
    }

    /// Removes every header or trailer of this name. False where the host refuses.
    pub fn remove_header(map: MapType, name: &[u8]) -> bool {
        unsafe { proxy_remove_header_map_value(map, name.as_ptr(), name.len()) == OK }
    }

    /// Up to `max` bytes of a buffer; None where the host does not give it.
    pub fn buffer(buffer: BufferType, max: usize) -> Option<Vec<u8>> {
        returned(|data, size| unsafe { proxy_get_buffer_bytes(buffer, 0, max, data, size) })
    }

    /// Puts `value` in the place of the first `size` bytes of a buffer. False where the host refuses.
    pub fn replace_buffer(buffer: BufferType, size: usize, value: &[u8]) -> bool {
        unsafe { proxy_set_buffer_bytes(buffer, 0, size, value.as_ptr(), value.len()) == OK }
    }

    /// Answers the request in the upstream's place. Where the host refuses, it keeps waiting.
    pub fn send_local_response(answer: &Answer) {
        let (body, headers) = (answer.body.as_bytes(), answer.headers.as_bytes());
        let _ = unsafe {
            proxy_send_local_response(
                u32::from(answer.status),
                null(),
                0,
                body.as_ptr(),
                body.len(),
                headers.as_ptr(),
                headers.len(),
                answer.grpc_status,
            )
        };
    }

    /// The property at `path`, whose parts have a NUL between them; None where there is none.
    pub fn property(path: &str) -> Option<Vec<u8>> {
        returned(|data, size| unsafe { proxy_get_property(path.as_ptr(), path.len(), data, size) })
    }

    /// Sets a property of the request. Where the host refuses, it stays unset.
    pub fn set_property(name: &str, value: &[u8]) {
        let _ = unsafe { proxy_set_property(name.as_ptr(), name.len(), value.as_ptr(), value.len()) };
    }

    /// Calls a function that some hosts offer; None where this one does not, or where it fails.
    pub fn call_foreign_function(name: &str, arguments: &[u8]) -> Option<Vec<u8>> {
        let (argument, argument_size) = (arguments.as_ptr(), arguments.len());
        returned(|data, size| unsafe {
            proxy_call_foreign_function(name.as_ptr(), name.len(), argument, argument_size, data, size)
        })
    }

    /// What the workers of one proxy share at `key`, with its version.
    pub fn shared_data(key: &str) -> Option<(Vec<u8>, u32)> {
        let mut version = 0;
        let value = returned(|data, size| unsafe {
            proxy_get_shared_data(key.as_ptr(), key.len(), data, size, &raw mut version)
        });
        Some((value?, version))
    }

    /// Sets what the workers share at `key`, if its version is still `version` (0: whatever it is). False where it is
    /// not, or where the host shares nothing.
    pub fn set_shared_data(key: &str, value: &[u8], version: u32) -> bool {
        unsafe { proxy_set_shared_data(key.as_ptr(), key.len(), value.as_ptr(), value.len(), version) == OK }
    }

    /// Registers a queue whose messages go to the root context that registers it.
    pub fn register_queue(name: &str) -> Option<u32> {
        let mut queue = 0;
        let status = unsafe { proxy_register_shared_queue(name.as_ptr(), name.len(), &raw mut queue) };
        (status == OK).then_some(queue)
    }

    /// Puts a message without a content into a queue. Where the host refuses, the next tick does what it asks for.
    pub fn enqueue(queue: u32) {
        let message = [0_u8];
        let _ = unsafe { proxy_enqueue_shared_queue(queue, message.as_ptr(), message.len()) };
    }

    /// Takes a message out of a queue. False where there is none.
    pub fn dequeue(queue: u32) -> bool {
        returned(|data, size| unsafe { proxy_dequeue_shared_queue(queue, data, size) }).is_some()
    }

    /// Sets how often the root context is called, in milliseconds. False where the host refuses.
    pub fn set_tick_period(period: u32) -> bool {
        unsafe { proxy_set_tick_period_milliseconds(period) == OK }
    }

    /// Makes the following calls speak of another context; the status.
    pub fn set_effective_context(context: u32) -> u32 {
        unsafe { proxy_set_effective_context(context) }
    }

    /// The status of an HTTP call without upstream and headers.
    pub fn call_to_nowhere() -> u32 {
        let mut token = 0;
        let (nothing, empty) = (null(), 0);
        unsafe {
            proxy_http_call(nothing, empty, nothing, empty, nothing, empty, nothing, empty, 1, &raw mut token)
        }
    }

    /// The host's number for the metric of this name, made if there is none yet.
    pub fn define_metric(kind: MetricType, name: &str) -> Option<u32> {
        let mut metric = 0;
        let status = unsafe { proxy_define_metric(kind, name.as_ptr(), name.len(), &raw mut metric) };
        (status == OK).then_some(metric)
    }

    /// Counts. Where the host refuses, the count is lost.
    pub fn increment_metric(metric: u32, offset: i64) {
        let _ = unsafe { proxy_increment_metric(metric, offset) };
    }

    /// Sets a gauge, or adds a value to a histogram. Where the host refuses, it is lost.
    pub fn record_metric(metric: u32, value: u64) {
        let _ = unsafe { proxy_record_metric(metric, value) };
    }
}
