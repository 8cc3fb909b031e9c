//! An issuer that does what a good one never does.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

/// What it does with a request.
#[derive(Clone)]
pub enum Behaviour {
    /// Answers.
    Answer(u16, Vec<u8>),
    /// Does so after a while.
    After(Duration, Box<Behaviour>),
    /// Sends the head of a good answer, then a byte of its body at a time.
    Trickle(Duration),
    /// Sends the head and a part of the body, then resets the connection.
    ResetInBody,
    /// Closes the connection without a word.
    HangUp,
    /// Promises so many bytes, and sends them.
    Huge(usize),
    /// Answers with what is not HTTP.
    Garbage,
}

impl Behaviour {
    pub fn json(body: &Value) -> Self {
        Self::Answer(200, body.to_string().into_bytes())
    }

    pub fn text(status: u16, body: &str) -> Self {
        Self::Answer(status, body.as_bytes().to_vec())
    }

    pub fn after(self, milliseconds: u64) -> Self {
        Self::After(Duration::from_millis(milliseconds), Box::new(self))
    }
}

/// A request that it got.
#[derive(Clone, Debug)]
pub struct Received {
    pub method: String,
    pub path: String,
    pub headers: HashMap<String, String>,
    pub body: String,
}

impl Received {
    /// A parameter of the form body, decoded as RFC 6749 appendix B has it.
    pub fn parameter(&self, name: &str) -> Option<String> {
        let pairs = self.body.split('&').filter_map(|pair| pair.split_once('='));
        pairs.into_iter().find(|(key, _)| *key == name).map(|(_, value)| form_decoded(value))
    }
}

pub fn form_decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b'+' => bytes.push(b' '),
            b'%' => {
                let digits = std::str::from_utf8(&rest[..2]).expect("two digits");
                bytes.push(u8::from_str_radix(digits, 16).expect("hexadecimal digits"));
                rest = &rest[2..];
            }
            other => bytes.push(*other),
        }
    }
    String::from_utf8(bytes).expect("UTF-8")
}

type Respond = Box<dyn Fn(&Received) -> Behaviour + Send>;

struct State {
    respond: Mutex<Respond>,
    received: Mutex<Vec<Received>>,
    is_over: AtomicBool,
}

/// The server; it ends with this value.
pub struct FaultyIssuer {
    pub port: u16,
    state: Arc<State>,
}

impl FaultyIssuer {
    /// One that answers each request as `respond` says.
    pub fn start(respond: impl Fn(&Received) -> Behaviour + Send + 'static) -> Self {
        Self::start_at(0, respond)
    }

    /// One at a port that was free a moment ago.
    pub fn start_at(port: u16, respond: impl Fn(&Received) -> Behaviour + Send + 'static) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).expect("a port to listen at");
        let port = listener.local_addr().expect("an address").port();
        let state = Arc::new(State {
            respond: Mutex::new(Box::new(respond)),
            received: Mutex::default(),
            is_over: AtomicBool::new(false),
        });
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming() {
                if shared.is_over.load(Ordering::SeqCst) {
                    return;
                }
                let shared = Arc::clone(&shared);
                thread::spawn(move || stream.map(|stream| serve(stream, &shared)));
            }
        });
        Self { port, state }
    }

    /// Answers from now on as `respond` says.
    pub fn respond(&self, respond: impl Fn(&Received) -> Behaviour + Send + 'static) {
        *self.state.respond.lock().expect("no panic before") = Box::new(respond);
    }

    /// The requests so far, as their heads and bodies came.
    pub fn received(&self) -> Vec<Received> {
        self.state.received.lock().expect("no panic before").clone()
    }

    /// How many requests for that path came.
    pub fn count(&self, path: &str) -> usize {
        self.received().iter().filter(|received| received.path == path).count()
    }
}

impl Drop for FaultyIssuer {
    fn drop(&mut self) {
        self.state.is_over.store(true, Ordering::SeqCst);
        // Wakes the listener, so that it sees that it is over.
        drop(TcpStream::connect(("127.0.0.1", self.port)));
    }
}

/// A port at which nobody listens.
pub fn unused_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).and_then(|listener| listener.local_addr()).expect("a port").port()
}

/// One request on one connection: nothing is kept alive, so that each fault is alone.
fn serve(stream: TcpStream, state: &State) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let received = receive(&mut reader)?;
    state.received.lock().ok()?.push(received.clone());
    let behaviour = (state.respond.lock().ok()?)(&received);
    behave(stream, behaviour)
}

fn receive(reader: &mut impl BufRead) -> Option<Received> {
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut words = line.split(' ').map(str::to_owned);
    let (method, path) = (words.next()?, words.next()?);
    let mut headers = HashMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Received { method, path, headers, body: String::from_utf8_lossy(&body).into_owned() })
}

fn behave(mut stream: TcpStream, behaviour: Behaviour) -> Option<()> {
    let head = |status: u16, length: usize| {
        format!(
            "HTTP/1.1 {status} Whatever\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\
             connection: close\r\n\r\n"
        )
    };
    match behaviour {
        Behaviour::Answer(status, body) => {
            stream.write_all(&[head(status, body.len()).as_bytes(), &body].concat()).ok()?;
        }
        Behaviour::After(delay, then) => {
            thread::sleep(delay);
            return behave(stream, *then);
        }
        Behaviour::Trickle(pause) => {
            stream.write_all(head(200, 1000).as_bytes()).ok()?;
            // Ends when the other side does.
            let start = Instant::now();
            while start.elapsed() < Duration::from_secs(30) {
                stream.write_all(b" ").ok()?;
                thread::sleep(pause);
            }
        }
        Behaviour::ResetInBody => {
            stream.write_all(&[head(200, 1000).as_bytes(), b"{\"active\":tr"].concat()).ok()?;
            thread::sleep(Duration::from_millis(50));
            stream.shutdown(Shutdown::Both).ok()?;
        }
        Behaviour::HangUp => {}
        Behaviour::Huge(length) => {
            stream.write_all(head(200, length).as_bytes()).ok()?;
            let chunk = vec![b' '; 1 << 16];
            for _ in 0..length.div_ceil(chunk.len()) {
                stream.write_all(&chunk).ok()?;
            }
        }
        Behaviour::Garbage => stream.write_all(b"220 mail.example ESMTP\r\n\r\n").ok()?,
    }
    Some(())
}
