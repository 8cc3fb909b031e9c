// A server of the Model Context Protocol (2025-06-18 and later) with one tool, behind the proxy: it knows nothing of tokens.
//
//   node mcp-server.mjs
//
// Announces {"port"}. The tool `add` says what the sum of two numbers is, and which tenant the proxy told it of.

import { McpServer } from "@modelcontextprotocol/sdk/server/mcp.js";
import { StreamableHTTPServerTransport } from "@modelcontextprotocol/sdk/server/streamableHttp.js";
import { createServer } from "node:http";
import { z } from "zod";
import { announce, endWithParent, listen } from "../servers/lifecycle.mjs";

const listener = createServer(async (request, response) => {
  const server = new McpServer({ name: "calculator", version: "1.0.0" });
  server.registerTool("add", { inputSchema: { a: z.number(), b: z.number() } }, ({ a, b }) => ({
    content: [{ type: "text", text: `${a + b} for ${request.headers["x-tenant-id"]}` }],
  }));
  // A server for each request: none has to remember a session.
  const transport = new StreamableHTTPServerTransport({ sessionIdGenerator: undefined });
  response.on("close", () => transport.close().then(() => server.close()));
  await server.connect(transport);
  await transport.handleRequest(request, response);
});

endWithParent();
announce({ port: await listen(listener, 0) });
