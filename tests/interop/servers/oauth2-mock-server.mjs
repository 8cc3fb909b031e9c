// npm `oauth2-mock-server`: issues a JWT to whoever asks, authenticates nobody, and has hooks for what is in it.

import { createServer } from "node:http";
import { OAuth2Server } from "oauth2-mock-server";
import { announce, endWithParent, listen } from "../../servers/lifecycle.mjs";

const server = new OAuth2Server();
await server.issuer.keys.generate("RS256");
await server.start(0, "127.0.0.1");
const { port } = server.address();
const issuer = `http://127.0.0.1:${port}`;
server.issuer.url = issuer;
server.service.on("beforeTokenSigning", (token, request) => {
  if (token.payload.aud === undefined) {
    token.payload.aud = "billing-api";
    token.payload.client_id = "billing-sync";
  }
  // By itself it forgets what a code was for.
  if (["authorization_code", "refresh_token"].includes(request?.body?.grant_type)) token.payload.scope = "billing:read";
});

const control = createServer(async (request, response) => {
  await server.issuer.keys.generate("RS256");
  response.end("{}");
});
endWithParent();
announce({
  port,
  issuer,
  control: await listen(control, 0),
  token: "/token",
  jwks: "/jwks",
  metadata: "/.well-known/openid-configuration",
  authorization: "/authorize",
  formats: { jwt: {} },
  methods: ["client_secret_basic"],
  cannot: {
    "opaque, basic": "it issues JWTs only",
    "opaque, post": "it issues JWTs only",
    revocation: "it answers 200 and remembers nothing",
    "own errors": "it authenticates no client",
  },
});
