import { request } from "node:http";

/**
 * Sends a request as it is written: `{method, path, headers: [[name, value], ...], body}`, nothing normalised.
 *
 * Resolves to `{status, headers, body, upstream}`: the body read as JSON where it is JSON, and `upstream(name)`, the
 * values of a header that the upstream saw.
 */
export function send(port, { method = "GET", path, headers = [], body }) {
  return new Promise((resolve, reject) => {
    const all = [["host", "api.example.com"], ["connection", "close"], ...headers];
    if (body !== undefined) all.push(["content-length", `${Buffer.byteLength(body)}`]);
    const options = { host: "127.0.0.1", port, method, path, headers: all.flat(), agent: false, timeout: 10_000 };
    const outgoing = request(options, (answer) => {
      const chunks = [];
      answer.on("data", (chunk) => chunks.push(chunk));
      answer.on("end", () => resolve(answered(answer, Buffer.concat(chunks).toString())));
      answer.on("error", reject);
    });
    outgoing.on("timeout", () => outgoing.destroy(new Error(`no answer to ${method} ${path} within 10 s`)));
    outgoing.on("error", reject);
    outgoing.end(body);
  });
}

function answered({ statusCode: status, headers }, text) {
  let body;
  try {
    body = JSON.parse(text);
  } catch {
    body = undefined;
  }
  const seen = Array.isArray(body?.headers) ? body.headers : [];
  return { status, headers, body, upstream: (wanted) => seen.filter(([name]) => name === wanted).map(([, value]) => value) };
}
