// Takes plain connections on loopback and carries each on over TLS, for clients that do not speak it.
//
//   node tls-tunnel.mjs --to PORT --ca=PEM --server-name HOST [--cert=PEM --key=PEM]
//
// The certificate behind `--to` must verify against PEM and be HOST's; `--cert` is the client's own.

import { createServer } from "node:net";
import { connect } from "node:tls";
import { parseArgs } from "node:util";
import { announce, endWithParent, listen } from "./lifecycle.mjs";

const { values: options } = parseArgs({
  options: {
    to: { type: "string" },
    ca: { type: "string" },
    "server-name": { type: "string" },
    cert: { type: "string" },
    key: { type: "string" },
  },
});

const server = createServer((plain) => {
  const { ca, cert, key, to, "server-name": servername } = options;
  const secure = connect({ host: "127.0.0.1", port: Number(to), ca, cert, key, servername });
  plain.on("error", () => secure.destroy()).pipe(secure);
  secure.on("error", (error) => plain.destroy(error)).pipe(plain);
});

endWithParent();
announce({ port: await listen(server, 0) });
