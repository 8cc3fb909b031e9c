// The OCI image of a wasm file, as Istio and Envoy Gateway pull it:
// node image.mjs --wasm FILE [--key FILE] --output DIRECTORY
//
// The "compat" variant of the Wasm image specification: one layer that holds `plugin.wasm`. Written as an OCI image
// layout without an engine; `skopeo copy oci:DIRECTORY:VERSION docker://REGISTRY/NAME:TAG` pushes it. Prints the digest of
// the manifest, which is the `sha256` of Istio's and Envoy Gateway's resources.
//
// The layout carries the image's provenance as an artifact that refers to the image. With a private key it also carries
// cosign's signature and attestation, under the tags where cosign looks for them. `REFERENCE` is the name that the
// signature is for, such as registry.example.com/scopegate:0.1.0.

import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { gzip, sha256, tar } from "./archive.mjs";
import { PAYLOAD_TYPE, PREDICATE_TYPE, statement } from "./provenance.mjs";
import { envelope, imagePayload, privateKey, signature } from "./sign.mjs";

const manifestOf = (name) => readFileSync(new URL(`../../${name}`, import.meta.url), "utf8");
export const VERSION = /^version = "(.+)"$/m.exec(manifestOf("Cargo.toml"))[1];

const MANIFEST = "application/vnd.oci.image.manifest.v1+json";
const CONFIG = "application/vnd.oci.image.config.v1+json";

/** The files of the image's layout as `[name, bytes]`, and the digest of its manifest. Signed where there is a key. */
export function image(wasm, target, key) {
  const blobs = new Map();
  const blob = (mediaType, bytes, annotations) => {
    const digest = sha256(bytes);
    blobs.set(`blobs/sha256/${digest}`, bytes);
    return { mediaType, digest: `sha256:${digest}`, size: bytes.length, ...(annotations && { annotations }) };
  };
  const json = (value) => Buffer.from(JSON.stringify(value));
  const manifest = (value) => blob(MANIFEST, json({ schemaVersion: 2, mediaType: MANIFEST, ...value }));
  const configuration = (diffIds) =>
    // What tools take an image for that names nothing they know; those that unpack one refuse others.
    blob(CONFIG, json({ architecture: "amd64", os: "linux", config: {}, rootfs: { type: "layers", diff_ids: diffIds } }));

  const archive = tar([["plugin.wasm", wasm]]);
  const own = manifest({
    config: configuration([`sha256:${sha256(archive)}`]),
    layers: [blob("application/vnd.oci.image.layer.v1.tar+gzip", gzip(archive))],
    annotations: {
      "org.opencontainers.image.title": "scopegate",
      "org.opencontainers.image.version": VERSION,
      "org.opencontainers.image.licenses": "Apache-2.0",
    },
  });
  const tagged = (descriptor, tag, kind) => ({
    ...descriptor,
    // By `kind` cosign tells what a layout holds (`cosign verify --local-image`).
    annotations: { "org.opencontainers.image.ref.name": tag, kind: `dev.cosignproject.cosign/${kind}` },
  });
  const manifests = [tagged(own, VERSION, "image")];

  const provenance = statement({ scopegate: own.digest.replace("sha256:", "") }, target);
  const refers = manifest({
    artifactType: PAYLOAD_TYPE,
    config: blob("application/vnd.oci.empty.v1+json", Buffer.from("{}")),
    layers: [blob(PAYLOAD_TYPE, json(provenance), { "in-toto.io/predicate-type": PREDICATE_TYPE })],
    subject: own,
  });
  manifests.push({ ...refers, artifactType: PAYLOAD_TYPE });

  if (key) {
    const attach = (suffix, kind, mediaType, bytes, annotations) => {
      const layer = blob(mediaType, bytes, annotations);
      const of = manifest({ config: configuration([layer.digest]), layers: [layer] });
      manifests.push(tagged(of, `${own.digest.replace(":", "-")}.${suffix}`, kind));
    };
    const payload = imagePayload(own.digest, process.env.REFERENCE ?? "");
    const signed = { "dev.cosignproject.cosign/signature": signature(key, payload) };
    attach("sig", "sigs", "application/vnd.dev.cosign.simplesigning.v1+json", payload, signed);
    const attested = { "dev.cosignproject.cosign/signature": "", predicateType: PREDICATE_TYPE };
    attach("att", "atts", "application/vnd.dsse.envelope.v1+json", json(envelope(key, provenance)), attested);
  }
  const index = { schemaVersion: 2, mediaType: "application/vnd.oci.image.index.v1+json", manifests };
  const files = [["oci-layout", json({ imageLayoutVersion: "1.0.0" })], ["index.json", json(index)], ...blobs];
  return { files, digest: own.digest };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { values } = parseArgs({ options: { wasm: { type: "string" }, key: { type: "string" }, output: { type: "string" } } });
  const { files, digest } = image(readFileSync(values.wasm), "image", values.key && privateKey(values.key));
  rmSync(values.output, { recursive: true, force: true });
  for (const [name, bytes] of files) {
    const path = join(values.output, name);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, bytes);
  }
  console.log(digest);
}
