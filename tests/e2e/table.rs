//! A table as code, in a real Envoy: ten thousand tenants in the compact form, and the README's way from an API description to an
//! applied change.

use std::fs;
use std::path::Path;
use std::process::Command;

use scopegate::config::yaml_to_json;
use scopegate_testing::harness::{Directory, Gateway, Options, manager, now, wait_until};
use scopegate_testing::http::Request;
use scopegate_testing::mint::{Signer, jwks};
use scopegate_testing::workload::write_table;
use serde_json::{Value, json};

use crate::issuer::{Behaviour, FaultyIssuer};

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
    let directory = Directory::new("compact");
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

/// What `render --as ecds` says is to stand in `http_filters`, in the comment at the beginning of its file.
fn http_filters(rendered: &str) -> Value {
    let comment = rendered.lines().filter_map(|line| line.strip_prefix("#   "));
    let entries = comment.fold(String::new(), |text, line| text + line + "\n");
    yaml_to_json(&entries).expect("entries of `http_filters`")
}

#[test]
fn the_readmes_way_leads_from_an_api_description_to_an_applied_change() {
    let directory = Directory::new("way");
    fs::create_dir_all(directory.join("gateway/tenants")).unwrap();
    fs::create_dir_all(directory.join("envoy")).unwrap();
    fs::copy(
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tool/openapi.yaml"),
        directory.join("openapi.yaml"),
    )
    .unwrap();
    // What the README calls so, and where it is here.
    let wasm = std::env::var("SCOPEGATE_WASM").expect("SCOPEGATE_WASM is not set: run `make test`");
    let place = directory.join("envoy").display().to_string();
    let here =
        |line: &str| line.replace("/etc/envoy/scopegate.wasm", &wasm).replace("/etc/envoy/scopegate", &place);

    let signer = Signer::new("ES256", "key-1", 1);
    let keys = jwks([&signer]);
    let issuer = FaultyIssuer::start(move |_| Behaviour::json(&keys));
    let token = signer.mint(
        json!({"typ": "at+jwt"}),
        &json!({
            "iss": "https://login.example.com", "aud": "books-api", "exp": now() + 300, "tenant_id": "acme",
            "client_id": "acme-sync", "scope": "books:read books:write",
        }),
    );
    let add = Request::post("/v1/acme/books").bearer(&token);

    let mut envoy: Option<Gateway> = None;
    let mut ran = 0;
    for (kind, text) in steps() {
        if kind == "yaml" {
            let name = text.lines().next().and_then(|line| line.strip_prefix("# ")).expect("a file's name");
            fs::write(directory.join(name), &text).unwrap();
            continue;
        }
        for command in text.split("$ ").filter(|command| !command.trim().is_empty()) {
            let (line, expected) = command.split_once('\n').unwrap();
            if envoy.is_none() && line.contains("--admin") {
                // The Envoy that runs has yesterday's table, in which the client may only read, from the same kind of file.
                let render = "scopegate render - --as ecds --wasm /etc/envoy/scopegate.wasm";
                let yesterday = format!(
                    "scopegate bundle gateway/ 2>/dev/null | sed 's/\\(\\[\"books:read\"\\), \"books:write\"\\]/\\1]/' | {render} \\
                     > /etc/envoy/scopegate/filter.yaml"
                );
                assert_eq!(shell(&here(&yesterday), &directory), "");
                let rendered = fs::read_to_string(directory.join("envoy/filter.yaml")).unwrap();
                let Value::Array(filters) = http_filters(&here(&rendered)) else { panic!("{rendered}") };
                let options = Options {
                    filter: false,
                    clusters: vec![("idp".to_owned(), issuer.port)],
                    bootstrap: Box::new(move |bootstrap| {
                        let all = manager(bootstrap)["http_filters"].as_array_mut().expect("filters");
                        // The harness's own tripwire gives way to the rendered one.
                        all.splice(..1, filters.clone());
                        manager(bootstrap)["access_log"][0]["typed_config"]["log_format"] = json!({"json_format": {
                            "request_id": "%REQ(X-REQUEST-ID)%", "method": "%REQ(:METHOD)%", "status": "%RESPONSE_CODE%",
                            "scopegate": "%FILTER_STATE(wasm.scopegate.log:PLAIN)%",
                        }});
                    }),
                    ..Options::default()
                };
                let started = Gateway::start(&json!({}), &options);
                wait_until("the keys are there", || started.send(&add).status != 503);
                assert_eq!(
                    started.send(&add).decision(),
                    (403, "scope_not_assigned_to_application".to_owned())
                );
                // Both lines of that refusal tell it by the table of then, and by today's what has changed.
                let mut lines = Vec::new();
                wait_until("both lines are written", || {
                    let logs = [started.log(), started.access_log()];
                    let found =
                        logs.iter().map(|log| log.lines().rfind(|line| line.contains("scope_not_assigned")));
                    lines = found.flatten().map(str::to_owned).collect();
                    lines.len() == 2
                });
                for line in lines {
                    fs::write(directory.join("line"), line).unwrap();
                    let explain = |of: &str| {
                        shell(&format!("scopegate explain --config {of} --from-log - < line"), &directory)
                    };
                    let then = explain("envoy/filter.yaml");
                    assert!(then.contains(", which is the one at hand\n"), "{then}");
                    assert!(then.contains("acme-sync of corp, assigned: books:read\n"), "{then}");
                    let today = explain("gateway/");
                    assert!(
                        today.contains("acme-sync of corp, assigned: books:read books:write\n"),
                        "{today}"
                    );
                    assert!(
                        today.contains("another policy than the one at hand made this decision"),
                        "{today}"
                    );
                }
                envoy = Some(started);
            }
            let port = envoy.as_ref().map_or(0, |envoy| envoy.admin_port);
            let line = here(&line.replace("http://127.0.0.1:9901", &format!("http://127.0.0.1:{port}")));
            assert_eq!(shell(&line, &directory), expected, "{line}");
            if line.starts_with("mv ") {
                let envoy = envoy.as_ref().expect("an Envoy");
                wait_until("Envoy has taken the file", || envoy.send(&add).status == 200);
            }
            ran += 1;
        }
    }
    assert!(ran >= 8, "{ran}");
}
