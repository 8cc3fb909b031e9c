//! Certificates of clients (RFC 8705) over real TLS: on the connection, and behind a proxy that ends TLS and shows a
//! certificate of its own, which is how the filter knows it. The proxy is an Envoy as well.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use crate::certificate::Certificate;
use crate::decisions;
use scopegate_testing::harness::{AuthorizationServer, Gateway, Options, TlsTunnel, now};
use scopegate_testing::http::{self, Request};

const HOST: &str = "api.example.com";
const PATH: &str = "/tenant1/invoices";

fn hex(digest: [u8; 32]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn tls(side: &str, own: &Certificate, trusted: &[&Certificate]) -> Value {
    let trusted: String = trusted.iter().map(|certificate| certificate.chain.as_str()).collect();
    json!({"name": "envoy.transport_sockets.tls", "typed_config": {
        "@type": format!("type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.{side}TlsContext"),
        "common_tls_context": {
            "tls_certificates": [own.for_envoy()],
            "validation_context": {"trusted_ca": {"inline_string": trusted}},
        },
    }})
}

/// The listener `gateway` speaks TLS and has the filter. `front`, which has none, passes what comes over TLS on to `behind`,
/// which is `gateway` again: over TLS with the certificate of `proxy`, and with what it says of its client in
/// `x-forwarded-client-cert`.
fn with_front(own: &Certificate, proxy: &Certificate, clients: &[&Certificate], bootstrap: &mut Value) {
    let socket = format!("@scopegate-behind-{}", std::process::id());
    let address = json!({"pipe": {"path": socket}});
    let resources = &mut bootstrap["static_resources"];
    let mut back = resources["clusters"][0].clone();
    back["name"] = json!("behind");
    back["load_assignment"]["cluster_name"] = json!("behind");
    back["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]["address"] = address.clone();
    back["transport_socket"] = tls("Upstream", proxy, &[own]);
    resources["clusters"].as_array_mut().expect("clusters").push(back);

    let listeners = resources["listeners"].as_array_mut().expect("listeners");
    let known: Vec<&Certificate> = clients.iter().copied().chain([proxy]).collect();
    let chain = &mut listeners[0]["filter_chains"][0];
    chain["transport_socket"] = tls("Downstream", own, &known);
    // Without it Envoy takes what others say of certificates away before the filter sees it.
    chain["filters"][0]["typed_config"]["forward_client_cert_details"] = json!("ALWAYS_FORWARD_ONLY");
    let (mut behind, mut front) = (listeners[0].clone(), listeners[0].clone());
    behind["name"] = json!("behind");
    behind["address"] = address;
    front["name"] = json!("front");
    let manager = &mut front["filter_chains"][0]["filters"][0]["typed_config"];
    manager["http_filters"]
        .as_array_mut()
        .expect("filters")
        .retain(|filter| filter["name"] == "envoy.filters.http.router");
    manager["route_config"]["virtual_hosts"][0]["routes"][0]["route"]["cluster"] = json!("behind");
    manager["forward_client_cert_details"] = json!("SANITIZE_SET");
    listeners.extend([behind, front]);
}

#[test]
fn a_certificate_counts_over_tls_from_its_client_and_from_the_proxy_whose_certificate_is_known() {
    let issuer = AuthorizationServer::shared();
    let [own, proxy, client, stranger] = [HOST, "proxy", "client", "stranger"].map(Certificate::for_host);
    let mut claims = issuer.claims("tenant1", "tenant1-sync", "billing:read");
    claims["exp"] = json!(now() + 600);
    // RFC 8705 section 3.1.
    claims["cnf"] = json!({"x5t#S256": URL_SAFE_NO_PAD.encode(client.digest())});
    let token = issuer.mint(&json!({"claims": claims}));
    let told_by = |name: &str| {
        let mut configuration = decisions::configuration(issuer);
        configuration["providers"]["corp"]["certificate_header"] =
            json!({"name": name, "from": [hex(proxy.digest())]});
        configuration
    };
    let options = Options { reloadable: true, ..Options::default() };
    let bootstrap = {
        let certificates = [&own, &proxy, &client, &stranger].map(|certificate| Certificate {
            chain: certificate.chain.clone(),
            private_key: certificate.private_key.clone(),
            der: certificate.der.clone(),
        });
        move |bootstrap: &mut Value| {
            let [own, proxy, client, stranger] = &certificates;
            with_front(own, proxy, &[client, stranger], bootstrap);
        }
    };
    let gateway =
        Gateway::start(&told_by("client-cert"), &Options { bootstrap: Box::new(bootstrap), ..options });
    let open = |port: u16, certificate: Option<&Certificate>| {
        let shown = certificate.map(|shown| (shown.chain.as_str(), shown.private_key.as_str()));
        TlsTunnel::start_as(port, &own.chain, HOST, shown)
    };
    let direct = [Some(&client), Some(&stranger), Some(&proxy), None].map(|shown| open(gateway.port, shown));
    let [of_client, of_stranger, of_proxy, of_nobody] = &direct;
    let send = |tunnel: &TlsTunnel, request: Request| http::send(tunnel.port, &request);
    let call = || Request::get(PATH).bearer(&token);
    let failed = (401, "sender_constraint_failed".to_owned());

    // On the connection.
    assert_eq!(send(of_client, call()).status, 200, "{}", gateway.log());
    for other in [of_stranger, of_proxy, of_nobody] {
        assert_eq!(send(other, call()).decision(), failed);
    }

    // Told of, in `Client-Cert` (RFC 9440).
    let header = |certificate: &Certificate| format!(":{}:", STANDARD.encode(&certificate.der));
    let telling = |certificate: &Certificate| call().header("client-cert", header(certificate));
    let passed = send(of_proxy, telling(&client));
    assert_eq!((passed.status, passed.upstream_saw("client-cert")), (200, vec![header(&client)]));
    assert_eq!(send(of_proxy, telling(&stranger)).decision(), failed);
    for other in [of_stranger, of_nobody] {
        assert_eq!(send(other, telling(&client)).decision(), failed);
        let public = Request::get("/health").header("client-cert", header(&client));
        assert_eq!(send(other, public).upstream_saw("client-cert"), [""; 0]);
    }
    // Who may not say it is believed for its own connection alone.
    let passed = send(of_client, telling(&stranger));
    assert_eq!((passed.status, passed.upstream_saw("client-cert")), (200, vec![]));

    // Told of by an Envoy that ends TLS.
    assert!(
        gateway
            .reload(&told_by("x-forwarded-client-cert"), &Options { reloadable: true, ..Options::default() })
    );
    let front = gateway.listener_port("front");
    let [through, by_stranger, by_nobody] =
        [Some(&client), Some(&stranger), None].map(|shown| open(front, shown));
    let passed = send(&through, call());
    assert_eq!(passed.status, 200, "{} {}", passed.text(), gateway.log());
    let told = format!("Hash={}", hex(client.digest()));
    assert!(passed.upstream_saw("x-forwarded-client-cert")[0].contains(&told), "{}", passed.text());
    let lie = || call().header("x-forwarded-client-cert", told.as_str());
    for request in [call(), lie()] {
        assert_eq!(send(&by_stranger, request).decision(), failed);
    }
    for request in [call(), lie()] {
        assert_eq!(send(&by_nobody, request).decision(), failed);
    }
    assert_eq!(send(of_stranger, lie()).decision(), failed);
}
