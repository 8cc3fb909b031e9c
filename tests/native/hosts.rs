//! What users are told of hosts: README's table, and the tool.

#![cfg(feature = "tool")]

use std::fmt::Write;
use std::process::Command;

use serde_json::Value;

const README: &str = include_str!("../../README.md");
const HOSTS: &str = include_str!("../../deploy/hosts.json");
const NGINX: &str = include_str!("../../deploy/nginx/nginx.conf");

/// The wasm files are held to the same file, in `tests/wasm_host/hosts.rs`.
#[test]
fn the_table_of_hosts_is_that_of_the_file() {
    let hosts: Value = serde_json::from_str(HOSTS).unwrap();
    let columns = ["envoy", "nginx", "generic", "gcp"];
    assert_eq!(hosts["hosts"].as_object().unwrap().len(), columns.len());
    let of = |host: &str, what: &str| hosts["hosts"][host][what].as_str().unwrap().to_owned();
    let mut table = "| |".to_owned();
    for host in columns {
        write!(table, " {} |", of(host, "title")).unwrap();
    }
    writeln!(table, "\n|---|{}", "---|".repeat(columns.len())).unwrap();
    write!(table, "| file |").unwrap();
    for host in columns {
        write!(table, " `{}` |", of(host, "file")).unwrap();
    }
    for capability in hosts["capabilities"].as_array().unwrap() {
        write!(table, "\n| {} |", capability["title"].as_str().unwrap()).unwrap();
        for host in columns {
            write!(table, " {} |", capability["hosts"][host].as_str().unwrap()).unwrap();
        }
    }
    table.push('\n');
    assert!(README.contains(&table), "the README should hold this table:\n\n{table}");
}

fn check(host: &str, file: &str) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_scopegate"));
    command.args(["check", "--host", host, file]).current_dir(env!("CARGO_MANIFEST_DIR"));
    let output = command.output().unwrap();
    (output.status.code(), String::from_utf8(output.stdout).unwrap())
}

#[test]
fn the_tool_says_before_deployment_what_a_host_cannot_serve() {
    let infor = "filter-config/infor-suites.yaml";
    assert_eq!(check("envoy", infor).0, Some(0));
    let (code, nginx) = check("nginx", infor);
    assert_eq!(code, Some(1));
    for says in [
        ":21:18: warning: providers.ion.remote_jwks: no request waits on this host",
        ":23:7: error: providers.ion.introspection: this host has no effective contexts: ",
        "warning: forward: this host sends the upstream what the filter removes",
    ] {
        assert!(nginx.contains(says), "{says}\n{nginx}");
    }
    let long = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/filter-config/teamcenter.yaml"))
        .unwrap()
        .replace("Delete items", &"x".repeat(400).repeat(10));
    let path = format!("{}/long.yaml", env!("CARGO_TARGET_TMPDIR"));
    std::fs::write(&path, long).unwrap();
    assert!(check("nginx", &path).1.contains("more than 4096, a directive of nginx"));
    let appian = "filter-config/appian-erp.yaml";
    for host in ["generic", "gcp"] {
        let (code, text) = check(host, appian);
        assert_eq!(code, Some(1));
        assert!(
            text.contains(": error: providers.erp.remote_jwks: this host has no ticks and no callouts: "),
            "{text}"
        );
        assert!(
            text.contains(": error: token_endpoints: this host has no ticks and no effective contexts: "),
            "{text}"
        );
    }
}

/// The list of headers in `deploy/nginx` passes on nothing that a client could forge but what its own example sets.
#[test]
fn nginx_passes_on_no_header_by_itself() {
    assert!(NGINX.contains("proxy_pass_request_headers off;"));
    assert!(!NGINX.to_ascii_lowercase().contains("proxy_set_header authorization"));
    assert!(!NGINX.to_ascii_lowercase().contains("proxy_set_header cookie"));
    assert!(!NGINX.contains("$http_host"));
}
