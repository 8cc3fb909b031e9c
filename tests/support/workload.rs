//! A gateway with everything that a real one uses, of any size, and good tokens for it: for whatever measures.

use serde_json::{Value, json};

use crate::mint::{Signer, jwks};

/// The one issuer of every token, and what its tokens say.
pub struct Issuer {
    pub rs256: Signer,
    pub es256: Signer,
    now: u64,
}

/// The issuer's name.
pub const ISSUER: &str = "https://login.example.com";
/// Whom its tokens are for.
pub const AUDIENCE: &str = "billing-api";
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

    /// Its public keys.
    pub fn key_set(&self) -> Value {
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

/// Writes a table of many files into `directory`: one for each tenant with four applications, one with 500 suites of ten
/// operations, one with all else.
pub fn write_table(directory: &std::path::Path, tenants: usize, provider: &Value) {
    let write = |name: &str, value: &Value| {
        std::fs::write(directory.join(name), value.to_string()).expect("a file can be written");
    };
    std::fs::create_dir_all(directory.join("tenants")).expect("a directory can be made");
    for number in 0..tenants {
        let id = format!("tenant-{number:05}");
        let applications: Vec<Value> = ["sync", "reader", "writer", "admin"]
            .iter()
            .map(|role| json!({"client_id": format!("{id}-{role}"), "scopes": ["billing:read", "billing:write"]}))
            .collect();
        let tenant = json!({"id": id, "template": "standard", "applications": applications});
        write(&format!("tenants/{id}.json"), &json!({"tenants": [tenant]}));
    }
    let operation = |suite: usize, number: usize| {
        let scope = if number.is_multiple_of(2) { "billing:write" } else { "billing:read" };
        json!({
            "name": format!("op-{number}"), "path": format!("/s{suite}/{{tenant}}/r{number}/{{id}}"), "methods": ["GET"],
            "requires": [scope],
        })
    };
    let suites: Vec<Value> = (0..500)
        .map(|suite| {
            let operations: Vec<Value> = (0..10).map(|number| operation(suite, number)).collect();
            json!({"name": format!("suite-{suite}"), "operations": operations})
        })
        .collect();
    write("suites.json", &json!({"suites": suites}));
    write(
        "gateway.json",
        &json!({
            "version": 1,
            "realm": "large",
            "providers": {"corp": provider},
            "tenant_resolution": {"claims": ["tenant_id"], "required_evidence": ["claim", "path"]},
            "tenant_templates": {"standard": {"scopes": [{"name": "billing:read"}, {"name": "billing:write"}]}},
        }),
    );
}
