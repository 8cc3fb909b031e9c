//! A table as code, in a real Envoy: ten thousand tenants in the compact form, and the README's way from an API description to an
//! applied change.

use std::fs;
use std::path::Path;
use std::process::Command;

use scopegate_testing::harness::{Gateway, Options, now};
use scopegate_testing::http::Request;
use scopegate_testing::mint::{Signer, jwks};
use scopegate_testing::workload::write_table;
use serde_json::{Value, json};

fn scratch(name: &str) -> std::path::PathBuf {
    let directory = std::env::temp_dir().join(format!("scopegate-e2e-{name}-{}", std::process::id()));
    let _ = fs::remove_dir_all(&directory);
    fs::create_dir_all(&directory).unwrap();
    directory
}

/// Runs a line of a shell with the tool at hand; what it wrote to both streams.
fn shell(line: &str, directory: &Path) -> String {
    let tool = Path::new(env!("CARGO_BIN_EXE_scopegate")).parent().unwrap();
    let path = format!("{}:{}", tool.display(), std::env::var("PATH").unwrap());
    let output = Command::new("bash")
        .args(["-c", &format!("{{ {line}\n}} 2>&1")])
        .current_dir(directory)
        .env("PATH", path)
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_real_envoy_takes_ten_thousand_tenants_in_the_compact_form() {
    let directory = scratch("compact");
    let signer = Signer::new("ES256", "key-1", 1);
    let provider = json!({
        "issuer": "https://login.example.com", "audiences": ["billing-api"], "local_jwks": jwks([&signer]),
    });
    write_table(&directory.join("table"), 10_000, &provider);
    let said = shell("scopegate bundle table --compact -o policy.json", &directory);
    let digest =
        said.strip_prefix("scopegate: policy ").and_then(|rest| rest.get(..16)).expect(&said).to_owned();
    let compact = fs::read_to_string(directory.join("policy.json")).unwrap();
    assert!(
        compact.len() < 1 << 20 && compact.starts_with("{\"version\": 1, \"compact\": "),
        "{}",
        compact.len()
    );

    let options = Options { reloadable: true, ..Options::default() };
    let gateway = Gateway::start(&Value::String(compact), &options);
    let token = |tenant: &str, scope: &str| {
        signer.mint(json!({"typ": "at+jwt"}), &json!({
            "iss": "https://login.example.com", "aud": "billing-api", "exp": now() + 300, "tenant_id": tenant,
            "client_id": format!("{tenant}-sync"), "scope": scope,
        }))
    };
    let get = |path: &str, token: &str| gateway.send(&Request::get(path).bearer(token));
    let last = token("tenant-09999", "billing:read");
    assert_eq!(get("/s499/tenant-09999/r9/1", &last).status, 200);
    assert_eq!(get("/s499/tenant-09999/r8/1", &last).decision(), (403, "scope_not_granted".to_owned()));
    assert_eq!(get("/s499/tenant-09998/r9/1", &last).decision(), (401, "tenant_mismatch".to_owned()));
    assert!(
        gateway.log().contains(&format!("\"policy\":\"{digest}")),
        "the audit line names the bundle's digest"
    );

    // What this Envoy has is what the files say; and one that is spoilt is refused, the old one keeps serving.
    let admin = format!("http://127.0.0.1:{}", gateway.admin_port);
    let said = shell(&format!("scopegate diff --admin {admin} table --exit-code"), &directory);
    assert_eq!(said, "0 audit events, access gained 0 times and lost 0 times, 0 other settings differ\n");
    assert!(!gateway.reload(&json!({"version": 1, "compact": "H4sIAAAAAAAA/w=="}), &options));
    assert!(gateway.log().contains("compact: not gzip"), "the log names the key");
    assert_eq!(get("/s499/tenant-09999/r9/1", &last).status, 200);
    fs::remove_dir_all(directory).unwrap();
}

/// The README's files and commands, in their order.
fn steps() -> Vec<(String, String)> {
    let (_, way) = include_str!("../../README.md").split_once("<!-- tested: table-as-code -->").unwrap();
    let (way, _) = way.split_once("<!-- end -->").unwrap();
    let blocks = way.split("```").skip(1).step_by(2);
    blocks
        .filter_map(|block| block.split_once('\n'))
        .map(|(kind, text)| (kind.to_owned(), text.to_owned()))
        .collect()
}

#[test]
fn the_readmes_way_leads_from_an_api_description_to_an_applied_change() {
    let directory = scratch("way");
    fs::create_dir_all(directory.join("gateway/tenants")).unwrap();
    fs::copy(
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tool/openapi.yaml"),
        directory.join("openapi.yaml"),
    )
    .unwrap();
    let options = Options { reloadable: true, ..Options::default() };
    let mut gateway = None;
    let mut ran = 0;
    for (kind, text) in steps() {
        if kind == "yaml" {
            let name = text.lines().next().and_then(|line| line.strip_prefix("# ")).expect("a file's name");
            fs::write(directory.join(name), &text).unwrap();
            continue;
        }
        for command in text.split("$ ").filter(|command| !command.trim().is_empty()) {
            let (line, expected) = command.split_once('\n').unwrap();
            if gateway.is_none() && line.contains("--admin") {
                // The Envoy that runs has yesterday's table, in which the client may only read.
                let bundle = shell("scopegate bundle gateway/ 2>/dev/null", &directory);
                let before = bundle.replace("[\"books:read\", \"books:write\"]", "[\"books:read\"]");
                assert_ne!(before, bundle);
                gateway = Some(Gateway::start(&Value::String(before), &options));
            }
            let address =
                gateway.as_ref().map(|gateway: &Gateway| format!("http://127.0.0.1:{}", gateway.admin_port));
            let line = line.replace("http://127.0.0.1:9901", address.as_deref().unwrap_or_default());
            if line.contains("mv ") {
                // The file is where this Envoy looks for it.
                let json = shell("scopegate bundle gateway/ 2>/dev/null", &directory);
                let gateway = gateway.as_ref().expect("an Envoy");
                assert!(
                    gateway.reload(&Value::String(json.trim_end().to_owned()), &options),
                    "{}",
                    gateway.log()
                );
            }
            assert_eq!(shell(&line, &directory), expected, "{line}");
            ran += 1;
        }
    }
    assert!(ran >= 6, "{ran}");
    fs::remove_dir_all(directory).unwrap();
}
