// The management server of a fleet: it hands the filter to every proxy that asks for it (ECDS over Envoy's aggregated
// discovery stream, state of the world) and knows of each proxy what it has in force and what it has rejected.
//
//   node management-server.mjs
//
// The ready line has `port`, where proxies ask, and `control`, where the test does:
//   POST /push    {version, resource}: hands every proxy, now or when it asks, a TypedExtensionConfig in JSON
//   POST /stop    ends every stream and refuses connections; what it knew of proxies is lost
//   POST /resume  starts again after that, on the same port
//   GET /proxies  {node: {active, rejection: {version, error}, answered_after_ms}} by the node's id, absent where unknown

import grpc from "@grpc/grpc-js";
import { createServer } from "node:http";
import { fileURLToPath } from "node:url";
import protobuf from "protobufjs";
import { announce, endWithParent, listen } from "./lifecycle.mjs";

const ENVOY_API = new protobuf.Root().loadSync(fileURLToPath(new URL("discovery.proto", import.meta.url)), { keepCase: true });
const TYPED_EXTENSION_CONFIG = "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig";
const TYPES = {
  [TYPED_EXTENSION_CONFIG]: ENVOY_API.lookupType("TypedExtensionConfig"),
  "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm": ENVOY_API.lookupType("Wasm"),
  "type.googleapis.com/google.protobuf.StringValue": ENVOY_API.lookupType("google.protobuf.StringValue"),
};

/** A message from the JSON that a file of Envoy's has. */
function message(type, json) {
  if (type.fullName === ".google.protobuf.Any") {
    const { "@type": url, ...value } = json;
    if (!TYPES[url]) throw new Error(`unknown type ${url}`);
    return { type_url: url, value: TYPES[url].encode(message(TYPES[url], value)).finish() };
  }
  if (type.fullName === ".google.protobuf.Duration") {
    const seconds = Number(/^([0-9.]+)s$/.exec(json)[1]);
    return { seconds: Math.floor(seconds), nanos: Math.round((seconds % 1) * 1e9) };
  }
  const read = (field, value) => {
    if (field.resolvedType instanceof protobuf.Type) return message(field.resolvedType, value);
    if (field.resolvedType instanceof protobuf.Enum) return field.resolvedType.values[value];
    return value;
  };
  const fields = Object.entries(json).map(([name, value]) => {
    const field = type.fields[name]?.resolve();
    if (!field) throw new Error(`${type.name} has no field \`${name}\``);
    if (field.map) return [name, Object.fromEntries(Object.entries(value).map(([key, each]) => [key, read(field, each)]))];
    return [name, field.repeated ? value.map((each) => read(field, each)) : read(field, value)];
  });
  return Object.fromEntries(fields);
}

let pushed; // {version, resource, at}
const proxies = new Map();
const conversations = new Set();

/** One proxy's stream. */
class Conversation {
  node; // its id, which the first request names
  count = 0; // responses so far; the last one's nonce
  offered = ""; // the version of the last response

  constructor(stream) {
    this.stream = stream;
    conversations.add(this);
    const end = () => conversations.delete(this);
    stream.on("data", (request) => request.type_url === TYPED_EXTENSION_CONFIG && this.hear(request));
    stream.on("end", () => stream.end()).on("cancelled", end).on("error", end).on("close", end);
  }

  /** Notes what a request says; hands over what the proxy does not have yet, if it is its first. */
  hear({ node, version_info, response_nonce, error_detail }) {
    if (this.node === undefined) {
      this.node = node.id;
      proxies.set(this.node, version_info ? { active: version_info } : {});
      if (pushed && pushed.version !== version_info) this.offer();
      return;
    }
    // Any other nonce answers a response that another has overtaken.
    if (response_nonce !== String(this.count)) return;
    const proxy = proxies.get(this.node) ?? {};
    const answered = { answered_after_ms: performance.now() - pushed.at };
    if (error_detail) {
      proxies.set(this.node, { ...proxy, ...answered, rejection: { version: this.offered, error: error_detail.message } });
    } else {
      proxies.set(this.node, { ...answered, active: this.offered });
    }
  }

  offer() {
    this.count += 1;
    this.offered = pushed.version;
    this.stream.write({
      version_info: pushed.version,
      resources: [pushed.resource],
      type_url: TYPED_EXTENSION_CONFIG,
      nonce: String(this.count),
    });
  }
}

const [Request, Response] = ["DiscoveryRequest", "DiscoveryResponse"].map((name) => ENVOY_API.lookupType(name));
const DISCOVERY = {
  StreamAggregatedResources: {
    path: "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources",
    requestStream: true,
    responseStream: true,
    requestDeserialize: (bytes) => Request.decode(bytes),
    responseSerialize: (response) => Buffer.from(Response.encode(response).finish()),
  },
};

let server;
function serve(port) {
  server = new grpc.Server();
  server.addService(DISCOVERY, { StreamAggregatedResources: (stream) => new Conversation(stream) });
  return new Promise((resolve, reject) => {
    const bound = (error, port) => (error ? reject(error) : resolve(port));
    server.bindAsync(`127.0.0.1:${port}`, grpc.ServerCredentials.createInsecure(), bound);
  });
}

const port = await serve(0);
const control = {
  "POST /push": ({ version, resource }) => {
    pushed = { version, resource: message(ENVOY_API.lookupType("google.protobuf.Any"), resource), at: performance.now() };
    for (const each of conversations) if (each.node !== undefined) each.offer();
  },
  "POST /stop": () => {
    server.forceShutdown();
    proxies.clear();
  },
  "POST /resume": () => serve(port),
  "GET /proxies": () => Object.fromEntries(proxies),
};
const http = createServer(async (request, response) => {
  const body = Buffer.concat(await request.toArray()).toString();
  try {
    const answer = await control[`${request.method} ${request.url}`](body && JSON.parse(body));
    response.end(JSON.stringify(answer ?? {}));
  } catch (error) {
    response.writeHead(400).end(error.stack);
  }
});

endWithParent();
announce({ port, control: await listen(http, 0) });
