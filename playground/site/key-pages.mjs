// A page for each key of the configuration.
import { escape, page, read, slug } from "./book.mjs";
import { all, embedded } from "./embedded.mjs";
import { facts, keys, rowOf, rows, uses } from "./keys.mjs";
import { block, rendered } from "./markdown.mjs";

export function keyPages() {
  const schema = JSON.parse(read("filter-config/schema.json"));
  const found = keys(schema);
  const table = rows(read("docs/configuration.md"));
  const used = uses([...all, { id: "", title: "tests/fixtures/config/full.yaml", config: read("tests/fixtures/config/full.yaml") }], found);
  for (const key of found) {
    const address = `keys/${key.path}.html`;
    const inline = (text) => rendered(text, "docs/configuration.md", address).trim().replace(/^<p>|<\/p>$/g, "");
    const description = key.schemas.map((one) => one.description).find((text) => text);
    const row = rowOf(key, table);
    if (!description && !row) throw new Error(`neither schema.json nor docs/configuration.md says what ${key.path} is`);
    const parts = [`<p class="crumbs"><a href="index.html">Configuration keys</a></p>`, `<h1><code>${escape(key.path)}</code></h1>`];
    if (description) parts.push(`<p class="lead">${escape(description)}</p>`);
    parts.push(`<dl class="facts">${facts(key).map(([word, value]) => `<dt>${escape(word)}</dt><dd>${escape(value)}</dd>`).join("")}</dl>`);
    if (row) {
      const [, type, usual, meaning] = row.cells.length >= 4 ? row.cells : [row.cells[0], row.cells[1], "", row.cells[2]];
      parts.push("<h2 id=\"meaning\">Bounds and meaning</h2>", `<p>${inline((meaning ?? "").replaceAll("\\|", "|"))}</p>`,
        `<p class="quiet">${inline(`${type ?? ""}${usual ? `, default: ${usual}` : ""}`.replaceAll("\\|", "|"))}</p>`,
        `<p><a href="../docs/configuration.html#${slug(row.heading.replaceAll("`", ""))}">In the reference: ${escape(row.heading.replaceAll("`", ""))}</a></p>`);
    }
    const use = used.get(key.path);
    if (use) {
      const lines = use.example.config.split("\n");
      const from = Math.max(0, use.line - 4);
      const shown = lines.slice(from, use.line + 4).join("\n");
      parts.push("<h2 id=\"in-use\">In use</h2>", `<p>${escape(use.example.title)}, line ${use.line}:</p>`, block(shown, "yaml"));
      if (use.example.id) parts.push(embedded("../", `example=${use.example.id}`));
    }
    const below = found.filter((one) => one.path.startsWith(`${key.path}.`) || one.path.startsWith(`${key.path}[]`))
      .filter((one) => !one.path.slice(key.path.length + 1).replace(/^\]?\.?/, "").replace(/^NAME\./, "").includes("."));
    if (below.length) {
      parts.push("<h2 id=\"below\">Keys below</h2>", `<ul class="columns">${below.map((one) => `<li><a href="${one.path}.html"><code>${escape(one.path)}</code></a></li>`).join("")}</ul>`);
    }
    page(address, key.path, parts.join("\n"), { group: "Keys" });
  }
  const described = (key) => `<p class="quiet">${escape(key.schemas.map((one) => one.description).find((text) => text) ?? "")}</p>`;
  const tops = found.filter((key) => !/[.[]/.test(key.path));
  page("keys/index.html", "Configuration keys", `<h1>Configuration keys</h1><p class="lead">${found.length} keys, one page each, from the JSON Schema. <a href="../docs/configuration.html">The reference</a> tells of them together.</p>`
    + tops.map((top) => `<h2 id="${slug(top.path)}"><a href="${top.path}.html"><code>${top.path}</code></a></h2>${described(top)}<ul class="columns">${found.filter((key) => key.path.startsWith(`${top.path}.`) || key.path.startsWith(`${top.path}[`)).map((key) => `<li><a href="${key.path}.html"><code>${escape(key.path.slice(top.path.length).replace(/^\./, ""))}</code></a></li>`).join("")}</ul>`).join(""), { group: "Reference", source: "filter-config/schema.json" });
}
