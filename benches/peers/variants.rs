//! What is compared: HTTP filters in front of the same answer, one listener each.

use std::path::Path;

use serde_json::{Value, json};

use crate::harness::{Options, wasm_filter};
use crate::workload::{AUDIENCE, ISSUER, Issuer};

/// Our filter, in a VM of its own.
pub fn scopegate(vm: &str, wasm: &Path, configuration: &Value) -> Value {
    let options = Options { vm_id: vm.to_owned(), ..Options::default() };
    let mut filter = wasm_filter(configuration, &options);
    filter["config"]["vm_config"]["code"]["local"]["filename"] = json!(wasm);
    json!({"name": "scopegate", "typed_config": filter})
}

/// The RBAC filter after ours, as `envoy.yaml` has it.
pub fn tripwire() -> Value {
    let decided = |value: &str| json!({"filter_state": {"key": "wasm.scopegate.decision", "string_match": {"exact": value}}});
    rbac(json!({"permissions": [{"any": true}], "principals": [decided("allow"), decided("shadow")]}))
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
