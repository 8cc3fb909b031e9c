//! Teamcenter: Service Management next to standard PLM operations.

use serde_json::{Value, json};

use super::{
    assert_all, authorization_server, claims_of, clients, configuration, minted, options, passes, refused,
};
use scopegate_testing::harness::{AuthorizationServer, Gateway};
use scopegate_testing::http::Request;

const SERVICE: &str = "/tc/service-management/v1/service-requests";
const STRUCTURE: &str = "/tc/service-management/v1/physical-parts/SN-7/structure";
const GET_PROPERTIES: &str = "/tc/JsonRestServices/Core-2006-03-DataManagement/getProperties";
const CREATE_ITEMS: &str = "/tc/JsonRestServices/Core-2006-03-DataManagement/createItems";
const DELETE_OBJECTS: &str = "/tc/JsonRestServices/Core-2006-03-DataManagement/deleteObjects";

const SCOPES: [&str; 7] = [
    "tc.service.read",
    "tc.service.write",
    "tc.service.admin",
    "tc.plm.read",
    "tc.plm.write",
    "tc.plm.admin",
    "TC.Service.Read",
];

/// Tokens without a tenant's name in the audience, with one, and opaque ones.
const JWT: &str = "urn:teamcenter";
const FOR_MARINE: &str = "urn:teamcenter:marine";
const FOR_NOBODY: &str = "urn:teamcenter:nobody";
const OPAQUE: &str = "urn:teamcenter:opaque";

fn start() -> (AuthorizationServer, Gateway) {
    let configuration = configuration("teamcenter.yaml");
    let resource =
        |audience: &str, format: &str| json!({"audience": audience, "format": format, "scopes": SCOPES});
    let mut known = clients(
        "tenant_id",
        &[
            ("aero-desk", "aero"),
            ("aero-merged", "7f1c52d4-3a3e-4b0e-9d55-0c2a7c1f6a10"),
            ("marine-desk", "marine"),
            ("rail-desk", "rail"),
            ("depot-plm", "depot"),
            ("space-desk", "space"),
            ("tenantless", ""),
        ],
    );
    known.push(json!({"client_id": "teamcenter-gateway", "client_secret": "teamcenter-gateway-secret"}));
    let issuer = authorization_server(
        &configuration,
        &json!({
            "default_resource": JWT,
            "resources": {
                JWT: resource("teamcenter-api", "jwt"),
                FOR_MARINE: resource("https://teamcenter.plm.example.com/marine", "jwt"),
                FOR_NOBODY: resource("https://teamcenter.plm.example.com/nobody", "jwt"),
                OPAQUE: resource("teamcenter-api", "opaque"),
            },
            "clients": known,
        }),
    );
    let secret = ("TEAMCENTER_INTROSPECTION_SECRET", "teamcenter-gateway");
    let gateway = Gateway::start(&configuration, &options(&issuer, "sso", Some(secret)));
    (issuer, gateway)
}

#[test]
fn each_endpoint_asks_for_its_scope_and_each_tenant_reads_scopes_by_its_own_table() {
    let (issuer, gateway) = start();
    let token = |client: &str, scope: &str| issuer.token(client, scope, JWT);
    let get = |path: &str, token: &str| Request::get(path).bearer(token);
    let post = |path: &str, token: &str| Request::post(path).bearer(token).json(&json!({}));
    let request = format!("{SERVICE}/SR-1");
    let close = format!("{SERVICE}/SR-1/close");
    let reader = token("aero-desk", "tc.service.read");
    let writer = token("aero-desk", "tc.service.write");
    let admin = token("aero-desk", "tc.service.admin");

    let endpoints = [
        passes("read lists requests", get(SERVICE, &reader)),
        passes("read reads a request", get(&request, &reader)),
        refused("read creates none", post(SERVICE, &reader), 403, "scope_not_granted"),
        passes("write creates a request", post(SERVICE, &writer)),
        passes("write changes a request", Request::new("PATCH", &request).bearer(&writer)),
        refused(
            "write does not delete",
            Request::new("DELETE", &request).bearer(&writer),
            403,
            "scope_not_granted",
        ),
        refused("write alone reads nothing at aero", get(SERVICE, &writer), 403, "scope_not_granted"),
        passes("admin deletes", Request::new("DELETE", &request).bearer(&admin)),
        passes("admin maps to read", get(&request, &admin)),
        passes("admin maps to write", post(SERVICE, &admin)),
        passes("a PLM scope opens PLM", post(GET_PROPERTIES, &token("aero-desk", "tc.plm.read"))),
        refused(
            "read properties is not create items",
            post(CREATE_ITEMS, &token("aero-desk", "tc.plm.read")),
            403,
            "scope_not_granted",
        ),
        refused(
            "service scopes open no PLM",
            post(GET_PROPERTIES, &admin),
            403,
            "scope_not_associated_with_suite",
        ),
        refused(
            "PLM scopes open no service",
            get(SERVICE, &token("aero-desk", "tc.plm.admin")),
            403,
            "scope_not_associated_with_suite",
        ),
        refused(
            "a service view of PLM data takes both: service alone",
            get(STRUCTURE, &reader),
            403,
            "scope_not_granted",
        ),
        passes(
            "a service view of PLM data takes both: both",
            get(STRUCTURE, &token("aero-desk", "tc.service.read tc.plm.read")),
        ),
        refused(
            "case counts",
            get(SERVICE, &token("aero-desk", "TC.Service.Read")),
            403,
            "scope_name_mismatch",
        ),
        refused("no scope at all", get(SERVICE, &token("aero-desk", "")), 403, "no_scopes_in_token"),
        passes("who am I asks for no scope", get("/tc/whoami", &token("aero-desk", ""))),
        passes("health asks for no token", Request::get("/tc/health")),
        refused("everything else does", Request::get(SERVICE), 401, "credential_missing"),
    ];
    assert_all(&gateway, gateway.port, &endpoints);

    let tenants = [
        passes("write reads at marine", get(SERVICE, &token("marine-desk", "tc.service.write"))),
        refused(
            "PLM admin is admin only at marine",
            post(CREATE_ITEMS, &token("marine-desk", "tc.plm.admin")),
            403,
            "scope_not_granted",
        ),
        passes("and admin it is", post(DELETE_OBJECTS, &token("marine-desk", "tc.plm.admin"))),
        passes("PLM admin creates at aero", post(CREATE_ITEMS, &token("aero-desk", "tc.plm.admin"))),
        passes("write closes at rail", post(&close, &token("rail-desk", "tc.service.write"))),
        refused("write closes nothing at aero", post(&close, &writer), 403, "scope_not_granted"),
        refused(
            "depot has no service management",
            get(SERVICE, &token("depot-plm", "tc.service.admin")),
            403,
            "suite_not_available",
        ),
        passes("depot has PLM", post(GET_PROPERTIES, &token("depot-plm", "tc.plm.read"))),
    ];
    assert_all(&gateway, gateway.port, &tenants);

    let unmapped = [
        refused(
            "nobody mapped this path",
            get("/tc/service-management/v1/contracts", &admin),
            403,
            "operation_not_mapped",
        ),
        refused(
            "nor this service",
            post("/tc/JsonRestServices/Core-2006-03-Session/setUserSessionState", &admin),
            403,
            "operation_not_mapped",
        ),
        refused("nor this method", Request::new("DELETE", SERVICE).bearer(&admin), 403, "method_not_mapped"),
        refused("a trailing slash counts", get(&format!("{SERVICE}/"), &admin), 403, "operation_not_mapped"),
        refused(
            "without a token nobody learns what is mapped",
            Request::get("/tc/nowhere"),
            401,
            "credential_missing",
        ),
    ];
    assert_all(&gateway, gateway.port, &unmapped);

    let told = gateway.send(&get(&request, &admin).header("x-tc-permissions", "tc.plm.admin"));
    assert_eq!(told.upstream_saw("x-tc-permissions"), ["tc.service.read tc.service.write tc.service.admin"]);
    assert_eq!(told.upstream_saw("x-tc-tenant"), ["aero"]);
    assert_eq!(told.upstream_saw("x-tc-operation"), ["read-request"]);
    let challenge = gateway.send(&post(SERVICE, &reader));
    let challenge = challenge.header("www-authenticate").expect("a challenge");
    assert!(challenge.ends_with(r#", scope="tc.service.write""#), "{challenge}");

    the_tenant_is_settled_before_any_scope(&issuer, &gateway);
    introspection_that_leaves_scopes_out_is_told_apart(&issuer, &gateway);
}

fn the_tenant_is_settled_before_any_scope(issuer: &AuthorizationServer, gateway: &Gateway) {
    let get = |token: &str| Request::get(SERVICE).bearer(token);
    let good = claims_of(&issuer.token("aero-desk", "tc.service.read", JWT));
    let with = |changes: Value| get(&minted(issuer, &good, &changes));
    let of_both =
        json!(["https://teamcenter.plm.example.com/aero", "https://teamcenter.plm.example.com/marine"]);
    let no_scope = |client: &str, resource: &str| get(&issuer.token(client, "", resource));
    let cases = [
        passes("tenant_id names it", get(&issuer.token("aero-desk", "tc.service.read", JWT))),
        passes("tenant_id names it by its alias", get(&issuer.token("aero-merged", "tc.service.read", JWT))),
        passes("the audience names it", get(&issuer.token("tenantless", "tc.service.read", FOR_MARINE))),
        passes("both name the same", get(&issuer.token("marine-desk", "tc.service.read", FOR_MARINE))),
        refused(
            "both name others",
            get(&issuer.token("aero-desk", "tc.service.read", FOR_MARINE)),
            401,
            "tenant_mismatch",
        ),
        refused(
            "nothing names one",
            get(&issuer.token("tenantless", "tc.service.read", JWT)),
            401,
            "tenant_missing",
        ),
        refused(
            "not even where no scope is needed",
            Request::get("/tc/whoami").bearer(&issuer.token("tenantless", "", JWT)),
            401,
            "tenant_missing",
        ),
        refused(
            "before scopes: nothing names one, no scope",
            no_scope("tenantless", JWT),
            401,
            "tenant_missing",
        ),
        refused(
            "before scopes: both name others, no scope",
            no_scope("aero-desk", FOR_MARINE),
            401,
            "tenant_mismatch",
        ),
        refused(
            "before what is mapped, too",
            Request::get("/tc/nowhere").bearer(&issuer.token("tenantless", "", JWT)),
            401,
            "tenant_missing",
        ),
        refused(
            "tenant_id of nobody",
            get(&issuer.token("space-desk", "tc.service.read", JWT)),
            401,
            "tenant_unknown",
        ),
        refused(
            "an audience of nobody",
            get(&issuer.token("aero-desk", "tc.service.read", FOR_NOBODY)),
            401,
            "audience_mismatch",
        ),
        refused(
            "two audiences and no claim",
            with(json!({"aud": of_both, "tenant_id": null})),
            401,
            "tenant_ambiguous",
        ),
        passes("two audiences, and the claim settles it", with(json!({"aud": of_both}))),
        refused("tenant_id in another case", with(json!({"tenant_id": "Aero"})), 401, "tenant_unknown"),
        refused(
            "tenant_id as a list",
            with(json!({"tenant_id": ["aero", "marine"]})),
            401,
            "claim_malformed",
        ),
        refused("tenant_id empty", with(json!({"tenant_id": ""})), 401, "claim_malformed"),
        refused(
            "an audience that begins alike",
            with(json!({"aud": "teamcenter-api2"})),
            401,
            "audience_mismatch",
        ),
        refused(
            "another issuer",
            with(json!({"iss": "https://sso.plm.example.com/"})),
            401,
            "issuer_unknown",
        ),
    ];
    assert_all(gateway, gateway.port, &cases);
}

fn introspection_that_leaves_scopes_out_is_told_apart(issuer: &AuthorizationServer, gateway: &Gateway) {
    let list = |token: &str| Request::get(SERVICE).bearer(token);
    let opaque = |client: &str, scope: &str| issuer.token(client, scope, OPAQUE);
    let revoked = opaque("aero-desk", "tc.service.read");
    let form = [("token", revoked.as_str())];
    let revocation = Request::post("/oauth/revoke").basic("aero-desk", "aero-desk-secret").form(&form);
    assert_eq!(scopegate_testing::http::send(issuer.port, &revocation).status, 200);
    let cases = [
        passes("an opaque token that grants it", list(&opaque("aero-desk", "tc.service.read"))),
        refused(
            "one that does not",
            Request::post(SERVICE).bearer(&opaque("aero-desk", "tc.service.read")),
            403,
            "scope_not_granted",
        ),
        refused(
            "one of which the server tells no scope",
            list(&opaque("aero-desk", "")),
            403,
            "scope_absent_from_introspection",
        ),
        refused(
            "a JWT without scope is no such thing",
            list(&issuer.token("aero-desk", "", JWT)),
            403,
            "no_scopes_in_token",
        ),
        refused(
            "one of nobody's tenant, before scopes",
            list(&opaque("tenantless", "")),
            401,
            "tenant_missing",
        ),
        refused("a revoked one", list(&revoked), 401, "token_inactive"),
        refused("one that never was", list("unheard-of"), 401, "token_inactive"),
    ];
    assert_all(gateway, gateway.port, &cases);

    // A server that tells the standard scopes and drops the custom ones.
    let answer = |scope: Value| {
        let mut body =
            json!({"active": true, "aud": "teamcenter-api", "client_id": "aero-desk", "tenant_id": "aero"});
        body["scope"] = scope;
        json!({"endpoint": "introspection", "times": 1, "body": body})
    };
    issuer.behave(&answer(json!("tc.plm.read")));
    let dropped = gateway.send(&list("custom-scopes-dropped"));
    assert_eq!(dropped.decision(), (403, "scope_not_associated_with_suite".to_owned()));
    issuer.behave(&answer(json!("")));
    assert_eq!(gateway.send(&list("all-scopes-dropped")).decision(), (403, "no_scopes_in_token".to_owned()));
    issuer.behave(&answer(Value::Null));
    // Some servers write `null` for what they do not know.
    let unsaid = gateway.send(&list("scope-is-null"));
    assert_eq!(unsaid.decision(), (403, "scope_absent_from_introspection".to_owned()));
    issuer.behave(&json!({"endpoint": "introspection", "times": 1, "status": 500, "body": "{}"}));
    let down = gateway.send(&list("server-is-down"));
    assert_eq!(down.decision(), (503, "introspection_unavailable".to_owned()));
    assert!(down.header("retry-after").is_some());
}
