// What the library jose says of tokens: {"jwks", "issuer", "audience", "algorithms", "tokens"} in, a list of whether each
// is good out.
import { readFileSync } from "node:fs";

import { createLocalJWKSet, jwtVerify } from "jose";

const { jwks, issuer, audience, algorithms, tokens } = JSON.parse(readFileSync(0, "utf8"));
const keys = createLocalJWKSet(jwks);
const options = { issuer, audience, algorithms, clockTolerance: 60, requiredClaims: ["exp"] };
const verdicts = [];
for (const token of tokens) {
  verdicts.push(await jwtVerify(token, keys, options).then(() => true, () => false));
}
process.stdout.write(JSON.stringify(verdicts));
