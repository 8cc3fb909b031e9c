//! The management server of a fleet; `tests/servers/management-server.mjs` says what it does.

use std::time::Duration;

use serde_json::{Value, json};

use scopegate_testing::harness::{Server, port_in, port_named};
use scopegate_testing::http::{self, Request};

/// A management server on loopback. It ends when this value is dropped.
pub struct ManagementServer {
    _server: Server,
    /// Where proxies ask.
    pub port: u16,
    control: u16,
}

/// What is known of a proxy.
#[derive(Debug, Default)]
pub struct Proxy {
    /// The version that it decides with.
    pub active: Option<String>,
    /// What it rejected last, if it has taken nothing since.
    pub rejection: Option<Rejection>,
    /// How long after the latest push it last answered one.
    pub answered_after: Option<Duration>,
}

/// A version that a proxy did not take, and its `error_detail`.
#[derive(Debug, PartialEq)]
pub struct Rejection {
    pub version: String,
    pub error: String,
}

impl ManagementServer {
    pub fn start() -> Self {
        let (server, ready) = Server::node("management-server", &[]);
        Self { port: port_in(&ready), control: port_named(&ready, "control"), _server: server }
    }

    /// Ends every stream and refuses connections. What it knew of proxies is lost, as with a real one that ends.
    pub fn stop(&self) {
        self.control(&Request::post("/stop"));
    }

    /// Starts again after [`Self::stop`].
    pub fn resume(&self) {
        self.control(&Request::post("/resume"));
    }

    /// Hands every proxy, now or when it asks, a resource (a `TypedExtensionConfig` in JSON) under a version.
    pub fn push(&self, version: &str, resource: &Value) {
        self.control(&Request::post("/push").json(&json!({"version": version, "resource": resource})));
    }

    /// What it knows of a proxy, by its node's id.
    pub fn proxy(&self, node: &str) -> Proxy {
        let known = &self.control(&Request::get("/proxies"))[node];
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let rejected = &known["rejection"];
        Proxy {
            active: text(&known["active"]),
            rejection: text(&rejected["version"])
                .zip(text(&rejected["error"]))
                .map(|(version, error)| Rejection { version, error }),
            answered_after: known["answered_after_ms"]
                .as_f64()
                .map(|ms| Duration::from_secs_f64(ms / 1000.0)),
        }
    }

    fn control(&self, request: &Request) -> Value {
        let response = http::send(self.control, request);
        assert_eq!(response.status, 200, "{request:?} was answered: {}", response.text());
        response.json()
    }
}
