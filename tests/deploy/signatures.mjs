// Verifies a signed release with Sigstore's own library, offline and with a key: node signatures.mjs RELEASE IMAGE KEY
//
// RELEASE is the directory that `make dist KEY=…` writes, IMAGE an image's layout, KEY a public key in PEM. Prints what was
// verified, a line each; ends with 1 and the reason at the first thing that does not verify.

import { bundleFromJSON, toDSSEBundle, toMessageSignatureBundle } from "@sigstore/bundle";
import { crypto } from "@sigstore/core";
import { Verifier, toSignedEntity } from "@sigstore/verify";
import { createHash } from "node:crypto";
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";

const [release, image, keyFile] = process.argv.slice(2);
const key = crypto.createPublicKey(readFileSync(keyFile, "utf8"));
const hint = createHash("sha256").update(key.export({ type: "spki", format: "der" })).digest("base64");
const trusted = {
  certificateAuthorities: [],
  timestampAuthorities: [],
  tlogs: [],
  ctlogs: [],
  publicKey: (wanted) => {
    if (wanted !== hint) throw new Error("signed with another key");
    return { publicKey: key, validFor: () => true };
  },
};
// Offline, with a key of one's own: neither a transparency log nor a timestamp.
const verifier = new Verifier(trusted, { tlogThreshold: 0, ctlogThreshold: 0, timestampThreshold: 0 });

const sha256 = (bytes) => createHash("sha256").update(bytes).digest();
const verifyBytes = (bytes, signature) =>
  verifier.verify(
    toSignedEntity(
      toMessageSignatureBundle({ digest: sha256(bytes), signature: Buffer.from(signature, "base64"), keyHint: hint }),
      bytes,
    ),
  );
const assert = (holds, what) => {
  if (!holds) throw new Error(what);
};
/** The statement in an envelope whose signature verifies. */
const verifyStatement = (bundle) => {
  verifier.verify(toSignedEntity(bundle));
  return JSON.parse(bundle.content.dsseEnvelope.payload);
};

try {
  const sums = readFileSync(join(release, "SHA256SUMS"));
  verifyBytes(sums, readFileSync(join(release, "SHA256SUMS.sig"), "utf8"));
  const digests = new Map(sums.toString().trimEnd().split("\n").map((line) => line.split("  ").reverse()));
  for (const [name, digest] of digests) {
    assert(sha256(readFileSync(join(release, name))).toString("hex") === digest, `${name}: another digest`);
  }
  console.log(`SHA256SUMS: ${digests.size} files`);

  const bundled = readdirSync(release).find((name) => name.endsWith(".provenance.sigstore.json"));
  const ofFiles = verifyStatement(bundleFromJSON(JSON.parse(readFileSync(join(release, bundled), "utf8"))));
  const byName = (name) => [...digests].find(([path]) => path.split("/").at(-1) === name)?.[1];
  const files = ofFiles.subject.filter(({ name }) => !name.endsWith("-image"));
  for (const { name, digest } of files) assert(byName(name) === digest.sha256, `${name}: provenance of another file`);
  console.log(`provenance: ${files.map(({ name }) => name).join(" ")}`);

  const blob = ({ digest, size }) => {
    const bytes = readFileSync(join(image, "blobs", ...digest.split(":")));
    assert(bytes.length === size && `sha256:${sha256(bytes).toString("hex")}` === digest, `${digest}: another blob`);
    return bytes;
  };
  const index = JSON.parse(readFileSync(join(image, "index.json"), "utf8"));
  const tagged = (tag) => {
    const found = index.manifests.find(({ annotations }) => annotations?.["org.opencontainers.image.ref.name"] === tag);
    assert(found, `no ${tag} in the image`);
    return found;
  };
  const own = index.manifests.find(({ annotations }) => annotations?.kind === "dev.cosignproject.cosign/image");
  blob(own);
  const layerOf = (suffix) => JSON.parse(blob(tagged(`${own.digest.replace(":", "-")}.${suffix}`))).layers[0];

  const signed = layerOf("sig");
  const payload = blob(signed);
  verifyBytes(payload, signed.annotations["dev.cosignproject.cosign/signature"]);
  const { critical } = JSON.parse(payload);
  assert(critical.type === "cosign container image signature", `signed as ${critical.type}`);
  assert(critical.image["docker-manifest-digest"] === own.digest, "the signature of another image");
  console.log(`image: ${own.digest}`);

  const envelope = JSON.parse(blob(layerOf("att")));
  const ofImage = verifyStatement(
    toDSSEBundle({
      artifact: Buffer.from(envelope.payload, "base64"),
      artifactType: envelope.payloadType,
      signature: Buffer.from(envelope.signatures[0].sig, "base64"),
      keyHint: hint,
    }),
  );
  for (const { subject } of [ofImage, ofFiles]) {
    const names = subject.some(({ digest }) => `sha256:${digest.sha256}` === own.digest);
    assert(names, "provenance of another image");
  }
  console.log(`image's provenance: ${ofImage.predicateType}`);
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
}
