// A real OAuth2 authorization server (oidc-provider) on loopback, over plain http.
//
//   node authorization-server.mjs [--port N] [--issuer URI] [--config FILE | --config-json JSON]
//
// Endpoints: POST /oauth/token (client credentials; `resource` selects audience, format, algorithm and scopes),
// POST /oauth/introspect, POST /oauth/revoke, GET /jwks.json, GET /.well-known/openid-configuration.
//
// Configuration (`authorization-server.json` is the default one):
//   default_resource   the resource of a token request that names none
//   resources          absolute URI -> {audience, format: jwt | opaque, alg, lifetime (s), scopes}
//   clients            [{client_id, client_secret, auth_method: client_secret_basic | client_secret_post, scopes, claims,
//                      redirect_uris}], with `redirect_uris` also for the code flow
//                      `scopes` narrows what the client may ask for, `claims` go into each of its tokens
//   interactive        true: users log in with any name and consent by a form (oidc-provider's own), by the code flow, and
//                      clients register themselves (RFC 7591)
//   introspect_jwt     true: introspection and revocation take JWTs too, which oidc-provider by itself refuses
//   realms             [NAME]: further issuers at ISSUER/realms/NAME, each with keys of its own, same clients
//
// For tests only (`realm` picks one of `realms`; without it the main issuer is meant):
//   POST /test/rotate-keys  {realm, alg, keep_old: true}     new key of that algorithm (all without it); what signed
//                           until now stays until the next rotation, unless told otherwise; answers {kids}
//   POST /test/mint         {realm, header, claims, raw_header, raw_payload, kid, secret}
//                           signs anything with the real key: `header.alg` (RS256) picks it, `kid` picks an exact one,
//                           a retired one too; `header.kid: null` leaves it out; `raw_*` are strings used as they are;
//                           with `secret` an HMAC is made; answers {token}
//   POST /test/refresh-token {realm, client_id, subject, resource, scope}
//                           a refresh token for a user, as a login would end; answers {token}
//   POST /test/id-token     {realm, client_id, subject, access_token, claims}
//                           an ID token, as a login would end; with `access_token` it has the `at_hash` of that one,
//                           and `claims` as well; answers {token}
//   GET  /test/counters     {jwks, introspection, token, revocation}: requests so far; POST sets them to 0
//   POST /test/behave       {endpoint: jwks | introspection | token, delay_ms, status, body, headers, hang_up, times}:
//                           what the endpoint does instead; `times` requests long or until {endpoint} alone comes

import "./node20.mjs";
import * as crypto from "node:crypto";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { parseArgs, promisify } from "node:util";
import { announce, endWithParent, listen } from "./lifecycle.mjs";

console.info = console.warn = () => {}; // what oidc-provider recommends for production
const { default: Provider } = await import("oidc-provider");
const { createLocalJWKSet, jwtVerify } = await import("jose");

const { values: options } = parseArgs({
  options: {
    port: { type: "string", default: "0" },
    issuer: { type: "string" },
    config: { type: "string" },
    "config-json": { type: "string" },
  },
});
const config = JSON.parse(
  options["config-json"] ?? (await readFile(options.config ?? new URL("authorization-server.json", import.meta.url))),
);

const ALGORITHMS = {
  RS256: ["rsa", { modulusLength: 2048 }],
  PS256: ["rsa", { modulusLength: 2048 }],
  ES256: ["ec", { namedCurve: "P-256" }],
  EdDSA: ["ed25519", {}],
};
const PATHS = { token: "/oauth/token", introspection: "/oauth/introspect", revocation: "/oauth/revoke", jwks: "/jwks.json" };

const generateKeyPair = promisify(crypto.generateKeyPair);

/** One issuer with its keys. A change of keys makes a new provider over the same stored tokens. */
class Realm {
  /** The keys that are published, newest first. */
  keys = [];
  /** The keys that once were; tests sign with them. */
  retired = [];
  revoked = new Set();
  #store = new Map();

  constructor(issuer) {
    this.issuer = issuer;
  }

  async rotate(algorithms = Object.keys(ALGORITHMS), keepOld = true) {
    const fresh = await generateKeys(algorithms);
    const stays = ({ alg, kid }) => !algorithms.includes(alg) || (keepOld && kid === this.privateKey(alg).kid);
    const kept = this.keys.filter(stays);
    this.retired.push(...this.keys.filter((key) => !kept.includes(key)));
    this.keys = [...fresh, ...kept];
    this.provider = this.#provider();
    this.handle = this.provider.callback();
    return fresh.map((key) => key.kid);
  }

  /** The private key of that `kid`, or the newest for the algorithm. */
  privateKey(alg, kid) {
    const all = [...this.keys, ...this.retired];
    const jwk = kid ? all.find((key) => key.kid === kid) : all.find((key) => key.alg === alg);
    if (!jwk) throw new Error(`no key for alg ${alg}, kid ${kid}`);
    return { kid: jwk.kid, key: crypto.createPrivateKey({ key: jwk, format: "jwk" }) };
  }

  /** A refresh token as it stands at the end of a user's login. */
  async refreshToken({ client_id, subject, resource = config.default_resource, scope }) {
    const grant = new this.provider.Grant({ accountId: subject, clientId: client_id });
    grant.addResourceScope(resource, scope);
    const client = await this.provider.Client.find(client_id);
    const grantId = await grant.save();
    const token = new this.provider.RefreshToken({ client, accountId: subject, grantId, resource, scope, gty: "authorization_code" });
    return token.save();
  }

  /** An ID token as it stands at the end of a user's login. */
  async idToken({ client_id, subject, access_token, claims = {} }) {
    const client = await this.provider.Client.find(client_id);
    const token = new this.provider.IdToken({ sub: subject }, { client });
    token.scope = "openid";
    for (const [name, value] of Object.entries(claims)) token.set(name, value);
    if (access_token) token.set("at_hash", access_token);
    return token.issue({ use: "idtoken" });
  }

  publicKeys() {
    return { keys: this.keys.map(({ d, p, q, dp, dq, qi, ...key }) => key) };
  }

  #provider() {
    const clientsClaims = new Map(config.clients.map((client) => [client.client_id, client.claims ?? {}]));
    const provider = new Provider(this.issuer, {
      adapter: (model) => new Store(this.#store, model),
      clients: config.clients.map(clientMetadata),
      clientDefaults: { grant_types: ["client_credentials", "refresh_token"], redirect_uris: [], response_types: [] },
      jwks: { keys: this.keys },
      cookies: { keys: [crypto.randomBytes(32).toString("hex")] },
      scopes: [...new Set(Object.values(config.resources).flatMap((resource) => resource.scopes))],
      routes: PATHS,
      extraTokenClaims: (ctx, token) => clientsClaims.get(token.clientId),
      findAccount: (ctx, accountId) => ({ accountId, claims: () => ({ sub: accountId }) }),
      issueRefreshToken: () => true,
      rotateRefreshToken: false,
      ttl: { AccessToken: lifetime, ClientCredentials: lifetime, Grant: 3600, IdToken: 600, RefreshToken: 3600 },
      features: {
        clientCredentials: { enabled: true },
        dPoP: { enabled: true },
        devInteractions: { enabled: config.interactive === true },
        registration: { enabled: config.interactive === true },
        introspection: { enabled: true, allowedPolicy: () => true },
        jwtIntrospection: { enabled: true }, // RFC 9701, for those who ask for it
        revocation: { enabled: true, allowedPolicy: () => true },
        resourceIndicators: {
          enabled: true,
          defaultResource: () => config.default_resource,
          useGrantedResource: () => true,
          getResourceServerInfo: (ctx, resource) => this.#resourceServer(resource),
        },
      },
    });
    provider.on("server_error", (ctx, error) => console.error(error));
    return provider;
  }

  #resourceServer(resource) {
    const found = config.resources[resource];
    if (!found) throw Object.assign(new Error("unknown resource"), { error: "invalid_target", status: 400, expose: true });
    const alg = found.alg ?? "RS256";
    return {
      scope: found.scopes.join(" "),
      audience: found.audience,
      accessTokenTTL: found.lifetime ?? 600,
      accessTokenFormat: found.format ?? "jwt",
      jwt: { sign: { alg, kid: this.privateKey(alg).kid } },
    };
  }
}

function lifetime(ctx, token) {
  return token.resourceServer?.accessTokenTTL ?? 600;
}

/** A new key for each algorithm; RSA keys, which take long to make, are one key under several names. */
function generateKeys(algorithms) {
  const pairs = new Map();
  return Promise.all(
    algorithms.map(async (alg) => {
      const [type, parameters] = ALGORITHMS[alg];
      if (!pairs.has(type)) pairs.set(type, generateKeyPair(type, parameters));
      const { privateKey } = await pairs.get(type);
      const kid = `${alg.toLowerCase()}-${crypto.randomBytes(6).toString("hex")}`;
      return { ...privateKey.export({ format: "jwk" }), kid, alg, use: "sig" };
    }),
  );
}

function clientMetadata({ client_id, client_secret, auth_method = "client_secret_basic", scopes, redirect_uris }) {
  const grant_types = ["client_credentials", "refresh_token", "authorization_code"];
  return {
    ...(redirect_uris ? { redirect_uris, grant_types, response_types: ["code"] } : {}),
    client_id,
    client_secret,
    token_endpoint_auth_method: auth_method,
    ...(scopes ? { scope: scopes.join(" ") } : {}),
  };
}

/** oidc-provider's adapter over a `Map`: what it stores outlives a change of keys. */
class Store {
  constructor(map, model) {
    Object.assign(this, { map, key: (id) => `${model}:${id}` });
  }
  async upsert(id, payload, expiresIn) {
    this.map.set(this.key(id), { payload, until: expiresIn ? Date.now() + expiresIn * 1000 : Infinity });
  }
  async find(id) {
    const entry = this.map.get(this.key(id));
    return entry && entry.until > Date.now() ? entry.payload : undefined;
  }
  async destroy(id) {
    this.map.delete(this.key(id));
  }
  async consume() {}
  async findByUid(uid) {
    return [...this.map.values()].find(({ payload, until }) => payload.uid === uid && until > Date.now())?.payload;
  }
  async findByUserCode() {}
  async revokeByGrantId() {}
}

/** base64url(header).base64url(payload).signature over whatever is given. */
function mint(realm, { header = {}, claims = {}, raw_header, raw_payload, kid, secret }) {
  const alg = header.alg ?? (secret === undefined ? "RS256" : "HS256");
  const signer = secret === undefined ? realm.privateKey(alg, kid) : { kid: "secret" };
  const fields = { alg, typ: "at+jwt", kid: signer.kid, ...header };
  for (const name of Object.keys(fields)) if (fields[name] === null) delete fields[name];
  const encode = (text) => Buffer.from(text).toString("base64url");
  const signed = `${encode(raw_header ?? JSON.stringify(fields))}.${encode(raw_payload ?? JSON.stringify(claims))}`;
  return `${signed}.${signature(alg, signer.key, secret, signed).toString("base64url")}`;
}

function signature(alg, key, secret, text) {
  const hash = `sha${alg.slice(2)}`;
  switch (alg.slice(0, 2)) {
    case "HS":
      return crypto.createHmac(hash, secret).update(text).digest();
    case "RS":
      return crypto.sign(hash, Buffer.from(text), key);
    case "PS":
      return crypto.sign(hash, Buffer.from(text), {
        key,
        padding: crypto.constants.RSA_PKCS1_PSS_PADDING,
        saltLength: crypto.constants.RSA_PSS_SALTLEN_DIGEST,
      });
    case "ES":
      return crypto.sign(hash, Buffer.from(text), { key, dsaEncoding: "ieee-p1363" });
    case "Ed":
      return crypto.sign(null, Buffer.from(text), key);
    default:
      throw new Error(`cannot sign with ${alg}`);
  }
}

/** Introspection (RFC 7662) or revocation (RFC 7009) of a JWT of this realm; undefined where it is none. */
async function answerForJwt(realm, endpoint, request, body) {
  const form = new URLSearchParams(body);
  const token = form.get("token") ?? "";
  if (token.split(".").length !== 3) return undefined;
  if (!authenticated(request, form)) return { status: 401, body: { error: "invalid_client" } };
  const verified = await jwtVerify(token, createLocalJWKSet(realm.publicKeys()), { issuer: realm.issuer }).catch(() => null);
  if (endpoint === "revocation") {
    realm.revoked.add(token);
    return { status: 200, body: {} };
  }
  if (!verified || realm.revoked.has(token)) return { status: 200, body: { active: false } };
  return { status: 200, body: { ...verified.payload, active: true, token_type: "Bearer" } };
}

function authenticated(request, form) {
  let id = form.get("client_id");
  let secret = form.get("client_secret");
  const basic = /^basic (.+)$/i.exec(request.headers.authorization ?? "");
  if (basic) {
    // RFC 6749 section 2.3.1: each part is form-encoded before it is put into HTTP Basic.
    const decode = (part) => new URLSearchParams(`v=${part}`).get("v");
    const [user, ...password] = Buffer.from(basic[1], "base64").toString().split(":");
    [id, secret] = [decode(user), decode(password.join(":"))];
  }
  return config.clients.some((client) => client.client_id === id && client.client_secret === secret);
}

const counters = { jwks: 0, introspection: 0, token: 0, revocation: 0 };
const behaviours = new Map();
const realms = new Map();

async function serve(request, response) {
  const { pathname } = new URL(request.url, "http://loopback");
  if (pathname.startsWith("/test/")) return control(pathname.slice("/test/".length), request, response);

  const [, name = "", path] = /^(?:\/realms\/([^/]+))?(\/.*)$/.exec(pathname);
  const realm = realms.get(name);
  if (!realm) return answer(response, 404, { error: "unknown realm" });
  const endpoint = Object.keys(PATHS).find((key) => PATHS[key] === path);
  if (endpoint) {
    counters[endpoint] += 1;
    if (await misbehave(endpoint, response)) return undefined;
  }
  if (config.introspect_jwt && (endpoint === "introspection" || endpoint === "revocation")) {
    const body = await read(request);
    const result = await answerForJwt(realm, endpoint, request, body);
    if (result) return answer(response, result.status, result.body);
    request.body = Object.fromEntries(new URLSearchParams(body)); // already read: oidc-provider takes it from here
  }
  request.originalUrl = request.url;
  request.url = request.url.slice(name ? `/realms/${name}`.length : 0);
  return realm.handle(request, response);
}

async function misbehave(endpoint, response) {
  const behaviour = behaviours.get(endpoint);
  if (!behaviour) return false;
  if (behaviour.times !== undefined && (behaviour.times -= 1) <= 0) behaviours.delete(endpoint);
  if (behaviour.delay_ms) await new Promise((resolve) => setTimeout(resolve, behaviour.delay_ms));
  if (behaviour.hang_up) {
    response.destroy();
    return true;
  }
  if (behaviour.status === undefined && behaviour.body === undefined) return false;
  const { status = 200, body = "", headers = {} } = behaviour;
  response.writeHead(status, { "content-type": "application/json", ...headers });
  response.end(typeof body === "string" ? body : JSON.stringify(body));
  return true;
}

async function control(action, request, response) {
  if (action === "counters") {
    if (request.method === "POST") for (const name of Object.keys(counters)) counters[name] = 0;
    return answer(response, 200, counters);
  }
  const parameters = JSON.parse((await read(request)) || "{}");
  const realm = realms.get(parameters.realm ?? "");
  if (!realm) return answer(response, 404, { error: "unknown realm" });
  switch (action) {
    case "rotate-keys": {
      const algorithms = parameters.alg ? [parameters.alg] : undefined;
      return answer(response, 200, { kids: await realm.rotate(algorithms, parameters.keep_old ?? true) });
    }
    case "mint":
      return answer(response, 200, { token: mint(realm, parameters) });
    case "refresh-token":
      return answer(response, 200, { token: await realm.refreshToken(parameters) });
    case "id-token":
      return answer(response, 200, { token: await realm.idToken(parameters) });
    case "behave": {
      const { endpoint, ...behaviour } = parameters;
      if (Object.keys(behaviour).length) behaviours.set(endpoint, behaviour);
      else behaviours.delete(endpoint);
      return answer(response, 200, {});
    }
    default:
      return answer(response, 404, { error: "unknown action" });
  }
}

function answer(response, status, body) {
  response.writeHead(status, { "content-type": "application/json" });
  response.end(JSON.stringify(body));
}

async function read(request) {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}

const server = createServer({ keepAliveTimeout: 0, maxHeaderSize: 64 * 1024 }, (request, response) => {
  serve(request, response).catch((error) => {
    console.error(error);
    if (!response.headersSent) answer(response, 500, { error: "server_error", error_description: error.message });
  });
});

endWithParent();
const port = await listen(server, Number(options.port));
const issuer = options.issuer ?? `http://127.0.0.1:${port}`;
realms.set("", new Realm(issuer));
for (const name of config.realms ?? []) realms.set(name, new Realm(`${issuer}/realms/${name}`));
await Promise.all([...realms.values()].map((realm) => realm.rotate()));
announce({
  issuer,
  port,
  base: `http://127.0.0.1:${port}`,
  jwks_path: PATHS.jwks,
  token_path: PATHS.token,
  introspection_path: PATHS.introspection,
  revocation_path: PATHS.revocation,
});
