// What the page is about, as a link carries it.

export const empty = () => ({
  example: "",
  case: "",
  config: "",
  cases: "",
  before: "",
  request: { method: "GET", path: "/", host: "", scheme: "https", headers: "", body: "", certificate: "", peer: "" },
  token: {
    mode: "mint", provider: "", kind: "jwt", algorithm: "", forged: false, dpop: false,
    header: "{}", claims: "{}", raw: "", jwks: "",
  },
  introspection: { mode: "token", body: "" },
  keysUnreachable: false,
  now: "",
  view: "decision",
});

const through = async (bytes, stream) =>
  new Uint8Array(await new Response(new Blob([bytes]).stream().pipeThrough(stream)).arrayBuffer());

/** The state in base64url of raw DEFLATE. */
export async function pack(state) {
  const bytes = await through(new TextEncoder().encode(JSON.stringify(state)), new CompressionStream("deflate-raw"));
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return btoa(text).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

/** A state out of `pack`, with what is missing or of another type as it is at first. */
export async function unpack(packed) {
  const text = atob(packed.replaceAll("-", "+").replaceAll("_", "/"));
  const bytes = Uint8Array.from(text, (character) => character.charCodeAt(0));
  const read = JSON.parse(new TextDecoder().decode(await through(bytes, new DecompressionStream("deflate-raw"))));
  return merged(empty(), read);
}

function merged(usual, read) {
  const state = { ...usual };
  for (const [name, value] of Object.entries(usual)) {
    const own = read?.[name];
    if (typeof value === "object") state[name] = merged(value, own);
    else if (typeof own === typeof value) state[name] = own;
  }
  return state;
}

/** The headers of a text with a header on each line. */
export function headersOf(text) {
  const headers = {};
  for (const line of text.split("\n").filter((line) => line.trim())) {
    const at = line.indexOf(":");
    if (at < 1) throw new Error(`the header \`${line.trim()}\` is not written as \`name: value\``);
    const name = line.slice(0, at).trim().toLowerCase();
    (headers[name] ??= []).push(line.slice(at + 1).trim());
  }
  return headers;
}

const parsed = (what, text) => {
  try {
    const value = JSON.parse(text || "{}");
    if (value === null || typeof value !== "object" || Array.isArray(value)) throw new Error("not an object");
    return value;
  } catch (error) {
    throw new Error(`${what}: ${error.message}`);
  }
};

/** The request and its token in the words of a case file. Throws what is wrong with them. */
export function caseOf(state) {
  const { request, token, introspection } = state;
  const own = { request: { method: request.method, path: request.path, scheme: request.scheme, headers: headersOf(request.headers) } };
  if (request.host) own.request.host = request.host;
  if (request.body) own.request.body = request.body;
  if (request.certificate) own.request.client_certificate_sha256 = request.certificate;
  if (request.peer) own.request.peer_address = request.peer;
  if (token.mode === "none") own.token = "none";
  if (token.mode === "paste") {
    const raw = token.raw.trim().replace(/^bearer\s+/i, "");
    own.token = raw ? { raw } : "none";
  }
  if (token.mode === "mint") {
    own.token = { kind: token.kind, header: parsed("the token's header", token.header), claims: parsed("the claims", token.claims) };
    if (token.provider) own.token.provider = token.provider;
    if (token.algorithm && token.kind === "jwt") own.token.algorithm = token.algorithm;
    if (token.forged && token.kind === "jwt") own.token.forged = true;
    if (token.dpop) own.token.dpop = true;
  }
  if (introspection.mode === "body") own.introspection = parsed("the introspection response", introspection.body);
  else if (introspection.mode !== "token") own.introspection = introspection.mode;
  if (state.keysUnreachable) own.keys = "unreachable";
  if (state.now.trim()) own.now = state.now.trim();
  return own;
}

/** Puts a case that the core has taken apart into the state. */
export function openCase(state, opened) {
  const usual = empty();
  const { request, token } = opened;
  const lines = Object.entries(request.headers ?? {}).flatMap(([name, values]) => [values].flat().map((value) => `${name}: ${value}`));
  state.request = {
    method: request.method, path: request.path, host: request.host ?? "", scheme: request.scheme, headers: lines.join("\n"),
    body: request.body ?? "", certificate: request.client_certificate_sha256 ?? "", peer: request.peer_address ?? "",
  };
  const json = (value) => JSON.stringify(value, null, 2);
  if (!token) state.token = { ...usual.token, mode: "none" };
  else if (token.raw) state.token = { ...usual.token, mode: "paste", raw: token.raw };
  else {
    state.token = {
      ...usual.token, mode: "mint", provider: token.provider, kind: token.kind, algorithm: token.algorithm ?? "",
      forged: token.forged, dpop: token.dpop, header: json(token.header), claims: json(token.claims),
    };
  }
  const said = opened.introspection;
  state.introspection = said === undefined ? usual.introspection
    : said === "unreachable" ? { mode: "unreachable", body: "" }
    : { mode: "body", body: json(said) };
  state.keysUnreachable = opened.keys === "unreachable";
  state.now = opened.now ?? "";
}
