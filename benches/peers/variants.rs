//! What is compared: HTTP filters in front of the same answer, one listener each.

use std::path::Path;

use serde_json::{Map, Value, json};

use scopegate_testing::harness::{Options, wasm_filter};
use scopegate_testing::workload::{AUDIENCE, ISSUER, Issuer};

/// Our filter, in a VM of its own.
pub fn scopegate(vm: &str, wasm: &Path, configuration: &Value) -> Value {
    let options = Options { vm_id: vm.to_owned(), ..Options::default() };
    let mut filter = wasm_filter(configuration, &options);
    filter["config"]["vm_config"]["code"]["local"]["filename"] = json!(wasm);
    json!({"name": "scopegate", "typed_config": filter})
}

/// A hand-written module in place of ours: what a host's own part in any filter costs.
pub fn module(vm: &str, text: &str) -> Value {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{vm}.wasm"));
    std::fs::write(&path, wat::parse_str(text).expect("a module")).expect("to write a module");
    scopegate(vm, &path, &json!({}))
}

/// As little as a module may have.
pub const EMPTY: &str = r#"(module
    (memory (export "memory") 1)
    (func (export "proxy_abi_version_0_2_1"))
    (func (export "proxy_on_memory_allocate") (param i32) (result i32) i32.const 1024))"#;

/// Reads all headers of the request, once.
pub const READS_HEADERS: &str = r#"(module
    (import "env" "proxy_get_header_map_pairs" (func $pairs (param i32 i32 i32) (result i32)))
    (memory (export "memory") 2)
    (func (export "proxy_abi_version_0_2_1"))
    (func (export "proxy_on_memory_allocate") (param i32) (result i32) i32.const 1024)
    (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
        (call $pairs (i32.const 0) (i32.const 0) (i32.const 4))))"#;

/// Keeps a filter of ours from these functions of the host and the host from these callbacks: all else stays allowed.
pub fn without(names: &[&str], mut filter: Value) -> Value {
    let config = &mut filter["typed_config"]["config"];
    let path = config["vm_config"]["code"]["local"]["filename"].as_str().expect("a path");
    let module = wasmi::Module::new(&wasmi::Engine::default(), std::fs::read(path).expect("the filter"))
        .expect("a module");
    let imports = module.imports().map(|import| import.name().to_owned());
    let all = imports.chain(module.exports().map(|export| export.name().to_owned()));
    let allowed = all.filter(|name| !names.contains(&name.as_str()));
    let allowed: Map<String, Value> = allowed.map(|name| (name, json!({}))).collect();
    config["vm_config"]["capability_restriction_config"] = json!({"allowed_capabilities": allowed});
    filter
}

/// A filter after ours that lets pass only what ours has decided so. `tripwire` is that of `envoy.yaml`.
pub fn tripwire(name: &str) -> Value {
    let decided = |value: &str| json!({"filter_state": {"key": "wasm.scopegate.decision", "string_match": {"exact": value}}});
    let anything = json!([{"any": true}]);
    match name {
        "tripwire that allows" => {
            rbac(json!({"permissions": anything, "principals": [decided("allow"), decided("shadow")]}))
        }
        "tripwire that allows one value" => {
            rbac(json!({"permissions": anything, "principals": [decided("allow")]}))
        }
        "tripwire" => {
            let either = json!({"or_ids": {"ids": [decided("allow"), decided("shadow")]}});
            let mut filter = rbac(json!({"permissions": anything, "principals": [{"not_id": either}]}));
            filter["typed_config"]["rules"]["action"] = json!("DENY");
            filter
        }
        "tripwire by matcher" => {
            let action = |name: &str, action: &str| {
                json!({"action": {"name": name, "typed_config": {
                    "@type": "type.googleapis.com/envoy.config.rbac.v3.Action", "name": name, "action": action}}})
            };
            json!({"name": "envoy.filters.http.rbac", "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC",
                "matcher": {
                    "matcher_tree": {
                        "input": {"name": "decision", "typed_config": {
                            "@type": "type.googleapis.com/envoy.extensions.matching.common_inputs.network.v3.FilterStateInput",
                            "key": "wasm.scopegate.decision"}},
                        "exact_match_map": {"map": {
                            "allow": action("allow", "ALLOW"), "shadow": action("shadow", "ALLOW")}}},
                    "on_no_match": action("deny", "DENY")}}})
        }
        unknown => panic!("no tripwire `{unknown}`"),
    }
}

/// Lets pass what one policy allows.
pub fn rbac(policy: Value) -> Value {
    json!({"name": "envoy.filters.http.rbac", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC",
        "rules": {"action": "ALLOW", "policies": {"only": policy}}}})
}

/// Envoy's own JWT filter, and RBAC on a scope: the two headers and the credential taken out as ours does it.
pub fn jwt_authn(issuer: &Issuer, is_cached: bool) -> Vec<Value> {
    let mut provider = json!({
        "issuer": ISSUER,
        "audiences": [AUDIENCE],
        "local_jwks": {"inline_string": issuer.key_set().to_string()},
        "forward": false,
        "claim_to_headers": [
            {"header_name": "x-tenant-id", "claim_name": "tenant_id"},
            {"header_name": "x-client-id", "claim_name": "client_id"}],
        "payload_in_metadata": "claims",
        "normalize_payload_in_metadata": {"space_delimited_claims": ["scope"]},
    });
    if is_cached {
        provider["jwt_cache_config"] = json!({"jwt_cache_size": 20_000});
    }
    let authentication = json!({"name": "envoy.filters.http.jwt_authn", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication",
        "providers": {"corp": provider},
        "rules": [{"match": {"prefix": "/"}, "requires": {"provider_name": "corp"}}]}});
    let scope = json!({"list_match": {"one_of": {"string_match": {"exact": "billing:read"}}}});
    let has_scope = json!({"sourced_metadata": {"metadata_matcher": {"filter": "envoy.filters.http.jwt_authn",
        "path": [{"key": "claims"}, {"key": "scope"}], "value": scope}}});
    vec![authentication, rbac(json!({"permissions": [{"any": true}], "principals": [has_scope]}))]
}

/// The name of the cluster where [`crate::responder`] answers external authorization.
pub const AUTHORIZER: &str = "authorizer";

/// Envoy asks a server that allows everything.
pub fn ext_authz() -> Value {
    json!({"name": "envoy.filters.http.ext_authz", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthz",
        "transport_api_version": "V3",
        "http_service": {
            "server_uri": {"uri": "http://authorizer", "cluster": AUTHORIZER, "timeout": "2s"}},
        "allowed_headers": {"patterns": [{"exact": "authorization"}]}}})
}

/// Only a header that our filter sets has a route: the client's is taken out before any filter sees it.
pub fn tripwire_by_route() -> Map<String, Value> {
    let mutation = json!({"name": "strip", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation",
        "mutations": [{"remove": "x-tenant-id"}]}});
    let decided = json!({"prefix": "/", "headers": [{"name": "x-tenant-id", "present_match": true}]});
    let routes = json!([
        {"match": decided, "direct_response": {"status": 200}},
        {"match": {"prefix": "/"}, "direct_response": {"status": 403}}]);
    let virtual_host = json!({"name": "all", "domains": ["*"], "routes": routes});
    Map::from_iter([
        ("early_header_mutation_extensions".to_owned(), json!([mutation])),
        ("route_config".to_owned(), json!({"virtual_hosts": [virtual_host]})),
    ])
}
