// Signatures as Sigstore's cosign makes and verifies them with a key: ECDSA on P-256 over SHA-256, in base64 of DER.
//
// `openssl ecparam -name prime256v1 -genkey -noout -out release.key` makes a key, `cosign import-key-pair` takes it over.

import { createHash, createPrivateKey, createPublicKey, sign } from "node:crypto";
import { readFileSync } from "node:fs";
import { PAYLOAD_TYPE } from "./provenance.mjs";

/** The private key in a PEM file; `SIGNING_PASSWORD` opens one that is encrypted. */
export function privateKey(file) {
  const pem = readFileSync(file);
  let key;
  try {
    key = createPrivateKey({ key: pem, passphrase: process.env.SIGNING_PASSWORD });
  } catch (error) {
    throw new Error(`${file}: not a private key in PEM that SIGNING_PASSWORD opens (${error.code})`);
  }
  const curve = key.asymmetricKeyDetails.namedCurve;
  if (curve !== "prime256v1") throw new Error(`${file}: ${curve ?? key.asymmetricKeyType}, where a key on prime256v1 is needed`);
  return key;
}

/** The signature of bytes, as `cosign sign-blob --output-signature` and `openssl dgst -sha256 -sign` make it. */
export const signature = (key, bytes) => sign("sha256", bytes, { key, dsaEncoding: "der" }).toString("base64");

/** What is signed for an image (containers-signature(5)). Policies of podman and skopeo compare the reference, cosign does not. */
export const imagePayload = (digest, reference) =>
  Buffer.from(
    JSON.stringify({
      critical: {
        identity: { "docker-reference": reference },
        image: { "docker-manifest-digest": digest },
        type: "cosign container image signature",
      },
      optional: null,
    }),
  );

/** A statement in a signed DSSE envelope. */
export function envelope(key, statement) {
  const body = Buffer.from(JSON.stringify(statement));
  const authenticated = Buffer.concat([Buffer.from(`DSSEv1 ${PAYLOAD_TYPE.length} ${PAYLOAD_TYPE} ${body.length} `), body]);
  return {
    payloadType: PAYLOAD_TYPE,
    payload: body.toString("base64"),
    signatures: [{ keyid: "", sig: signature(key, authenticated) }],
  };
}

/** The same as a Sigstore bundle, which `cosign verify-blob-attestation --bundle` takes. */
export function bundle(key, statement) {
  const der = createPublicKey(key).export({ type: "spki", format: "der" });
  return {
    mediaType: "application/vnd.dev.sigstore.bundle.v0.3+json",
    verificationMaterial: { publicKey: { hint: createHash("sha256").update(der).digest("base64") } },
    dsseEnvelope: envelope(key, statement),
  };
}
