// A client of the Model Context Protocol that knows an API's address and nothing else.
//
//   node mcp-client.mjs --url URI --user NAME
//
// Its library finds the authorization server by the protected resource metadata (RFC 9728), registers (RFC 7591), sends the
// user to log in and to consent, gets a token for this resource (RFC 8707) and calls. Prints {result, metadata, requests,
// scope}: what the tool said, the metadata that led there, each request's method and URL, and the scope of the token.

import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { UnauthorizedError } from "@modelcontextprotocol/sdk/client/auth.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import { parseArgs } from "node:util";
import { authorize } from "./browser.mjs";

const { values: options } = parseArgs({ options: { url: { type: "string" }, user: { type: "string" } } });
const redirectUri = "http://127.0.0.1:1/callback";
const known = {};
const requests = [];
let metadata;

const provider = {
  redirectUrl: redirectUri,
  clientMetadata: {
    client_name: "an MCP client",
    redirect_uris: [redirectUri],
    grant_types: ["authorization_code", "refresh_token"],
    response_types: ["code"],
    token_endpoint_auth_method: "none",
  },
  clientInformation: () => known.client,
  saveClientInformation: (client) => void (known.client = client),
  tokens: () => known.tokens,
  saveTokens: (tokens) => void (known.tokens = tokens),
  codeVerifier: () => known.verifier,
  saveCodeVerifier: (verifier) => void (known.verifier = verifier),
  redirectToAuthorization: (url) => void (known.authorization = url),
};

async function recording(url, init) {
  const response = await fetch(url, init);
  requests.push({ method: init?.method ?? "GET", url: String(url), status: response.status });
  if (String(url).includes("oauth-protected-resource") && response.ok) metadata = await response.clone().json();
  return response;
}

const transport = () => new StreamableHTTPClientTransport(new URL(options.url), { authProvider: provider, fetch: recording });
const client = () => new Client({ name: "scopegate-test", version: "1.0.0" });

const first = transport();
await client()
  .connect(first)
  .catch((error) => {
    if (!(error instanceof UnauthorizedError)) throw error;
  });
const callback = await authorize(known.authorization, redirectUri, ({ fields }) =>
  fields.prompt === "login" ? { login: options.user, password: "any" } : {},
);
await first.finishAuth(callback.searchParams.get("code"));
const connected = client();
await connected.connect(transport());
const result = await connected.callTool({ name: "add", arguments: { a: 19, b: 23 } });
await connected.close();
process.stdout.write(JSON.stringify({ result, metadata, requests, scope: known.tokens.scope }));
process.exit(0);
