"use strict";
// Chooses one tenant and filters its rows and columns. The choice stands in the fragment, so that it can be shared.
(() => {
  const one = (id) => document.getElementById(id);
  const [tenant, rows, columns, shown] = ["tenant", "rows", "columns", "shown"].map(one);
  const sections = [...document.querySelectorAll("section")];
  const words = (input) => input.value.toLowerCase().split(/\s+/).filter(Boolean);
  const has = (text, wanted) => wanted.every((word) => text.includes(word));

  function filter(section) {
    const wantedRows = words(rows);
    const wantedColumns = words(columns);
    const suites = new Set();
    let count = 0;
    const operations = section.querySelectorAll("tr.operation");
    for (const row of operations) {
      row.hidden = !has(row.dataset.text, wantedRows);
      if (!row.hidden) {
        suites.add(row.dataset.suite);
        count += 1;
      }
    }
    for (const row of section.querySelectorAll("tr.suite")) row.hidden = !suites.has(row.dataset.suite);
    section.querySelectorAll("th.column").forEach((heading, index) => {
      const hidden = !has(heading.title.toLowerCase(), wantedColumns);
      heading.hidden = hidden;
      for (const row of operations) row.cells[index + 2].hidden = hidden;
    });
    shown.textContent = `${count} of ${operations.length} operations`;
  }

  function show() {
    for (const section of sections) {
      section.hidden = section.dataset.tenant !== tenant.value;
      if (!section.hidden) filter(section);
    }
    const state = new URLSearchParams({ tenant: tenant.value });
    if (rows.value) state.set("operations", rows.value);
    if (columns.value) state.set("callers", columns.value);
    try { history.replaceState(null, "", `#${state}`); } catch { /* a sandboxed page has no history */ }
  }

  function restore() {
    const state = new URLSearchParams(location.hash.slice(1));
    const wanted = state.get("tenant");
    if ([...tenant.options].some((option) => option.value === wanted)) tenant.value = wanted;
    rows.value = state.get("operations") ?? rows.value;
    columns.value = state.get("callers") ?? columns.value;
    show();
  }

  document.documentElement.classList.add("scripted");
  one("controls").addEventListener("submit", (event) => event.preventDefault());
  for (const control of [tenant, rows, columns]) control.addEventListener("input", show);
  addEventListener("hashchange", restore);
  restore();
})();
