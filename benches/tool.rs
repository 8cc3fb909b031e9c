//! The companion tool at scale: ten thousand tenants with four applications each and 5,000 operations, as a directory of files.
//!
//! `SCOPEGATE_TOOL=$(command -v scopegate) cargo bench --profile dev --bench tool` prints what each command of the installed tool
//! takes of a processor, the best of three, beside what it may take, and fails where one takes more; a machine that does other work
//! meanwhile only makes it slower to finish. Without the variable it measures the tool that Cargo builds for it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a benchmark"
)]
#![allow(missing_docs, reason = "a benchmark")]
#![allow(clippy::disallowed_methods, reason = "time is what is measured")]

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use scopegate_testing::workload::write_table;
use serde_json::json;

fn main() {
    let directory = std::env::temp_dir().join(format!("scopegate-bench-{}", std::process::id()));
    let path = |name: &str| directory.join(name).to_str().expect("a path").to_owned();
    let remote = json!({"uri": "https://login.example.com/jwks.json", "cluster": "idp"});
    let provider =
        json!({"issuer": "https://login.example.com", "audiences": ["billing-api"], "remote_jwks": remote});
    for name in ["table", "next"] {
        write_table(&directory.join(name), 10_000, &provider);
    }
    let change = |file: &str, from: &str, to: &str| {
        let file = directory.join("next").join(file);
        let text = fs::read_to_string(&file).expect("a file");
        assert!(text.contains(from), "{from}");
        fs::write(file, text.replacen(from, to, 1)).expect("a file");
    };
    change("tenants/tenant-00007.json", "[\"billing:read\",\"billing:write\"]", "[\"billing:read\"]");
    change("suites.json", "\"requires\":[\"billing:write\"]", "\"access\":\"authenticated\"");

    let (table, next) = (path("table"), path("next"));
    let (policy, page) = (path("policy.json"), path("matrix.html"));
    let seconds = Duration::from_secs;
    let mut is_within = true;
    for (arguments, most) in [
        (vec!["check", &table], seconds(2)),
        (vec!["bundle", &table, "-o", &policy], seconds(2)),
        (vec!["bundle", &table, "--compact", "-o", &policy], seconds(2)),
        (vec!["check", &policy], seconds(2)),
        (vec!["diff", &table, &next], seconds(4)),
        (vec!["matrix", &policy, "--format", "html", "-o", &page], seconds(4)),
    ] {
        let (processor, elapsed) = (0..3).map(|_| run(&arguments)).min().expect("it ran");
        is_within &= processor <= most;
        let shown: Vec<String> = arguments.iter().map(|argument| argument.replace(&path(""), "")).collect();
        let (processor, elapsed, most) = (processor.as_secs_f64(), elapsed.as_secs_f64(), most.as_secs());
        println!("{:50} {processor:>6.2} s of at most {most} s, in {elapsed:.2} s", shown.join(" "));
    }
    let length = |file: &str| fs::metadata(file).expect("a file").len() >> 10;
    println!("{:50} {:>6} KiB", "compact form", length(&policy));
    println!("{:50} {:>6} KiB", "page", length(&page));
    fs::remove_dir_all(directory).expect("it is there");
    assert!(is_within, "a command takes too long");
}

/// How long a command keeps a processor, and how long it takes.
fn run(arguments: &[&str]) -> (Duration, Duration) {
    let (before, begun) = (processor_of_children(), Instant::now());
    let tool = std::env::var("SCOPEGATE_TOOL").unwrap_or_else(|_| env!("CARGO_BIN_EXE_scopegate").to_owned());
    let mut command = Command::new(tool);
    let status =
        command.args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status().expect("it runs");
    assert!(status.success(), "{arguments:?}");
    (processor_of_children() - before, begun.elapsed())
}

/// What the processes that have ended took of a processor, in user mode and in the kernel (`proc_pid_stat(5)`, fields 16 and 17).
fn processor_of_children() -> Duration {
    const TICKS_A_SECOND: u64 = 100;
    let stat = fs::read_to_string("/proc/self/stat").expect("Linux");
    let (_, behind_name) = stat.rsplit_once(") ").expect("a name in parentheses");
    let ticks: u64 =
        behind_name.split(' ').skip(13).take(2).map(|ticks| ticks.parse::<u64>().expect("ticks")).sum();
    Duration::from_millis(ticks * 1_000 / TICKS_A_SECOND)
}
