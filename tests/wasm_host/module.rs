//! What the module asks of a host, and what it offers one.

use std::collections::BTreeSet;

use wasmi::ExternType;

use super::host::{module, path};

/// The functions of ABI 0.2.1 that proxy-wasm-cpp-host gives to modules (its `exports.h`).
const ABI_FUNCTIONS: [&str; 40] = [
    "proxy_log",
    "proxy_get_log_level",
    "proxy_get_status",
    "proxy_set_property",
    "proxy_get_property",
    "proxy_send_local_response",
    "proxy_get_shared_data",
    "proxy_set_shared_data",
    "proxy_register_shared_queue",
    "proxy_resolve_shared_queue",
    "proxy_dequeue_shared_queue",
    "proxy_enqueue_shared_queue",
    "proxy_get_header_map_value",
    "proxy_add_header_map_value",
    "proxy_replace_header_map_value",
    "proxy_remove_header_map_value",
    "proxy_get_header_map_pairs",
    "proxy_set_header_map_pairs",
    "proxy_get_header_map_size",
    "proxy_get_buffer_status",
    "proxy_get_buffer_bytes",
    "proxy_set_buffer_bytes",
    "proxy_http_call",
    "proxy_grpc_call",
    "proxy_grpc_stream",
    "proxy_grpc_close",
    "proxy_grpc_cancel",
    "proxy_grpc_send",
    "proxy_set_tick_period_milliseconds",
    "proxy_get_current_time_nanoseconds",
    "proxy_define_metric",
    "proxy_increment_metric",
    "proxy_record_metric",
    "proxy_get_metric",
    "proxy_set_effective_context",
    "proxy_done",
    "proxy_call_foreign_function",
    "proxy_continue_stream",
    "proxy_close_stream",
    "proxy_clear_route_cache",
];

/// The WASI functions that every release of proxy-wasm-cpp-host gives to modules; the same file.
const WASI_FUNCTIONS: [&str; 12] = [
    "fd_write",
    "fd_read",
    "fd_seek",
    "fd_close",
    "fd_fdstat_get",
    "environ_get",
    "environ_sizes_get",
    "args_get",
    "args_sizes_get",
    "proc_exit",
    "clock_time_get",
    "random_get",
];

#[test]
fn every_import_is_a_function_that_envoy_offers() {
    let unknown: Vec<String> = module()
        .imports()
        .filter(|import| match import.module() {
            "env" => !ABI_FUNCTIONS.contains(&import.name()),
            "wasi_snapshot_preview1" => !WASI_FUNCTIONS.contains(&import.name()),
            _ => true,
        })
        .map(|import| format!("{}.{}", import.module(), import.name()))
        .collect();
    assert_eq!(unknown, Vec::<String>::new());
    assert!(module().imports().all(|import| matches!(import.ty(), ExternType::Func(_))));
}

#[test]
fn the_file_names_no_folder_of_the_machine_that_built_it() {
    let bytes = std::fs::read(path()).unwrap();
    let named = |text: &str| bytes.windows(text.len()).any(|part| part == text.as_bytes());
    assert!(named("cargo/registry"), "a panic of some package names its file");
    for folder in [env!("CARGO_MANIFEST_DIR"), "/home/", "/root/", "/.cargo/"] {
        assert!(!named(folder), "{folder}");
    }
}

#[test]
fn the_exports_are_what_a_host_calls() {
    let exports: BTreeSet<&str> = module().exports().map(|export| export.name()).collect();
    let needed = BTreeSet::from([
        "memory",
        "_initialize",
        "proxy_abi_version_0_2_1",
        "proxy_on_memory_allocate",
        "proxy_on_context_create",
        "proxy_on_configure",
        "proxy_on_tick",
        "proxy_on_queue_ready",
        "proxy_on_request_headers",
        "proxy_on_request_body",
        "proxy_on_request_trailers",
        "proxy_on_response_headers",
        "proxy_on_http_call_response",
        "proxy_on_delete",
    ]);
    assert_eq!(exports, needed, "`make build` takes out what the filter has nothing to do in");
}
