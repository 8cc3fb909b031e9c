//! Appian: journal sync into an ERP that many tenants share.

use serde_json::{Value, json};

use super::{
    assert_all, authorization_server, changed, claims_of, clients, configuration, minted, options, passes,
    refused,
};
use scopegate_testing::harness::{AuthorizationServer, Gateway, Options, now};
use scopegate_testing::http::{self, Request};

const BOTH: &str = "tenant1.finance.write tenant1.journal.create";
const TENANT1: &str = "https://api.erp.com/tenant1";
const TENANT10: &str = "https://api.erp.com/tenant10";

fn start() -> (AuthorizationServer, Gateway) {
    let configuration = configuration("appian-erp.yaml");
    let scopes: Vec<String> = ["tenant1.", "tenant2.", "tenant10.", "Tenant1.", ""]
        .iter()
        .flat_map(|prefix| {
            ["finance.read", "finance.write", "journal.create"].map(|name| format!("{prefix}{name}"))
        })
        .collect();
    // A careless server: any client gets any of these scopes, for any tenant's audience.
    let resource = |tenant: &str| {
        let audience = format!("https://api.erp.com/{tenant}");
        (audience.clone(), json!({"audience": audience, "scopes": scopes}))
    };
    let resources: serde_json::Map<String, Value> =
        ["tenant1", "tenant2", "tenant10", "tenant3"].map(resource).into_iter().collect();
    let issuer = authorization_server(
        &configuration,
        &json!({
            "default_resource": TENANT1,
            "resources": resources,
            "clients": clients("tenant_id", &[
                ("appian-tenant1", "tenant1"),
                ("appian-tenant2", "tenant2"),
                ("appian-tenant10", "tenant10"),
                ("appian-tenant3", "tenant3"),
                ("appian-rogue", "tenant1"),
                ("appian-tenantless", ""),
            ]),
        }),
    );
    // Token requests pass through: a route of their own, and headers that are held until the body has come.
    let bootstrap = |bootstrap: &mut Value| {
        let listener = &mut bootstrap["static_resources"]["listeners"][0];
        let manager = &mut listener["filter_chains"][0]["filters"][0]["typed_config"];
        manager["http_filters"][0]["typed_config"]["config"]["allow_on_headers_stop_iteration"] = json!(true);
        let routes = &mut manager["route_config"]["virtual_hosts"][0]["routes"];
        let token = json!({"match": {"path": "/oauth/token"}, "route": {"cluster": "auth"}});
        routes.as_array_mut().expect("routes").insert(0, token);
    };
    let options = Options { bootstrap: Box::new(bootstrap), ..options(&issuer, "auth", None) };
    let gateway = Gateway::start(&configuration, &options);
    (issuer, gateway)
}

fn journal(tenant: &str, token: &str) -> Request {
    call("POST", &format!("/{tenant}/journals"), token).json(&json!({"batch": 1}))
}

/// A person who releases a journal, with what the token says of the login (RFC 9470).
fn releases(issuer: &AuthorizationServer, gateway: &Gateway, claims: &Value) {
    let path = "/tenant1/journals/J-1/posting";
    let release = |changes: Value| call("POST", path, &minted(issuer, claims, &changes));
    let recent = |acr: &str, seconds_ago: u64| json!({"acr": acr, "auth_time": now() - seconds_ago});
    let insufficient = "authentication_insufficient";
    assert_all(
        gateway,
        gateway.port,
        &[
            passes("lately, and with a second factor", release(recent("urn:erp:mfa", 30))),
            refused("with a password alone", release(recent("urn:erp:pwd", 30)), 401, insufficient),
            refused("too long ago", release(recent("urn:erp:mfa", 400)), 401, insufficient),
            refused("no login at all", release(json!({})), 401, insufficient),
            refused(
                "without the scope",
                release(json!({"acr": "urn:erp:mfa", "auth_time": now(), "scope": "tenant1.finance.read"})),
                403,
                "scope_not_granted",
            ),
        ],
    );
    let challenged = gateway.send(&release(json!({})));
    let challenge = challenged.header("www-authenticate").expect("a challenge");
    assert!(challenge.contains(r#"error="insufficient_user_authentication""#), "{challenge}");
    assert!(challenge.ends_with(r#"acr_values="urn:erp:mfa", max_age="300""#), "{challenge}");
}

fn call(method: &str, path: &str, token: &str) -> Request {
    Request::new(method, path).header("host", "api.erp.com").bearer(token)
}

#[test]
fn a_journal_is_created_only_where_claim_audience_client_path_and_both_scopes_are_of_one_tenant() {
    let (issuer, gateway) = start();
    let good = issuer.token("appian-tenant1", BOTH, TENANT1);
    let claims = claims_of(&good);
    assert_eq!((&claims["aud"], &claims["tenant_id"]), (&json!(TENANT1), &json!("tenant1")));
    let token = |client: &str, scope: &str, resource: &str| issuer.token(client, scope, resource);
    let with = |changes: Value| minted(&issuer, &claims, &changes);

    let tenant = [
        passes("tenant1 creates its journal", journal("tenant1", &good)),
        passes(
            "tenant10 creates its own",
            journal(
                "tenant10",
                &token("appian-tenant10", "tenant10.finance.write tenant10.journal.create", TENANT10),
            ),
        ),
        refused("tenant1 at tenant10's path", journal("tenant10", &good), 401, "tenant_mismatch"),
        refused(
            "tenant10 at tenant1's path",
            journal(
                "tenant1",
                &token("appian-tenant10", "tenant10.finance.write tenant10.journal.create", TENANT10),
            ),
            401,
            "tenant_mismatch",
        ),
        refused("a path of nobody", journal("tenant3", &good), 401, "tenant_mismatch"),
        refused("a path that is nearly its own", journal("Tenant1", &good), 401, "tenant_mismatch"),
        refused(
            "its client, another's audience",
            journal("tenant1", &token("appian-tenant1", BOTH, TENANT10)),
            401,
            "application_not_registered",
        ),
        refused(
            "another's client in all but name",
            journal("tenant1", &with(json!({"client_id": "appian-tenant10", "sub": "appian-tenant10"}))),
            401,
            "application_not_registered",
        ),
        refused(
            "a client that is registered nowhere",
            journal("tenant1", &token("appian-rogue", BOTH, TENANT1)),
            401,
            "application_not_registered",
        ),
        refused(
            "no tenant_id",
            journal("tenant1", &token("appian-tenantless", BOTH, TENANT1)),
            401,
            "tenant_missing",
        ),
        refused(
            "another's tenant_id",
            journal("tenant10", &with(json!({"tenant_id": "tenant10"}))),
            401,
            "application_not_registered",
        ),
        refused(
            "another's tenant_id, at home",
            journal("tenant1", &with(json!({"tenant_id": "tenant10", "aud": TENANT10}))),
            401,
            "application_not_registered",
        ),
        refused(
            "a tenant that is not configured",
            journal("tenant3", &with(json!({"tenant_id": "tenant3"}))),
            401,
            "tenant_unknown",
        ),
        refused(
            "an audience that is not configured",
            journal("tenant3", &token("appian-tenant3", BOTH, "https://api.erp.com/tenant3")),
            401,
            "audience_mismatch",
        ),
        refused(
            "an audience below the tenant's",
            journal("tenant1", &with(json!({"aud": format!("{TENANT1}/v2")}))),
            401,
            "audience_mismatch",
        ),
        refused(
            "an audience of plain http",
            journal("tenant1", &with(json!({"aud": "http://api.erp.com/tenant1"}))),
            401,
            "audience_mismatch",
        ),
        refused(
            "another host",
            Request::post("/tenant1/journals").bearer(&good),
            403,
            "operation_not_mapped",
        ),
        refused("a path in disguise", journal("tenant10/%252e%252e/tenant1", &good), 400, "path_ambiguous"),
        refused(
            "no token",
            Request::post("/tenant1/journals").header("host", "api.erp.com"),
            401,
            "credential_missing",
        ),
    ];
    assert_all(&gateway, gateway.port, &tenant);

    let scopes = |scope: &str| token("appian-tenant1", scope, TENANT1);
    let minted_scope = |scope: &str| with(json!({"scope": scope}));
    let matching = [
        refused(
            "journal.create alone",
            journal("tenant1", &scopes("tenant1.journal.create")),
            403,
            "scope_not_granted",
        ),
        refused(
            "finance.write alone",
            journal("tenant1", &scopes("tenant1.finance.write")),
            403,
            "scope_not_granted",
        ),
        passes(
            "finance.write posts entries",
            call("POST", "/tenant1/ledgers/gl/entries", &scopes("tenant1.finance.write")),
        ),
        passes(
            "either of two reads a journal",
            call("GET", "/tenant1/journals/7", &scopes("tenant1.journal.create")),
        ),
        passes("or the other", call("GET", "/tenant1/journals/7", &scopes("tenant1.finance.read"))),
        refused(
            "but not a third",
            call("GET", "/tenant1/journals/7", &scopes("tenant1.finance.write")),
            403,
            "scope_not_granted",
        ),
        refused(
            "scopes of tenant10 in a token of tenant1",
            journal("tenant1", &scopes("tenant10.finance.write tenant10.journal.create")),
            403,
            "scope_of_other_tenant",
        ),
        refused(
            "one of its own, one of tenant10's",
            journal("tenant1", &scopes("tenant1.finance.write tenant10.journal.create")),
            403,
            "scope_of_other_tenant",
        ),
        refused(
            "scopes of nobody in particular",
            journal("tenant1", &scopes("finance.write journal.create")),
            403,
            "scope_not_granted",
        ),
        refused(
            "the prefix in another case",
            journal("tenant1", &scopes("Tenant1.finance.write Tenant1.journal.create")),
            403,
            "scope_name_mismatch",
        ),
        refused(
            "a comma list",
            journal("tenant1", &minted_scope("tenant1.finance.write,tenant1.journal.create")),
            403,
            "scope_name_mismatch",
        ),
        refused("a wildcard", journal("tenant1", &minted_scope("tenant1.*")), 403, "scope_not_granted"),
        refused(
            "the prefix alone",
            journal("tenant1", &minted_scope("tenant1. tenant1.finance")),
            403,
            "scope_not_granted",
        ),
        refused("no scope", journal("tenant1", &scopes("")), 403, "no_scopes_in_token"),
        refused(
            "tenant2's client is not assigned it",
            journal(
                "tenant2",
                &token(
                    "appian-tenant2",
                    "tenant2.finance.write tenant2.journal.create",
                    "https://api.erp.com/tenant2",
                ),
            ),
            403,
            "scope_not_assigned_to_application",
        ),
        passes(
            "tenant2's client reads",
            call(
                "GET",
                "/tenant2/periods/2026-11",
                &token("appian-tenant2", "tenant2.finance.read", "https://api.erp.com/tenant2"),
            ),
        ),
        refused(
            "a journal is not deleted",
            call("DELETE", "/tenant1/journals/7", &good),
            403,
            "method_not_mapped",
        ),
    ];
    assert_all(&gateway, gateway.port, &matching);

    let response = gateway.send(&journal("tenant1", &scopes("tenant1.journal.create")));
    let challenge = response.header("www-authenticate").expect("a challenge");
    assert!(challenge.ends_with(&format!(r#", scope="{BOTH}""#)), "{challenge}");
    let told = gateway
        .send(&journal("tenant1", &good).header("x-erp-tenant", "tenant10").header("x-erp-scopes", "root"));
    assert_eq!(told.upstream_saw("x-erp-tenant"), ["tenant1"]);
    assert_eq!(told.upstream_saw("x-erp-client"), ["appian-tenant1"]);
    assert_eq!(told.upstream_saw("x-erp-scopes"), ["finance.write journal.create"]);
    assert_eq!(told.json()["body"], r#"{"batch":1}"#);

    releases(&issuer, &gateway, &claims);
    a_token_is_good_from_its_beginning_to_its_end_and_no_older_than_an_hour(&issuer, &gateway, &claims);
    a_refreshed_token_is_of_the_same_tenant_and_grants_no_more(&issuer, &gateway);
    token_requests_are_guarded_refreshes_included(&issuer, &gateway);
}

fn a_token_is_good_from_its_beginning_to_its_end_and_no_older_than_an_hour(
    issuer: &AuthorizationServer,
    gateway: &Gateway,
    claims: &Value,
) {
    // A minute of skew, and half a one to either side for a slow machine.
    let with = |changes: Value| journal("tenant1", &minted(issuer, claims, &changes));
    let now = now();
    let cases = [
        passes("expired within the skew", with(json!({"exp": now - 30}))),
        refused("expired", with(json!({"exp": now - 61})), 401, "token_expired"),
        passes("not valid yet, within the skew", with(json!({"nbf": now + 30}))),
        refused("not valid yet", with(json!({"nbf": now + 120})), 401, "token_not_yet_valid"),
        passes("an hour old, within the skew", with(json!({"iat": now - 3630}))),
        refused("older than an hour", with(json!({"iat": now - 3662})), 401, "token_too_old"),
        refused("of unknown age", with(json!({"iat": null})), 401, "claim_missing"),
        refused("without an end", with(json!({"exp": null})), 401, "claim_missing"),
        refused("of nobody", with(json!({"sub": null})), 401, "claim_missing"),
    ];
    assert_all(gateway, gateway.port, &cases);
    let es256 = issuer.mint(&json!({"header": {"alg": "ES256"}, "claims": changed(claims, &json!({}))}));
    assert_eq!(
        gateway.send(&journal("tenant1", &es256)).decision(),
        (401, "algorithm_not_allowed".to_owned())
    );
}

fn a_refreshed_token_is_of_the_same_tenant_and_grants_no_more(
    issuer: &AuthorizationServer,
    gateway: &Gateway,
) {
    let refresh_token = issuer.refresh_token("appian-tenant1", "controller", BOTH, TENANT1);
    let refreshed = |scope: Option<&str>| {
        let mut form = vec![("grant_type", "refresh_token"), ("refresh_token", refresh_token.as_str())];
        form.extend(scope.map(|scope| ("scope", scope)));
        let request =
            Request::post("/oauth/token").basic("appian-tenant1", "appian-tenant1-secret").form(&form);
        let answer = http::send(issuer.port, &request).json();
        answer["access_token"].as_str().expect("an access token").to_owned()
    };
    let (all, less) = (refreshed(None), refreshed(Some("tenant1.finance.write")));
    let cases = [
        passes("a refreshed token creates a journal", journal("tenant1", &all)),
        refused("at its own tenant only", journal("tenant10", &all), 401, "tenant_mismatch"),
        refused("narrowed on refresh, it is narrower", journal("tenant1", &less), 403, "scope_not_granted"),
    ];
    assert_all(gateway, gateway.port, &cases);
}

fn token_requests_are_guarded_refreshes_included(issuer: &AuthorizationServer, gateway: &Gateway) {
    let ask = |client: &str, form: &[(&str, &str)]| {
        let request = Request::post("/oauth/token").basic(client, &format!("{client}-secret")).form(form);
        gateway.send(&request)
    };
    let credentials = |client: &str, scope: &str, resource: &str| {
        ask(client, &[("grant_type", "client_credentials"), ("scope", scope), ("resource", resource)])
    };
    let access_token = |answer: &http::Response| {
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()["access_token"].as_str().expect("an access token").to_owned()
    };
    let granted = issuer.refresh_token("appian-tenant1", "controller", BOTH, TENANT1);
    let refresh = |client: &str, scope: Option<&str>| {
        let mut form = vec![("grant_type", "refresh_token"), ("refresh_token", granted.as_str())];
        form.extend(scope.map(|scope| ("scope", scope)));
        ask(client, &form)
    };

    let before = issuer.count("token");
    let issued = [
        access_token(&credentials("appian-tenant1", BOTH, TENANT1)),
        access_token(&refresh("appian-tenant1", None)),
        access_token(&refresh("appian-tenant1", Some(BOTH))),
    ];
    for token in &issued {
        assert_eq!(gateway.send(&journal("tenant1", token)).status, 200);
    }
    let narrower = access_token(&refresh("appian-tenant1", Some("tenant1.finance.write")));
    assert_eq!(
        gateway.send(&journal("tenant1", &narrower)).decision(),
        (403, "scope_not_granted".to_owned())
    );
    assert_eq!(issuer.count("token"), before + 4);

    let other = "tenant10.journal.create";
    let both_tenants = format!("{BOTH} {other}");
    let tenant2 = "https://api.erp.com/tenant2";
    let in_body = [("grant_type", "client_credentials"), ("client_id", "appian-tenant1"), ("scope", other)];
    let in_query = Request::post(format!("/oauth/token?scope={other}"))
        .basic("appian-tenant1", "appian-tenant1-secret")
        .form(&[("grant_type", "client_credentials")]);
    let refusals = [
        ("another tenant's scope", credentials("appian-tenant1", other, TENANT1), 400, "invalid_scope"),
        ("one among its own", credentials("appian-tenant1", &both_tenants, TENANT1), 400, "invalid_scope"),
        (
            "a scope without the prefix",
            credentials("appian-tenant1", "journal.create", TENANT1),
            400,
            "invalid_scope",
        ),
        (
            "one that the client is not assigned",
            credentials("appian-tenant2", "tenant2.journal.create", tenant2),
            400,
            "invalid_scope",
        ),
        ("another tenant's audience", credentials("appian-tenant1", BOTH, TENANT10), 400, "invalid_target"),
        ("a client of nobody", credentials("appian-rogue", BOTH, TENANT1), 401, "invalid_client"),
        (
            "the client in the body",
            gateway.send(&Request::post("/oauth/token").form(&in_body)),
            400,
            "invalid_scope",
        ),
        ("the scope in the query", gateway.send(&in_query), 400, "invalid_request"),
        (
            "a refresh for another tenant's scope",
            refresh("appian-tenant1", Some(other)),
            400,
            "invalid_scope",
        ),
        (
            "a refresh for one among its own",
            refresh("appian-tenant1", Some(&both_tenants)),
            400,
            "invalid_scope",
        ),
    ];
    for (says, answer, status, error) in &refusals {
        assert_eq!(
            (answer.status, &answer.json()["error"]),
            (*status, &json!(error)),
            "{says}: {}",
            answer.text()
        );
    }
    assert!(
        refusals[1].1.json()["error_description"].as_str().expect("text").ends_with(other),
        "only what is wrong"
    );
    assert_eq!(issuer.count("token"), before + 4, "what is refused never reaches the server");

    // A refresh token is its client's: that the server knows, and the guard leaves to it.
    let stolen = refresh("appian-tenant10", Some(other));
    assert_eq!((stolen.status, &stolen.json()["error"]), (400, &json!("invalid_grant")));
    let by_another_method = gateway.send(&Request::get("/oauth/token"));
    let error = by_another_method.json()["error"].clone();
    assert_eq!((by_another_method.status, error), (400, json!("invalid_request")));
}
