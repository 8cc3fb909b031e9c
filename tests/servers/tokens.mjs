import { createHmac, createPublicKey, generateKeyPairSync, randomBytes, sign } from "node:crypto";

const encode = (value) => Buffer.from(typeof value === "string" ? value : JSON.stringify(value)).toString("base64url");
const basic = (client) => `Basic ${Buffer.from(`${client}:${client}-secret`).toString("base64")}`;
const now = () => Math.floor(Date.now() / 1000);

/** Tokens of the real authorization server, and those that an attacker makes of them. */
export class Tokens {
  /** Every token handed out. */
  given = [];

  constructor(issuer, jwks) {
    this.issuer = issuer;
    this.rsa = jwks.keys.find((key) => key.alg === "RS256");
  }

  /** A token by the client credentials grant. */
  async of(client, scope = "", resource = "urn:billing") {
    const form = new URLSearchParams({ grant_type: "client_credentials", resource, ...(scope && { scope }) });
    const answer = await this.#post(this.issuer.token_path, form, { authorization: basic(client) });
    return this.#give(answer.access_token);
  }

  /** A token that was revoked before anybody saw it (RFC 7009). */
  async revoked(client, scope, resource) {
    const token = await this.of(client, scope, resource);
    const response = await fetch(this.issuer.base + this.issuer.revocation_path, {
      method: "POST", body: new URLSearchParams({ token }), headers: { authorization: basic(client) },
    });
    if (!response.ok) throw new Error(`revocation answered ${response.status}`);
    return token;
  }

  /** An opaque token that the authorization server never gave. */
  unheardOf() {
    return this.#give(randomBytes(32).toString("base64url"));
  }

  /** A token signed by the authorization server's real key over claims of our choice. */
  async minted(changes = {}, header = {}) {
    const claims = { ...this.#claims(), ...changes };
    const answer = await this.#post("/test/mint", JSON.stringify({ header, claims }));
    return this.#give(answer.token);
  }

  /** A good token with the middle of its signature changed. */
  async withBrokenSignature(client, scope) {
    const [header, payload, signature] = (await this.of(client, scope)).split(".");
    const middle = Math.floor(signature.length / 2);
    const other = signature[middle] === "A" ? "B" : "A";
    return this.#give(`${header}.${payload}.${signature.slice(0, middle)}${other}${signature.slice(middle + 1)}`);
  }

  /** A good token whose claims were changed after it was signed. */
  async withChangedClaims(client, scope, changes) {
    const [header, payload, signature] = (await this.of(client, scope)).split(".");
    const claims = { ...JSON.parse(Buffer.from(payload, "base64url")), ...changes };
    return this.#give(`${header}.${encode(claims)}.${signature}`);
  }

  /** No signature at all (RFC 8725 section 2.1). */
  unsigned() {
    return this.#give(`${encode({ alg: "none", typ: "at+jwt" })}.${encode(this.#claims())}.`);
  }

  /** The issuer's public RSA key, which everybody has, as an HMAC secret (RFC 8725 section 2.1). */
  signedWithThePublicKey() {
    const secret = createPublicKey({ key: this.rsa, format: "jwk" }).export({ type: "spki", format: "pem" });
    const signed = `${encode({ alg: "HS256", typ: "at+jwt", kid: this.rsa.kid })}.${encode(this.#claims())}`;
    return this.#give(`${signed}.${createHmac("sha256", secret).update(signed).digest("base64url")}`);
  }

  /** A key of the attacker's own under the issuer's `kid`, brought along in the header too. */
  signedWithAnotherKey() {
    const { privateKey, publicKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
    const header = { alg: "RS256", typ: "at+jwt", kid: this.rsa.kid, jwk: publicKey.export({ format: "jwk" }) };
    const signed = `${encode(header)}.${encode(this.#claims())}`;
    return this.#give(`${signed}.${sign("sha256", Buffer.from(signed), privateKey).toString("base64url")}`);
  }

  #claims() {
    return {
      iss: this.issuer.issuer,
      aud: "billing-api",
      sub: "acme-sync",
      client_id: "acme-sync",
      tenant_id: "acme",
      scope: "billing:read billing:write billing:admin",
      iat: now(),
      exp: now() + 600,
    };
  }

  async #post(path, body, headers = {}) {
    const response = await fetch(this.issuer.base + path, { method: "POST", body, headers });
    const answer = await response.json();
    if (!response.ok) throw new Error(`${path} answered ${response.status}: ${JSON.stringify(answer)}`);
    return answer;
  }

  #give(token) {
    this.given.push(token);
    return token;
  }
}
