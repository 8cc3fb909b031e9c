//! Small scenes of a request: two tenants, three scopes, applications, an audience for each tenant; and a naive model that
//! decides them without an index, a cache or an order.

use serde_json::{Value, json};

use crate::gateway::{Call, provider, token};
use scopegate_testing::mint::{Signer, jwks};

pub const TENANTS: [&str; 2] = ["acme", "globex"];
const SCOPES: [&str; 3] = ["orders:read", "orders:write", "billing"];

/// What is chosen of configuration, token and request.
#[derive(Clone, Debug)]
pub struct Scene {
    /// Which scopes each tenant declares, as bits.
    pub declared: [u8; 2],
    /// Whether each tenant registers applications: one that nobody here is, and what `shop` has.
    pub registers: [bool; 2],
    /// Which scopes the application `shop` has; none where it is not registered.
    pub shop: [Option<u8>; 2],
    /// Whether `orders:write` grants what `orders:read` does, under each tenant.
    pub write_reads: [bool; 2],
    /// The switch of the whole file.
    enforcement: &'static str,
    requires_all: bool,
    required: u8,
    /// Whether a second provider speaks for both tenants.
    pub has_spare: bool,
    /// Whether the issuer's key has been replaced by another.
    pub is_rekeyed: bool,
    /// Whether the second tenant is there.
    pub has_second: bool,
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    /// Each octet chooses one thing; those that are missing count as 0.
    pub fn of(bytes: &[u8]) -> Self {
        let at = |index: usize| bytes.get(index).copied().unwrap_or_default();
        let bits = |index: usize| at(index) % 8;
        let shop = |index: usize| (at(index) & 0x20 != 0).then(|| bits(index));
        Self {
            declared: [bits(0), bits(1)],
            registers: [at(2) & 0x40 != 0, at(3) & 0x40 != 0],
            shop: [shop(2), shop(3)],
            write_reads: [at(4) & 1 != 0, at(4) & 2 != 0],
            enforcement: ["enforce", "enforce", "shadow", "off"][usize::from(at(5) % 4)],
            requires_all: at(6) & 0x40 != 0,
            required: bits(6).max(1),
            has_spare: at(5) & 0x40 != 0,
            is_rekeyed: false,
            has_second: true,
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

    /// The same with another switch of the whole file.
    pub fn under(&self, enforcement: &'static str) -> Self {
        Self { enforcement, ..self.clone() }
    }

    /// The file. A permission that no scope can give makes it one that is refused.
    pub fn configuration(&self) -> Value {
        let tenants: Vec<Value> = (0..2)
            .filter(|tenant| *tenant == 0 || self.has_second)
            .map(|tenant| self.tenant(tenant))
            .collect();
        let quantifier = if self.requires_all { "all_of" } else { "any_of" };
        let requires = json!({quantifier: names(self.required)});
        let key = Signer::new("EdDSA", "k1", if self.is_rekeyed { 8 } else { 7 });
        let corp = json!({"audiences": ["api", "api-{tenant}"], "local_jwks": jwks([&key])});
        let mut file = json!({
            "version": 1,
            "providers": {"corp": provider(corp)},
            "tenant_resolution": {"claims": ["tenant_id"], "headers": ["x-tenant-id"]},
            "scope_enforcement": self.enforcement,
            "tenants": tenants,
            "suites": [{"name": "s", "operations": [
                {"name": "o", "path": "/o", "requires": requires},
                {"name": "of", "path": "/of/{tenant}", "requires": requires},
            ]}],
        });
        if self.has_spare {
            file["providers"]["spare"] = provider(json!({"issuer": "https://spare.example"}));
        }
        file
    }

    fn tenant(&self, tenant: usize) -> Value {
        let providers: &[&str] = if self.has_spare { &["corp", "spare"] } else { &["corp"] };
        let mut config =
            json!({"id": TENANTS[tenant], "providers": providers, "scopes": objects(self.declared[tenant])});
        if self.write_reads[tenant] && self.declared[tenant] & 2 != 0 {
            config["scope_mapping"] = json!({"orders:write": ["orders:write", "orders:read"]});
        }
        if self.registers[tenant] {
            // An application has declared scopes only.
            let application = |client: &str, scopes: u8| json!({"client_id": client, "provider": "corp", "scopes": names(scopes & self.declared[tenant])});
            let shop = self.shop[tenant].map(|scopes| application("shop", scopes));
            let applications: Vec<Value> = [application("nobody", 7)].into_iter().chain(shop).collect();
            config["applications"] = json!(applications);
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

    /// The request, with its token.
    pub fn call(&self) -> Call {
        let path = self.path.text().map_or_else(|| "/o".to_owned(), |tenant| format!("/of/{tenant}"));
        let call = Call::get(&path).bearer(&self.token());
        match self.header.text() {
            Some(tenant) => call.header("x-tenant-id", tenant),
            None => call,
        }
    }

    /// Whether the token itself names a tenant, by its claim or its audience.
    pub fn names_its_tenant(&self) -> bool {
        self.claim != Named::Nothing || matches!(self.audience, Named::Tenant(_))
    }

    /// Whether claim and audience name two tenants.
    pub fn contradicts_itself(&self) -> bool {
        matches!((self.claim, self.audience), (Named::Tenant(one), Named::Tenant(other)) if one != other)
    }

    /// The tenant under which the request passes, if it does: authentication and tenant whatever the enforcement.
    pub fn passes_under(&self) -> Option<usize> {
        if self.is_expired || self.is_forged || self.is_rekeyed {
            return None;
        }
        let tenants = if self.has_second { 2 } else { 1 };
        let is_registered =
            |tenant: usize| self.client == "shop" && self.registers[tenant] && self.shop[tenant].is_some();
        let registered: Vec<usize> = (0..tenants).filter(|tenant| is_registered(*tenant)).collect();
        let mut candidates: Vec<usize> = (0..tenants).collect();
        match self.claim {
            Named::Nothing => {}
            Named::Tenant(tenant) if tenant < tenants => candidates = vec![tenant],
            Named::Tenant(_) | Named::Unknown => return None,
        }
        match self.audience {
            Named::Nothing => {}
            Named::Tenant(tenant) if tenant < tenants => candidates.retain(|candidate| *candidate == tenant),
            // Nobody else's token, unless its claim says so.
            Named::Tenant(_) | Named::Unknown if self.claim == Named::Nothing => return None,
            Named::Tenant(_) | Named::Unknown => {}
        }
        if !registered.is_empty() {
            candidates.retain(|candidate| registered.contains(candidate));
        }
        let &[tenant] = &candidates[..] else { return None };
        let agrees = |named: Named| named == Named::Nothing || named == Named::Tenant(tenant);
        if !agrees(self.header) || !agrees(self.path) {
            return None;
        }
        // Where a tenant registers applications, another client is none of its.
        if self.registers[tenant] && !is_registered(tenant) {
            return None;
        }
        (self.enforcement != "enforce" || self.is_granted(tenant)).then_some(tenant)
    }

    fn is_granted(&self, tenant: usize) -> bool {
        let mut effective = self.scopes & self.declared[tenant];
        if self.registers[tenant] {
            effective &= self.shop[tenant].unwrap_or_default();
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
