"use strict";
// Shows one tenant's table. Rows are made as they come into view. The choice stands in the fragment, so that it can be shared.
(() => {
  const one = (id) => document.getElementById(id);
  const data = JSON.parse(one("data").textContent);
  const [tenant, rows, columns, shown, matches, scroll, head, body] =
    ["tenant", "rows", "columns", "shown", "matches", "scroll", "head", "body"].map(one);
  const marks = { granted: "\u2713", shadow: "\u25d0", off: "\u25cb", authenticated: "\u2022", public: "\u25cc", refused: "\u00b7" };
  const MOST_MATCHES = 50;
  const words = (text) => text.toLowerCase().split(/\s+/).filter(Boolean);
  const has = (text, wanted) => wanted.every((word) => text.includes(word));
  const names = data.tenants.map(([name]) => name);
  const lower = names.map((name) => name.toLowerCase());
  const texts = data.operations.map(([suite, name, request, requires]) => `${suite}/${name} ${request} ${requires}`.toLowerCase());
  let chosen = 0;
  let visible = { rows: [], columns: [] };
  let rowHeight = 46;

  function element(name, properties, ...children) {
    const made = Object.assign(document.createElement(name), properties);
    made.append(...children);
    return made;
  }

  const own = (text) => text.replaceAll("{tenant}", names[chosen]);

  function title(column) {
    const provider = column.provider ? ` of ${column.provider}` : "";
    const sender = column.sender ? `; tokens ${column.sender}` : "";
    return column.kind === "application"
      ? `application ${own(column.name)}${provider}: ${own(column.behind) || "no scopes"}${sender}`
      : `scope ${own(column.name)} alone, as ${own(column.behind)}`;
  }

  function row(at, table) {
    const [suite, name, request, requires] = data.operations[table.rows[at]];
    const made = element("tr", { className: "operation" },
      element("th", { scope: "row" }, element("b", {}, `${suite}/${name}`), element("code", {}, request)),
      element("td", { className: "requires" }, requires));
    for (const column of visible.columns) {
      const [kind, reason] = data.outcomes[column.cells.charCodeAt(at) - 48];
      const cell = element("td", { className: `cell ${column.kind}`, title: `${own(column.name)}: ${kind}${reason && `: ${reason}`}` },
        element("span", { className: `mark ${kind}` }, marks[kind]));
      made.append(cell);
    }
    return made;
  }

  function spacer(count) {
    const made = element("tr", { className: "spacer" }, element("td", { colSpan: visible.columns.length + 2 }));
    made.firstChild.style.height = `${count * rowHeight}px`;
    return made;
  }

  /// Makes the rows in view, or all of them for a printer.
  function draw(all = false) {
    const table = data.tables[data.tenants[chosen]?.[1]];
    if (!table) return;
    const count = visible.rows.length;
    const first = all ? 0 : Math.max(0, Math.floor(scroll.scrollTop / rowHeight) - 10);
    const last = all ? count : Math.min(count, first + Math.ceil(scroll.clientHeight / rowHeight) + 30);
    body.replaceChildren(
      ...(first > 0 ? [spacer(first)] : []),
      ...visible.rows.slice(first, last).map((at) => row(at, table)),
      ...(last < count ? [spacer(count - last)] : []));
  }

  function show() {
    const table = data.tables[data.tenants[chosen]?.[1]];
    one("title").textContent = names[chosen] ?? "";
    if (!table) {
      visible = { rows: [], columns: [] };
      head.replaceChildren();
      body.replaceChildren(element("tr", {}, element("td", { className: "absent" },
        names.length ? `The table of ${names[chosen]} is left out of this page.` : "There is no tenant.")));
      shown.textContent = "";
      return;
    }
    const wantedRows = words(rows.value);
    const wantedColumns = words(columns.value);
    visible = {
      rows: [...table.rows.keys()].filter((at) => has(texts[table.rows[at]], wantedRows)),
      columns: table.columns.filter((column) => has(title(column).toLowerCase(), wantedColumns)),
    };
    head.replaceChildren(element("tr", {},
      element("th", { className: "corner", scope: "col" }, "Operation"),
      element("th", { className: "requires", scope: "col" }, "Requires"),
      ...visible.columns.map((column) =>
        element("th", { className: `column ${column.kind}`, scope: "col", title: title(column) }, element("span", {}, own(column.name))))));
    scroll.scrollTop = 0;
    draw();
    const made = body.querySelector("tr.operation");
    if (made && made.offsetHeight) rowHeight = made.offsetHeight;
    draw();
    shown.textContent = `${visible.rows.length} of ${table.rows.length} operations, ${names.length} tenants`;
    const state = new URLSearchParams({ tenant: names[chosen] });
    if (rows.value) state.set("operations", rows.value);
    if (columns.value) state.set("callers", columns.value);
    try { history.replaceState(null, "", `#${state}`); } catch { /* a sandboxed page has no history */ }
  }

  function choose(at) {
    chosen = at;
    tenant.value = names[at];
    matches.hidden = true;
    show();
  }

  /// Looks through all tenants.
  function search() {
    const wanted = words(tenant.value);
    const found = [];
    let more = 0;
    lower.forEach((name, at) => {
      if (!has(name, wanted)) return;
      if (found.length < MOST_MATCHES) found.push(at);
      else more += 1;
    });
    matches.replaceChildren(
      ...found.map((at) => element("li", { role: "option" }, element("button", { type: "button", onclick: () => choose(at) }, names[at]))),
      ...(more ? [element("li", { className: "more" }, `and ${more} more`)] : []),
      ...(found.length ? [] : [element("li", { className: "more" }, "no tenant")]));
    matches.hidden = false;
    return found;
  }

  function restore() {
    const state = new URLSearchParams(location.hash.slice(1));
    rows.value = state.get("operations") ?? rows.value;
    columns.value = state.get("callers") ?? columns.value;
    choose(Math.max(0, names.indexOf(state.get("tenant"))));
  }

  one("controls").addEventListener("submit", (event) => event.preventDefault());
  tenant.addEventListener("keydown", (event) => {
    if (event.key !== "Enter") return;
    const exact = lower.indexOf(tenant.value.toLowerCase());
    const [first] = exact >= 0 ? [exact] : search();
    if (first !== undefined) choose(first);
  });
  tenant.addEventListener("input", search);
  tenant.addEventListener("focus", () => tenant.select());
  tenant.addEventListener("keydown", (event) => { if (event.key === "Escape") matches.hidden = true; });
  document.addEventListener("click", (event) => { if (!event.target.closest(".chooser")) matches.hidden = true; });
  for (const control of [rows, columns]) control.addEventListener("input", show);
  scroll.addEventListener("scroll", () => draw());
  addEventListener("resize", () => draw());
  addEventListener("beforeprint", () => draw(true));
  addEventListener("afterprint", () => draw());
  addEventListener("hashchange", restore);
  restore();
})();
