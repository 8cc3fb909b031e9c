//! Who asks: wrk, and one connection for single requests.

#![allow(unsafe_code, reason = "kill is a system call without a safe wrapper in std")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use scopegate_testing::http::{Connection, Request};

/// The requests that a variant is asked: one path, one token after the other.
pub struct Requests {
    pub path: String,
    pub tokens: Vec<String>,
    file: PathBuf,
}

impl Requests {
    /// Writes the tokens where wrk reads them.
    pub fn new(directory: &Path, name: &str, path: &str, tokens: Vec<String>) -> Self {
        let file = directory.join(format!("{name}.tokens"));
        fs::write(&file, tokens.iter().map(|token| format!("{token}\n")).collect::<String>())
            .expect("to write the tokens");
        Self { path: path.to_owned(), tokens, file }
    }

    /// The request with the token at `position`.
    pub fn single(&self, position: usize) -> Request {
        let request =
            Request::get(&self.path).header("accept", "application/json").header("user-agent", "wrk");
        match self.tokens[position % self.tokens.len()].as_str() {
            "" => request,
            token => request.bearer(token),
        }
    }

    /// Status of each of so many requests on one connection.
    pub fn statuses(&self, port: u16, count: usize) -> Vec<u16> {
        let mut connection = Connection::open(port);
        (0..count).map(|position| connection.send(&self.single(position)).status).collect()
    }
}

/// wrk with so many connections.
pub struct Wrk {
    pub program: PathBuf,
    pub connections: u32,
}

impl Wrk {
    /// Asks for so long; returns the requests per second.
    pub fn run(&self, port: u16, requests: &Requests, time: Duration) -> f64 {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/peers/load.lua");
        let mut wrk = Command::new(&self.program)
            .args(["--threads", "1", "--connections", &self.connections.to_string()])
            // Whole seconds are all that it knows; it is interrupted before.
            .args(["--duration", "1h", "--script"])
            .arg(script)
            .arg(format!("http://127.0.0.1:{port}"))
            .args(["--", &requests.path])
            .arg(&requests.file)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", self.program.display()));
        thread::sleep(time);
        let process = i32::try_from(wrk.id()).expect("a process's number");
        // One that has only just begun may pass over an interrupt.
        while wrk.try_wait().expect("how wrk fares").is_none() {
            assert_eq!(unsafe { libc::kill(process, libc::SIGINT) }, 0, "wrk cannot be interrupted");
            thread::sleep(Duration::from_millis(5));
        }
        let output = wrk.wait_with_output().expect("what wrk says");
        let summary = String::from_utf8_lossy(&output.stdout);
        let rate = summary.lines().find_map(|line| line.strip_prefix("Requests/sec:")?.trim().parse().ok());
        rate.unwrap_or_else(|| {
            panic!("wrk says no rate: {summary}{}", String::from_utf8_lossy(&output.stderr))
        })
    }
}
