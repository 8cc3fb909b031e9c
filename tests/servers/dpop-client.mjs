// Gets a token that is bound to a key and calls the gateway with it, as an ordinary client (openid-client) does.
//
//   node dpop-client.mjs --issuer-port N --gateway-port N --origin URI --requests JSON
//
// A list of requests: {client, secret, scope, resource, algorithm, paths: [...], replays: N, pause: ms}. Each gets a token and
// a key of its own, then calls each path, `pause` after the one before; the library makes the proofs, and makes one again
// where it is asked for a nonce. Then the last request is sent again as it was, `replays` times, each on a connection of its
// own.
// A list of answers: {token_type, calls: [{status, body, sent, nonce}], replayed: [{status, body}], headers: {...}}. `sent` is
// how many requests the library made for one call, `nonce` the `DPoP-Nonce` of the last response to it; `headers` are those of
// the last request.

import "./node20.mjs";
import { parseArgs } from "node:util";
import * as oauth from "openid-client";

const { values: options } = parseArgs({
  options: {
    "issuer-port": { type: "string" },
    "gateway-port": { type: "string" },
    origin: { type: "string" },
    requests: { type: "string" },
  },
});
const issuer = `http://127.0.0.1:${options["issuer-port"]}`;
const gateway = `http://127.0.0.1:${options["gateway-port"]}`;

async function run({ client, secret, scope, resource, algorithm, paths, replays, pause }) {
  const server = { issuer, token_endpoint: `${issuer}/oauth/token` };
  const configuration = new oauth.Configuration(server, client, {}, oauth.ClientSecretBasic(secret));
  oauth.allowInsecureRequests(configuration);
  const sent = [];
  // What clients call is the public origin; a load balancer would lead it here.
  configuration[oauth.customFetch] = (url, request) => {
    if (!url.startsWith(options.origin)) return fetch(url, request);
    const headers = Object.fromEntries(new Headers(request.headers));
    sent.push({ url: gateway + url.slice(options.origin.length), request: { method: request.method, headers } });
    return fetch(sent.at(-1).url, request);
  };
  const key = oauth.getDPoPHandle(configuration, await oauth.randomDPoPKeyPair(algorithm));
  const token = await oauth.clientCredentialsGrant(configuration, { scope, resource }, { DPoP: key });
  const call = (path) => {
    const url = new URL(options.origin + path);
    return oauth.fetchProtectedResource(configuration, token.access_token, url, "GET", null, undefined, { DPoP: key });
  };
  const calls = [];
  for (const path of paths) {
    if (pause && sent.length) await new Promise((resolve) => setTimeout(resolve, pause));
    const before = sent.length;
    const response = await call(path).catch((error) => {
      if (!error.response) throw error;
      return error.response; // a 401 with a challenge
    });
    const nonce = response.headers.get("dpop-nonce");
    calls.push({ status: response.status, body: await response.json(), sent: sent.length - before, nonce });
  }
  const { url, request } = sent.at(-1);
  const replayed = [];
  for (let count = 0; count < replays; count += 1) {
    const response = await fetch(url, { ...request, headers: { ...request.headers, connection: "close" } });
    replayed.push({ status: response.status, body: await response.json() });
  }
  return { token_type: token.token_type, calls, replayed, headers: request.headers };
}

const answers = [];
for (const request of JSON.parse(options.requests)) answers.push(await run(request));
process.stdout.write(JSON.stringify(answers));
