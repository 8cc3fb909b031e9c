// What the demo sends, and what must come of it. The configuration that decides is the one in `envoy.yaml`.

const now = () => Math.floor(Date.now() / 1000);
const get = (path, ...headers) => (token) => ({ path, headers: [...bearer(token), ...headers] });
const call = (method, path, ...headers) => (token) => ({ method, path, headers: [...bearer(token), ...headers] });
const bearer = (token) => (token ? [["authorization", `Bearer ${token}`]] : []);

/** A request that passes, with what the upstream is told. */
const passes = (tenant, title, token, request, upstream) => ({
  tenant, title, token, request, expected: { status: 200, upstream },
});
/** A request that is refused; without `reason` it is Envoy that refuses, before the filter. */
const refused = (tenant, title, token, request, status, reason) => ({
  tenant, title, token, request, expected: { status, reason },
});
const of = (client, scope, resource) => (tokens) => tokens.of(client, scope, resource);
const minted = (claims, header) => (tokens) => tokens.minted(claims(), header);

const INVOICES = "/billing/acme/invoices";
const READ = "billing:read";
const OPAQUE = "urn:billing:opaque";
const ALL = "billing:read billing:write billing:admin";
const acme = (scopes) => ({ tenant: "acme", client: "acme-sync", scopes });

export const cases = [
  // What is allowed.
  passes("acme", "acme reads its invoices", of("acme-sync", READ), get(INVOICES), acme(READ)),
  passes("acme", "acme posts an invoice", of("acme-sync", "billing:read billing:write"), call("POST", INVOICES), acme("billing:read billing:write")),
  passes("acme", "acme deletes one: admin", of("acme-sync", "billing:admin"), call("DELETE", `${INVOICES}/7`), acme("billing:admin")),
  passes("acme", "acme reads one: admin maps to read", of("acme-sync", "billing:admin"), get(`${INVOICES}/7`), acme("billing:admin")),
  passes("acme", "a second client of acme reads", of("acme-reader", READ), get(INVOICES), { tenant: "acme", client: "acme-reader", scopes: READ }),
  passes("globex", "globex reads its invoices", of("globex-sync", READ), get("/billing/globex/invoices"), { tenant: "globex", client: "globex-sync", scopes: READ }),
  passes("tenant1", "tenant1 reads its invoices", of("tenant1-sync", READ), get("/billing/tenant1/invoices"), { tenant: "tenant1", client: "tenant1-sync", scopes: READ }),
  passes("tenant10", "tenant10 reads its invoices", of("tenant10-sync", READ), get("/billing/tenant10/invoices"), { tenant: "tenant10", client: "tenant10-sync", scopes: READ }),
  passes("acme", "a report, version 2", of("acme-sync", READ), get("/reports/2026", ["x-api-version", "v2"]), acme(READ)),
  passes("acme", "header names the same tenant", of("acme-sync", READ), get(INVOICES, ["x-tenant-id", "acme"]), acme(READ)),
  passes("acme", "signed with ES256", of("acme-sync", READ, "urn:billing:es256"), get(INVOICES), acme(READ)),
  passes("acme", "signed with PS256", of("acme-sync", READ, "urn:billing:ps256"), get(INVOICES), acme(READ)),
  passes("acme", "signed with EdDSA", of("acme-sync", READ, "urn:billing:eddsa"), get(INVOICES), acme(READ)),
  passes("acme", "opaque: the issuer is asked", of("acme-sync", READ, OPAQUE), get(INVOICES), acme(READ)),
  passes("globex", "opaque, of globex", of("globex-sync", READ, OPAQUE), get("/billing/globex/invoices"), { tenant: "globex", client: "globex-sync", scopes: READ }),
  passes("acme", "who am I: a token, no scope needed", of("acme-sync"), get("/whoami"), acme("")),
  passes(null, "health, without a token", null, get("/health"), {}),
  passes("acme", "health, with one: left as it is", of("acme-sync", READ), get("/health"), { credential: true }),
  passes("acme", "the scheme in capitals", of("acme-sync", READ), (token) => ({ path: INVOICES, headers: [["authorization", `BEARER ${token}`]] }), acme(READ)),

  // Identity is told by the filter only.
  passes("acme", "spoofed identity headers", of("acme-sync", READ), get(INVOICES, ["x-client-id", "root"], ["x-scopes", ALL], ["X-Scopes", "*"]), acme(READ)),
  passes(null, "spoofed ones on a public path", null, get("/health", ["x-tenant-id", "acme"], ["x-client-id", "root"], ["x-scopes", ALL]), {}),
  passes("acme", "spoofed ones with a dot", of("acme-sync", READ), (token) => ({ path: INVOICES, headers: [...bearer(token), ["x.tenant.id", "globex"]] }), { ...acme(READ), absent: ["x.tenant.id"] }),
  refused("acme", "spoofed ones with an underscore", of("acme-sync", READ), get(INVOICES, ["x_tenant_id", "globex"]), 400),

  // The credential.
  refused(null, "no token", null, get(INVOICES), 401, "credential_missing"),
  refused(null, "no token, nothing mapped", null, get("/nowhere"), 401, "credential_missing"),
  refused("acme", "two tokens", of("acme-sync", READ), (token) => ({ path: INVOICES, headers: [...bearer(token), ...bearer(token)] }), 400, "credential_ambiguous"),
  refused(null, "not a token", null, get(INVOICES, ["authorization", "Bearer not a token"]), 400, "credential_malformed"),
  refused(null, "opaque, of nobody", (tokens) => tokens.unheardOf(), get(INVOICES), 401, "token_inactive"),
  refused("acme", "opaque, revoked", (tokens) => tokens.revoked("acme-sync", READ, OPAQUE), get(INVOICES), 401, "token_inactive"),
  refused("acme", "opaque, beside another tenant's name", of("acme-sync", READ, OPAQUE), get("/whoami", ["x-tenant-id", "nobody"]), 401, "tenant_mismatch"),

  // The token.
  refused("acme", "expired", minted(() => ({ iat: now() - 900, exp: now() - 300 })), get(INVOICES), 401, "token_expired"),
  refused("acme", "not valid yet", minted(() => ({ nbf: now() + 300 })), get(INVOICES), 401, "token_not_yet_valid"),
  refused("acme", "for another audience", of("acme-sync", READ, "urn:inventory"), get(INVOICES), 401, "audience_mismatch"),
  refused("acme", "of an unknown issuer", minted(() => ({ iss: "https://evil.example.com" })), get(INVOICES), 401, "issuer_unknown"),
  refused("acme", "a logout token", minted(() => ({}), { typ: "logout+jwt" }), get(INVOICES), 401, "token_type_not_accepted"),
  refused("acme", "tampered signature", (tokens) => tokens.withBrokenSignature("acme-sync", READ), get(INVOICES), 401, "signature_invalid"),
  refused("acme", "tampered claims", (tokens) => tokens.withChangedClaims("acme-sync", READ, { scope: ALL }), get(INVOICES), 401, "signature_invalid"),
  refused("acme", "signed with a key it brings along", (tokens) => tokens.signedWithAnotherKey(), get(INVOICES), 401, "signature_invalid"),
  refused("acme", "alg none", (tokens) => tokens.unsigned(), get(INVOICES), 401, "algorithm_not_allowed"),
  refused("acme", "HS256, the public key as secret", (tokens) => tokens.signedWithThePublicKey(), get(INVOICES), 401, "algorithm_not_allowed"),

  // The tenant, before any scope.
  refused("globex", "globex at acme's, opaque", of("globex-sync", READ, OPAQUE), get(INVOICES), 401, "tenant_mismatch"),
  refused("globex", "globex at acme's invoices", of("globex-sync", READ), get(INVOICES), 401, "tenant_mismatch"),
  refused("acme", "header names another tenant", of("acme-sync", READ), get("/whoami", ["x-tenant-id", "globex"]), 401, "tenant_mismatch"),
  refused("tenant1", "tenant1 at tenant10's invoices", of("tenant1-sync", READ), get("/billing/tenant10/invoices"), 401, "tenant_mismatch"),
  refused("tenant10", "tenant10 with tenant1's header", of("tenant10-sync", READ), get("/whoami", ["x-tenant-id", "tenant1"]), 401, "tenant_mismatch"),
  refused("acme", "two tenants in the header", of("acme-sync", READ), get("/whoami", ["x-tenant-id", "acme"], ["x-tenant-id", "globex"]), 400, "header_ambiguous"),
  refused("initech", "a tenant that is not configured", of("initech-sync", READ), get("/whoami"), 401, "tenant_unknown"),
  refused("acme", "an application not registered", of("acme-rogue", READ), get(INVOICES), 401, "application_not_registered"),

  // The scopes, by the tenant's own table.
  refused("acme", "no scope at all", of("acme-sync"), get(INVOICES), 403, "no_scopes_in_token"),
  refused("acme", "opaque, no scope told of it", of("acme-sync", "", OPAQUE), get(INVOICES), 403, "scope_absent_from_introspection"),
  refused("acme", "opaque, reading only, and posts", of("acme-sync", READ, OPAQUE), call("POST", INVOICES), 403, "scope_not_granted"),
  refused("acme", "reading only, and posts", of("acme-sync", READ), call("POST", INVOICES), 403, "scope_not_granted"),
  refused("acme", "Billing:Read for billing:read", of("acme-sync", "Billing:Read"), get(INVOICES), 403, "scope_name_mismatch"),
  refused("acme", "a scope this client is not assigned", of("acme-reader", "billing:write"), call("POST", INVOICES), 403, "scope_not_assigned_to_application"),
  refused("globex", "a scope globex does not declare", of("globex-sync", "billing:admin"), call("DELETE", "/billing/globex/invoices/7"), 403, "scope_not_declared"),

  // The operation.
  refused("tenant10", "a suite tenant10 does not have", of("tenant10-sync", READ), get("/reports/2026", ["x-api-version", "v2"]), 403, "suite_not_available"),
  refused("acme", "nothing mapped here", of("acme-sync", ALL), get("/nowhere"), 403, "operation_not_mapped"),
  refused("acme", "method not mapped", of("acme-sync", ALL), call("PUT", INVOICES), 403, "method_not_mapped"),
  refused("acme", "a report, no version named", of("acme-sync", READ), get("/reports/2026"), 400, "header_missing"),

  // Paths that two may read in two ways.
  refused("globex", "a path parameter", of("globex-sync", READ), get("/billing/globex;a=acme/invoices"), 400, "path_ambiguous"),
  // Envoy takes it for a parent directory, as some upstreams do, so that all see one and the same path.
  refused("globex", "..; into acme's invoices", of("globex-sync", READ), get("/billing/globex/..;/acme/invoices"), 401, "tenant_mismatch"),
  refused("globex", "a dot segment encoded twice", of("globex-sync", READ), get("/billing/globex/%252e%252e/acme/invoices"), 400, "path_ambiguous"),
  refused("globex", "an encoded slash", of("globex-sync", READ), get("/billing/globex%2f..%2facme/invoices"), 400),
];
