// npm `@node-oauth/oauth2-server`: a library for authorization servers; storage, tokens and keys are its user's, here in memory.

import { createServer } from "node:http";
import { randomBytes } from "node:crypto";
import OAuth2Server from "@node-oauth/oauth2-server";
import { SignJWT, exportJWK, generateKeyPair } from "jose";
import { announce, endWithParent, listen } from "../../servers/lifecycle.mjs";

const REDIRECT = "http://127.0.0.1:1/callback";
const client = { id: "billing-sync", secret: "billing-sync-secret", grants: ["client_credentials", "authorization_code", "refresh_token"], redirectUris: [REDIRECT] };
const known = { codes: new Map(), refresh: new Map() };
const keys = [];
let issuer;

async function rotate() {
  const { privateKey, publicKey } = await generateKeyPair("ES256", { extractable: true });
  const kid = randomBytes(4).toString("hex");
  keys.unshift({ privateKey, kid, jwk: { ...(await exportJWK(publicKey)), kid, alg: "ES256", use: "sig" } });
}

const model = {
  getClient: async (id, secret) => (id === client.id && (secret === null || secret === client.secret) ? client : false),
  getUserFromClient: async ({ id }) => ({ id }),
  validateScope: async (user, { id }, scope) => scope,
  generateAccessToken: async ({ id }, user, scope) =>
    new SignJWT({ client_id: id, scope: scope?.join(" ") })
      .setProtectedHeader({ alg: "ES256", kid: keys[0].kid, typ: "at+jwt" })
      .setIssuer(issuer).setAudience("billing-api").setSubject(user.id).setIssuedAt().setExpirationTime("10m")
      .setJti(randomBytes(8).toString("hex")).sign(keys[0].privateKey),
  saveToken: async (token, client, user) => {
    const saved = { ...token, client, user };
    if (token.refreshToken) known.refresh.set(token.refreshToken, saved);
    return saved;
  },
  getRefreshToken: async (token) => known.refresh.get(token),
  revokeToken: async ({ refreshToken }) => known.refresh.delete(refreshToken),
  saveAuthorizationCode: async (code, client, user) => {
    const saved = { ...code, client, user };
    known.codes.set(code.authorizationCode, saved);
    return saved;
  },
  getAuthorizationCode: async (code) => known.codes.get(code),
  revokeAuthorizationCode: async ({ authorizationCode }) => known.codes.delete(authorizationCode),
};
const oauth = new OAuth2Server({ model });

const server = createServer(async (request, response) => {
  const { pathname, searchParams } = new URL(request.url, "http://loopback");
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  const answer = (status, body, headers = {}) => {
    response.writeHead(status, { "content-type": "application/json", ...headers });
    response.end(JSON.stringify(body));
  };
  if (pathname === "/jwks") return answer(200, { keys: keys.map(({ jwk }) => jwk) });
  if (pathname === "/rotate") return answer(200, await rotate().then(() => ({})));
  const body = Object.fromEntries(new URLSearchParams(Buffer.concat(chunks).toString()));
  const asked = new OAuth2Server.Request({ method: request.method, query: Object.fromEntries(searchParams), headers: request.headers, body });
  const told = new OAuth2Server.Response({});
  const handler = { authenticateHandler: { handle: () => ({ id: "alice" }) } };
  await (pathname === "/authorize" ? oauth.authorize(asked, told, handler) : oauth.token(asked, told)).catch(() => {});
  return answer(told.status, told.body ?? {}, told.headers);
});

await rotate();
endWithParent();
const port = await listen(server, 0);
issuer = `http://127.0.0.1:${port}`;
announce({
  port,
  issuer,
  control: port,
  token: "/token",
  jwks: "/jwks",
  authorization: "/authorize",
  formats: { jwt: {} },
  methods: ["client_secret_basic", "client_secret_post"],
  cannot: {
    "opaque, basic": "the library has no introspection endpoint",
    "opaque, post": "the library has no introspection endpoint",
    revocation: "the library has no revocation endpoint",
    discovery: "the library serves no metadata",
  },
});
