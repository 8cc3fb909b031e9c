//! The tool as somebody sits before it: `--watch` with files that change, and what a terminal shows meanwhile.

#![cfg(feature = "tool")]

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use scopegate_testing::harness::Directory;

const BOOKS: &str = "tests/fixtures/tool/books.yaml";
const PATIENCE: Duration = Duration::from_secs(60);

/// A process that runs on, and the lines that it prints.
struct Watching {
    child: Child,
    lines: Receiver<String>,
}

impl Watching {
    fn start(arguments: &[&str], directory: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_scopegate"))
            .args(arguments)
            .current_dir(directory)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, lines) = mpsc::channel();
        let output = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            output.lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        Self { child, lines }
    }

    /// What it prints until it waits for changes.
    fn answer(&self) -> String {
        let mut answer = String::new();
        loop {
            let line =
                self.lines.recv_timeout(PATIENCE).unwrap_or_else(|error| panic!("{error} after: {answer}"));
            if line.starts_with("-- waiting for changes of ") {
                return answer;
            }
            answer.push_str(&line);
            answer.push('\n');
        }
    }

    /// Its answers until one holds `text`: a save may be seen as several changes.
    fn answers_until(&self, text: &str) -> String {
        loop {
            let answer = self.answer();
            if answer.contains(text) {
                return answer;
            }
        }
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn check_answers_again_whenever_a_file_of_the_table_changes() {
    let directory = Directory::new("live-check");
    let books = fs::read_to_string(BOOKS).unwrap();
    fs::create_dir(directory.join("gateway")).unwrap();
    let file = directory.join("gateway/books.yaml");
    fs::write(&file, &books).unwrap();
    let watching = Watching::start(&["check", "gateway/", "--watch"], &directory);
    assert!(watching.answer().ends_with("gateway/: valid, 0 errors, 0 warnings\n"));
    fs::write(&file, books.replacen("realm:", "relam:", 1)).unwrap();
    let refused = watching.answers_until("refused");
    assert!(refused.contains("unknown key `relam`; did you mean `realm`?"), "{refused}");
    // As editors do it: another file, moved into the place of the old one.
    let new = directory.join("gateway/.books.yaml.new");
    fs::write(&new, &books).unwrap();
    fs::rename(&new, &file).unwrap();
    watching.answers_until("valid, 0 errors");
    // A file that was not there before is one of the table.
    fs::write(directory.join("gateway/more.yaml"), "realm: other\n").unwrap();
    watching.answers_until("the key stands in gateway/books.yaml");
}

#[test]
fn test_runs_again_whenever_a_case_or_its_configuration_changes() {
    let directory = Directory::new("live-test");
    let books = fs::read_to_string(BOOKS).unwrap();
    fs::create_dir(directory.join("cases")).unwrap();
    fs::create_dir(directory.join("gateway")).unwrap();
    let case = "cases:\n  - name: a reader lists\n    request: GET /acme/books\n    \
                token: {tenant: acme, client: acme-sync, scope: read}\n    expect: allow\n";
    fs::write(directory.join("cases/books_test.yaml"), case).unwrap();
    fs::write(directory.join("gateway/books.yaml"), &books).unwrap();
    let arguments = ["test", "cases/books_test.yaml", "--config", "gateway/books.yaml", "--watch"];
    let watching = Watching::start(&arguments, &directory);
    assert!(watching.answer().contains("1 as expected, 0 not"));
    fs::write(directory.join("cases/books_test.yaml"), case.replace("scope: read", "scope: write")).unwrap();
    watching.answers_until("0 as expected, 1 not");
    fs::write(directory.join("cases/books_test.yaml"), case).unwrap();
    watching.answers_until("1 as expected, 0 not");
    fs::write(
        directory.join("gateway/books.yaml"),
        books.replace("\"/{tenant}/books\"", "\"/{tenant}/shelves\""),
    )
    .unwrap();
    watching.answers_until("operation_not_mapped");
}

/// What a shell's command writes to a terminal.
fn on_a_terminal(command: &str) -> String {
    let tool = Path::new(env!("CARGO_BIN_EXE_scopegate")).parent().unwrap();
    let output = Command::new("script")
        .args(["--quiet", "--return", "--command", command, "/dev/null"])
        .env("PATH", format!("{}:{}", tool.display(), std::env::var("PATH").unwrap()))
        .env("TERM", "xterm")
        .stdin(Stdio::null())
        .output()
        .expect("`script` of util-linux");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn what_takes_longer_than_a_second_says_on_a_terminal_how_far_it_is() {
    let slow = format!("(sleep 1.7; cat {BOOKS}) | scopegate check -");
    let shown = on_a_terminal(&slow);
    assert!(shown.contains("\rreading files: 1 of 1, 1 s\u{1b}[K"), "{shown:?}");
    // The line is gone before the answer comes.
    let (before, answer) = shown.rsplit_once("\r\u{1b}[K").expect("a line that is taken away");
    assert!(!before.contains("valid") && answer.contains("<stdin>: "), "{shown:?}");
    let quick = on_a_terminal(&format!("scopegate check {BOOKS}"));
    assert!(!quick.contains("reading files"), "{quick:?}");
    // Where standard error is no terminal, nothing is written to it.
    let redirected = on_a_terminal(&format!("({slow}) 2>&1 | cat"));
    assert!(!redirected.contains("reading files"), "{redirected:?}");
}
