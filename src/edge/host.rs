//! The host's calls, each of which may fail without a trap.
//!
//! Wrappers as an SDK has them panic on statuses that they do not expect and on names that are not UTF-8; a panic kills
//! the VM with every request in it. These return what happened.

#![allow(
    unsafe_code,
    reason = "the ABI is C; every block passes pointers and lengths of live slices or takes ownership of a buffer that the host had from `proxy_on_memory_allocate`"
)]

use std::ptr::null_mut;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::http::header_pairs::{HeaderPairs, read_pairs};
use crate::http::headers::Header;
use crate::respond::Answer;

const OK: u32 = 0;
const REQUEST_HEADERS: u32 = 0;
const REQUEST: u32 = 0;

#[link(wasm_import_module = "env")]
unsafe extern "C" {
    fn proxy_log(level: u32, message: *const u8, size: usize) -> u32;
    fn proxy_get_header_map_pairs(map: u32, data: *mut *mut u8, size: *mut usize) -> u32;
    fn proxy_replace_header_map_value(
        map: u32,
        key: *const u8,
        key_size: usize,
        value: *const u8,
        value_size: usize,
    ) -> u32;
    fn proxy_add_header_map_value(
        map: u32,
        key: *const u8,
        key_size: usize,
        value: *const u8,
        value_size: usize,
    ) -> u32;
    fn proxy_remove_header_map_value(map: u32, key: *const u8, key_size: usize) -> u32;
    fn proxy_get_property(path: *const u8, path_size: usize, data: *mut *mut u8, size: *mut usize) -> u32;
    fn proxy_set_property(path: *const u8, path_size: usize, value: *const u8, value_size: usize) -> u32;
    fn proxy_call_foreign_function(
        name: *const u8,
        name_size: usize,
        arguments: *const u8,
        arguments_size: usize,
        results: *mut *mut u8,
        results_size: *mut usize,
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
    fn proxy_continue_stream(stream: u32) -> u32;
    fn proxy_http_call(
        cluster: *const u8,
        cluster_size: usize,
        headers: *const u8,
        headers_size: usize,
        body: *const u8,
        body_size: usize,
        trailers: *const u8,
        trailers_size: usize,
        timeout: u32,
        token: *mut u32,
    ) -> u32;
    fn proxy_set_effective_context(context: u32) -> u32;
    fn proxy_get_shared_data(
        key: *const u8,
        key_size: usize,
        data: *mut *mut u8,
        size: *mut usize,
        cas: *mut u32,
    ) -> u32;
    fn proxy_set_shared_data(
        key: *const u8,
        key_size: usize,
        value: *const u8,
        value_size: usize,
        cas: u32,
    ) -> u32;
    fn proxy_register_shared_queue(name: *const u8, name_size: usize, queue: *mut u32) -> u32;
    fn proxy_enqueue_shared_queue(queue: u32, value: *const u8, value_size: usize) -> u32;
    fn proxy_dequeue_shared_queue(queue: u32, data: *mut *mut u8, size: *mut usize) -> u32;
    fn proxy_set_tick_period_milliseconds(period: u32) -> u32;
    fn proxy_define_metric(kind: u32, name: *const u8, name_size: usize, metric: *mut u32) -> u32;
    fn proxy_increment_metric(metric: u32, offset: i64) -> u32;
    fn proxy_record_metric(metric: u32, value: u64) -> u32;
    fn proxy_get_buffer_bytes(
        buffer: u32,
        start: usize,
        max: usize,
        data: *mut *mut u8,
        size: *mut usize,
    ) -> u32;
    fn proxy_set_buffer_bytes(
        buffer: u32,
        start: usize,
        size: usize,
        value: *const u8,
        value_size: usize,
    ) -> u32;
}

/// How important a log line is, as the host numbers it.
#[derive(Clone, Copy, Debug)]
pub enum Level {
    /// What operators of a healthy gateway want to read.
    Info = 2,
    /// What somebody should look at.
    Warn = 3,
    /// What keeps the filter from doing its work.
    Error = 4,
}

/// Writes a log line.
pub fn log(level: Level, message: &str) {
    // A line that cannot be written can be reported nowhere.
    let _ = unsafe { proxy_log(level as u32, message.as_ptr(), message.len()) };
}

/// Since the epoch.
pub fn now() -> Duration {
    #[expect(clippy::disallowed_methods, reason = "this is where time comes in")]
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Takes ownership of what the host has written.
fn taken(status: u32, data: *mut u8, size: usize) -> Option<Vec<u8>> {
    if status != OK {
        return None;
    }
    if data.is_null() {
        return Some(Vec::new());
    }
    Some(unsafe { Vec::from_raw_parts(data, size, size) })
}

/// The request's headers as the host has written them, in one buffer.
pub struct RequestHeaders {
    bytes: Vec<u8>,
}

impl RequestHeaders {
    /// Reads them from the host; None where it does not give them.
    pub fn read() -> Option<Self> {
        Some(Self { bytes: header_map(REQUEST_HEADERS)? })
    }

    /// Names in lower case, and values; None where the host has written something else.
    pub fn pairs(&mut self) -> Option<Vec<Header<'_>>> {
        read_pairs(&mut self.bytes)
    }
}

fn header_map(map: u32) -> Option<Vec<u8>> {
    let (mut data, mut size) = (null_mut(), 0);
    let status = unsafe { proxy_get_header_map_pairs(map, &raw mut data, &raw mut size) };
    taken(status, data, size)
}

/// Sets a request header, in place of all of its name. False where the host refuses.
pub fn set_request_header(name: &[u8], value: &[u8]) -> bool {
    unsafe {
        proxy_replace_header_map_value(
            REQUEST_HEADERS,
            name.as_ptr(),
            name.len(),
            value.as_ptr(),
            value.len(),
        ) == OK
    }
}

/// Adds a request header. False where the host refuses.
pub fn add_request_header(name: &[u8], value: &[u8]) -> bool {
    unsafe {
        proxy_add_header_map_value(REQUEST_HEADERS, name.as_ptr(), name.len(), value.as_ptr(), value.len())
            == OK
    }
}

/// Removes every request header of this name. False where the host refuses.
pub fn remove_request_header(name: &[u8]) -> bool {
    unsafe { proxy_remove_header_map_value(REQUEST_HEADERS, name.as_ptr(), name.len()) == OK }
}

/// A property of the host; None where there is none.
pub fn property(path: &[&str]) -> Option<Vec<u8>> {
    let path = path.join("\0");
    let (mut data, mut size) = (null_mut(), 0);
    let status = unsafe { proxy_get_property(path.as_ptr(), path.len(), &raw mut data, &raw mut size) };
    taken(status, data, size)
}

/// Sets a property of the request. False where the host refuses.
pub fn set_property(name: &str, value: &[u8]) -> bool {
    unsafe { proxy_set_property(name.as_ptr(), name.len(), value.as_ptr(), value.len()) == OK }
}

/// Calls a function that some hosts offer; None where this one does not, or where it fails.
pub fn call_foreign_function(name: &str, arguments: &[u8]) -> Option<Vec<u8>> {
    let (mut data, mut size) = (null_mut(), 0);
    let status = unsafe {
        proxy_call_foreign_function(
            name.as_ptr(),
            name.len(),
            arguments.as_ptr(),
            arguments.len(),
            &raw mut data,
            &raw mut size,
        )
    };
    taken(status, data, size)
}

/// Answers the request in the upstream's place. False where the host refuses.
pub fn send_local_response(answer: &Answer) -> bool {
    let (body, headers) = (answer.body.as_bytes(), answer.headers.as_bytes());
    let sent = unsafe {
        proxy_send_local_response(
            u32::from(answer.status),
            null_mut(),
            0,
            body.as_ptr(),
            body.len(),
            headers.as_ptr(),
            headers.len(),
            answer.grpc_status,
        )
    };
    sent == OK
}

/// `WasmResult` of a call that names no cluster, and of one that cannot be sent.
pub const BAD_ARGUMENT: u32 = 2;
/// See [`BAD_ARGUMENT`].
pub const INTERNAL_FAILURE: u32 = 10;

/// Makes an HTTP call. The token under which its answer will come, or the status by which the host refuses.
pub fn call(cluster: &str, headers: &[(&str, String)], body: &[u8], timeout: Duration) -> Result<u32, u32> {
    let headers = HeaderPairs::new(headers.iter().map(|(name, value)| (*name, [value.as_str()])));
    let (headers, no_trailers) = (headers.as_bytes(), HeaderPairs::none());
    let no_trailers = no_trailers.as_bytes();
    let timeout = u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX);
    let mut token = 0;
    let status = unsafe {
        proxy_http_call(
            cluster.as_ptr(),
            cluster.len(),
            headers.as_ptr(),
            headers.len(),
            body.as_ptr(),
            body.len(),
            no_trailers.as_ptr(),
            no_trailers.len(),
            timeout,
            &raw mut token,
        )
    };
    if status == OK { Ok(token) } else { Err(status) }
}

/// Lets the paused request of the effective context go on.
pub fn continue_request() -> bool {
    unsafe { proxy_continue_stream(REQUEST) == OK }
}

/// Makes the following calls speak of another context. False where it is gone.
pub fn set_effective_context(context: u32) -> bool {
    unsafe { proxy_set_effective_context(context) == OK }
}

/// Whether the workers of this proxy may share data: a blank `vm_id` is one namespace with every other plugin.
pub fn shares_data() -> bool {
    property(&["plugin_vm_id"]).is_some_and(|vm_id| !vm_id.is_empty())
}

/// What the workers of one proxy share at `key`, with its version.
pub fn shared_data(key: &str) -> Option<(Vec<u8>, u32)> {
    let (mut data, mut size, mut cas) = (null_mut(), 0, 0);
    let status =
        unsafe { proxy_get_shared_data(key.as_ptr(), key.len(), &raw mut data, &raw mut size, &raw mut cas) };
    taken(status, data, size).map(|value| (value, cas))
}

/// Sets what the workers share at `key`, if its version is still `cas` (0: whatever it is). False where it is not, or
/// where the host shares nothing.
pub fn set_shared_data(key: &str, value: &[u8], cas: u32) -> bool {
    unsafe { proxy_set_shared_data(key.as_ptr(), key.len(), value.as_ptr(), value.len(), cas) == OK }
}

/// Registers a queue whose messages wake the root context that registers it.
pub fn register_queue(name: &str) -> Option<u32> {
    let mut queue = 0;
    let status = unsafe { proxy_register_shared_queue(name.as_ptr(), name.len(), &raw mut queue) };
    (status == OK).then_some(queue)
}

/// Puts an empty message into a queue.
pub fn enqueue(queue: u32) -> bool {
    let message = [0_u8];
    unsafe { proxy_enqueue_shared_queue(queue, message.as_ptr(), message.len()) == OK }
}

/// Takes a message out of a queue. False where there is none.
pub fn dequeue(queue: u32) -> bool {
    let (mut data, mut size) = (null_mut(), 0);
    let status = unsafe { proxy_dequeue_shared_queue(queue, &raw mut data, &raw mut size) };
    taken(status, data, size).is_some()
}

/// Sets how often the root context is resumed.
pub fn set_tick_period(period: Duration) {
    let milliseconds = u32::try_from(period.as_millis()).unwrap_or(u32::MAX);
    // A host without ticks refreshes no keys in the background; requests still fetch them.
    let _ = unsafe { proxy_set_tick_period_milliseconds(milliseconds) };
}

/// A buffer that the host offers in the current callback.
#[derive(Clone, Copy, Debug)]
pub enum Buffer {
    /// The part of the request's body that has come.
    HttpRequestBody = 0,
    /// The body of a callout's answer.
    HttpCallResponseBody = 4,
    /// The plugin's configuration.
    PluginConfiguration = 7,
}

/// Up to `max` bytes of a buffer; None where the host does not give it.
pub fn buffer(buffer: Buffer, max: usize) -> Option<Vec<u8>> {
    let (mut data, mut size) = (null_mut(), 0);
    let status = unsafe { proxy_get_buffer_bytes(buffer as u32, 0, max, &raw mut data, &raw mut size) };
    taken(status, data, size)
}

/// Puts `value` in the place of the request's body, which is `size` bytes long. False where the host refuses.
pub fn replace_request_body(size: usize, value: &[u8]) -> bool {
    let buffer = Buffer::HttpRequestBody as u32;
    unsafe { proxy_set_buffer_bytes(buffer, 0, size, value.as_ptr(), value.len()) == OK }
}

/// A header of a callout's answer; None where it has none of that name.
pub fn call_response_header(wanted: &str) -> Option<Vec<u8>> {
    const HTTP_CALL_RESPONSE_HEADERS: u32 = 6;
    let mut headers = header_map(HTTP_CALL_RESPONSE_HEADERS)?;
    let found = read_pairs(&mut headers)?.into_iter().find(|(name, _)| *name == wanted.as_bytes());
    found.map(|(_, value)| value.to_vec())
}

/// What a metric measures, as the host numbers it.
#[derive(Clone, Copy, Debug)]
pub enum Metric {
    /// Something that happens.
    Counter = 0,
    /// A state.
    Gauge = 1,
    /// Values with a distribution.
    Histogram = 2,
}

/// The host's number for the metric of this name, made if there is none yet.
pub fn define_metric(kind: Metric, name: &str) -> Option<u32> {
    let mut metric = 0;
    let status = unsafe { proxy_define_metric(kind as u32, name.as_ptr(), name.len(), &raw mut metric) };
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
