// The files of a release: node dist.mjs --wasm FILE --tool FILE [--key FILE] --output DIRECTORY
//
// The same wasm file and the same tool give the same files, but for signatures: those differ each time.

import { execFileSync } from "node:child_process";
import { chmodSync, copyFileSync, cpSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { sha256, tar } from "./archive.mjs";
import { VERSION, image } from "./image.mjs";
import { statement } from "./provenance.mjs";
import { sbom } from "./sbom.mjs";
import { bundle, privateKey, signature } from "./sign.mjs";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const { values } = parseArgs({
  options: { wasm: { type: "string" }, tool: { type: "string" }, key: { type: "string" }, output: { type: "string" } },
});
const key = values.key && privateKey(values.key);
const output = resolve(values.output);
const tool = resolve(values.tool);
const wasm = readFileSync(values.wasm);
const name = `scopegate-${VERSION}`;

rmSync(output, { recursive: true, force: true });
mkdirSync(output, { recursive: true });
const write = (file, bytes) => writeFileSync(join(output, file), bytes);

// Envoy reads a wasm file under another name only: its content is in the name.
const wasmName = `${name}-${sha256(wasm).slice(0, 12)}.wasm`;
write(wasmName, wasm);
// For hosts that are not Envoy; `cp scopegate-*.wasm` is to find the other one.
const portable = readFileSync(join(dirname(values.wasm), "scopegate-portable.wasm"));
mkdirSync(join(output, "other-hosts"));
const portableName = `${name.replace("scopegate", "scopegate-portable")}-${sha256(portable).slice(0, 12)}.wasm`;
write(`other-hosts/${portableName}`, portable);
const host = /^host: (.+)$/m.exec(execFileSync("rustc", ["-vV"], { encoding: "utf8" }))[1];
const toolName = `${name}-${host}`;
copyFileSync(tool, join(output, toolName));
chmodSync(join(output, toolName), 0o755);
const { files, digest } = image(wasm, "dist", key);
write(`${name}-image.tar`, tar(files));
const document = (value) => `${JSON.stringify(value, null, 2)}\n`;
write(`${name}.cdx.json`, document(sbom(wasm)));
const provenance = statement(
  {
    [wasmName]: sha256(wasm),
    [portableName]: sha256(portable),
    [toolName]: sha256(readFileSync(tool)),
    [`${name}-image`]: digest.replace("sha256:", ""),
  },
  "dist",
);
write(`${name}.provenance.json`, document(provenance));
if (key) write(`${name}.provenance.sigstore.json`, document(bundle(key, provenance)));

for (const file of ["LICENSE", "CHANGELOG.md"]) copyFileSync(join(ROOT, file), join(output, file));
cpSync(join(ROOT, "filter-config"), join(output, "filter-config"), { recursive: true });
cpSync(join(ROOT, "deploy"), join(output, "deploy"), {
  recursive: true,
  filter: (path) => relative(ROOT, path) !== join("deploy", "release"),
});
execFileSync(join(ROOT, "deploy/render.sh"), [tool, "deploy/policy.yaml", join(output, "deploy")], {
  cwd: ROOT,
  env: {
    ...process.env,
    WASM: `/etc/envoy/scopegate/${wasmName}`,
    IMAGE: `oci://registry.example.com/scopegate:${VERSION}`,
    SHA256: digest.replace("sha256:", ""),
    FILE_URL: `https://files.example.com/${wasmName}`,
    FILE_SHA256: sha256(wasm),
  },
});

const names = readdirSync(output, { recursive: true, withFileTypes: true })
  .filter((entry) => entry.isFile())
  .map((entry) => relative(output, join(entry.parentPath ?? entry.path, entry.name)))
  .sort();
const sums = names.map((file) => `${sha256(readFileSync(join(output, file)))}  ${file}\n`).join("");
write("SHA256SUMS", sums);
if (key) write("SHA256SUMS.sig", `${signature(key, Buffer.from(sums))}\n`);
