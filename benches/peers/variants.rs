//! What is compared: HTTP filters in front of the same answer, one listener each.

use std::path::Path;

use serde_json::{Value, json};

use crate::harness::{Options, wasm_filter};
use crate::mint::{Signer, jwks};

/// The one issuer of every token, and what its tokens say.
pub struct Issuer {
    pub rs256: Signer,
    pub es256: Signer,
    now: u64,
}

const ISSUER: &str = "https://login.example.com";
const AUDIENCE: &str = "billing-api";
const SCOPE: &str = "billing:read billing:write";

/// The path of every request: an operation of every configuration below.
pub const PATH: &str = "/billing/acme/invoices/4711";

impl Issuer {
    pub fn new(now: u64) -> Self {
        Self { rs256: Signer::new("RS256", "rsa-1", 1), es256: Signer::new("ES256", "ec-1", 1), now }
    }

    /// The token with a number: all differ in their `jti`.
    pub fn token(&self, signer: &Signer, number: usize) -> String {
        signer.mint(
            json!({"typ": "at+jwt"}),
            &json!({
                "iss": ISSUER, "aud": AUDIENCE, "sub": "acme-sync", "client_id": "acme-sync", "tenant_id": "acme",
                "scope": SCOPE, "iat": self.now - 10, "exp": self.now + 86_400,
                "jti": format!("0f3c9e1a-{number:08}"),
            }),
        )
    }

    /// What introspection says of an opaque token.
    pub fn introspection_response(&self) -> Value {
        json!({
            "active": true, "iss": ISSUER, "aud": AUDIENCE, "sub": "acme-sync", "client_id": "acme-sync",
            "tenant_id": "acme", "scope": SCOPE, "iat": self.now - 10, "exp": self.now + 86_400,
        })
    }

    fn key_set(&self) -> Value {
        jwks([&self.rs256, &self.es256])
    }
}

/// How many tenants, suites and operations a configuration of ours has.
#[derive(Clone, Copy)]
pub struct Size {
    pub tenants: usize,
    pub suites: usize,
    pub operations: usize,
}

impl Size {
    pub const SMALL: Self = Self { tenants: 1, suites: 1, operations: 5 };
    /// The scale that the filter is made for.
    pub const LARGE: Self = Self { tenants: 10_000, suites: 500, operations: 5_000 };
}

/// Our configuration, all that a gateway uses in it: the tenant by claim and path, declared scopes, their mapping,
/// registered applications, operations, and two headers for the upstream.
pub fn configuration(issuer: &Issuer, size: Size) -> Value {
    let application = |tenant: &str, role: &str| json!({"client_id": format!("{tenant}-{role}"), "scopes": ["billing:read", "billing:write"]});
    let tenants = (0..size.tenants).map(|number| {
        let id = if number == 0 { "acme".to_owned() } else { format!("tenant-{number:05}") };
        let roles = ["sync", "reader", "writer", "admin"];
        let applications: Vec<Value> = roles.iter().map(|role| application(&id, role)).collect();
        json!({"id": id, "template": "standard", "applications": applications})
    });
    json!({
        "version": 1,
        "realm": "bench",
        "providers": {"corp": {"issuer": ISSUER, "audiences": [AUDIENCE], "local_jwks": issuer.key_set(),
            "token_cache": {"max_entries": 20_000}}},
        "tenant_resolution": {"claims": ["tenant_id"], "required_evidence": ["claim", "path"]},
        "tenant_templates": {"standard": {
            "providers": ["corp"],
            "scopes": [{"name": "billing:read"}, {"name": "billing:write"}, {"name": "billing:admin"}],
            "scope_mapping": {"billing:admin": ["billing:read", "billing:write", "billing:admin"]},
        }},
        "tenants": tenants.collect::<Vec<_>>(),
        "suites": suites(size),
        "forward": {"token": false, "headers": [
            {"name": "x-tenant-id", "value": "tenant"}, {"name": "x-client-id", "value": "client"}]},
    })
}

fn suites(size: Size) -> Vec<Value> {
    let operation = |name: &str, path: String, methods: &[&str], scope: &str| json!({"name": name, "path": path, "methods": methods, "requires": [scope]});
    let of_suite = |suite: usize| -> Vec<Value> {
        if suite == 0 {
            let all = "/billing/{tenant}/invoices".to_owned();
            let one = format!("{all}/{{id}}");
            return vec![
                operation("list-invoices", all.clone(), &["GET", "HEAD"], "billing:read"),
                operation("post-invoice", all, &["POST"], "billing:write"),
                operation("read-invoice", one.clone(), &["GET", "HEAD"], "billing:read"),
                operation("replace-invoice", one.clone(), &["PUT"], "billing:write"),
                operation("delete-invoice", one, &["DELETE"], "billing:admin"),
            ];
        }
        let (others, rest) = (size.operations - 5, size.suites - 1);
        let count = others / rest + usize::from(suite <= others % rest);
        let numbered = |number| {
            let path = format!("/suite-{suite}/{{tenant}}/resource-{number}/{{id}}");
            operation(&format!("operation-{number}"), path, &["GET"], "billing:read")
        };
        (0..count).map(numbered).collect()
    };
    let suite = |number: usize| {
        let name = if number == 0 { "billing".to_owned() } else { format!("suite-{number}") };
        json!({"name": name, "operations": of_suite(number)})
    };
    (0..size.suites).map(suite).collect()
}

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
    let has_scope = json!({"metadata": {"filter": "envoy.filters.http.jwt_authn",
        "path": [{"key": "claims"}, {"key": "scope"}], "value": scope}});
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
            "server_uri": {"uri": "http://authorizer", "cluster": AUTHORIZER, "timeout": "2s"},
            "authorization_request": {"allowed_headers": {"patterns": [{"exact": "authorization"}]}}}}})
}
