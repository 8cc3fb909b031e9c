//! The whole of a request against a naive model: two tenants, three scopes, applications, an audience for each tenant.
//!
//! Each octet of the input chooses one thing of configuration, token or request; those that are missing count as 0.

use serde_json::{Value, json};

use crate::gateway::{Call, Gateway, Outcome, provider, token};

const TENANTS: [&str; 2] = ["acme", "globex"];
const SCOPES: [&str; 3] = ["orders:read", "orders:write", "billing"];

/// What was chosen.
#[derive(Debug)]
struct Scene {
    /// Which scopes each tenant declares, as bits.
    declared: [u8; 2],
    /// Which of them its one application has; none where the tenant registers no applications.
    assigned: [Option<u8>; 2],
    /// Whether `orders:write` grants what `orders:read` does, under each tenant.
    write_reads: [bool; 2],
    enforcement: &'static str,
    requires_all: bool,
    required: u8,
    claim: Named,
    audience: Named,
    client: &'static str,
    scopes: u8,
    header: Named,
    path: Named,
    is_expired: bool,
    is_forged: bool,
}

/// Which tenant something names.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Named {
    Nothing,
    Tenant(usize),
    Unknown,
}

impl Named {
    fn of(octet: u8) -> Self {
        match octet % 8 {
            0..=2 => Self::Nothing,
            3 | 4 => Self::Tenant(0),
            5 | 6 => Self::Tenant(1),
            _ => Self::Unknown,
        }
    }

    fn text(self) -> Option<&'static str> {
        match self {
            Self::Nothing => None,
            Self::Tenant(tenant) => Some(TENANTS[tenant]),
            Self::Unknown => Some("initech"),
        }
    }
}

impl Scene {
    fn of(bytes: &[u8]) -> Self {
        let at = |index: usize| bytes.get(index).copied().unwrap_or_default();
        let bits = |index: usize| at(index) % 8;
        let assigned = |index: usize| (at(index) & 0x40 != 0).then(|| bits(index));
        Self {
            declared: [bits(0), bits(1)],
            assigned: [assigned(2), assigned(3)],
            write_reads: [at(4) & 1 != 0, at(4) & 2 != 0],
            enforcement: ["enforce", "enforce", "shadow", "off"][usize::from(at(5) % 4)],
            requires_all: at(6) & 0x40 != 0,
            required: bits(6).max(1),
            claim: Named::of(at(7)),
            audience: Named::of(at(8)),
            client: ["shop", "other"][usize::from(at(9) % 2)],
            scopes: bits(10),
            header: Named::of(at(11)),
            path: Named::of(at(12)),
            is_expired: at(13) % 16 == 1,
            is_forged: at(14) % 16 == 1,
        }
    }

    fn configuration(&self) -> Value {
        let tenants: Vec<Value> = (0..2).map(|tenant| self.tenant(tenant)).collect();
        let quantifier = if self.requires_all { "all_of" } else { "any_of" };
        let requires = json!({quantifier: names(self.required)});
        json!({
            "version": 1,
            "providers": {"corp": provider(json!({"audiences": ["api", "api-{tenant}"]}))},
            "tenant_resolution": {"claims": ["tenant_id"], "headers": ["x-tenant-id"]},
            "scope_enforcement": self.enforcement,
            "tenants": tenants,
            "suites": [{"name": "s", "operations": [
                {"name": "o", "path": "/o", "requires": requires},
                {"name": "of", "path": "/of/{tenant}", "requires": requires},
            ]}],
        })
    }

    fn tenant(&self, tenant: usize) -> Value {
        let mut config = json!({"id": TENANTS[tenant], "scopes": objects(self.declared[tenant])});
        if self.write_reads[tenant] && self.declared[tenant] & 2 != 0 {
            config["scope_mapping"] = json!({"orders:write": ["orders:write", "orders:read"]});
        }
        if let Some(assigned) = self.assigned[tenant] {
            // An application has declared scopes only: the configuration is refused otherwise.
            let scopes = names(assigned & self.declared[tenant]);
            config["applications"] = json!([{"client_id": "shop", "scopes": scopes}]);
        }
        config
    }

    fn token(&self) -> String {
        let mut changes = json!({"client_id": self.client, "scope": names(self.scopes).join(" ")});
        if let Some(tenant) = self.claim.text() {
            changes["tenant_id"] = json!(tenant);
        }
        if let Some(tenant) = self.audience.text() {
            changes["aud"] = json!(["api", format!("api-{tenant}")]);
        }
        if self.is_expired {
            changes["exp"] = json!(1);
        }
        let token = token(changes);
        if self.is_forged { format!("{}A", &token[..token.len() - 4]) } else { token }
    }

    fn call(&self) -> Call {
        let path = self.path.text().map_or_else(|| "/o".to_owned(), |tenant| format!("/of/{tenant}"));
        let call = Call::get(&path).bearer(&self.token());
        match self.header.text() {
            Some(tenant) => call.header("x-tenant-id", tenant),
            None => call,
        }
    }

    /// The tenant under which the request passes, if it does: authentication and tenant whatever the enforcement.
    fn passes_under(&self) -> Option<usize> {
        if self.is_expired || self.is_forged {
            return None;
        }
        // An audience of a tenant that is unknown names nobody; a claim that does is refused.
        let registered: Vec<usize> =
            (0..2).filter(|tenant| self.client == "shop" && self.assigned[*tenant].is_some()).collect();
        let mut candidates = vec![0, 1];
        let mut is_named = false;
        match self.claim {
            Named::Nothing => {}
            Named::Tenant(tenant) => (candidates, is_named) = (vec![tenant], true),
            Named::Unknown => return None,
        }
        if let Named::Tenant(tenant) = self.audience {
            candidates.retain(|candidate| *candidate == tenant);
            is_named = true;
        }
        if !registered.is_empty() {
            candidates.retain(|candidate| registered.contains(candidate));
            is_named = true;
        }
        let &[tenant] = &candidates[..] else { return None };
        if !is_named {
            return None;
        }
        let agrees = |named: Named| named == Named::Nothing || named == Named::Tenant(tenant);
        if !agrees(self.header) || !agrees(self.path) {
            return None;
        }
        // Where a tenant registers applications, another client is none of its.
        if self.assigned[tenant].is_some() && self.client != "shop" {
            return None;
        }
        (self.enforcement != "enforce" || self.is_granted(tenant)).then_some(tenant)
    }

    fn is_granted(&self, tenant: usize) -> bool {
        let mut effective = self.scopes & self.declared[tenant];
        if let Some(assigned) = self.assigned[tenant] {
            effective &= assigned;
        }
        if self.write_reads[tenant] && effective & 2 != 0 {
            effective |= 1;
        }
        let granted = effective & self.required;
        if self.requires_all { granted == self.required } else { granted != 0 }
    }
}

fn names(bits: u8) -> Vec<&'static str> {
    SCOPES.iter().enumerate().filter(|(place, _)| bits >> place & 1 != 0).map(|(_, name)| *name).collect()
}

fn objects(bits: u8) -> Vec<Value> {
    names(bits).into_iter().map(|name| json!({"name": name})).collect()
}

/// A request passes under the tenant that the model says, or is refused where the model refuses.
pub fn exchange(bytes: &[u8]) {
    let scene = Scene::of(bytes);
    let document = scene.configuration();
    // A permission that nobody can ever have is an error of the configuration.
    if scopegate::config::parse_json(document.to_string().as_bytes()).is_err() {
        return;
    }
    let outcome = Gateway::new(&document).call(&scene.call());
    let passed = match &outcome {
        Outcome::Passed(passed) => passed.tenant.as_deref(),
        Outcome::Refused(_) | Outcome::Told(_) => None,
    };
    let expected = scene.passes_under().map(|tenant| TENANTS[tenant]);
    assert_eq!(passed, expected, "{scene:#?}\n{outcome:?}\n{document:#}");
}
