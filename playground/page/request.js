// The form of a request and its token.
import { jsonEditor } from "./editors.js";
import { byId, h } from "./dom.js";

const METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
const ALGORITHMS = ["ES256", "ES384", "ES512", "ES256K", "EdDSA", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "HS256", "HS384", "HS512"];

/** Makes the form in `parent`. `changed(isCase)` is called after each change of the state. */
export function requestForm(parent, state, changed) {
  const inputs = [];
  const field = (label, control) => h("div", { class: "field" }, h("label", { for: control.id }, label), control);
  function bound(control, path, event = "input") {
    const [section, name] = path;
    control.addEventListener(event, () => {
      const holder = name ? state()[section] : state();
      holder[name ?? section] = control.type === "checkbox" ? control.checked : control.value;
      changed();
    });
    inputs.push(() => {
      const value = name ? state()[section][name] : state()[section];
      if (control.type === "checkbox") control.checked = value;
      else if (control.value !== value) {
        if (control.tagName === "SELECT" && ![...control.options].some((option) => option.value === value)) control.append(h("option", {}, value));
        control.value = value;
      }
    });
    return control;
  }
  const text = (id, path, more = {}) => bound(h("input", { type: "text", id, class: "code", autocomplete: "off", spellcheck: "false", ...more }), path);
  const area = (id, path, more = {}) => bound(h("textarea", { id, rows: "2", autocomplete: "off", spellcheck: "false", ...more }), path);
  const select = (id, path, options, more = {}) =>
    bound(h("select", { id, ...more }, options.map(([value, title]) => h("option", { value }, title))), path, "change");
  const check = (id, path, title) => h("label", { for: id }, bound(h("input", { type: "checkbox", id }), path, "change"), title);
  const editors = {};
  function claims(id, label, section, name) {
    const holder = h("div", { class: "editor small" });
    editors[id] = jsonEditor({
      parent: holder, label, id,
      changed: (value) => {
        if (state()[section][name] === value) return;
        state()[section][name] = value;
        changed();
      },
    });
    inputs.push(() => { editors[id].text = state()[section][name]; });
    return h("div", { class: "field" }, h("span", { class: "label" }, label), holder);
  }

  const caseSelect = h("select", { id: "case" });
  const choice = h("div", { class: "choice" }, [["mint", "Mint"], ["paste", "Paste"], ["none", "None"]].map(([mode, title]) =>
    h("label", {}, h("input", {
      type: "radio", name: "token-mode", value: mode, id: `token-${mode}`,
      onchange: () => { state().token.mode = mode; fill(); changed(); },
    }), h("span", {}, title))));
  const provider = select("provider", ["token", "provider"], []);
  const kind = select("kind", ["token", "kind"], [["jwt", "JWT"], ["opaque", "opaque"]]);
  const algorithm = select("algorithm", ["token", "algorithm"], ALGORITHMS.map((name) => [name, name]));
  kind.addEventListener("change", () => fill());
  const introspectionMode = select("introspection", ["introspection", "mode"], [
    ["token", "what the token says"], ["inactive", "inactive"], ["unreachable", "no answer"], ["body", "this JSON"],
  ]);
  introspectionMode.addEventListener("change", () => fill());

  const jwtOnly = h("div", {}, claims("token-header", "Header, beside alg and kid", "token", "header"));
  const mint = h("div", { class: "inside" },
    h("div", { class: "row" }, field("Provider", provider), field("Kind", kind), field("Signed with", algorithm)),
    claims("claims", "Claims", "token", "claims"),
    jwtOnly,
    h("div", { class: "checks" }, check("forged", ["token", "forged"], "spoil the signature"), check("dpop", ["token", "dpop"], "bind to a key, with a proof (DPoP)")));
  const decoded = h("pre", { class: "plain", id: "decoded", tabindex: "0", role: "region", "aria-label": "The token, decoded" });
  const paste = h("div", { class: "inside" },
    field("Access token", area("raw", ["token", "raw"], { rows: "5", placeholder: "eyJhbGciOi…" })),
    decoded,
    field("JWK Set of its issuer", area("jwks", ["token", "jwks"], { rows: "4", placeholder: '{"keys": [ … ]}' })));
  const introspectionBody = claims("introspection-body", "Introspection response", "introspection", "body");
  const tokenProblem = h("p", { class: "problem", id: "token-problem", role: "status" });

  parent.append(
    field("Case", caseSelect),
    h("div", { class: "line" }, field("Method", select("method", ["request", "method"], METHODS.map((name) => [name, name]))),
      field("Path and query", text("path", ["request", "path"]))),
    h("div", { class: "row" }, field("Host", text("host", ["request", "host"], { placeholder: "any" })),
      field("Scheme", select("scheme", ["request", "scheme"], [["https", "https"], ["http", "http"]]))),
    h("details", { id: "more-request" }, h("summary", {}, "Headers, body, connection, time"), h("div", { class: "inside" },
      field("Headers, one a line", area("headers", ["request", "headers"], { placeholder: "x-tenant: acme" })),
      field("Body, the form of a token request", area("body", ["request", "body"], { placeholder: "grant_type=client_credentials&…" })),
      h("div", { class: "row" }, field("SHA-256 of the client certificate", text("certificate", ["request", "certificate"])),
        field("Address of the peer", text("peer", ["request", "peer"]))),
      field("Moment", text("now", ["now"], { placeholder: "now, or 2026-11-22T12:00:00Z" })))),
    h("fieldset", { class: "part" }, h("legend", {}, "Token"), choice, mint, paste, tokenProblem),
    h("details", { id: "more-issuer" }, h("summary", {}, "What the issuer answers"), h("div", { class: "inside" },
      field("Introspection", introspectionMode), introspectionBody,
      h("div", { class: "checks" }, check("keys-unreachable", ["keysUnreachable"], "its keys cannot be fetched")))),
  );

  function fill() {
    inputs.forEach((set) => set());
    const { token, introspection, request, now, keysUnreachable } = state();
    byId(`token-${token.mode}`).checked = true;
    mint.hidden = token.mode !== "mint";
    paste.hidden = token.mode !== "paste";
    jwtOnly.hidden = token.kind !== "jwt";
    algorithm.disabled = token.kind !== "jwt";
    introspectionBody.hidden = introspection.mode !== "body";
    if (request.headers || request.body || request.certificate || request.peer || now) byId("more-request").open = true;
    if (introspection.mode !== "token" || keysUnreachable) byId("more-issuer").open = true;
  }

  return {
    fill,
    caseSelect,
    /** What the configuration offers to choose from. */
    offer(outline) {
      if (!outline) return;
      const names = outline.providers.map((one) => one.name);
      if (names.length && !names.includes(state().token.provider)) state().token.provider = names[0];
      provider.replaceChildren(...names.map((name) => h("option", {}, name)));
      provider.value = state().token.provider;
      const own = outline.providers.find((one) => one.name === state().token.provider);
      for (const option of algorithm.options) {
        option.textContent = own?.algorithms.includes(option.value) ? option.value : `${option.value} (not accepted)`;
      }
      if (!state().token.algorithm && own?.algorithms.length) {
        state().token.algorithm = own.algorithms.find((name) => name.startsWith("E")) ?? own.algorithms[0];
        algorithm.value = state().token.algorithm;
      }
    },
    decoded(token) {
      const parts = token && (token.header || token.claims);
      const what = token && !parts ? "This is no JWT: an opaque token, or none at all." : "";
      decoded.textContent = parts ? `${JSON.stringify(token.header, null, 2)}\n${JSON.stringify(token.claims, null, 2)}` : what;
      decoded.hidden = !decoded.textContent;
    },
    problem(message) { tokenProblem.textContent = message ?? ""; },
  };
}
