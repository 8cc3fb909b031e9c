// The upstream behind the proxy: answers every request with what it saw.
//
//   node upstream.mjs [--port N]
//
// Answers 200 {"method", "path", "headers": [[name, value], ...], "body"}: headers in the order they came in, names
// in lower case, repeated ones kept. `GET /__count` answers {"count"}, the number of the other requests so far, and
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
  const headers = [];
  for (let i = 0; i < request.rawHeaders.length; i += 2) {
    headers.push([request.rawHeaders[i].toLowerCase(), request.rawHeaders[i + 1]]);
  }
  return { method: request.method, path: request.url, headers, body: body.toString("utf8") };
}

endWithParent();
announce({ port: await listen(server, Number(options.port)) });
