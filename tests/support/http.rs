//! An HTTP/1.1 client that sends exactly the bytes it is given, and reads what comes back.

use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;

/// How long a test waits for an answer before it fails.
const PATIENCE: Duration = Duration::from_secs(15);

/// A request as it goes over the wire; nothing is added but `host` and, where there is a body, `content-length`.
#[derive(Clone)]
pub struct Request {
    pub method: String,
    pub path: Vec<u8>,
    pub headers: Vec<(Vec<u8>, Vec<u8>)>,
    pub body: Vec<u8>,
}

impl Request {
    pub fn new(method: &str, path: impl AsRef<[u8]>) -> Self {
        let (method, path) = (method.to_owned(), path.as_ref().to_vec());
        Self { method, path, headers: Vec::new(), body: Vec::new() }
    }

    pub fn get(path: impl AsRef<[u8]>) -> Self {
        Self::new("GET", path)
    }

    pub fn post(path: impl AsRef<[u8]>) -> Self {
        Self::new("POST", path)
    }

    /// One more header line; repeated names stay repeated.
    pub fn header(mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        self.headers.push((name.as_ref().to_vec(), value.as_ref().to_vec()));
        self
    }

    /// With a text in its path and its headers replaced.
    pub fn replacing(mut self, from: &str, to: &str) -> Self {
        let replaced = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace(from, to).into_bytes();
        self.path = replaced(&self.path);
        for (_, value) in &mut self.headers {
            *value = replaced(value);
        }
        self
    }

    /// `authorization: Bearer TOKEN`.
    pub fn bearer(self, token: &str) -> Self {
        self.header("authorization", format!("Bearer {token}"))
    }

    /// HTTP Basic as RFC 6749 section 2.3.1 has it: each part form-encoded first.
    pub fn basic(self, client: &str, secret: &str) -> Self {
        use base64::Engine as _;
        let pair = format!("{}:{}", form_encoded(client), form_encoded(secret));
        let encoded = base64::engine::general_purpose::STANDARD.encode(pair);
        self.header("authorization", format!("Basic {encoded}"))
    }

    /// An `application/x-www-form-urlencoded` body.
    pub fn form(self, pairs: &[(&str, &str)]) -> Self {
        let body: Vec<String> =
            pairs.iter().map(|(name, value)| format!("{name}={}", form_encoded(value))).collect();
        self.header("content-type", "application/x-www-form-urlencoded").body(body.join("&"))
    }

    pub fn json(self, body: &Value) -> Self {
        self.header("content-type", "application/json").body(body.to_string())
    }

    pub fn body(mut self, body: impl AsRef<[u8]>) -> Self {
        self.body = body.as_ref().to_vec();
        self
    }

    fn to_bytes(&self) -> Vec<u8> {
        let names =
            |wanted: &str| self.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case(wanted.as_bytes()));
        let mut bytes = [self.method.as_bytes(), b" ", &self.path, b" HTTP/1.1\r\n"].concat();
        if !names("host") {
            bytes.extend(b"host: api.example.com\r\n");
        }
        if !self.body.is_empty() && !names("content-length") {
            bytes.extend(format!("content-length: {}\r\n", self.body.len()).into_bytes());
        }
        for (name, value) in &self.headers {
            bytes.extend([name.as_slice(), b": ", value, b"\r\n"].concat());
        }
        bytes.extend(b"\r\n");
        bytes.extend(&self.body);
        bytes
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.to_bytes()))
    }
}

/// RFC 6749 appendix B.
fn form_encoded(value: &str) -> String {
    value
        .bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'*' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

/// An answer: names of headers in lower case, in the order they came in.
#[derive(Clone, Debug)]
pub struct Response {
    pub status: u16,
    pub headers: Vec<(String, Vec<u8>)>,
    pub body: Vec<u8>,
}

impl Response {
    /// The value of a header that may come once only.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(other, _)| other == name);
        let value =
            values.next().map(|(_, value)| std::str::from_utf8(value).expect("a header that is UTF-8"));
        assert!(values.next().is_none(), "`{name}` comes more than once: {self:?}");
        value
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON; fails the test where it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("status {}, body `{}`: {error}", self.status, self.text()))
    }

    /// Status and `reason` of a refusal, or status and `-` where the body names none: what most tests assert.
    pub fn decision(&self) -> (u16, String) {
        let body: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        (self.status, body["reason"].as_str().unwrap_or("-").to_owned())
    }

    /// The values of a header that the upstream saw, where it was the upstream that answered.
    pub fn upstream_saw(&self, name: &str) -> Vec<String> {
        assert_eq!(self.status, 200, "the upstream did not answer: {}", self.text());
        let seen = self.json();
        let headers = seen["headers"].as_array().expect("the upstream's list of headers");
        let values = headers.iter().filter(|pair| pair[0] == name);
        values.map(|pair| pair[1].as_str().expect("a header's value").to_owned()).collect()
    }
}

/// One connection that is kept alive between requests.
pub struct Connection {
    stream: BufReader<TcpStream>,
}

impl Connection {
    /// Connects to a port on loopback.
    pub fn open(port: u16) -> Self {
        Self::try_open(port).expect("a connection")
    }

    fn try_open(port: u16) -> io::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    /// Sends a request and reads its answer.
    pub fn send(&mut self, request: &Request) -> Response {
        self.send_bytes(&request.to_bytes());
        self.receive(request.method == "HEAD").expect("an answer before the connection ends")
    }

    /// As [`Self::send`]; none where the connection ends before the answer has come.
    pub fn try_send(&mut self, request: &Request) -> Option<Response> {
        self.stream.get_mut().write_all(&request.to_bytes()).ok()?;
        self.receive(request.method == "HEAD")
    }

    /// Sends a request whose answer is to be received later.
    pub fn begin(&mut self, request: &Request) {
        self.send_bytes(&request.to_bytes());
    }

    /// Sends bytes as they are.
    pub fn send_bytes(&mut self, bytes: &[u8]) {
        self.stream.get_mut().write_all(bytes).expect("to send");
    }

    /// Reads so many bytes.
    pub fn receive_bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.stream.read_exact(&mut bytes).expect("bytes before the connection ends");
        bytes
    }

    /// Reads one answer; none where the connection ends first. An answer to HEAD has no body.
    pub fn receive(&mut self, to_head: bool) -> Option<Response> {
        let status_line = self.line()?;
        let status = status_line.split(' ').nth(1)?.parse().ok()?;
        let mut headers = Vec::new();
        loop {
            let line = self.line_bytes()?;
            if line.is_empty() {
                break;
            }
            let colon = line.iter().position(|byte| *byte == b':').expect("a header line with a colon");
            let name = String::from_utf8_lossy(&line[..colon]).to_ascii_lowercase();
            headers.push((name, line[colon + 1..].trim_ascii().to_vec()));
        }
        if (100..200).contains(&status) {
            return self.receive(to_head);
        }
        let mut response = Response { status, headers, body: Vec::new() };
        if !to_head && status != 204 && status != 304 {
            response.body = self.body(&response)?;
        }
        Some(response)
    }

    fn body(&mut self, response: &Response) -> Option<Vec<u8>> {
        let mut body = Vec::new();
        if response.header("transfer-encoding") == Some("chunked") {
            loop {
                let size = usize::from_str_radix(self.line()?.split(';').next()?.trim(), 16).ok()?;
                let mut chunk = vec![0; size];
                self.stream.read_exact(&mut chunk).ok()?;
                body.extend(chunk);
                self.line()?;
                if size == 0 {
                    break;
                }
            }
        } else if let Some(length) = response.header("content-length") {
            body = vec![0; length.parse().ok()?];
            self.stream.read_exact(&mut body).ok()?;
        } else {
            self.stream.read_to_end(&mut body).ok()?;
        }
        Some(body)
    }

    fn line(&mut self) -> Option<String> {
        self.line_bytes().map(|line| String::from_utf8_lossy(&line).into_owned())
    }

    fn line_bytes(&mut self) -> Option<Vec<u8>> {
        let mut line = Vec::new();
        let read = self.stream.read_until(b'\n', &mut line).ok()?;
        (read > 0).then(|| line.trim_ascii_end().to_vec())
    }
}

/// One request on a connection of its own.
pub fn send(port: u16, request: &Request) -> Response {
    Connection::open(port).send(request)
}

/// As [`send`], of a server that may not be there yet.
pub fn try_send(port: u16, request: &Request) -> Option<Response> {
    Connection::try_open(port).ok()?.try_send(request)
}
