//! Thousands of tenants: a directory of their files goes the whole way, and the matrix of all of them is a page that a browser
//! opens.

#![cfg(feature = "tool")]

use std::fs;
use std::path::Path;
use std::process::Command;

use scopegate_testing::harness::Directory;
use scopegate_testing::workload::write_table;
use serde_json::{Value, json};

use crate::tool::scopegate;

const TENANTS: usize = 2_500;

fn directory() -> Directory {
    let directory = Directory::new("scale");
    fs::create_dir(directory.join("table")).unwrap();
    let remote = json!({"uri": "https://login.example.com/jwks.json", "cluster": "idp"});
    let provider =
        json!({"issuer": "https://login.example.com", "audiences": ["billing-api"], "remote_jwks": remote});
    write_table(&directory.join("table"), TENANTS, &provider);
    directory
}

/// What a headless Chromium sees of the page.
fn seen(page: &Path) -> Value {
    let chromium =
        std::env::var("SCOPEGATE_CHROMIUM").expect("SCOPEGATE_CHROMIUM is not set: run `make test`");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser/matrix.mjs");
    let output =
        Command::new("node").arg(script).arg(page).env("SCOPEGATE_CHROMIUM", chromium).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {said}"))
}

#[test]
fn a_directory_of_thousands_of_tenants_goes_the_whole_way() {
    let directory = directory();
    let path = |name: &str| directory.join(name).to_str().unwrap().to_owned();
    let table = path("table");
    let compact = path("policy.json");
    let bundled = scopegate(&["bundle", &table, "--compact", "-o", &compact]);
    assert_eq!(bundled.code, 0, "{}", bundled.err);
    assert!(bundled.err.contains("2500 tenants, 5000 operations"), "{}", bundled.err);
    assert!(fs::metadata(&compact).unwrap().len() < 1 << 20, "it fits into a Kubernetes resource");
    // Two changes are told in a few lines.
    let tenant = directory.join("table/tenants/tenant-00007.json");
    let text = fs::read_to_string(&tenant).unwrap();
    fs::write(&tenant, text.replacen("[\"billing:read\",\"billing:write\"]", "[\"billing:read\"]", 1))
        .unwrap();
    let suites = directory.join("table/suites.json");
    let text = fs::read_to_string(&suites).unwrap();
    let changed = text.replacen("\"requires\":[\"billing:write\"]", "\"access\":\"authenticated\"", 1);
    assert_ne!(changed, text);
    fs::write(&suites, changed).unwrap();
    let plan = scopegate(&["diff", &compact, &table]);
    assert_eq!(plan.code, 0, "{}", plan.err);
    assert!(plan.out.starts_with("Summary\n  tenants       2500 -> 2500: "), "{}", plan.out);
    assert!(plan.out.contains("access lost   2499 by 1 clients of 1 tenants\n"), "{}", plan.out);
    assert!(plan.out.lines().count() < 20, "{}", plan.out);

    let page = path("matrix.html");
    let shown = scopegate(&["matrix", &compact, "--format", "html", "-o", &page]);
    assert_eq!(shown.code, 0, "{}", shown.err);
    assert!(fs::metadata(&page).unwrap().len() < 4 << 20);
    let seen = seen(Path::new(&page));
    assert_eq!((&seen["errors"], &seen["elsewhere"]), (&json!([]), &json!([])), "{seen:#}");
    assert_eq!(seen["first"], "tenant-00000");
    assert_eq!(seen["shown"], "5000 of 5000 operations, 2500 tenants");
    assert!(seen["rowsMade"].as_u64().unwrap() < 200, "{seen:#}");
    assert!(seen["rowsMadeAtTheEnd"].as_u64().unwrap() < 200, "{seen:#}");
    assert_eq!(seen["matches"], json!(["tenant-02498"]));
    assert_eq!(seen["more"], "and 2450 more");
    assert_eq!(seen["chosen"], "tenant-02498");
    let columns = ["sync", "reader", "writer", "admin"].map(|role| format!("tenant-02498-{role}"));
    assert_eq!(seen["columns"], json!(columns));
    assert_eq!(seen["address"], "#tenant=tenant-02498");
    assert_eq!(seen["filtered"], "1 of 5000 operations, 2500 tenants");
    assert_eq!(seen["cell"], "tenant-02498-sync: granted");
    assert_eq!(seen["filteredColumns"], json!(["tenant-02498-writer"]));
    assert_eq!(seen["fromAddress"], "tenant-00042");
    assert_eq!((&seen["printedRows"], &seen["formIsPrinted"]), (&json!(10), &json!(false)), "{seen:#}");
    assert!(seen["pdf"].as_u64().unwrap() > 1_000);
    assert!(seen["smallScroll"].as_u64().unwrap() <= 400, "{seen:#}");
    assert_eq!((&seen["smallInput"], &seen["smallCells"]), (&json!(true), &json!(true)));
    assert!(
        seen["openedIn"].as_u64().unwrap() < 10_000 && seen["searchedIn"].as_u64().unwrap() < 2_000,
        "{seen:#}"
    );
}
