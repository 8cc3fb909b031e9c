//! The management server of a fleet: it hands the filter to every proxy that asks for it (ECDS over Envoy's aggregated
//! discovery stream, state of the world) and knows of each proxy what it has in force and what it has rejected.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::Ready;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use serde::Deserialize;
use serde_json::Value;
use tokio::net::TcpSocket;
use tokio::sync::{mpsc, oneshot, watch};
use tonic::body::Body;
use tonic::codegen::tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::codegen::{BoxFuture, Service, http};
use tonic::server::{Grpc, StreamingService};
use tonic::{Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;

use crate::envoy_api::{Any, DiscoveryRequest, DiscoveryResponse, TYPED_EXTENSION_CONFIG};

const STREAM: &str = "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources";

/// A management server on loopback. It ends when this value is dropped.
pub struct ManagementServer {
    pub port: u16,
    /// Bound, but not listening: nobody else gets the port while the server is down.
    _reservation: TcpSocket,
    fleet: Arc<Fleet>,
    running: Option<Running>,
}

struct Running {
    thread: JoinHandle<()>,
    stop: oneshot::Sender<Infallible>,
}

/// What the server has pushed, and what it has heard of it.
struct Fleet {
    pushed: watch::Sender<Option<Push>>,
    proxies: Mutex<BTreeMap<String, Proxy>>,
}

#[derive(Clone)]
struct Push {
    version: String,
    resource: Any,
}

/// What is known of a proxy.
#[derive(Clone, Debug, Default)]
pub struct Proxy {
    /// The version that it decides with.
    pub active: Option<String>,
    /// What it rejected last, if it has taken nothing since.
    pub rejection: Option<Rejection>,
    /// When it last answered a push.
    pub answered: Option<Instant>,
}

/// A version that a proxy did not take, and its `error_detail`.
#[derive(Clone, Debug, PartialEq)]
pub struct Rejection {
    pub version: String,
    pub error: String,
}

impl ManagementServer {
    pub fn start() -> Self {
        let reservation = socket(SocketAddr::from(([127, 0, 0, 1], 0)));
        let port = reservation.local_addr().expect("an address").port();
        let fleet = Fleet { pushed: watch::Sender::new(None), proxies: Mutex::default() };
        let mut server = Self { port, _reservation: reservation, fleet: Arc::new(fleet), running: None };
        server.resume();
        server
    }

    /// Ends every stream and refuses connections. What it knew of proxies is lost, as with a real one that ends.
    pub fn stop(&mut self) {
        self.end();
        self.fleet.proxies.lock().expect("a lock").clear();
    }

    fn end(&mut self) {
        if let Some(Running { thread, stop }) = self.running.take() {
            drop(stop);
            let _ = thread.join();
        }
    }

    /// Starts again after [`Self::stop`].
    pub fn resume(&mut self) {
        let (stop, stopped) = oneshot::channel();
        let (service, address) =
            (Discovery(Arc::clone(&self.fleet)), SocketAddr::from(([127, 0, 0, 1], self.port)));
        let thread = thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_io().build().expect("a runtime");
            runtime.block_on(async {
                let incoming = TcpListenerStream::new(socket(address).listen(16).expect("to listen"));
                let serving = tonic::transport::Server::builder().serve_with_incoming(service, incoming);
                tokio::select! {
                    ended = serving => ended.expect("to serve"),
                    _ = stopped => {}
                }
            });
        });
        self.running = Some(Running { thread, stop });
    }

    /// Hands every proxy, now or when it asks, a resource (a `TypedExtensionConfig` in JSON) under a version.
    pub fn push(&self, version: &str, resource: &Value) -> Instant {
        let resource = Any::deserialize(resource).unwrap_or_else(|error| panic!("{error}: {resource}"));
        let now = Instant::now();
        self.fleet.pushed.send_replace(Some(Push { version: version.to_owned(), resource }));
        now
    }

    /// What it knows of a proxy, by its node's id.
    pub fn proxy(&self, node: &str) -> Proxy {
        self.fleet.proxies.lock().expect("a lock").get(node).cloned().unwrap_or_default()
    }
}

impl Drop for ManagementServer {
    fn drop(&mut self) {
        self.end();
    }
}

fn socket(address: SocketAddr) -> TcpSocket {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_reuseaddr(true).expect("to share the address with the reservation");
    socket.bind(address).expect("to bind");
    socket
}

impl Fleet {
    fn note(&self, node: &str, what: impl FnOnce(&mut Proxy)) {
        what(self.proxies.lock().expect("a lock").entry(node.to_owned()).or_default());
    }
}

/// The aggregated discovery service.
#[derive(Clone)]
struct Discovery(Arc<Fleet>);

impl Service<http::Request<Body>> for Discovery {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let service = self.clone();
        Box::pin(async move {
            if request.uri().path() != STREAM {
                return Ok(Status::unimplemented(request.uri().path()).into_http());
            }
            Ok(Grpc::new(ProstCodec::default()).streaming(service, request).await)
        })
    }
}

impl StreamingService<DiscoveryRequest> for Discovery {
    type Response = DiscoveryResponse;
    type ResponseStream = ReceiverStream<Result<DiscoveryResponse, Status>>;
    type Future = Ready<Result<Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, requests: Request<Streaming<DiscoveryRequest>>) -> Self::Future {
        let (responses, stream) = mpsc::channel(1);
        tokio::spawn(Conversation::hold(Arc::clone(&self.0), requests.into_inner(), responses));
        std::future::ready(Ok(Response::new(ReceiverStream::new(stream))))
    }
}

/// One proxy's stream.
struct Conversation {
    fleet: Arc<Fleet>,
    responses: mpsc::Sender<Result<DiscoveryResponse, Status>>,
    /// Its node's id, which the first request names.
    node: Option<String>,
    /// Responses so far; the last one's nonce.
    count: u64,
    /// The version of the last response.
    offered: String,
}

impl Conversation {
    async fn hold(
        fleet: Arc<Fleet>,
        mut requests: Streaming<DiscoveryRequest>,
        responses: mpsc::Sender<Result<DiscoveryResponse, Status>>,
    ) {
        let mut pushes = fleet.pushed.subscribe();
        let mut conversation = Self { fleet, responses, node: None, count: 0, offered: String::new() };
        loop {
            let push = tokio::select! {
                request = requests.message() => match request {
                    Ok(Some(request)) if request.type_url == TYPED_EXTENSION_CONFIG => conversation.hear(&request),
                    Ok(Some(_)) => None,
                    Ok(None) | Err(_) => return,
                },
                changed = pushes.changed(), if conversation.node.is_some() => {
                    if changed.is_err() {
                        return;
                    }
                    pushes.borrow_and_update().clone()
                }
            };
            if let Some(push) = push {
                conversation.offer(push).await;
            }
        }
    }

    /// Notes what a request says; returns what the proxy does not have yet, if it is its first.
    fn hear(&mut self, request: &DiscoveryRequest) -> Option<Push> {
        let Some(node) = &self.node else {
            let node = request.node.clone().unwrap_or_default().id;
            let held = Some(request.version_info.clone()).filter(|version| !version.is_empty());
            self.fleet.note(&node, |proxy| *proxy = Proxy { active: held, ..Proxy::default() });
            self.node = Some(node);
            let latest = self.fleet.pushed.borrow().clone();
            return latest.filter(|push| push.version != request.version_info);
        };
        // Any other nonce answers a response that another has overtaken.
        if request.response_nonce == self.count.to_string() {
            let version = self.offered.clone();
            self.fleet.note(node, |proxy| {
                proxy.answered = Some(Instant::now());
                match &request.error_detail {
                    None => (proxy.active, proxy.rejection) = (Some(version), None),
                    Some(error) => {
                        proxy.rejection = Some(Rejection { version, error: error.message.clone() });
                    }
                }
            });
        }
        None
    }

    async fn offer(&mut self, push: Push) {
        self.count += 1;
        self.offered.clone_from(&push.version);
        let response = DiscoveryResponse {
            version_info: push.version,
            resources: vec![push.resource],
            type_url: TYPED_EXTENSION_CONFIG.to_owned(),
            nonce: self.count.to_string(),
        };
        // A proxy that is gone is noticed where its requests end.
        let _ = self.responses.send(Ok(response)).await;
    }
}
