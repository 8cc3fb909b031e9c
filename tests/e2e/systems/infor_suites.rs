//! Infor-style suites: custom scopes, suites and authorized applications, many to many.

use serde_json::{Value, json};

use super::{
    assert_all, authorization_server, claims_of, clients, configuration, minted, options, passes, refused,
};
use scopegate_testing::harness::{AuthorizationServer, Gateway, Options};
use scopegate_testing::http::Request;

const JWT: &str = "urn:ion";
const OPAQUE: &str = "urn:ion:opaque";

const WAREHOUSE: &str = "ACME_PRD~warehouse";
const WEBSHOP: &str = "ACME_PRD~webshop";
const OPS: &str = "ACME_PRD~ops";
const LEGACY: &str = "ACME_PRD~legacy";

fn start(configuration: &Value) -> (AuthorizationServer, Gateway, Options) {
    let scopes = [
        "inventory-read",
        "inventory-readwrite",
        "order-read",
        "order-write",
        "fulfilment",
        "infor-ion",
        "infor-mingle",
        "initech:order-read",
        "initech:infor-ion",
        "Inventory-Read",
        "inventory_read",
        "finance-read",
    ];
    let mut known = clients(
        "Tenant",
        &[
            (WAREHOUSE, "ACME_PRD"),
            (WEBSHOP, "ACME_PRD"),
            (OPS, "ACME_PRD"),
            (LEGACY, "ACME_PRD"),
            ("ACME_PRD~unknown", "ACME_PRD"),
            ("GLOBEX_PRD~webshop", "GLOBEX_PRD"),
            ("INITECH_TST~webshop", "INITECH_TST"),
        ],
    );
    known.push(json!({"client_id": "ion-gateway", "client_secret": "ion-gateway-secret"}));
    let issuer = authorization_server(
        configuration,
        &json!({
            "default_resource": JWT,
            "resources": {
                JWT: {"audience": "ion-api", "scopes": scopes},
                OPAQUE: {"audience": "ion-api", "format": "opaque", "scopes": scopes},
            },
            "clients": known,
        }),
    );
    let secret = ("ION_INTROSPECTION_SECRET", "ion-gateway");
    let options = Options { reloadable: true, ..options(&issuer, "sso", Some(secret)) };
    let gateway = Gateway::start(configuration, &options);
    (issuer, gateway, options)
}

fn get(path: &str, token: &str) -> Request {
    Request::get(path).bearer(token)
}

fn post(path: &str, token: &str) -> Request {
    Request::post(path).bearer(token).json(&json!({}))
}

const ITEMS: &str = "/ACME_PRD/inventory/v1/items";
const MOVEMENTS: &str = "/ACME_PRD/inventory/v1/items/7/movements";
const ORDERS: &str = "/ACME_PRD/orders/v1/orders";
const ORDER_SHIPMENTS: &str = "/ACME_PRD/orders/v1/orders/7/shipments";
const SHIPMENTS: &str = "/ACME_PRD/shipments/v1/shipments";
const ION: &str = "/ACME_PRD/IONSERVICES/process/v1/pulse";
const MINGLE: &str = "/ACME_PRD/Mingle/SocialService/User";

#[test]
fn suites_scopes_and_applications_are_many_to_many_and_every_cause_of_a_403_is_told_apart() {
    let configuration = configuration("infor-suites.yaml");
    let (issuer, gateway, options) = start(&configuration);
    let token = |client: &str, scope: &str| issuer.token(client, scope, JWT);
    let globex = |scope: &str| token("GLOBEX_PRD~webshop", scope);
    let initech = |scope: &str| token("INITECH_TST~webshop", scope);

    let many_to_many = [
        passes("a scope opens a suite", get(ITEMS, &token(WAREHOUSE, "inventory-read"))),
        passes("another scope opens it too", get(ITEMS, &token(WAREHOUSE, "inventory-readwrite"))),
        passes("and one of its operations more", post(MOVEMENTS, &token(WAREHOUSE, "inventory-readwrite"))),
        passes("one scope opens one suite", get(ORDERS, &token(WAREHOUSE, "fulfilment"))),
        passes("and another", get(SHIPMENTS, &token(WAREHOUSE, "fulfilment"))),
        passes(
            "one application, several scopes: inventory",
            get(ITEMS, &token(WEBSHOP, "inventory-read order-write")),
        ),
        passes(
            "one application, several scopes: orders",
            post(ORDERS, &token(WEBSHOP, "inventory-read order-write")),
        ),
        passes("one scope, several applications", get(ITEMS, &token(WEBSHOP, "inventory-read"))),
        passes(
            "another tenant's application, by its own table",
            get("/GLOBEX_PRD/orders/v1/orders", &globex("order-write")),
        ),
        refused(
            "whose suite asks for another scope",
            get("/GLOBEX_PRD/orders/v1/orders", &globex("order-read")),
            403,
            "scope_not_associated_with_suite",
        ),
        passes(
            "a tenant whose scopes are prefixed",
            get("/INITECH_TST/orders/v1/orders", &initech("initech:order-read")),
        ),
    ];
    assert_all(&gateway, gateway.port, &many_to_many);

    let causes = [
        refused(
            "nothing is mapped here",
            get("/ACME_PRD/finance/v1/ledgers", &token(WAREHOUSE, "inventory-read")),
            403,
            "operation_not_mapped",
        ),
        refused(
            "the method is not mapped",
            Request::new("DELETE", ITEMS).bearer(&token(WAREHOUSE, "inventory-read")),
            403,
            "method_not_mapped",
        ),
        refused(
            "the tenant does not have the suite",
            get("/GLOBEX_PRD/shipments/v1/shipments", &globex("order-write")),
            403,
            "suite_not_available",
        ),
        refused(
            "introspection tells no scope",
            get(ITEMS, &issuer.token(WAREHOUSE, "", OPAQUE)),
            403,
            "scope_absent_from_introspection",
        ),
        refused("the token has no scope", get(ITEMS, &token(WAREHOUSE, "")), 403, "no_scopes_in_token"),
        refused(
            "the scope is another tenant's",
            get(ORDERS, &token(WEBSHOP, "initech:order-read")),
            403,
            "scope_of_other_tenant",
        ),
        refused(
            "the scope is spelled in another case",
            get(ITEMS, &token(WAREHOUSE, "Inventory-Read")),
            403,
            "scope_name_mismatch",
        ),
        refused(
            "the scope is spelled with another sign",
            get(ITEMS, &token(WAREHOUSE, "inventory_read")),
            403,
            "scope_name_mismatch",
        ),
        refused(
            "the tenant does not declare the scope",
            post("/GLOBEX_PRD/orders/v1/orders/7/shipments", &globex("fulfilment")),
            403,
            "scope_not_declared",
        ),
        refused(
            "the application is not assigned the scope",
            post(MOVEMENTS, &token(WEBSHOP, "inventory-readwrite")),
            403,
            "scope_not_assigned_to_application",
        ),
        refused(
            "no scope of the token belongs to the suite",
            get(SHIPMENTS, &token(WEBSHOP, "order-read")),
            403,
            "scope_not_associated_with_suite",
        ),
        refused(
            "one does, and another is asked for",
            post(ORDERS, &token(WEBSHOP, "order-read")),
            403,
            "scope_not_granted",
        ),
        refused(
            "a scope that means nothing here",
            get(ITEMS, &token(WAREHOUSE, "finance-read")),
            403,
            "scope_not_granted",
        ),
    ];
    assert_all(&gateway, gateway.port, &causes);

    let vendor = [
        passes("the vendor's scope opens the vendor's suite", get(ION, &token(OPS, "infor-ion"))),
        refused(
            "its other scope is not this application's",
            get(MINGLE, &token(OPS, "infor-mingle")),
            403,
            "scope_not_assigned_to_application",
        ),
        refused(
            "one vendor scope is not the other",
            get(MINGLE, &token(OPS, "infor-ion")),
            403,
            "scope_not_associated_with_suite",
        ),
        refused(
            "the vendor's scope opens no custom suite",
            get(ORDERS, &token(OPS, "infor-ion")),
            403,
            "scope_not_associated_with_suite",
        ),
        refused(
            "custom scopes open no vendor suite",
            get(ION, &token(OPS, "order-read")),
            403,
            "scope_not_associated_with_suite",
        ),
        passes("each opens its own", get(ORDERS, &token(OPS, "infor-ion order-read"))),
    ];
    assert_all(&gateway, gateway.port, &vendor);

    let good = claims_of(&token(WAREHOUSE, "inventory-read"));
    let with = |changes: Value| get(ITEMS, &minted(&issuer, &good, &changes));
    let never_lifted = [
        refused(
            "a client nobody authorized",
            get(ITEMS, &token("ACME_PRD~unknown", "inventory-read")),
            401,
            "application_not_registered",
        ),
        refused("another tenant's path", get(ITEMS, &globex("inventory-read")), 401, "tenant_mismatch"),
        refused(
            "another tenant's client",
            with(json!({"client_id": "GLOBEX_PRD~webshop"})),
            401,
            "application_not_registered",
        ),
        refused(
            "no tenant claim",
            with(json!({"Tenant": null, "tenant_id": "ACME_PRD"})),
            401,
            "tenant_missing",
        ),
    ];
    assert_all(&gateway, gateway.port, &never_lifted);

    let told = gateway.send(&get(ITEMS, &token(WAREHOUSE, "inventory-readwrite inventory-read")));
    assert_eq!(told.upstream_saw("x-infor-tenant"), ["ACME_PRD"]);
    assert_eq!(told.upstream_saw("x-infor-client"), [WAREHOUSE]);
    assert_eq!(told.upstream_saw("x-infor-suite"), ["inventory"]);
    assert_eq!(told.upstream_saw("x-infor-scopes"), ["inventory-readwrite inventory-read"]);
    let prefixed = gateway.send(&post("/INITECH_TST/orders/v1/orders", &initech("initech:order-read")));
    let challenge = prefixed.header("www-authenticate").expect("a challenge");
    assert!(challenge.ends_with(r#", scope="initech:order-write""#), "{challenge}");

    scopes_are_enforced_where_both_switches_are_on(&issuer, &gateway, &options, &configuration);
}

fn scopes_are_enforced_where_both_switches_are_on(
    issuer: &AuthorizationServer,
    gateway: &Gateway,
    options: &Options,
    configuration: &Value,
) {
    let token = |client: &str, scope: &str| issuer.token(client, scope, JWT);
    // What no switch lifts, the same before and after.
    let whatever_the_switches = || {
        [
            refused(
                "the vendor's suite needs the vendor's scope",
                get(ION, &token(LEGACY, "order-read")),
                403,
                "scope_not_associated_with_suite",
            ),
            refused(
                "even the one it was never assigned",
                get(ION, &token(LEGACY, "infor-ion")),
                403,
                "scope_not_assigned_to_application",
            ),
            refused(
                "what is not mapped stays shut",
                get("/ACME_PRD/finance", &token(LEGACY, "")),
                403,
                "operation_not_mapped",
            ),
            refused(
                "and so does the method",
                Request::new("DELETE", ITEMS).bearer(&token(LEGACY, "")),
                403,
                "method_not_mapped",
            ),
            refused(
                "and another tenant",
                get("/GLOBEX_PRD/inventory/v1/items", &token(LEGACY, "")),
                401,
                "tenant_mismatch",
            ),
            refused(
                "and a suite the tenant does not have",
                get("/GLOBEX_PRD/shipments/v1/shipments", &token("GLOBEX_PRD~webshop", "")),
                403,
                "suite_not_available",
            ),
            refused(
                "and a client nobody authorized",
                get(ITEMS, &token("ACME_PRD~unknown", "")),
                401,
                "application_not_registered",
            ),
        ]
    };
    let own_switch_off = [
        passes("its own switch is off: no scope", get(ITEMS, &token(LEGACY, ""))),
        passes(
            "its own switch is off: a scope of something else",
            post(ORDER_SHIPMENTS, &token(LEGACY, "order-read")),
        ),
        refused(
            "that is no other application's affair",
            get(ITEMS, &token(WEBSHOP, "")),
            403,
            "no_scopes_in_token",
        ),
    ];
    assert_all(gateway, gateway.port, &own_switch_off);
    assert_all(gateway, gateway.port, &whatever_the_switches());

    // A careless mapping besides: a custom scope that stands for what the vendor's suites ask for.
    let mut master_off = configuration.clone();
    master_off["scopes_per_application"] = json!(false);
    master_off["tenant_templates"]["standard"]["scope_mapping"]["order-read"] =
        json!(["order-read", "infor-ion", "infor-mingle"]);
    assert!(gateway.reload(&master_off, options), "{}", gateway.log());
    let master_switch_off = [
        passes("the master switch is off: no scope", get(ITEMS, &token(WEBSHOP, ""))),
        passes(
            "the master switch is off: a scope of something else",
            post(MOVEMENTS, &token(WEBSHOP, "order-read")),
        ),
        passes("nor does its own say otherwise", get(ITEMS, &token(LEGACY, ""))),
        refused(
            "a mapping opens no vendor suite",
            get(ION, &token(OPS, "order-read")),
            403,
            "scope_not_associated_with_suite",
        ),
        passes("the vendor's scope does", get(ION, &token(OPS, "infor-ion"))),
    ];
    assert_all(gateway, gateway.port, &master_switch_off);
    assert_all(gateway, gateway.port, &whatever_the_switches());

    let mut own_switch_on = configuration.clone();
    own_switch_on["tenant_templates"]["standard"]["scope_mapping"]["order-read"] =
        json!(["order-read", "infor-ion"]);
    own_switch_on["tenants"][0]["applications"][3]["scope_enforcement"] = json!("enforce");
    assert!(gateway.reload(&own_switch_on, options), "{}", gateway.log());
    let both_on = [
        refused("both switches are on: no scope", get(ITEMS, &token(LEGACY, "")), 403, "no_scopes_in_token"),
        refused(
            "both switches are on: a scope of something else",
            get(ITEMS, &token(LEGACY, "order-read")),
            403,
            "scope_not_associated_with_suite",
        ),
        passes("both switches are on: its scope", get(ORDERS, &token(LEGACY, "order-read"))),
        refused(
            "a mapping opens no vendor suite",
            get(ION, &token(OPS, "order-read")),
            403,
            "scope_not_associated_with_suite",
        ),
    ];
    assert_all(gateway, gateway.port, &both_on);

    let mut dangling = configuration.clone();
    let scopes = dangling["tenant_templates"]["standard"]["scopes"].as_array_mut().expect("scopes");
    scopes.retain(|scope| scope["name"] != "inventory-readwrite");
    assert!(!gateway.reload(&dangling, options), "{}", gateway.log());
    let log = gateway.log();
    assert!(
        log.contains("tenants[0].applications[0].scopes[1]: scope `inventory-readwrite` is not declared"),
        "{log}"
    );
    assert_all(gateway, gateway.port, &both_on);
}
