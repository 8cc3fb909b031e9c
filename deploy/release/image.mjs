// The OCI image of a wasm file, as Istio and Envoy Gateway pull it: node image.mjs --wasm FILE --output DIRECTORY
//
// The "compat" variant of the Wasm image specification: one layer that holds `plugin.wasm`. Written as an OCI image
// layout without an engine; `skopeo copy oci:DIRECTORY docker://REGISTRY/NAME:TAG` pushes it. Prints the digest of the
// manifest, which is the `sha256` of Istio's and Envoy Gateway's resources.

import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { gzip, sha256, tar } from "./archive.mjs";

const manifestOf = (name) => readFileSync(new URL(`../../${name}`, import.meta.url), "utf8");
export const VERSION = /^version = "(.+)"$/m.exec(manifestOf("Cargo.toml"))[1];

/** The files of the image's layout as `[name, bytes]`, and the digest of its manifest. */
export function image(wasm) {
  const blobs = [];
  const blob = (mediaType, bytes) => {
    const digest = sha256(bytes);
    blobs.push([`blobs/sha256/${digest}`, bytes]);
    return { mediaType, digest: `sha256:${digest}`, size: bytes.length };
  };
  const json = (value) => Buffer.from(JSON.stringify(value));
  const archive = tar([["plugin.wasm", wasm]]);
  const layer = blob("application/vnd.oci.image.layer.v1.tar+gzip", gzip(archive));
  const config = blob(
    "application/vnd.oci.image.config.v1+json",
    json({
      // What tools take an image for that names nothing they know; those that unpack one refuse others.
      architecture: "amd64",
      os: "linux",
      config: {},
      rootfs: { type: "layers", diff_ids: [`sha256:${sha256(archive)}`] },
    }),
  );
  const annotations = {
    "org.opencontainers.image.title": "scopegate",
    "org.opencontainers.image.version": VERSION,
    "org.opencontainers.image.licenses": "Apache-2.0",
  };
  const mediaType = "application/vnd.oci.image.manifest.v1+json";
  const manifest = blob(mediaType, json({ schemaVersion: 2, mediaType, config, layers: [layer], annotations }));
  const index = {
    schemaVersion: 2,
    mediaType: "application/vnd.oci.image.index.v1+json",
    manifests: [{ ...manifest, annotations: { "org.opencontainers.image.ref.name": VERSION } }],
  };
  const files = [["oci-layout", json({ imageLayoutVersion: "1.0.0" })], ["index.json", json(index)], ...blobs];
  return { files, digest: manifest.digest };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { values } = parseArgs({ options: { wasm: { type: "string" }, output: { type: "string" } } });
  const { files, digest } = image(readFileSync(values.wasm));
  rmSync(values.output, { recursive: true, force: true });
  for (const [name, bytes] of files) {
    const path = join(values.output, name);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, bytes);
  }
  console.log(digest);
}
