// Drives real requests through a real Envoy with scopegate in it, and shows each with what was decided and why.
//
//   node demo.mjs          exits 1 where a decision differs from what it should be
//   node demo.mjs --stay   leaves the servers running until Ctrl-C, prints the curl lines to try, and the audit line of
//                          each request that is refused
//
// SCOPEGATE_WASM and SCOPEGATE_ENVOY name the wasm file and the Envoy binary, SCOPEGATE_LOGS a directory for the logs.

import { createServer } from "node:net";
import { fileURLToPath } from "node:url";
import { auditLine, follow } from "./audit-lines.mjs";
import { cases } from "./demo-cases.mjs";
import { ISSUER, Servers, bootstrap } from "./gateway.mjs";
import { send } from "./requests.mjs";
import { Tokens } from "./tokens.mjs";

const STATUS_OF_ERROR = { invalid_request: 400, invalid_token: 401, insufficient_scope: 403, temporarily_unavailable: 503 };
const root = fileURLToPath(new URL("../..", import.meta.url));
const stay = process.argv.includes("--stay");
const wasm = process.env.SCOPEGATE_WASM ?? `${root}target/wasm32-wasip1/release/scopegate.wasm`;
const binary = process.env.SCOPEGATE_ENVOY ?? `${root}.env/envoy`;
process.env.INTROSPECTION_SECRET = "gateway-secret"; // of the client `gateway` at the authorization server
const servers = new Servers(process.env.SCOPEGATE_LOGS ?? `${root}.env/run/${stay ? "run" : "demo"}`);

for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) {
  process.on(signal, () => {
    servers.stop();
    process.exit(stay && signal === "SIGINT" ? 0 : 130);
  });
}

try {
  const running = await start();
  if (stay) await invite(running);
  else process.exitCode = (await demonstrate(running)) ? 0 : 1;
} catch (error) {
  console.error(`demo: ${error.message}`);
  process.exitCode = 1;
}
if (!stay || process.exitCode) servers.stop();

async function start() {
  const port = async (wanted) => (stay ? await freePort(wanted) : 0);
  const [issuer, upstream] = await Promise.all([
    servers.node("authorization-server", "--issuer", ISSUER, "--port", `${await port(9400)}`),
    servers.node("upstream", "--port", `${await port(8080)}`),
  ]);
  const jwks = await (await fetch(issuer.base + issuer.jwks_path)).json();
  const ports = { listener: await port(10000), admin: await port(9901), upstream: upstream.port, idp: issuer.port };
  const envoy = await servers.envoy(binary, bootstrap({ ports, wasm }));
  return { issuer, upstream, envoy, tokens: new Tokens(issuer, jwks) };
}

/** The port itself if nobody has it, else 0: any. */
function freePort(port) {
  return new Promise((resolve) => {
    const probe = createServer();
    probe.once("error", () => resolve(0));
    probe.listen(port, "127.0.0.1", () => probe.close(() => resolve(port)));
  });
}

/** Runs every case and prints the table; whether all of it is as it should be. */
async function demonstrate({ upstream, envoy, tokens }) {
  const rows = [];
  for (const test of cases) {
    const before = await hits(upstream);
    const token = test.token && (await test.token(tokens));
    const answer = await send(envoy.port, test.request(token));
    const reached = (await hits(upstream)) - before;
    rows.push({ test, answer, wrong: differences(test, answer, reached) });
  }
  print(rows);

  const secrets = [...tokens.given, process.env.INTROSPECTION_SECRET];
  const leaks = secrets.filter((secret) => servers.log("envoy").includes(secret) || servers.log("access").includes(secret));
  if (leaks.length) console.log(red(`${leaks.length} tokens or secrets stand in the logs in ${servers.logs}`));
  const wrong = rows.filter((row) => row.wrong.length);
  for (const { test, wrong: lines } of wrong) console.log(red(`\n${test.title}\n  ${lines.join("\n  ")}`));
  console.log(`\n${rows.length - wrong.length} of ${rows.length} requests were decided as they should be; logs: ${servers.logs}`);
  return wrong.length === 0 && leaks.length === 0;
}

async function hits(upstream) {
  return (await (await fetch(`http://127.0.0.1:${upstream.port}/__count`)).json()).count;
}

/** Each way in which the answer is not what it should be. */
function differences({ expected }, answer, reached) {
  const wrong = [];
  const compare = (what, is, should) => {
    if (JSON.stringify(is) !== JSON.stringify(should)) {
      wrong.push(`${what} is ${JSON.stringify(is)} and should be ${JSON.stringify(should)}`);
    }
  };
  compare("status", answer.status, expected.status);
  compare("requests that reached the upstream", reached, expected.status === 200 ? 1 : 0);
  if (expected.status === 200 && answer.status === 200) {
    const { tenant, client, scopes, credential = false, absent = [] } = expected.upstream;
    compare("x-tenant-id at the upstream", answer.upstream("x-tenant-id"), tenant ? [tenant] : []);
    compare("x-client-id at the upstream", answer.upstream("x-client-id"), client ? [client] : []);
    compare("x-scopes at the upstream", answer.upstream("x-scopes").map(sorted).filter(Boolean), scopes ? [sorted(scopes)] : []);
    compare("credentials at the upstream", answer.upstream("authorization").length, credential ? 1 : 0);
    for (const name of absent) compare(`${name} at the upstream`, answer.upstream(name), []);
  } else if (expected.reason) {
    compare("reason", answer.body?.reason, expected.reason);
    compare("content-type", answer.headers["content-type"], "application/json");
    compare("cache-control", answer.headers["cache-control"], "no-store");
    if (expected.reason === "credential_missing") compare("error", answer.body?.error, undefined);
    else compare("status of that error", STATUS_OF_ERROR[answer.body?.error], expected.status);
    const challenged = expected.status === 401 || expected.status === 403;
    const challenge = answer.headers["www-authenticate"] ?? "";
    compare("a challenge", challenge.startsWith('Bearer realm="billing-gateway"'), challenged);
  }
  return wrong;
}

function sorted(scopes) {
  return scopes.split(" ").sort().join(" ");
}

function print(rows) {
  const seen = ({ answer }) => {
    const facts = ["x-tenant-id", "x-client-id", "x-scopes"].map((name) => answer.upstream(name).join(" | "));
    return answer.status === 200 ? facts.filter(Boolean).join(", ") || "no identity" : "nothing";
  };
  const reason = ({ answer }) => answer.body?.reason ?? (answer.status === 200 ? "" : "(refused by Envoy itself)");
  const table = [
    ["", "request", "caller of", "status", "reason", "what the upstream saw"],
    ...rows.map((row) => [
      row.wrong.length ? "WRONG" : "ok", row.test.title, row.test.tenant ?? "-", `${row.answer.status}`, reason(row), seen(row),
    ]),
  ];
  const widths = table[0].map((_, column) => Math.max(...table.map((line) => line[column].length)));
  table.forEach((line, index) => {
    const text = line.map((cell, column) => cell.padEnd(widths[column])).join("  ").trimEnd();
    const colour = index === 0 ? bold : line[0] === "WRONG" ? red : (plain) => plain;
    console.log(colour(text));
    if (index === 0) console.log(widths.map((width) => "-".repeat(width)).join("  "));
  });
}

async function invite({ issuer, upstream, envoy }) {
  const token = `curl -s -u acme-sync:acme-sync-secret ${issuer.base}${issuer.token_path}`;
  console.log(`gateway http://127.0.0.1:${envoy.port}   admin ${envoy.admin}   issuer ${issuer.base}   upstream http://127.0.0.1:${upstream.port}
logs    ${servers.logs}

A token of tenant acme (also: globex-sync, tenant1-sync, tenant10-sync, acme-reader; the secret is NAME-secret):

  TOKEN=$(${token} \\
    -d grant_type=client_credentials -d scope='billing:read' | sed 's/.*"access_token":"\\([^"]*\\)".*/\\1/')

(with -d resource=urn:billing:opaque an opaque one, about which the gateway asks the issuer) and what it opens:

  curl -i -H "authorization: Bearer $TOKEN" http://127.0.0.1:${envoy.port}/billing/acme/invoices
  curl -i -H "authorization: Bearer $TOKEN" http://127.0.0.1:${envoy.port}/billing/globex/invoices
  curl -i -H "authorization: Bearer $TOKEN" -X POST http://127.0.0.1:${envoy.port}/billing/acme/invoices
  curl -i -H "authorization: Bearer $TOKEN" -H 'x-tenant-id: globex' http://127.0.0.1:${envoy.port}/whoami
  curl -i -H "authorization: Bearer $TOKEN" http://127.0.0.1:${envoy.port}/nowhere
  curl -i http://127.0.0.1:${envoy.port}/health
  curl -i http://127.0.0.1:${envoy.port}/whoami

Ctrl-C stops everything. What is refused leaves an audit line in Envoy's log:
`);
  follow(`${servers.logs}/envoy.log`, (line) => {
    const audit = auditLine(line);
    if (audit) console.log(audit);
  });
}

function bold(text) {
  return process.stdout.isTTY ? `\x1b[1m${text}\x1b[0m` : text;
}

function red(text) {
  return process.stdout.isTTY ? `\x1b[31m${text}\x1b[0m` : text;
}
