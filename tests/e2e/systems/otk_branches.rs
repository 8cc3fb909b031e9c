//! CA OTK: one API over TLS, whose policy branches by what the token grants.

use serde_json::{Value, json};

use super::{
    assert_all, authorization_server, claims_of, clients, configuration, minted, options, passes, refused,
};
use crate::certificate::Certificate;
use scopegate_testing::harness::{AuthorizationServer, Gateway, Options, TlsTunnel};
use scopegate_testing::http::{Connection, Request};

const JWT: &str = "urn:accounts";
const OPAQUE: &str = "urn:accounts:opaque";
const HOST: &str = "otk.example.com";

/// The listener `gateway` speaks TLS; `plain` is the same without.
fn start() -> (AuthorizationServer, Gateway, TlsTunnel) {
    let configuration = configuration("otk-branches.yaml");
    let scopes = ["READ", "WRITE", "AUDIT", "ADMIN", "read", "Read", "READWRITE"];
    let mut known =
        clients("", &[("portal", ""), ("reporting", ""), ("batch-loader", ""), ("unregistered", "")]);
    known.push(json!({
        "client_id": "otk-gateway", "client_secret": "otk-gateway-secret", "auth_method": "client_secret_post",
    }));
    let issuer = authorization_server(
        &configuration,
        &json!({
            "default_resource": JWT,
            "resources": {
                JWT: {"audience": "accounts-api", "scopes": scopes},
                OPAQUE: {"audience": "accounts-api", "format": "opaque", "scopes": scopes},
            },
            "clients": known,
        }),
    );
    let certificate = Certificate::for_host(HOST);
    let socket = json!({"name": "envoy.transport_sockets.tls", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
        "common_tls_context": {"tls_certificates": [certificate.for_envoy()]},
    }});
    let bootstrap = move |bootstrap: &mut Value| {
        let listeners = bootstrap["static_resources"]["listeners"].as_array_mut().expect("listeners");
        let mut plain = listeners[0].clone();
        plain["name"] = json!("plain");
        listeners[0]["filter_chains"][0]["transport_socket"] = socket.clone();
        listeners.push(plain);
    };
    let secret = ("OTK_INTROSPECTION_SECRET", "otk-gateway");
    let options = Options { bootstrap: Box::new(bootstrap), ..options(&issuer, "otk", Some(secret)) };
    let gateway = Gateway::start(&configuration, &options);
    let tunnel = TlsTunnel::start(gateway.port, &certificate.chain, HOST);
    (issuer, gateway, tunnel)
}

fn get(path: &str, token: &str) -> Request {
    Request::get(path).bearer(token)
}

fn call(method: &str, path: &str, token: &str) -> Request {
    Request::new(method, path).bearer(token)
}

#[test]
fn read_write_and_both_each_open_their_own_operations_over_tls_and_the_upstream_is_told_which() {
    let (issuer, gateway, tunnel) = start();
    let token = |scope: &str| issuer.token("portal", scope, JWT);
    let (reader, writer, both) = (token("READ"), token("WRITE"), token("READ WRITE"));
    let good = claims_of(&both);
    let with = |changes: Value| minted(&issuer, &good, &changes);
    let scopes = |scope: Value| with(json!({"scope": scope}));

    let branches = [
        passes("READ lists", get("/accounts", &reader)),
        passes("READ reads", get("/accounts/7", &reader)),
        refused("READ opens no account", call("POST", "/accounts", &reader), 403, "scope_not_granted"),
        refused("READ closes none", call("DELETE", "/accounts/7", &reader), 403, "scope_not_granted"),
        refused("READ alone changes nothing", call("PUT", "/accounts/7", &reader), 403, "scope_not_granted"),
        passes("WRITE opens an account", call("POST", "/accounts", &writer)),
        passes("WRITE closes it", call("DELETE", "/accounts/7", &writer)),
        refused("WRITE lists none", get("/accounts", &writer), 403, "scope_not_granted"),
        refused("WRITE reads none", get("/accounts/7", &writer), 403, "scope_not_granted"),
        refused("WRITE alone changes nothing", call("PUT", "/accounts/7", &writer), 403, "scope_not_granted"),
        passes("both change", call("PUT", "/accounts/7", &both)),
        passes("both merge", call("POST", "/accounts/7/merge", &both)),
        passes("both read", get("/accounts", &both)),
        passes("both write", call("POST", "/accounts", &both)),
        passes("in any order", call("PUT", "/accounts/7", &token("WRITE READ"))),
        refused(
            "all required scopes, or none will do",
            get("/accounts/7/trail", &issuer.token("reporting", "AUDIT", JWT)),
            403,
            "scope_not_granted",
        ),
        passes(
            "all required scopes",
            get("/accounts/7/trail", &issuer.token("reporting", "AUDIT READ", JWT)),
        ),
    ];
    assert_all(&gateway, tunnel.port, &branches);

    let spelling = [
        refused("lower case", get("/accounts", &token("read")), 403, "scope_name_mismatch"),
        refused("mixed case", get("/accounts", &token("Read")), 403, "scope_name_mismatch"),
        refused(
            "a comma list",
            call("PUT", "/accounts/7", &scopes(json!("READ,WRITE"))),
            403,
            "scope_name_mismatch",
        ),
        refused("a scope that begins alike", get("/accounts", &token("READWRITE")), 403, "scope_not_granted"),
        refused(
            "tabs are no spaces",
            get("/accounts", &scopes(json!("READ\tWRITE"))),
            403,
            "scope_not_granted",
        ),
        passes("a list of strings", call("PUT", "/accounts/7", &scopes(json!(["READ", "WRITE"])))),
        refused(
            "a scope in a member of its own",
            get("/accounts", &scopes(json!({"READ": true}))),
            401,
            "claim_malformed",
        ),
        refused(
            "a scope that is not registered",
            get("/accounts", &token("ADMIN")),
            403,
            "scope_not_granted",
        ),
        passes("does no harm beside one that is", get("/accounts", &token("ADMIN READ"))),
        refused(
            "a scope that is not this client's",
            get("/accounts", &issuer.token("batch-loader", "READ WRITE", JWT)),
            403,
            "scope_not_assigned_to_application",
        ),
        passes(
            "while its own is",
            call("POST", "/accounts", &issuer.token("batch-loader", "READ WRITE", JWT)),
        ),
        refused(
            "a client that is not registered",
            get("/accounts", &issuer.token("unregistered", "READ", JWT)),
            401,
            "application_not_registered",
        ),
        refused(
            "another API's token",
            get("/accounts", &with(json!({"aud": "accounts-api-test"}))),
            401,
            "audience_mismatch",
        ),
    ];
    assert_all(&gateway, tunnel.port, &spelling);

    let unasked = [
        passes("no scope is checked where none is asked for", get("/profile", &token(""))),
        passes("nor is an odd one minded", get("/profile", &token("ADMIN"))),
        refused("a token is needed all the same", Request::get("/profile"), 401, "credential_missing"),
        refused(
            "and a registered client",
            get("/profile", &issuer.token("unregistered", "", JWT)),
            401,
            "application_not_registered",
        ),
        refused("no scope where one is asked for", get("/accounts", &token("")), 403, "no_scopes_in_token"),
        passes("a public operation needs no token", Request::get("/terms")),
    ];
    assert_all(&gateway, tunnel.port, &unasked);

    let opaque = |client: &str, scope: &str| issuer.token(client, scope, OPAQUE);
    let introspected = [
        passes("opaque: READ reads", get("/accounts", &opaque("portal", "READ"))),
        refused(
            "opaque: READ does not write",
            call("POST", "/accounts", &opaque("portal", "READ")),
            403,
            "scope_not_granted",
        ),
        passes("opaque: both change", call("PUT", "/accounts/7", &opaque("portal", "READ WRITE"))),
        refused(
            "opaque: a scope that is not this client's",
            call("POST", "/accounts", &opaque("reporting", "WRITE")),
            403,
            "scope_not_assigned_to_application",
        ),
        refused(
            "opaque: of nobody",
            get("/accounts", "d1c7b0f2-55ab-4a0e-8d5e-6f0e5c1f2b3a"),
            401,
            "token_inactive",
        ),
    ];
    assert_all(&gateway, tunnel.port, &introspected);

    let told = |request: Request| {
        let request = request.header("x-otk-scopes", "READ WRITE AUDIT").header("x-otk-branch", "root");
        let response = scopegate_testing::http::send(tunnel.port, &request);
        ["x-otk-scopes", "x-otk-branch"].map(|name| response.upstream_saw(name).join(","))
    };
    assert_eq!(told(get("/accounts/7", &reader)), ["READ", "read-account"]);
    assert_eq!(told(call("DELETE", "/accounts/7", &writer)), ["WRITE", "close-account"]);
    assert_eq!(told(call("PUT", "/accounts/7", &both)), ["READ WRITE", "change-account"]);
    assert_eq!(told(get("/accounts/7", &token("ADMIN READ"))), ["READ", "read-account"]);
    assert_eq!(told(Request::get("/terms")), ["", "terms"]);

    without_tls_nothing_passes(&gateway, &both);
}

fn without_tls_nothing_passes(gateway: &Gateway, both: &str) {
    let plain = gateway.listener_port("plain");
    let claims_https = |name: &str| get("/accounts", both).header(name, "https");
    let cases = [
        refused("a good token", get("/accounts", both), 400, "tls_required"),
        refused("a claim to have come over TLS", claims_https("x-forwarded-proto"), 400, "tls_required"),
        refused("another", claims_https("x-forwarded-scheme"), 400, "tls_required"),
        refused("where no scope is asked for", get("/profile", both), 400, "tls_required"),
        refused("nor a token", Request::get("/terms"), 400, "tls_required"),
        refused(
            "without a token it is the token that is missed",
            Request::get("/accounts"),
            401,
            "credential_missing",
        ),
        refused(
            "an absolute https target, which Envoy refuses",
            get("https://otk.example.com/accounts", both),
            403,
            "-",
        ),
    ];
    assert_all(gateway, plain, &cases);

    let before = gateway.upstream_count();
    for scheme in ["http", "https"] {
        let answer = over_cleartext_http2(plain, scheme, both);
        assert!(answer.contains(r#""reason":"tls_required""#), "`:scheme` {scheme}: {answer}");
    }
    assert_eq!(gateway.upstream_count(), before);
}

/// `GET /accounts` over HTTP/2 without TLS, under any `:scheme`. Returns the body.
fn over_cleartext_http2(port: u16, scheme: &str, token: &str) -> String {
    let frame = |kind: u8, flags: u8, stream: u8, payload: &[u8]| {
        let [_, length @ ..] = u32::try_from(payload.len()).expect("a short frame").to_be_bytes();
        [&length[..], &[kind, flags, 0, 0, 0, stream], payload].concat()
    };
    // RFC 7541 section 6.2.2, with a name from the static table; lengths have 7 bits and go on in a second byte.
    let field = |name: u8, value: &str| {
        let length = match value.len() {
            short @ 0..=126 => vec![u8::try_from(short).expect("seven bits")],
            long => {
                let rest = long - 127;
                vec![
                    127,
                    0x80 | u8::try_from(rest % 128).expect("seven bits"),
                    u8::try_from(rest / 128).expect("seven bits"),
                ]
            }
        };
        // From 15 on the index has a second byte.
        let index = if name < 15 { vec![name] } else { vec![15, name - 15] };
        [index, length, value.as_bytes().to_vec()].concat()
    };
    let headers = [
        field(2, "GET"),
        field(4, "/accounts"),
        field(6, scheme),
        field(1, "otk.example.com"),
        field(23, &format!("Bearer {token}")),
    ];
    let mut connection = Connection::open(port);
    connection.send_bytes(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    connection.send_bytes(&frame(4, 0, 0, &[]));
    connection.send_bytes(&frame(1, 0x5, 1, &headers.concat()));
    loop {
        let head = connection.receive_bytes(9);
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let payload = connection.receive_bytes(length as usize);
        match (head[3], head[8]) {
            (0, 1) => return String::from_utf8_lossy(&payload).into_owned(),
            (kind, _) => {
                assert!(!matches!(kind, 3 | 7), "the stream or the connection was ended: {payload:?}")
            }
        }
    }
}
