// What the wasm file is made of, as CycloneDX 1.6.

import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { sha256 } from "./archive.mjs";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
/** How the wasm file is built: `make build`. */
const BUILD = ["--locked", "--no-default-features"];
const TARGET = "wasm32-wasip1";

const cargo = (...parameters) =>
  execFileSync("cargo", parameters, { cwd: ROOT, encoding: "utf8", maxBuffer: 64 << 20, stdio: ["ignore", "pipe", "inherit"] });

export function sbom(wasm) {
  const tree = cargo("tree", ...BUILD, "--target", TARGET, "--edges", "normal", "--prefix", "none", "--format", "{p}");
  const built = new Set([...tree.matchAll(/^(\S+) v(\S+)/gm)].map(([, name, version]) => `${name}@${version}`));
  const metadata = JSON.parse(cargo("metadata", ...BUILD, "--format-version", "1", "--filter-platform", TARGET));
  const key = ({ name, version }) => `${name}@${version}`;
  const packages = new Map(metadata.packages.filter((each) => built.has(key(each))).map((each) => [each.id, each]));
  if (packages.size !== built.size) throw new Error("cargo tree and cargo metadata name different crates");

  const nodes = new Map(metadata.resolve.nodes.map((node) => [node.id, node]));
  const isNormal = ({ dep_kinds }) => dep_kinds.some(({ kind }) => kind === null);
  const dependencies = (id) => nodes.get(id).deps.filter((each) => isNormal(each) && packages.has(each.pkg)).map(({ pkg }) => pkg);
  const isMacro = (id) => packages.get(id).targets.some(({ kind }) => kind.includes("proc-macro"));

  // What only macros need takes part in the build, and is not in the file.
  const root = metadata.resolve.root;
  const linked = new Set();
  const visit = (id) => {
    if (linked.has(id) || isMacro(id)) return;
    linked.add(id);
    dependencies(id).forEach(visit);
  };
  visit(root);

  const checksums = new Map();
  const lock = readFileSync(`${ROOT}/Cargo.lock`, "utf8");
  for (const [, name, version, checksum] of lock.matchAll(/name = "(.+)"\nversion = "(.+)"\n(?:source = .+\n)?checksum = "(.+)"/g)) {
    checksums.set(`${name}@${version}`, checksum);
  }

  const purl = ({ name, version }) => `pkg:cargo/${name}@${encodeURIComponent(version)}`;
  // crates.io still has licenses from before SPDX expressions, with `/` for OR.
  const licenses = ({ license }) => (license ? [{ expression: license.replace(/\s*\/\s*/g, " OR ") }] : []);
  const component = (id) => {
    const each = packages.get(id);
    return {
      type: "library",
      "bom-ref": purl(each),
      name: each.name,
      version: each.version,
      scope: linked.has(id) ? "required" : "excluded",
      hashes: [{ alg: "SHA-256", content: checksums.get(key(each)) }],
      licenses: licenses(each),
      purl: purl(each),
    };
  };
  const compiler = /^release: (.+)$/m.exec(execFileSync("rustc", ["-vV"], { cwd: ROOT, encoding: "utf8" }))[1];
  const standard = {
    type: "library",
    "bom-ref": `pkg:generic/rust-std@${compiler}`,
    name: "rust-std",
    version: compiler,
    scope: "required",
    licenses: [{ expression: "MIT OR Apache-2.0" }],
    purl: `pkg:generic/rust-std@${compiler}`,
  };
  const sorted = [...packages.keys()].sort((a, b) => (key(packages.get(a)) < key(packages.get(b)) ? -1 : 1));
  const self = packages.get(root);
  const digest = sha256(wasm);
  return {
    bomFormat: "CycloneDX",
    specVersion: "1.6",
    // A UUID of the file's digest, so that the same file has the same one (RFC 9562 section 5.8).
    serialNumber: `urn:uuid:${digest.slice(0, 8)}-${digest.slice(8, 12)}-8${digest.slice(13, 16)}-8${digest.slice(17, 20)}-${digest.slice(20, 32)}`,
    version: 1,
    metadata: {
      component: {
        type: "application",
        "bom-ref": purl(self),
        name: self.name,
        version: self.version,
        description: self.description,
        hashes: [{ alg: "SHA-256", content: digest }],
        licenses: licenses(self),
        purl: purl(self),
      },
    },
    components: [...sorted.filter((id) => id !== root).map(component), standard],
    dependencies: [
      ...sorted.map((id) => ({
        ref: purl(packages.get(id)),
        dependsOn: [...dependencies(id).map((each) => purl(packages.get(each))), ...(id === root ? [standard.purl] : [])].sort(),
      })),
      { ref: standard.purl, dependsOn: [] },
    ],
  };
}
