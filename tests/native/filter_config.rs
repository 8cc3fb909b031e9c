//! The worked configurations of `filter-config/` load as they stand, and hold what their systems demand.
//!
//! What becomes of whole requests is in `tests/e2e/systems/`; here it is the table itself: which operation a request
//! calls, and whether the scopes of a client of a tenant open it.

use scopegate::authenticate::AudienceRule;
use scopegate::authorize::decide::{Caller, decide};
use scopegate::authorize::scope::EffectiveScopes;
use scopegate::authorize::{Access, EvidenceKind, Tenant};
use scopegate::config::{parse_json, parse_yaml, yaml_to_json};
use scopegate::http::headers::borrowed;
use scopegate::issuer::provider::ProviderKeys;
use scopegate::jose::Algorithm;
use scopegate::policy::Policy;
use scopegate::respond::Reason;
use scopegate::route::{Lookup, canonicalize};
use serde_json::{Value, json};

const TEAMCENTER: &str = include_str!("../../filter-config/teamcenter.yaml");
const APPIAN: &str = include_str!("../../filter-config/appian-erp.yaml");
const INFOR: &str = include_str!("../../filter-config/infor-suites.yaml");
const THINGWORX: &str = include_str!("../../filter-config/thingworx-billing.yaml");
const OTK: &str = include_str!("../../filter-config/otk-branches.yaml");

fn policy(yaml: &str) -> Policy {
    parse_yaml(yaml).unwrap_or_else(|errors| panic!("{errors}")).policy
}

/// The errors of a file in which something was changed.
fn errors(yaml: &str, change: impl FnOnce(&mut Value)) -> Vec<String> {
    let mut json = yaml_to_json(yaml).unwrap();
    change(&mut json);
    match parse_json(json.to_string().as_bytes()) {
        Ok(_) => Vec::new(),
        Err(errors) => errors.iter().map(ToString::to_string).collect(),
    }
}

/// One call: of a client of a tenant, with the scopes of its token as they stand there.
struct Call<'c> {
    tenant: &'c str,
    client: &'c str,
    scopes: &'c str,
    request: &'c str,
    headers: &'c [(&'c str, &'c str)],
}

/// The operation that `request`, a method and a path, calls, as `suite/operation`, if the scopes open it.
fn decision(policy: &Policy, call: &Call<'_>) -> Result<String, Reason> {
    let (method, path) = call.request.split_once(' ').unwrap();
    let path = canonicalize(path.as_bytes()).unwrap();
    let host = call.headers.iter().find(|(name, _)| *name == "host").map(|(_, host)| *host);
    let id = match policy.operations.find(host, &path, method.as_bytes(), &borrowed(call.headers)) {
        Lookup::Matched { operation, .. } => operation,
        Lookup::Unmatched => return Err(Reason::OperationNotMapped),
        Lookup::MethodNotMapped { .. } => return Err(Reason::MethodNotMapped),
        Lookup::Header { .. } => return Err(Reason::HeaderMissing),
    };
    let operation = policy.catalog.operation(id).unwrap();
    let tenant = tenant(policy, call.tenant);
    let application = tenant.application(tenant.providers[0], call.client);
    if tenant.applications.is_some() && application.is_none() {
        return Err(Reason::ApplicationNotRegistered);
    }
    let scopes: Vec<Box<str>> = call.scopes.split_whitespace().map(Box::from).collect();
    let effective = EffectiveScopes::of(&scopes, tenant, application, &policy.catalog.permissions);
    let caller = Caller {
        tenant,
        application,
        token_scopes: Some(&scopes),
        scope_absent_from_introspection: false,
        effective: &effective,
    };
    decide(id, operation, &caller, &policy.catalog, &policy.tenants)
        .map(|()| format!("{}/{}", policy.catalog.suite(operation.suite).unwrap().name, operation.name))
        .map_err(|refusal| refusal.reason)
}

fn tenant<'p>(policy: &'p Policy, name: &str) -> &'p Tenant {
    policy.tenants.tenant(policy.tenants.named(name).unwrap()).unwrap()
}

fn requires_evidence(policy: &Policy, kinds: &[EvidenceKind]) -> bool {
    kinds.iter().all(|kind| policy.resolution.required_evidence.contains(*kind))
}

#[test]
fn each_file_loads_without_a_warning_and_names_its_schema() {
    for yaml in [TEAMCENTER, APPIAN, INFOR, THINGWORX, OTK] {
        let loaded = parse_yaml(yaml).unwrap_or_else(|errors| panic!("{errors}"));
        assert_eq!(loaded.warnings, []);
        assert!(yaml.starts_with("# yaml-language-server: $schema=./schema.json\n"));
    }
}

#[test]
fn no_file_lets_a_client_through_unless_it_says_so() {
    for yaml in [TEAMCENTER, APPIAN, INFOR, THINGWORX, OTK] {
        let policy = policy(yaml);
        assert_eq!(policy.unmatched, scopegate::policy::Unmatched::Deny);
        assert_eq!(policy.enforcement, scopegate::authorize::Enforcement::Enforce);
        assert!(policy.scopes_per_application && !policy.bypass_cors_preflight && !policy.forward.token);
        assert!(policy.providers.iter().all(|provider| provider.rules.audiences != AudienceRule::Any));
        let public: Vec<&str> = policy
            .catalog
            .operations
            .iter()
            .filter(|operation| operation.access == Access::Public)
            .map(|operation| &*operation.name)
            .collect();
        assert!(public.iter().all(|name| ["health", "terms"].contains(name)), "{public:?}");
    }
}

#[test]
fn teamcenters_tenants_read_one_scope_each_in_its_own_way() {
    let policy = policy(TEAMCENTER);
    let decide = |tenant, scopes, request| {
        decision(&policy, &Call { tenant, client: "any", scopes, request, headers: &[] })
    };
    let list = "GET /tc/service-management/v1/service-requests";
    let close = "POST /tc/service-management/v1/service-requests/SR-1/close";
    assert_eq!(decide("marine", "tc.service.write", list), Ok("service-management/list-requests".to_owned()));
    assert_eq!(decide("aero", "tc.service.write", list), Err(Reason::ScopeNotGranted));
    assert_eq!(decide("rail", "tc.service.write", close), Ok("service-management/close-request".to_owned()));
    assert_eq!(decide("aero", "tc.service.write", close), Err(Reason::ScopeNotGranted));
    assert_eq!(decide("depot", "tc.service.write", list), Err(Reason::SuiteNotAvailable));
    assert_eq!(decide("aero", "tc.service.admin", "GET /tc/contracts"), Err(Reason::OperationNotMapped));
    assert_eq!(policy.tenants.named("7f1c52d4-3a3e-4b0e-9d55-0c2a7c1f6a10"), policy.tenants.named("aero"));
}

#[test]
fn appians_scopes_count_with_their_tenants_prefix_alone_and_two_of_them_create_a_journal() {
    let policy = policy(APPIAN);
    let create = |tenant: &str, scopes| {
        let client = format!("appian-{tenant}");
        let request = format!("POST /{tenant}/journals");
        let headers = [("host", "api.erp.com")];
        decision(&policy, &Call { tenant, client: &client, scopes, request: &request, headers: &headers })
    };
    let created = Ok("journal-sync/create-journal".to_owned());
    assert_eq!(create("tenant1", "tenant1.finance.write tenant1.journal.create"), created);
    assert_eq!(create("tenant10", "tenant10.finance.write tenant10.journal.create"), created);
    assert_eq!(create("tenant1", "tenant1.journal.create"), Err(Reason::ScopeNotGranted));
    assert_eq!(
        create("tenant1", "tenant10.finance.write tenant10.journal.create"),
        Err(Reason::ScopeOfOtherTenant)
    );
    assert_eq!(
        create("tenant10", "tenant1.finance.write tenant1.journal.create"),
        Err(Reason::ScopeOfOtherTenant)
    );
    assert_eq!(create("tenant1", "finance.write journal.create"), Err(Reason::ScopeNotGranted));
    assert!(requires_evidence(&policy, &[EvidenceKind::Claim, EvidenceKind::Audience, EvidenceKind::Path]));
    for (_, tenant) in policy.tenants.iter() {
        assert_eq!(tenant.applications.as_deref().map(<[_]>::len), Some(1), "one client for {}", tenant.id);
    }
}

#[test]
fn thingworx_takes_rs256_from_a_jwks_url_for_one_audience_and_three_domains() {
    let policy = policy(THINGWORX);
    let provider = &policy.providers[0];
    let rules = &provider.rules;
    assert!(rules.algorithms.contains(Algorithm::Rs256));
    assert!(!rules.algorithms.contains(Algorithm::Ps256) && !rules.algorithms.contains(Algorithm::Es256));
    assert!(matches!(provider.keys, ProviderKeys::Remote(_)));
    let is_tenant = |_: &str| true;
    let AudienceRule::OneOf(audiences) = &rules.audiences else { panic!("any audience") };
    let meant = |audience: &str| audiences.iter().any(|pattern| pattern.matches(audience, &is_tenant));
    assert!(meant("thingworx-billing-api") && !meant("thingworx-api") && !meant("thingworx-billing-api-01"));
    let required: Vec<String> = rules.required_claims.iter().map(ToString::to_string).collect();
    assert_eq!(required, ["iss", "aud", "sub", "tenant_id", "scope"]);
    assert!(requires_evidence(&policy, &[EvidenceKind::Claim, EvidenceKind::Header, EvidenceKind::Host]));
    for (host, id) in [
        ("billing.acme.example", "prod-tenant-01"),
        ("billing.globex.example", "prod-tenant-02"),
        ("billing.initech.example", "prod-tenant-03"),
    ] {
        assert_eq!(policy.tenants.at_host(host), policy.tenants.named(id).as_ref().map(std::slice::from_ref));
    }
}

#[test]
fn thingworx_without_a_version_is_version_1() {
    let policy = policy(THINGWORX);
    let decide = |scopes, request, headers: &[(&str, &str)]| {
        let client = "prod-tenant-01-billing-sync";
        decision(&policy, &Call { tenant: "prod-tenant-01", client, scopes, request, headers })
    };
    let post = "POST /Thingworx/Things/Billing/transactions";
    let statement = "GET /Thingworx/Things/Billing/statements/2026-11";
    let (v1, v2) = (&[("x-api-version", "v1")], &[("x-api-version", "v2")]);
    let of_v1 = Ok("billing-v1/post-transaction".to_owned());
    assert_eq!(decide("billing:write", post, &[]), of_v1);
    assert_eq!(decide("billing:write", post, v1), of_v1);
    assert_eq!(decide("billing:write", post, v2), Err(Reason::ScopeNotGranted));
    let of_v2 = Ok("billing-v2/post-transaction".to_owned());
    assert_eq!(decide("billing:read billing:write", post, v2), of_v2);
    assert_eq!(decide("billing:read", statement, &[]), Err(Reason::HeaderMissing));
    assert_eq!(decide("billing:read", statement, v2), Ok("billing-v2/read-statement".to_owned()));
}

#[test]
fn otks_operations_ask_for_tls_and_for_read_write_both_or_nothing() {
    let policy = policy(OTK);
    assert!(policy.catalog.operations.iter().all(|operation| operation.require_tls));
    let decide = |scopes, request| {
        decision(&policy, &Call { tenant: "accounts", client: "portal", scopes, request, headers: &[] })
    };
    for (request, opened_by) in [
        ("GET /accounts", ["READ", "READ WRITE", "WRITE READ"].as_slice()),
        ("DELETE /accounts/7", &["WRITE", "READ WRITE", "WRITE READ"]),
        ("PUT /accounts/7", &["READ WRITE", "WRITE READ"]),
        ("GET /profile", &["", "read", "READ", "WRITE", "READ WRITE", "WRITE READ", "READ,WRITE"]),
    ] {
        for scopes in ["", "read", "READ", "WRITE", "READ WRITE", "WRITE READ", "READ,WRITE"] {
            assert_eq!(decide(scopes, request).is_ok(), opened_by.contains(&scopes), "`{scopes}`: {request}");
        }
    }
}

#[test]
fn infors_suites_scopes_and_applications_are_many_to_many() {
    let policy = policy(INFOR);
    let decide = |client, scopes, request| {
        decision(&policy, &Call { tenant: "ACME_PRD", client, scopes, request, headers: &[] })
    };
    let (warehouse, webshop) = ("ACME_PRD~warehouse", "ACME_PRD~webshop");
    let (items, orders) = ("GET /ACME_PRD/inventory/v1/items", "GET /ACME_PRD/orders/v1/orders");
    let shipments = "GET /ACME_PRD/shipments/v1/shipments";
    for (client, scope, request, opens) in [
        (warehouse, "fulfilment", orders, true),
        (warehouse, "fulfilment", shipments, true),
        (webshop, "order-read", orders, true),
        (webshop, "order-read", shipments, false),
        (webshop, "inventory-read", items, true),
        (warehouse, "inventory-read", items, true),
        (webshop, "fulfilment", shipments, false),
    ] {
        assert_eq!(decide(client, scope, request).is_ok(), opens, "{client}, {scope}: {request}");
    }
}

fn scopes_of_the_template(json: &mut Value) -> &mut Vec<Value> {
    json["tenant_templates"]["standard"]["scopes"].as_array_mut().unwrap()
}

/// The errors where the template declares one more scope.
fn errors_with_scope(scope: Value) -> Vec<String> {
    errors(INFOR, |json| scopes_of_the_template(json).push(scope))
}

#[test]
fn infors_scope_names_keep_to_the_rules_and_vendor_scopes_are_exempt() {
    let at = "tenant_templates.standard.scopes[7].name: ";
    for (name, error) in [
        ("a".repeat(50), None),
        ("a".repeat(51), Some("has 51 characters; `scope_policy` allows 50")),
        ("openid".to_owned(), Some("`openid` is reserved by `scope_policy`")),
        ("openid2".to_owned(), None),
        ("infor-crm".to_owned(), Some("begins with `infor-`, which is reserved by `scope_policy`")),
        ("infor".to_owned(), None),
        ("order-read".to_owned(), Some("scope `order-read` is declared twice")),
        ("Order-Read".to_owned(), None),
        ("bestände".to_owned(), Some("`ä`")),
        ("order read".to_owned(), Some("a space may not stand in a scope")),
    ] {
        let found = errors_with_scope(json!({"name": name}));
        match error {
            None => assert_eq!(found, [""; 0], "{name}"),
            Some(error) => {
                assert!(
                    found.len() == 1 && found[0].starts_with(at) && found[0].contains(error),
                    "{name}: {found:?}"
                );
            }
        }
    }
    for vendor in
        [json!({"name": "infor-crm", "system": true}), json!({"name": "o".repeat(51), "system": true})]
    {
        assert_eq!(errors_with_scope(vendor), [""; 0]);
    }
}

#[test]
fn infors_descriptions_have_500_characters_of_any_language_and_a_tenant_100_scopes() {
    let described = |text: String| errors_with_scope(json!({"name": "described", "description": text}));
    assert_eq!(described("在".repeat(500)), [""; 0]);
    let too_long = "tenant_templates.standard.scopes[7].description: the description has 501 characters; \
                    `scope_policy` allows 500";
    assert_eq!(described("在".repeat(501)), [too_long]);

    // Five of the seven in the file are custom ones.
    let filled = |more: usize| {
        errors(INFOR, |json| {
            scopes_of_the_template(json)
                .extend((0..more).map(|number| json!({"name": format!("custom-{number}")})));
        })
    };
    assert_eq!(filled(95), [""; 0]);
    assert_eq!(
        filled(96),
        ["tenant_templates.standard.scopes: 101 scopes are declared; `scope_policy` allows 100"]
    );
}

#[test]
fn no_infor_scope_is_removed_while_an_application_or_a_mapping_refers_to_it() {
    let without =
        |name: &str| errors(INFOR, |json| scopes_of_the_template(json).retain(|scope| scope["name"] != name));
    let missing =
        "scope `inventory-readwrite` is not declared by template `standard`; did you mean `inventory-read`?";
    assert_eq!(
        without("inventory-readwrite"),
        [
            format!("tenant_templates.standard.scope_mapping.inventory-readwrite: {missing}"),
            format!("tenants[0].applications[0].scopes[1]: {missing}"),
        ]
    );
    // A suite names permissions, which tenants may map as they like: that none has one left is doubtful, not wrong.
    let mut json = yaml_to_json(INFOR).unwrap();
    scopes_of_the_template(&mut json).retain(|scope| scope["name"] != "infor-mingle");
    let warnings = parse_json(json.to_string().as_bytes()).unwrap().warnings;
    let warnings: Vec<String> = warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        warnings,
        ["suites[4].operations[0]: no tenant has a `system` scope that stands for `infor-mingle`"]
    );

    let renamed = errors(INFOR, |json| scopes_of_the_template(json)[4]["name"] = json!("fulfillment"));
    assert_eq!(
        renamed,
        [
            "tenants[0].applications[0].scopes[2]: scope `fulfilment` is not declared by template `standard`; did you \
          mean `fulfillment`?"
        ]
    );
}

#[test]
fn no_infor_suite_is_removed_while_a_tenant_refers_to_it() {
    let found = errors(INFOR, |json| {
        json["suites"].as_array_mut().unwrap().retain(|suite| suite["name"] != "orders");
    });
    assert_eq!(
        found,
        [
            "tenants[1].suites[1]: suite `orders` is not configured",
            "tenants[1].suite_scopes.orders: suite `orders` is not configured",
        ]
    );
}
