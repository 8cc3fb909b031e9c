//! ThingWorx: the billing API of three tenants, each at a domain of its own.

use serde_json::{Value, json};

use super::{
    assert_all, authorization_server, changed, claims_of, clients, configuration, minted, options, passes,
    refused,
};
use scopegate_testing::harness::{AuthorizationServer, Gateway};
use scopegate_testing::http::{Request, Response};

const TRANSACTIONS: &str = "/Thingworx/Things/Billing/transactions";
const REFUND: &str = "/Thingworx/Things/Billing/transactions/7/refund";
const STATEMENT: &str = "/Thingworx/Things/Billing/statements/2026-11";

const BILLING: &str = "urn:billing";
const PLATFORM: &str = "urn:thingworx";

const ACME: (&str, &str) = ("prod-tenant-01", "billing.acme.example");
const GLOBEX: (&str, &str) = ("prod-tenant-02", "billing.globex.example");
const INITECH: (&str, &str) = ("prod-tenant-03", "billing.initech.example");

fn start() -> (AuthorizationServer, Gateway) {
    let configuration = configuration("thingworx-billing.yaml");
    let scopes = ["billing:read", "billing:write", "billing:refund", "billing:writes"];
    let issuer = authorization_server(
        &configuration,
        &json!({
            "default_resource": BILLING,
            "resources": {
                BILLING: {"audience": "thingworx-billing-api", "scopes": scopes},
                PLATFORM: {"audience": "thingworx-api", "scopes": scopes},
                "urn:billing:opaque": {"audience": "thingworx-billing-api", "format": "opaque", "scopes": scopes},
                "urn:billing:es256": {"audience": "thingworx-billing-api", "alg": "ES256", "scopes": scopes},
                "urn:billing:ps256": {"audience": "thingworx-billing-api", "alg": "PS256", "scopes": scopes},
            },
            "clients": clients("tenant_id", &[
                ("prod-tenant-01-billing-sync", "prod-tenant-01"),
                ("prod-tenant-01-dashboard", "prod-tenant-01"),
                ("prod-tenant-02-billing-sync", "prod-tenant-02"),
                ("prod-tenant-03-billing-sync", "prod-tenant-03"),
                ("prod-tenant-01-rogue", "prod-tenant-01"),
            ]),
        }),
    );
    let gateway = Gateway::start(&configuration, &options(&issuer, "idp", None));
    (issuer, gateway)
}

/// A request as a tenant's caller should send it.
fn call(method: &str, path: &str, (tenant, host): (&str, &str), token: &str) -> Request {
    Request::new(method, path).header("host", host).header("x-tenant-id", tenant).bearer(token)
}

fn list(at: (&str, &str), token: &str) -> Request {
    call("GET", TRANSACTIONS, at, token)
}

fn v2(request: Request) -> Request {
    request.header("x-api-version", "v2")
}

#[test]
fn token_header_and_domain_name_one_tenant_and_each_version_has_its_own_rules() {
    let (issuer, gateway) = start();
    let token = |scope: &str| issuer.token("prod-tenant-01-billing-sync", scope, BILLING);
    let (reader, writer) = (token("billing:read"), token("billing:write"));
    let of_globex = issuer.token("prod-tenant-02-billing-sync", "billing:read", BILLING);
    let of_initech = issuer.token("prod-tenant-03-billing-sync", "billing:read", BILLING);
    let bare = || Request::get(TRANSACTIONS).bearer(&reader);

    let tenants = [
        passes("acme at its domain", list(ACME, &reader)),
        passes("globex at its domain", list(GLOBEX, &of_globex)),
        passes("initech at its domain", list(INITECH, &of_initech)),
        passes(
            "a domain has no case, and a port beside it",
            list((ACME.0, "Billing.ACME.example:8443"), &reader),
        ),
        refused("acme's token at globex's domain", list((ACME.0, GLOBEX.1), &reader), 401, "tenant_mismatch"),
        refused("acme's token, globex's domain and header", list(GLOBEX, &reader), 401, "tenant_mismatch"),
        refused(
            "acme's token and domain, globex's header",
            list((GLOBEX.0, ACME.1), &reader),
            401,
            "tenant_mismatch",
        ),
        refused("globex's token at acme's domain", list(ACME, &of_globex), 401, "tenant_mismatch"),
        refused("a domain of nobody", list((ACME.0, "billing.example"), &reader), 401, "tenant_missing"),
        refused(
            "a domain below the tenant's",
            list((ACME.0, "x.billing.acme.example"), &reader),
            401,
            "tenant_missing",
        ),
        refused("no header", bare().header("host", ACME.1), 400, "header_missing"),
        refused(
            "an empty header",
            bare().header("host", ACME.1).header("x-tenant-id", ""),
            400,
            "header_malformed",
        ),
        refused(
            "the header twice",
            list(ACME, &reader).header("X-Tenant-ID", ACME.0),
            400,
            "header_ambiguous",
        ),
        refused(
            "a list in the header",
            list(("prod-tenant-01, prod-tenant-02", ACME.1), &reader),
            400,
            "header_ambiguous",
        ),
        refused(
            "the header in another case",
            list(("PROD-TENANT-01", ACME.1), &reader),
            401,
            "tenant_mismatch",
        ),
        refused("a header of nobody", list(("prod-tenant-1", ACME.1), &reader), 401, "tenant_mismatch"),
        refused(
            "no header matters before a good token is there",
            Request::get(TRANSACTIONS).header("host", ACME.1),
            401,
            "credential_missing",
        ),
        refused(
            "a client that is not registered",
            list(ACME, &issuer.token("prod-tenant-01-rogue", "billing:read", BILLING)),
            401,
            "application_not_registered",
        ),
    ];
    assert_all(&gateway, gateway.port, &tenants);

    let both = token("billing:read billing:write");
    let refunder = token("billing:refund");
    let dashboard = issuer.token("prod-tenant-01-dashboard", "billing:read billing:write", BILLING);
    let post = |token: &str| call("POST", TRANSACTIONS, ACME, token);
    let refund = |token: &str| call("POST", REFUND, ACME, token);
    let version = |value: &str| list(ACME, &reader).header("x-api-version", value);
    let versions = [
        passes("v1: posting takes write", post(&writer)),
        passes("v1 by name", post(&writer).header("x-api-version", "v1")),
        refused("v2: posting takes read too", v2(post(&writer)), 403, "scope_not_granted"),
        passes("v2: posting with both", v2(post(&both))),
        passes("v1: who posts refunds", refund(&writer)),
        refused(
            "v1: the scope for refunds is none there",
            refund(&refunder),
            403,
            "scope_not_associated_with_suite",
        ),
        passes("v2: refunds take their own scope", v2(refund(&refunder))),
        refused("v2: who posts does not refund", v2(refund(&writer)), 403, "scope_not_granted"),
        passes("v2 has statements", v2(call("GET", STATEMENT, ACME, &reader))),
        refused("v1 has none", call("GET", STATEMENT, ACME, &reader), 400, "header_missing"),
        refused(
            "v1 has none, by name",
            call("GET", STATEMENT, ACME, &reader).header("x-api-version", "v1"),
            400,
            "header_missing",
        ),
        refused("there is no v3", version("v3"), 400, "header_missing"),
        refused("nor V2", version("V2"), 400, "header_missing"),
        refused("two versions", version("v1").header("x-api-version", "v2"), 400, "header_ambiguous"),
        refused("two versions in one", version("v2, v1"), 400, "header_ambiguous"),
        refused("an empty version is not an absent one", version(""), 400, "header_malformed"),
        refused("reading is not posting", post(&reader), 403, "scope_not_granted"),
        refused("nor is a scope that begins alike", post(&token("billing:writes")), 403, "scope_not_granted"),
        refused(
            "the dashboard is not assigned it",
            post(&dashboard),
            403,
            "scope_not_assigned_to_application",
        ),
        refused("nothing is deleted", call("DELETE", TRANSACTIONS, ACME, &both), 403, "method_not_mapped"),
        refused(
            "nothing else of ThingWorx is here",
            call("GET", "/Thingworx/Things/Billing/Services/GetAll", ACME, &both),
            403,
            "operation_not_mapped",
        ),
    ];
    assert_all(&gateway, gateway.port, &versions);

    let told = |response: Response| {
        ["tenant", "client", "suite"]
            .map(|fact| response.upstream_saw(&format!("x-billing-{fact}")).join(","))
    };
    assert_eq!(told(gateway.send(&post(&both))), [ACME.0, "prod-tenant-01-billing-sync", "billing-v1"]);
    assert_eq!(told(gateway.send(&v2(post(&both)))), [ACME.0, "prod-tenant-01-billing-sync", "billing-v2"]);

    tokens_are_rs256_of_the_issuer_for_billing_alone(&issuer, &gateway);
    keys_come_from_the_jwks_url(&issuer, &gateway);
}

fn tokens_are_rs256_of_the_issuer_for_billing_alone(issuer: &AuthorizationServer, gateway: &Gateway) {
    let of =
        |resource: &str| list(ACME, &issuer.token("prod-tenant-01-billing-sync", "billing:read", resource));
    let good = claims_of(&issuer.token("prod-tenant-01-billing-sync", "billing:read", BILLING));
    let with = |changes: Value| list(ACME, &minted(issuer, &good, &changes));
    let signed = |what: Value| {
        let mut what = what;
        what["claims"] = changed(&good, &json!({}));
        list(ACME, &issuer.mint(&what))
    };
    let unsigned = {
        let token = issuer.mint(&json!({"header": {"alg": "HS256"}, "claims": good, "secret": "x"}));
        let payload = token.split('.').nth(1).expect("a JWT");
        // {"alg":"none"}
        format!("eyJhbGciOiJub25lIn0.{payload}.")
    };
    let cases = [
        refused("for the platform", of(PLATFORM), 401, "audience_mismatch"),
        refused(
            "for an audience that begins alike",
            with(json!({"aud": "thingworx-billing-api-01"})),
            401,
            "audience_mismatch",
        ),
        refused(
            "for an audience in another case",
            with(json!({"aud": "ThingWorx-Billing-API"})),
            401,
            "audience_mismatch",
        ),
        passes(
            "for billing and the platform",
            with(json!({"aud": ["thingworx-api", "thingworx-billing-api"]})),
        ),
        refused("ES256", of("urn:billing:es256"), 401, "algorithm_not_allowed"),
        refused("PS256, of an RSA key as RS256 is", of("urn:billing:ps256"), 401, "algorithm_not_allowed"),
        refused("EdDSA", signed(json!({"header": {"alg": "EdDSA"}})), 401, "algorithm_not_allowed"),
        refused(
            "HS256",
            signed(json!({"header": {"alg": "HS256"}, "secret": "guess"})),
            401,
            "algorithm_not_allowed",
        ),
        refused("unsigned", list(ACME, &unsigned), 401, "algorithm_not_allowed"),
        refused("opaque", of("urn:billing:opaque"), 401, "introspection_not_configured"),
        refused("without iss", with(json!({"iss": null})), 401, "issuer_unknown"),
        refused(
            "of another iss",
            with(json!({"iss": "https://login.thingworx.example.com.evil.example"})),
            401,
            "issuer_unknown",
        ),
        refused("without aud", with(json!({"aud": null})), 401, "claim_missing"),
        refused("without sub", with(json!({"sub": null})), 401, "claim_missing"),
        refused("without tenant_id", with(json!({"tenant_id": null})), 401, "claim_missing"),
        refused(
            "without scope",
            list(ACME, &issuer.token("prod-tenant-01-billing-sync", "", BILLING)),
            401,
            "claim_missing",
        ),
        refused("without exp", with(json!({"exp": null})), 401, "claim_missing"),
        refused("tenant_id of nobody", with(json!({"tenant_id": "prod-tenant-99"})), 401, "tenant_unknown"),
        refused(
            "tenant_id of another tenant",
            with(json!({"tenant_id": GLOBEX.0})),
            401,
            "application_not_registered",
        ),
    ];
    assert_all(gateway, gateway.port, &cases);
}

fn keys_come_from_the_jwks_url(issuer: &AuthorizationServer, gateway: &Gateway) {
    let fetched = issuer.count("jwks");
    assert!(fetched >= 1, "the keys are nowhere in the configuration");
    issuer.rotate_keys(&json!({"alg": "RS256"}));
    let with_the_new_key = issuer.token("prod-tenant-01-billing-sync", "billing:read", BILLING);
    // Sent by themselves: who explains a request fetches keys too.
    let decided = gateway.send(&list(ACME, &with_the_new_key)).decision();
    assert_eq!(decided, (200, "-".to_owned()), "signed with a key from after the last fetch");
    assert_eq!(issuer.count("jwks"), fetched + 1);
    let made_up = issuer.mint(&json!({"header": {"kid": "made-up"}, "claims": claims_of(&with_the_new_key)}));
    let decided = gateway.send(&list(ACME, &made_up)).decision();
    assert_eq!(decided, (401, "key_not_found".to_owned()), "a key of nobody");
    assert_eq!(issuer.count("jwks"), fetched + 1);
}
