// Where the files of a release come from: SLSA provenance v1 in an in-toto statement v1.
//
// Nothing in it depends on the clock: the same commit and the same tools give the same statement.

import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { sha256 } from "./archive.mjs";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));

export const PAYLOAD_TYPE = "application/vnd.in-toto+json";
export const PREDICATE_TYPE = "https://slsa.dev/provenance/v1";

const first = (program, parameters) => {
  try {
    return execFileSync(program, parameters, { cwd: ROOT, encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }).trim();
  } catch {
    return undefined;
  }
};

/** The commit that was built, and whether files differ from it. */
function source() {
  const commit = first("git", ["rev-parse", "HEAD"]);
  if (!commit) return [];
  const isModified = first("git", ["status", "--porcelain", "--untracked-files=no"]) !== "";
  return [{ name: "source", digest: { gitCommit: commit }, ...(isModified && { annotations: { modified: true } }) }];
}

/** The statement about `{name: digest in hexadecimal}`, made by `make TARGET`. `BUILDER` names who built it, by a URI. */
export function statement(subjects, target) {
  const tools = { rustc: first("rustc", ["--version"]), "wasm-opt": first(process.env.WASM_OPT ?? "wasm-opt", ["--version"]) };
  const lock = { name: "Cargo.lock", digest: { sha256: sha256(readFileSync(new URL("../../Cargo.lock", import.meta.url))) } };
  return {
    _type: "https://in-toto.io/Statement/v1",
    subject: Object.entries(subjects).map(([name, digest]) => ({ name, digest: { sha256: digest } })),
    predicateType: PREDICATE_TYPE,
    predicate: {
      buildDefinition: {
        buildType: "urn:scopegate:make:v1",
        externalParameters: { target },
        internalParameters: {},
        resolvedDependencies: [...source(), lock],
      },
      runDetails: {
        builder: {
          id: process.env.BUILDER ?? "urn:scopegate:unnamed-builder",
          version: Object.fromEntries(Object.entries(tools).filter(([, version]) => version)),
        },
      },
    },
  };
}
