// Who can call what, what differs, and what comes of all cases.
import { byId, h, prose } from "./dom.js";

const MARKS = { granted: "✓ yes", shadow: "~ shadow", off: "○ off", authenticated: "• any token", public: "◌ public", refused: "· no" };

let chosenTenant = "";

export function showMatrix(parent, matrix) {
  if (!matrix || matrix.problem) {
    parent.replaceChildren(h("p", { class: "note" }, matrix ? "There is no table while the configuration has errors." : "…"));
    return;
  }
  const names = matrix.tenants.map(([name]) => name);
  if (!names.includes(chosenTenant)) chosenTenant = names[0] ?? "";
  const filter = byId("matrix-filter")?.value ?? "";
  const tenant = h("select", { id: "matrix-tenant", onchange: () => { chosenTenant = tenant.value; draw(); } }, names.map((name) => h("option", {}, name)));
  tenant.value = chosenTenant;
  const search = h("input", { type: "text", id: "matrix-filter", placeholder: "name, path, scope", oninput: () => draw() });
  search.value = filter;
  const table = h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Who can call what" });
  parent.replaceChildren(h("div", { class: "tools" },
    h("div", { class: "field" }, h("label", { for: "matrix-tenant" }, "Tenant"), tenant),
    h("div", { class: "field" }, h("label", { for: "matrix-filter" }, "Operations"), search)), table);
  draw();

  function draw() {
    const place = matrix.tenants.find(([name]) => name === chosenTenant)?.[1];
    const own = matrix.tables[place];
    if (!own) return;
    const named = (text) => text.replaceAll("{tenant}", chosenTenant);
    const wanted = search.value.toLowerCase();
    const rows = own.rows.map((row, at) => ({ at, operation: matrix.operations[row] }))
      .filter(({ operation }) => operation.join(" ").toLowerCase().includes(wanted));
    table.replaceChildren(h("table", { class: "matrix" },
      h("caption", { class: "hidden-text" }, `What callers of ${chosenTenant} can call`),
      h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Operation"), own.columns.map((column) =>
        h("th", { scope: "col" }, named(column.name), h("small", {}, column.kind === "scope" ? "scope alone" : column.provider ?? "any client"))))),
      h("tbody", {}, rows.map(({ at, operation: [suite, name, request, requires] }) => h("tr", {},
        h("th", { scope: "row" }, `${suite}/${name}`, h("small", {}, h("code", {}, named(request))), h("small", {}, `needs ${requires}`)),
        own.columns.map((column) => {
          const [kind, reason] = matrix.outcomes[column.cells.charCodeAt(at) - 0x30] ?? ["refused", ""];
          return h("td", { class: kind }, MARKS[kind], reason && h("small", {}, reason));
        }))))));
  }
}

export function showDiff(parent, diff, before) {
  if (!before.trim()) {
    parent.replaceChildren(h("p", { class: "note" }, "Put an earlier configuration under “Compare with”, on the left: this says what a reload logs, and who gains or loses access."));
    return;
  }
  if (!diff || diff.problem) {
    parent.replaceChildren(h("pre", { class: "plain" }, diff?.problem ?? "…"));
    return;
  }
  const { access, events, settings } = diff.report;
  const side = (gains) => access.filter((change) => (change.change === "gains") === gains);
  const listed = (changes, word) => changes.length ? h("ul", { class: "changes" }, changes.slice(0, 200).map((change) =>
    h("li", {}, h("span", { class: change.change }, word), " ", change.everybody ? "everybody" : h("b", {}, `${change.client ?? "any client"}`),
      change.tenant && ` of ${change.tenant}`, " ", h("code", {}, change.operation), " ", h("small", {}, change.request)))) : h("p", { class: "beside" }, "Nobody.");
  parent.replaceChildren(
    h("div", { class: "block" }, h("h3", {}, `Who gains access (${side(true).length})`), listed(side(true), "+ gains")),
    h("div", { class: "block" }, h("h3", {}, `Who loses access (${side(false).length})`), listed(side(false), "− loses")),
    h("div", { class: "block" }, h("h3", {}, `What a reload logs (${events.length})`),
      events.length ? h("ul", { class: "changes" }, events.map((event) => h("li", {}, h("code", {}, JSON.stringify(event))))) : h("p", { class: "beside" }, "Nothing.")),
    h("div", { class: "block" }, h("h3", {}, `Other settings that differ (${settings.length})`),
      settings.length ? h("ul", { class: "changes" }, settings.map((path) => h("li", {}, h("code", {}, path)))) : h("p", { class: "beside" }, "None.")),
    h("div", { class: "block" }, h("h3", {}, "As the command line tells it"),
      h("pre", { class: "plain", id: "diff-text", tabindex: "0", role: "region", "aria-label": "The difference as text" }, diff.text)));
}

/** The results of cases so far. */
export function showCases(parent, { names, ran, run, open, problem }) {
  const good = ran.filter((one) => one.ok).length;
  const summary = problem ?? (ran.length
    ? `${ran.length} of ${names.length} cases: ${good} as expected, ${ran.length - good} not`
    : names.length ? `${names.length} cases in the case file` : "The case file holds no cases: write some under “Cases”, on the left.");
  const byName = new Map(ran.map((one) => [one.name, one]));
  parent.replaceChildren(
    h("div", { class: "tools" }, h("button", { type: "button", id: "run-cases", onclick: run, disabled: !names.length }, "Run all cases"),
      h("p", { id: "ran", role: "status" }, summary)),
    h("ul", { class: "ran" }, names.map(({ name }) => {
      const one = byName.get(name);
      const mark = one ? (one.ok ? h("span", { class: "ok" }, "✓") : h("span", { class: "no" }, "✕")) : h("span", {}, "·");
      const came = one ? one.problem ?? one.reason ?? one.decision : "";
      return h("li", {}, h("button", { type: "button", onclick: () => open(name) }, mark, h("span", {},
        name, one && !one.ok && one.mismatches ? h("small", {}, prose(`, ${one.mismatches.map((m) => `${m.what}: expected \`${m.expected}\`, found \`${m.found}\``).join("; ")}`)) : ""),
        h("span", { class: "came" }, came)));
    })));
}
