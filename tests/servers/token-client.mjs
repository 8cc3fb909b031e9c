// Asks for a token as ordinary clients do, and prints what came of it in JSON.
//
//   node token-client.mjs --library openid-client | simple-oauth2 | http2 --port N --requests JSON
//
// A list of requests: {path, client, secret, scope, resource, refresh_token, method: basic | post}; for `http2` instead
// {path, headers, body, split: N (the body goes in two DATA frames, N bytes in the first), trailers}. `path` is /oauth/token
// where it is not given.
// A list of answers: {token: {...}} or {error, error_description, status}; for `http2` {status, headers, body}.

import "./node20.mjs";
import { connect } from "node:http2";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";

const { values: options } = parseArgs({
  options: { library: { type: "string" }, port: { type: "string" }, requests: { type: "string" } },
});
const base = `http://127.0.0.1:${options.port}`;
const TOKEN = "/oauth/token";

async function openidClient({ path = TOKEN, client, secret, scope, resource, refresh_token, method }) {
  const oauth = await import("openid-client");
  const authentication = method === "post" ? oauth.ClientSecretPost(secret) : oauth.ClientSecretBasic(secret);
  const server = { issuer: "https://login.example.com", token_endpoint: base + path };
  const configuration = new oauth.Configuration(server, client, {}, authentication);
  oauth.allowInsecureRequests(configuration);
  const parameters = given({ scope, resource });
  try {
    const token = refresh_token
      ? await oauth.refreshTokenGrant(configuration, refresh_token, parameters)
      : await oauth.clientCredentialsGrant(configuration, parameters);
    return { token };
  } catch (error) {
    if (error.error) return given({ error: error.error, error_description: error.error_description, status: error.status });
    // A 401 with a challenge: the library reports the challenge.
    if (!Array.isArray(error.cause)) throw error;
    const { error: code, error_description } = await error.response.json();
    return { error: code, error_description, status: error.status, challenge: error.cause[0].scheme };
  }
}

async function simpleOauth2({ path = TOKEN, client, secret, scope, resource, refresh_token, method }) {
  const { AuthorizationCode, ClientCredentials } = (await import("simple-oauth2")).default;
  const configuration = {
    client: { id: client, secret },
    auth: { tokenHost: base, tokenPath: path },
    options: { authorizationMethod: method === "post" ? "body" : "header" },
  };
  const parameters = given({ scope, resource });
  try {
    const { token } = refresh_token
      ? await new AuthorizationCode(configuration).createToken({ refresh_token }).refresh(parameters)
      : await new ClientCredentials(configuration).getToken(parameters);
    return { token };
  } catch (error) {
    if (!error.data?.payload) throw error;
    const { error: code, error_description } = error.data.payload;
    return { error: code, error_description, status: error.output.statusCode };
  }
}

async function http2({ path = TOKEN, headers, body, split, trailers }) {
  const session = connect(base);
  const stream = session.request({ ":method": "POST", ":path": path, ...headers }, { waitForTrailers: !!trailers });
  if (trailers) stream.on("wantTrailers", () => stream.sendTrailers(trailers));
  const answer = new Promise((resolve, reject) => {
    stream.on("error", reject);
    stream.on("response", async (received) => {
      let text = "";
      for await (const chunk of stream.setEncoding("utf8")) text += chunk;
      resolve({ status: received[":status"], headers: { ...received }, body: text });
    });
  });
  if (split !== undefined) {
    stream.write(body.slice(0, split));
    await sleep(20);
  }
  stream.end(body.slice(split ?? 0));
  const result = await answer;
  session.close();
  return result;
}

function given(parameters) {
  return Object.fromEntries(Object.entries(parameters).filter(([, value]) => value !== undefined));
}

const ask = { "openid-client": openidClient, "simple-oauth2": simpleOauth2, http2 }[options.library];
const answers = [];
for (const request of JSON.parse(options.requests)) answers.push(await ask(request));
process.stdout.write(JSON.stringify(answers));
