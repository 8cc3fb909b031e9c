//! What leaves the repository: the files of `deploy/`, the image, a release, and what the operator is told.

#![cfg(feature = "tool")]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use base16ct::lower::encode_string as hex;
use scopegate::config::yaml_to_json;
use scopegate::respond::Reason;
use serde_json::Value;
use sha2::{Digest, Sha256};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const TOOL: &str = env!("CARGO_BIN_EXE_scopegate");

/// The wasm file that `make test` builds first.
fn wasm() -> PathBuf {
    std::env::var_os("SCOPEGATE_WASM")
        .unwrap_or_else(|| panic!("SCOPEGATE_WASM is not set: run `make test`"))
        .into()
}

/// An empty directory for a test.
fn scratch(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("delivery-{name}"));
    let _ = fs::remove_dir_all(&path);
    fs::create_dir_all(&path).unwrap();
    path
}

fn run(command: &mut Command) -> Output {
    command.current_dir(ROOT).output().unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

fn successful(command: &mut Command) -> String {
    let output = run(command);
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// The files below a directory, by their names in it.
fn files(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut open = vec![directory.to_owned()];
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                let name = path.strip_prefix(directory).unwrap().to_str().unwrap().to_owned();
                found.insert(name, fs::read(path).unwrap());
            }
        }
    }
    found
}

#[test]
fn the_files_of_each_platform_are_what_the_tool_renders() {
    let directory = scratch("rendered");
    successful(Command::new("deploy/render.sh").args([TOOL, "deploy/policy.yaml"]).arg(&directory));
    let rendered = files(&directory);
    assert_eq!(rendered.len(), 5);
    for (name, text) in rendered {
        let committed = fs::read(Path::new(ROOT).join("deploy").join(&name)).unwrap();
        assert!(
            committed == text,
            "run: deploy/render.sh target/debug/scopegate deploy/policy.yaml deploy ({name})"
        );
    }
}

/// What the SDK imports for methods that the filter never calls: no capability of the filter. The host of the tests in
/// `tests/wasm_host` fails a test where one of them is called.
const NEVER_CALLED: [&str; 12] = [
    "proxy_close_stream",
    "proxy_done",
    "proxy_get_current_time_nanoseconds",
    "proxy_get_header_map_value",
    "proxy_get_status",
    "proxy_grpc_call",
    "proxy_grpc_cancel",
    "proxy_grpc_close",
    "proxy_grpc_send",
    "proxy_grpc_stream",
    "proxy_resolve_shared_queue",
    "proxy_set_header_map_pairs",
];

#[test]
fn the_capabilities_are_what_the_module_calls_and_is_called_by() {
    let module = wasmi::Module::new(&wasmi::Engine::default(), fs::read(wasm()).unwrap()).unwrap();
    let imports = module.imports().map(|import| import.name().to_owned());
    let callbacks = module.exports().map(|export| export.name().to_owned());
    let imports: Vec<String> = imports.collect();
    assert!(NEVER_CALLED.iter().all(|name| imports.iter().any(|import| import == name)));
    let called = imports.into_iter().filter(|import| !NEVER_CALLED.contains(&import.as_str()));
    let mut needed: BTreeSet<String> =
        called.chain(callbacks.filter(|name| name.starts_with("proxy_on_"))).collect();
    // It stands where `dpop.nonce` is used alone.
    assert!(needed.remove("proxy_on_response_headers"));
    let filter = fs::read_to_string(Path::new(ROOT).join("deploy/envoy/scopegate/filter.yaml")).unwrap();
    let filter = yaml_to_json(&filter).unwrap();
    let plugin = &filter["resources"][0]["typed_config"]["config"];
    let allowed =
        plugin["vm_config"]["capability_restriction_config"]["allowed_capabilities"].as_object().unwrap();
    assert_eq!(allowed.keys().cloned().collect::<BTreeSet<_>>(), needed);
    let bootstrap = yaml_to_json(&fs::read_to_string(Path::new(ROOT).join("envoy.yaml")).unwrap()).unwrap();
    let listener = &bootstrap["static_resources"]["listeners"][0];
    let manager = &listener["filter_chains"][0]["filters"][0]["typed_config"];
    let plugin = &manager["http_filters"][0]["typed_config"]["config"];
    let restriction = &plugin["vm_config"]["capability_restriction_config"];
    assert_eq!(restriction["allowed_capabilities"].as_object(), Some(allowed));
}

#[test]
fn the_resources_of_istio_and_envoy_gateway_are_valid_and_mistakes_in_them_are_found() {
    let deploy = &Path::new(ROOT).join("deploy");
    let good: Vec<PathBuf> = ["istio", "istio-traffic-extension", "envoy-gateway"]
        .iter()
        .flat_map(|directory| {
            let names = files(&deploy.join(directory)).into_keys();
            names
                .filter(|name| name != "kustomization.yaml")
                .map(move |name| deploy.join(directory).join(name))
        })
        .collect();
    assert_eq!(good.len(), 6);
    let directory = scratch("mistakes");
    let mistakes = [
        ("istio/scopegate.yaml", "failStrategy:", "failStratgy:", "failStratgy"),
        ("istio/scopegate.yaml", "phase: AUTHN", "phase: AUTN", "data/spec/phase"),
        (
            "istio/scopegate.yaml",
            "operation: INSERT_BEFORE",
            "operation: BEFORE",
            "data/spec/configPatches/0/patch/operation",
        ),
        ("istio-traffic-extension/scopegate.yaml", "failStrategy:", "failStratgy:", "failStratgy"),
        ("istio-traffic-extension/scopegate.yaml", "  phase: AUTHN", "  url: x", "wrong place"),
        ("istio/issuer.yaml", "mode: SIMPLE", "mode: PLAIN", "data/spec/trafficPolicy/tls"),
        ("istio/issuer.yaml", "kind: ServiceEntry", "kind: ServiceEntries", "no known kind"),
        ("envoy-gateway/scopegate.yaml", "failOpen: false", "failOpen: \"no\"", "data/spec/wasm/0/failOpen"),
        ("envoy-gateway/scopegate.yaml", "failOpen: false", "failopen: false", "failopen"),
        ("envoy-gateway/scopegate.yaml", "type: Image", "type: Picture", "data/spec/wasm/0/code/type"),
        ("envoy-gateway/issuer.yaml", "op: add", "op: insert", "data/spec/jsonPatches/0/operation/op"),
    ];
    let mut written = Vec::new();
    for (index, (file, from, to, _)) in mistakes.iter().enumerate() {
        let text = fs::read_to_string(deploy.join(file)).unwrap();
        assert!(text.contains(from), "{file}: {from}");
        let path = directory.join(format!("{index}.yaml"));
        fs::write(&path, text.replacen(from, to, 1)).unwrap();
        written.push(path);
    }
    // Both in one run: what costs is that the compiler reads the types.
    let modules = Path::new(ROOT).join("tests/deploy/node_modules");
    assert!(modules.is_dir(), "run `make test`, which installs what this needs");
    let output = run(Command::new("node").arg("tests/deploy/validate.mjs").args(&good).args(&written));
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
    let found = String::from_utf8(output.stdout).unwrap();
    for path in &good {
        assert!(!found.contains(path.to_str().unwrap()), "{found}");
    }
    for (path, (file, _, to, named)) in written.iter().zip(mistakes) {
        let own = format!("{}, ", path.display());
        let is_found = found.lines().any(|line| line.starts_with(&own) && line.contains(named));
        assert!(is_found, "{file} with `{to}`: {found}");
    }
}

/// The bytes that a descriptor of an image names, with the digest and the size that it says.
fn blob(image: &BTreeMap<String, Vec<u8>>, descriptor: &Value) -> Vec<u8> {
    let digest = descriptor["digest"].as_str().unwrap().strip_prefix("sha256:").unwrap();
    let bytes = &image[&format!("blobs/sha256/{digest}")];
    assert_eq!((sha256(bytes).as_str(), bytes.len() as u64), (digest, descriptor["size"].as_u64().unwrap()));
    bytes.clone()
}

#[test]
fn the_image_holds_the_wasm_file_and_is_the_same_each_time() {
    let write = |directory: &Path| {
        let mut node = Command::new("node");
        node.args(["deploy/release/image.mjs", "--wasm"]).arg(wasm()).arg("--output").arg(directory);
        (successful(&mut node).trim().to_owned(), files(directory))
    };
    let (first, second) = (scratch("image"), scratch("image-again"));
    let (digest, image) = write(&first);
    assert_eq!((&digest, &image), (&write(&second).0, &files(&second)));

    // As a puller reads it: index, manifest, configuration, last layer, `plugin.wasm`.
    let json = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).unwrap();
    assert_eq!(json(&image["oci-layout"])["imageLayoutVersion"], "1.0.0");
    let index = json(&image["index.json"]);
    assert_eq!(index["manifests"][0]["digest"], digest.as_str());
    let manifest = json(&blob(&image, &index["manifests"][0]));
    assert_eq!(manifest["mediaType"], "application/vnd.oci.image.manifest.v1+json");
    assert_eq!(manifest["config"]["mediaType"], "application/vnd.oci.image.config.v1+json");
    let layers = manifest["layers"].as_array().unwrap();
    assert_eq!(layers.len(), 1);
    assert_eq!(layers[0]["mediaType"], "application/vnd.oci.image.layer.v1.tar+gzip");
    let layer = scratch("layer").join("layer.tar.gz");
    fs::write(&layer, blob(&image, &layers[0])).unwrap();
    let unpacked = |program: &str, arguments: &[&str]| {
        let output = run(Command::new(program).args(arguments).arg(&layer));
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    };
    assert_eq!(unpacked("tar", &["--list", "--gzip", "--file"]), b"plugin.wasm\n");
    let plugin = unpacked("tar", &["--extract", "--to-stdout", "--gzip", "--file"]);
    assert!(plugin == fs::read(wasm()).unwrap());
    let configuration = json(&blob(&image, &manifest["config"]));
    let archive = unpacked("gzip", &["--decompress", "--stdout"]);
    assert_eq!(configuration["rootfs"]["diff_ids"][0], format!("sha256:{}", sha256(&archive)));

    // Its provenance, as what lists an image's referrers finds it.
    let refers = json(&blob(&image, &index["manifests"][1]));
    assert_eq!(refers["subject"]["digest"], digest.as_str());
    assert_eq!(refers["artifactType"], "application/vnd.in-toto+json");
    let statement = json(&blob(&image, &refers["layers"][0]));
    assert_eq!(statement["_type"], "https://in-toto.io/Statement/v1");
    assert_eq!(statement["predicateType"], "https://slsa.dev/provenance/v1");
    assert_eq!(format!("sha256:{}", statement["subject"][0]["digest"]["sha256"].as_str().unwrap()), digest);
    let locked = sha256(&fs::read(Path::new(ROOT).join("Cargo.lock")).unwrap());
    let built_from = statement["predicate"]["buildDefinition"]["resolvedDependencies"].as_array().unwrap();
    assert!(built_from.iter().any(|each| each["digest"]["sha256"] == locked.as_str()), "{statement}");
    // The index, the layout's version, and one blob for each manifest, configuration and layer of the two.
    assert_eq!(image.len(), 8);
}

/// Writes the files of a release, with the tool that the tests run.
fn release(name: &str, signed: &[&str]) -> (PathBuf, BTreeMap<String, Vec<u8>>) {
    let directory = scratch(name);
    let mut node = Command::new("node");
    node.args(["deploy/release/dist.mjs", "--tool", TOOL])
        .args(signed)
        .arg("--wasm")
        .arg(wasm())
        .arg("--output")
        .arg(&directory);
    successful(&mut node);
    let files = files(&directory);
    (directory, files)
}

#[test]
fn a_release_is_the_same_each_time_and_its_sums_name_every_file() {
    let (directory, mut files) = release("release", &[]);
    assert!(files == release("release-again", &[]).1, "two runs, two results");
    let sums = String::from_utf8(files.remove("SHA256SUMS").unwrap()).unwrap();
    let expected: String = files.iter().map(|(name, bytes)| format!("{}  {name}\n", sha256(bytes))).collect();
    assert_eq!(sums, expected);

    let version = env!("CARGO_PKG_VERSION");
    let built = fs::read(wasm()).unwrap();
    let wasm_name = format!("scopegate-{version}-{}.wasm", &sha256(&built)[..12]);
    assert!(files[&wasm_name] == built);
    for (name, own) in [("LICENSE", "LICENSE"), ("filter-config/schema.json", "filter-config/schema.json")] {
        assert_eq!(files[name], fs::read(Path::new(ROOT).join(own)).unwrap());
    }
    let is_tool = |name: &&String| {
        name.starts_with(&format!("scopegate-{version}-"))
            && ![".wasm", ".tar"].iter().any(|end| name.ends_with(end))
    };
    let tool = files.keys().find(is_tool);
    let tool = directory.join(tool.unwrap());
    assert!(successful(Command::new(tool).arg("--version")).contains(version));

    // The deployments name what is in the release.
    let text = |name: &str| String::from_utf8(files[name].clone()).unwrap();
    assert!(
        text("deploy/envoy/scopegate/filter.yaml").contains(&format!("/etc/envoy/scopegate/{wasm_name}"))
    );
    assert!(text("deploy/envoy-gateway/scopegate-by-http.yaml").contains(&sha256(&built)));
    let image = scratch("release-image");
    let archive = directory.join(format!("scopegate-{version}-image.tar"));
    successful(
        Command::new("tar").arg("--extract").arg("--file").arg(archive).arg("--directory").arg(&image),
    );
    let index: Value = serde_json::from_slice(&fs::read(image.join("index.json")).unwrap()).unwrap();
    let digest = index["manifests"][0]["digest"].as_str().unwrap().strip_prefix("sha256:").unwrap();
    for name in ["deploy/istio/scopegate.yaml", "deploy/envoy-gateway/scopegate.yaml"] {
        assert!(
            text(name).contains(&format!("sha256: {digest}"))
                || text(name).contains(&format!("sha256: \"{digest}\"")),
            "{}",
            text(name)
        );
    }

    let bill: Value = serde_json::from_slice(&files[&format!("scopegate-{version}.cdx.json")]).unwrap();
    assert_eq!((&bill["bomFormat"], &bill["specVersion"]), (&"CycloneDX".into(), &"1.6".into()));
    assert_eq!(bill["metadata"]["component"]["hashes"][0]["content"], sha256(&built));
    let mut named: BTreeSet<String> = BTreeSet::new();
    let mut kept_out = BTreeSet::new();
    for component in bill["components"].as_array().unwrap() {
        let part = |key: &str| component[key].as_str().unwrap();
        if part("name") == "rust-std" {
            continue;
        }
        assert_eq!(component["hashes"][0]["content"].as_str().unwrap().len(), 64, "{component}");
        named.insert(format!(
            "{} {} {}",
            part("name"),
            part("version"),
            component["licenses"][0]["expression"].as_str().unwrap()
        ));
        if part("scope") == "excluded" {
            kept_out.insert(part("name").to_owned());
        }
    }
    let tree = |edges: &str| {
        let target = ["--target", "wasm32-wasip1", "--no-default-features", "--locked", "--edges", edges];
        let format = ["--prefix", "none", "--format", "{p}|{l}"];
        let tree = successful(Command::new(env!("CARGO")).arg("tree").args(target).args(format));
        let line = |line: &str| {
            let (package, license) = line.trim_end_matches(" (*)").split_once('|')?;
            let (name, version) = package.trim_end_matches(" (proc-macro)").split_once(" v")?;
            let version = version.split(' ').next()?;
            let license = license.split('/').map(str::trim).collect::<Vec<_>>().join(" OR ");
            (name != "scopegate").then(|| format!("{name} {version} {license}"))
        };
        tree.lines().filter_map(line).collect::<BTreeSet<_>>()
    };
    assert_eq!(named, tree("normal"));
    let linked: BTreeSet<String> = tree("normal,no-proc-macro");
    let required: BTreeSet<String> =
        named.iter().filter(|name| !kept_out.contains(name.split(' ').next().unwrap())).cloned().collect();
    assert_eq!(required, linked);
}

#[test]
fn a_signed_release_verifies_offline_and_one_that_was_changed_does_not() {
    let keys = scratch("keys");
    let key = |name: &str| {
        let (private, public) = (keys.join(format!("{name}.key")), keys.join(format!("{name}.pub")));
        let script =
            "const { publicKey, privateKey } = crypto.generateKeyPairSync('ec', { namedCurve: 'P-256' });
            fs.writeFileSync(process.argv[1], privateKey.export({ type: 'pkcs8', format: 'pem' }));
            fs.writeFileSync(process.argv[2], publicKey.export({ type: 'spki', format: 'pem' }));";
        successful(Command::new("node").args(["-e", script]).args([&private, &public]));
        [private, public].map(|path| path.to_str().unwrap().to_owned())
    };
    let ([private, public], [_, other]) = (key("release"), key("other"));
    let (directory, files) = release("signed", &["--key", &private]);
    let layout = scratch("signed-image");
    let archive = directory.join(format!("scopegate-{}-image.tar", env!("CARGO_PKG_VERSION")));
    successful(
        Command::new("tar").arg("--extract").arg("--file").arg(archive).arg("--directory").arg(&layout),
    );
    let verify = |public: &str| {
        let arguments = [&directory, &layout].map(|path| path.to_str().unwrap());
        run(Command::new("node").arg("tests/deploy/signatures.mjs").args(arguments).arg(public))
    };
    let output = verify(&public);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let verified = String::from_utf8(output.stdout).unwrap();
    assert_eq!(verified.lines().count(), 4, "{verified}");
    let is_refused = |public: &str, why: &str| {
        let output = verify(public);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{why}: {}", String::from_utf8_lossy(&output.stdout));
        assert!(said.contains(why), "{said}");
    };
    is_refused(&other, "signature verification failed");

    // One change at a time, and back again.
    let changed = |path: &Path, from: &str, to: &str, why: &str| {
        let bytes = fs::read(path).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        assert!(text.contains(from), "{}: {from}", path.display());
        fs::write(path, text.replacen(from, to, 1)).unwrap();
        is_refused(&public, why);
        fs::write(path, bytes).unwrap();
    };
    changed(&directory.join("CHANGELOG.md"), "Unreleased", "Released", "CHANGELOG.md: another digest");
    changed(&directory.join("SHA256SUMS"), "  LICENSE", "  LICENCE", "signature verification failed");
    // Sums that are signed vouch for no provenance: that has a signature of its own.
    let [bundle, sums, signature] = [".provenance.sigstore.json", "SHA256SUMS", "SHA256SUMS.sig"]
        .map(|end| directory.join(files.keys().find(|name| name.ends_with(end)).unwrap()));
    let before = [&bundle, &sums, &signature].map(|path| fs::read(path).unwrap());
    let forged = String::from_utf8_lossy(&before[0]).replacen("\"payload\": \"ey", "\"payload\": \"ez", 1);
    let named = String::from_utf8_lossy(&before[1]).replace(&sha256(&before[0]), &sha256(forged.as_bytes()));
    fs::write(&bundle, forged).unwrap();
    fs::write(&sums, named).unwrap();
    let script = "const signed = crypto.sign('sha256', fs.readFileSync(process.argv[1]), fs.readFileSync(process.argv[2]));
        fs.writeFileSync(process.argv[3], signed.toString('base64'));";
    let paths = [&sums, Path::new(&private), &signature];
    successful(Command::new("node").args(["-e", script]).args(paths));
    let output = verify(&public);
    let verified = String::from_utf8(output.stdout).unwrap();
    assert!(!output.status.success() && verified.starts_with("SHA256SUMS: "), "{verified}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("signature verification failed"));
    for (path, bytes) in [&bundle, &sums, &signature].into_iter().zip(before) {
        fs::write(path, bytes).unwrap();
    }
    let index: Value = serde_json::from_slice(&fs::read(layout.join("index.json")).unwrap()).unwrap();
    let digest_of = |kind: &str| {
        let is_it = |each: &&Value| each["annotations"]["kind"] == format!("dev.cosignproject.cosign/{kind}");
        let manifest = index["manifests"].as_array().unwrap().iter().find(is_it).unwrap();
        manifest["digest"].as_str().unwrap().to_owned()
    };
    // Another image under the name of the signed one; what is signed for it is looked for under its own digest.
    changed(&layout.join("index.json"), &digest_of("image"), &digest_of("sigs"), "no sha256-");
    assert!(verify(&public).status.success());

    let message = run(Command::new("node")
        .args(["deploy/release/image.mjs", "--key", "Cargo.toml", "--wasm"])
        .arg(wasm())
        .arg("--output")
        .arg(scratch("unsigned")));
    let said = String::from_utf8_lossy(&message.stderr).into_owned();
    assert!(!message.status.success() && said.contains("Cargo.toml: not a private key in PEM"), "{said}");
}

#[test]
fn the_operators_table_tells_of_every_reason_whose_matter_it_is() {
    let page = fs::read_to_string(Path::new(ROOT).join("docs/operations.md")).unwrap();
    let (_, table) = page
        .split_once("| status | reason | meaning | whose | what to do |\n|---|---|---|---|---|\n")
        .unwrap();
    let (table, _) = table.split_once("\n\n").unwrap();
    let mut expected = String::new();
    let mut told = String::new();
    for (reason, row) in Reason::ALL.iter().zip(table.lines()) {
        writeln!(expected, "| {} | `{reason}` | {}", reason.class().status(), reason.meaning()).unwrap();
        let columns: Vec<&str> = row.split(" | ").collect();
        assert_eq!(columns.len(), 5, "{row}");
        writeln!(told, "{}", columns[..3].join(" | ")).unwrap();
        assert!(
            columns[3].split(", ").all(|whose| ["client", "issuer", "operator"].contains(&whose)),
            "{row}"
        );
        assert!(columns[4].len() > 10, "{row}");
    }
    assert_eq!(told, expected);
    assert_eq!(table.lines().count(), Reason::ALL.len());
}
