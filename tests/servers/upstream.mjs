// The upstream behind the proxy: answers every request with what it saw.
//
//   node upstream.mjs [--port N]
//
// Answers 200 {"method", "path", "headers": [[name, value], ...], "body", "trailers": [[name, value], ...]}: headers in
// the order they came in, names in lower case, repeated ones kept. `GET /__count` answers {"count"}, the number of the other requests so far, and
// is for tests that reach the upstream directly.

import { createServer } from "node:http";
import { parseArgs } from "node:util";
import { announce, endWithParent, listen } from "./lifecycle.mjs";

const { values: options } = parseArgs({ options: { port: { type: "string", default: "0" } } });

let count = 0;

// `keepAliveTimeout: 0`: a connection closed while the proxy reuses it would be a 503 that is nobody's fault.
const server = createServer({ keepAliveTimeout: 0, maxHeaderSize: 256 * 1024 }, (request, response) => {
  const chunks = [];
  request.on("data", (chunk) => chunks.push(chunk));
  request.on("end", () => {
    const answer = request.url === "/__count" ? { count } : seen(request, Buffer.concat(chunks));
    response.setHeader("content-type", "application/json");
    response.end(JSON.stringify(answer));
  });
});

function seen(request, body) {
  count += 1;
  return {
    method: request.method,
    path: request.url,
    headers: pairs(request.rawHeaders),
    body: body.toString("utf8"),
    trailers: pairs(request.rawTrailers),
  };
}

function pairs(raw) {
  const pairs = [];
  for (let i = 0; i < raw.length; i += 2) {
    pairs.push([raw[i].toLowerCase(), raw[i + 1]]);
  }
  return pairs;
}

endWithParent();
announce({ port: await listen(server, Number(options.port)) });
