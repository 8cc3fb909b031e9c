// Builds the documentation as a site: node site.mjs CORE.wasm PLAYGROUND OUTPUT. The pages are those of README, docs/ and what
// lies beside them, with one page a reason and one page a configuration key, and they open from disk.
import { cpSync, existsSync, mkdirSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { dirname, extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import { deflateRawSync } from "node:zlib";
import { json } from "@codemirror/lang-json";
import { yaml } from "@codemirror/lang-yaml";
import { highlightCode } from "@lezer/highlight";
import esbuild from "esbuild";
import MarkdownIt from "markdown-it";
import MiniSearch from "minisearch";
import { examples } from "./examples.mjs";
import { highlighter } from "./highlight.mjs";
import { answer } from "./page/core.js";
import { empty } from "./page/state.js";
import { facts, keys, rowOf, rows, uses } from "./site/keys.mjs";

const [wasm, playground, output] = process.argv.slice(2);
const here = dirname(fileURLToPath(import.meta.url));
const root = dirname(here);
const read = (path) => readFileSync(join(root, path), "utf8");
const escape = (text) => String(text).replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;");
const slug = (text) => text.toLowerCase().replace(/[^\p{L}\p{N}\s_-]/gu, "").replaceAll(/\s/g, "-");

const all = examples(root);
const compiled = await WebAssembly.compile(readFileSync(wasm));

// Every page: its address in the site, its title, its text in HTML, and what the search finds.
const pages = [];
function page(address, title, html, { group, source, lead } = {}) {
  pages.push({ address, title, html, group, source, lead });
}

// ---------------------------------------------------------------------------------------------------------------- Markdown

/** The document's address in the site; undefined for what is no document of it. */
function addressOf(path) {
  if (path === "README.md") return "index.html";
  if (path === "docs/issuers/README.md") return "docs/issuers/index.html";
  return DOCUMENTS.some((one) => one.path === path) ? path.replace(/\.md$/, ".html") : undefined;
}

const issuers = readdirSync(join(root, "docs/issuers")).filter((name) => name.endsWith(".md") && name !== "README.md").sort();
const DOCUMENTS = [
  { path: "README.md", title: "Overview", group: "Begin" },
  { path: "docs/systems.md", group: "Begin" },
  { path: "docs/tool.md", group: "Begin" },
  { path: "docs/operations.md", group: "Operate" },
  { path: "docs/observability.md", group: "Operate" },
  { path: "docs/performance.md", group: "Operate" },
  { path: "docs/configuration.md", group: "Reference" },
  { path: "docs/codes.md", title: "Codes of check", group: "Reference" },
  { path: "docs/issuers/README.md", group: "Identity providers" },
  ...issuers.map((name) => ({ path: `docs/issuers/${name}`, group: "Identity providers" })),
  { path: "docs/architecture.md", group: "Project" },
  { path: "docs/second-opinion.md", group: "Project" },
  { path: "CONTRIBUTING.md", group: "Project" },
  { path: "SECURITY.md", group: "Project" },
  { path: "CHANGELOG.md", group: "Project" },
];
const GROUPS = ["Begin", "Operate", "Reference", "Identity providers", "Project"];

const languages = { yaml: yaml().language.parser, json: json().language.parser };

function highlighted(code, language) {
  const parser = languages[language];
  if (!parser) return escape(code);
  let html = "";
  highlightCode(code, parser.parse(code), highlighter,
    (text, classes) => { html += classes ? `<span class="${classes}">${escape(text)}</span>` : escape(text); },
    () => { html += "\n"; });
  return html;
}

function console_(code) {
  return code.split("\n").map((line) => (line.startsWith("$ ")
    ? `<span class="prompt">$</span> <b>${escape(line.slice(2))}</b>` : escape(line))).join("\n");
}

const block = (code, language) =>
  `<pre class="code${language === "http" ? " http" : ""}" tabindex="0"><code>${language === "console" ? console_(code) : highlighted(code, language)}</code></pre>`;

/** The playground with an example, behind a button in the page. */
function embedded(up, fragment, title = "Try it here") {
  const address = `${up}playground/index.html#${fragment}`;
  return `<div class="try"><button type="button" class="try-here" data-src="${escape(address)}" aria-expanded="false">${escape(title)}</button> `
    + `<a href="${escape(address)}">Open in the playground</a></div>`;
}

const packed = (state) => deflateRawSync(Buffer.from(JSON.stringify(state))).toString("base64url");
const isConfiguration = (code) => ["providers:", "tenants:", "suites:"].every((key) => new RegExp(`^${key}`, "m").test(code));

/** The playground's fragment for a configuration that stands in a document. */
function fragmentOf(code) {
  const known = all.find((example) => example.config.trim() === code.trim());
  if (known) return `example=${known.id}`;
  return `s=${packed({ ...empty(), config: code })}`;
}

const toRoot = (address) => "../".repeat(address.split("/").length - 1);

// What documents link to that is none of them: files of the repository, which get a page each.
const shownFiles = new Set();

function rewritten(link, path, address) {
  if (/^[a-z]+:/.test(link)) return link;
  if (link.startsWith("#")) return addressOf(path) === address ? link : `${toRoot(address)}${addressOf(path)}${link}`;
  const [file, anchor] = link.split("#");
  const target = normalize(join(dirname(path), file)).replace(/\/$/, "");
  const behind = anchor ? `#${anchor}` : "";
  const own = addressOf(target) ?? (target === "." ? "index.html" : undefined);
  if (own) return `${toRoot(address)}${own}${behind}`;
  if (!existsSync(join(root, target))) throw new Error(`${path} links to ${link}, which is not there`);
  if (/\.(svg|png)$/.test(target)) {
    mkdirSync(join(output, dirname(target)), { recursive: true });
    cpSync(join(root, target), join(output, target));
    return `${toRoot(address)}${target}`;
  }
  shownFiles.add(target);
  return `${toRoot(address)}files/${target}.html`;
}

function rendered(markdown, path, address) {
  const md = new MarkdownIt({ html: false, linkify: false });
  const used = new Map();
  md.core.ruler.push("anchors", (state) => {
    state.tokens.forEach((token, at) => {
      if (token.type !== "heading_open") return;
      const text = state.tokens[at + 1].children.map((child) => child.content).join("");
      const base = slug(text);
      const count = used.get(base) ?? 0;
      used.set(base, count + 1);
      token.attrSet("id", count ? `${base}-${count}` : base);
    });
  });
  md.renderer.rules.fence = (tokens, at) => {
    const language = tokens[at].info.trim();
    const code = tokens[at].content.replace(/\n$/, "");
    const own = language === "yaml" && isConfiguration(tokens[at].content);
    return block(code, language) + (own ? embedded(toRoot(address), fragmentOf(tokens[at].content)) : "");
  };
  md.renderer.rules.table_open = () => '<div class="table" tabindex="0" role="group" aria-label="Table"><table>';
  md.renderer.rules.table_close = () => "</table></div>";
  const rule = (name, attribute) => {
    const usual = md.renderer.rules[name] ?? ((tokens, at, options, _, self) => self.renderToken(tokens, at, options));
    md.renderer.rules[name] = (tokens, at, ...rest) => {
      tokens[at].attrSet(attribute, rewritten(tokens[at].attrGet(attribute), path, address));
      return usual(tokens, at, ...rest);
    };
  };
  rule("link_open", "href");
  rule("image", "src");
  return md.render(markdown.replaceAll(/^ *<!--.*-->\n/gm, "")).replaceAll("<th></th>", "<td></td>");
}

/** Reasons and keys that a document names become links to their pages. */
function linked(html, address) {
  return html.replaceAll(/<a [^>]*>.*?<\/a>|<code>([a-z_]+)<\/code>/gs, (whole, name) =>
    (reasons.has(name) && address !== `reasons/${name}.html` ? `<a href="${toRoot(address)}reasons/${name}.html">${whole}</a>` : whole));
}

// ----------------------------------------------------------------------------------------------------------------- Reasons

const operations = read("docs/operations.md");
const [, told] = operations.split("\n## When it refuses\n");
const whose = Object.fromEntries([...told.matchAll(/^- \*\*(\w+)\*\*: ((?:.|\n(?!\n|-))*)/gm)].map(([, name, text]) => [name, text.replaceAll("\n", " ").trim()]));
const reasons = new Map();
for (const line of told.split("\n")) {
  const cells = /^\| (\d+) \| `([a-z_]+)` \| (.*) \| (.*) \| (.*) \|$/.exec(line);
  if (cells) reasons.set(cells[2], { status: cells[1], meaning: cells[3], who: cells[4].split(", "), what: cells[5] });
}
const TAKES_MORE = "It takes more than one request, and the playground decides one at a time:";
const NOT_ALONE = {
  proof_replayed: `${TAKES_MORE} the second request with one proof is refused. \`tests/native/dpop.rs\` has the case.`,
  introspection_overloaded: `${TAKES_MORE} so many have to wait for the issuer that no more may. \`tests/native/reasons.rs\` has the case.`,
};

async function reasonPages() {
  const example = all.find(({ id }) => id === "reasons");
  const names = [...reasons.keys()];
  let thrownAway = null;
  for (const [at, name] of names.entries()) {
    const { status, meaning, who, what } = reasons.get(name);
    const address = `reasons/${name}.html`;
    const inline = (text) => rendered(text, "docs/operations.md", address).trim();
    const parts = [`<h1><code>${name}</code></h1>`, `<p class="lead">HTTP ${status}: ${escape(meaning)}.</p>`];
    let decision = null;
    if (!NOT_ALONE[name]) {
      const opened = await answer(compiled, { config: example.config, cases: example.cases, open: name, keys: thrownAway });
      if (!opened.cases?.opened || opened.cases.opened.problem) throw new Error(`playground/examples/reasons_test.yaml has no case ${name}: ${JSON.stringify(opened.cases)}`);
      const { request, token, ...more } = opened.cases.opened;
      const decided = await answer(compiled, { config: example.config, case: { request, token: token ?? "none", ...more }, keys: opened.keys });
      thrownAway = decided.keys;
      decision = decided.decision;
      if (decision.reason !== name) throw new Error(`the case ${name} gives ${JSON.stringify(decision)}`);
    }
    parts.push("<h2 id=\"what-the-caller-sees\">What the caller sees</h2>");
    if (decision) {
      const { answer: { status: code, headers, body } } = decision;
      const fields = headers.map((header) => `${header.name}: ${header.value}`).join("\n");
      parts.push(block(`HTTP/1.1 ${code}\n${fields}\n\n${JSON.stringify(JSON.parse(body), null, 2)}`, "http"));
    } else parts.push(`<p>HTTP ${status}, with the reason in the body and in the log.</p>`);
    parts.push("<h2 id=\"whom-to-call\">Whom to call</h2>", `<ul>${who.map((one) => `<li><b>${escape(one)}</b>: ${inline(whose[one] ?? "").replace(/^<p>|<\/p>$/g, "")}</li>`).join("")}</ul>`,
      who.length > 1 ? "<p>Ask the first first.</p>" : "",
      "<h2 id=\"what-to-do\">What to do</h2>", inline(what.replaceAll("\\|", "|")));
    if (decision) {
      const line = (header) => decision.sent.find((one) => one.name === header)?.value;
      parts.push("<h2 id=\"reproduce\">Reproduce it</h2>",
        `<p>${escape(line(":method"))} <code>${escape(line(":path"))}</code> with the example’s configuration and a token made on the spot. The step that ends it:</p>`,
        `<blockquote>${decision.steps.filter((step) => step.outcome === "refused").map((step) => `<b>${escape(step.name)}</b>: ${escape(step.concluded)}`).join("<br>")}</blockquote>`,
        decision.remedy ? `<p>To pass: ${inline(decision.remedy).replace(/^<p>|<\/p>$/g, "")}.</p>` : "",
        embedded("../", `example=reasons&case=${name}`, "Try it here"));
    } else parts.push("<h2 id=\"reproduce\">Reproduce it</h2>", inline(NOT_ALONE[name]));
    const beside = (to, word) => (to ? `<a href="${to}.html">${word} <code>${to}</code></a>` : "<span></span>");
    parts.push(`<p class="beside">${beside(names[at - 1], "before:")}${beside(names[at + 1], "after:")}</p>`);
    page(address, name, parts.join("\n"), { group: "Reasons", lead: meaning });
  }
  const list = (status) => names.filter((name) => reasons.get(name).status === status)
    .map((name) => `<tr><td><a href="${name}.html"><code>${name}</code></a></td><td>${escape(reasons.get(name).meaning)}</td><td>${escape(reasons.get(name).who.join(", "))}</td></tr>`).join("");
  const statuses = [...new Set(names.map((name) => reasons.get(name).status))];
  page("reasons/index.html", "Reasons for a refusal", `<h1>Reasons for a refusal</h1><p class="lead">One page each: what it means, what the caller sees, whom to call, and how to see it happen.</p>`
    + statuses.map((status) => `<h2 id="status-${status}">HTTP ${status}</h2><div class="table" tabindex="0" role="group" aria-label="Reasons with HTTP ${status}"><table><thead><tr><th>reason</th><th>meaning</th><th>whose matter</th></tr></thead><tbody>${list(status)}</tbody></table></div>`).join(""), { group: "Reference", source: "docs/operations.md" });
}

// -------------------------------------------------------------------------------------------------------------------- Keys

function keyPages() {
  const schema = JSON.parse(read("filter-config/schema.json"));
  const found = keys(schema);
  const table = rows(read("docs/configuration.md"));
  const used = uses([...all, { id: "", title: "tests/fixtures/config/full.yaml", config: read("tests/fixtures/config/full.yaml") }], found);
  for (const key of found) {
    const address = `keys/${key.path}.html`;
    const inline = (text) => rendered(text, "docs/configuration.md", address).trim().replace(/^<p>|<\/p>$/g, "");
    const description = key.schemas.map((one) => one.description).find((text) => text);
    const row = rowOf(key, table);
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
    page(address, key.path, parts.join("\n"), { group: "Keys", lead: description ?? "" });
  }
  const described = (key) => `<p class="quiet">${escape(key.schemas.map((one) => one.description).find((text) => text) ?? "")}</p>`;
  const tops = found.filter((key) => !/[.[]/.test(key.path));
  page("keys/index.html", "Configuration keys", `<h1>Configuration keys</h1><p class="lead">${found.length} keys, one page each, from the JSON Schema. <a href="../docs/configuration.html">The reference</a> tells of them together.</p>`
    + tops.map((top) => `<h2 id="${slug(top.path)}"><a href="${top.path}.html"><code>${top.path}</code></a></h2>${described(top)}<ul class="columns">${found.filter((key) => key.path.startsWith(`${top.path}.`) || key.path.startsWith(`${top.path}[`)).map((key) => `<li><a href="${key.path}.html"><code>${escape(key.path.slice(top.path.length).replace(/^\./, ""))}</code></a></li>`).join("")}</ul>`).join(""), { group: "Reference", source: "filter-config/schema.json" });
}

// ------------------------------------------------------------------------------------------------------------------- Files

function filePages() {
  // A directory adds its files while this goes on.
  for (const path of shownFiles) {
    const address = `files/${path}.html`;
    if (statSync(join(root, path)).isDirectory()) {
      const names = readdirSync(join(root, path)).filter((name) => !/^(node_modules|\.)/.test(name)).sort();
      const item = (name) => {
        const own = join(path, name);
        if (statSync(join(root, own)).isDirectory()) return `<li><code>${escape(name)}/</code></li>`;
        shownFiles.add(own);
        return `<li><a href="${toRoot(address)}files/${own}.html"><code>${escape(name)}</code></a></li>`;
      };
      page(address, path, `<h1><code>${escape(path)}/</code></h1><ul>${names.map(item).join("")}</ul>`, { group: "Files" });
    } else {
      const language = { ".yaml": "yaml", ".yml": "yaml", ".json": "json" }[extname(path)] ?? "";
      const text = read(path).replace(/\n$/, "");
      const example = language === "yaml" && isConfiguration(text) && !/^(static_resources|admin):/m.test(text);
      page(address, path, `<h1><code>${escape(path)}</code></h1>${example ? embedded(toRoot(address), fragmentOf(`${text}\n`)) : ""}${block(text, language)}`, { group: "Files" });
    }
  }
}

// -------------------------------------------------------------------------------------------------------------------- Site

function navigation(address) {
  const up = toRoot(address);
  const item = (one) => `<li><a href="${up}${one.address}"${one.address === address ? ' aria-current="page"' : ""}>${escape(one.title)}</a></li>`;
  const own = (group) => pages.filter((one) => one.group === group);
  const section = (group, items, isOpen) => `<details${isOpen ? " open" : ""}><summary>${group}</summary><ul>${items.map(item).join("")}</ul></details>`;
  const current = pages.find((one) => one.address === address)?.group;
  return `<li class="play"><a href="${up}playground/index.html">Playground</a></li>`
    + GROUPS.map((group) => `<li>${section(group, own(group), ["Begin", "Operate", "Reference"].includes(group) || group === current)}</li>`).join("")
    + `<li>${section("Reasons", own("Reasons"), current === "Reasons")}</li>`;
}

function contents(html) {
  const found = [...html.matchAll(/<h2 id="([^"]+)">(.*?)<\/h2>/g)];
  if (found.length < 3) return "";
  return `<nav class="contents" aria-label="On this page"><h2>On this page</h2><ul>${found.map(([, id, text]) => `<li><a href="#${id}">${text.replaceAll(/<\/?a[^>]*>/g, "")}</a></li>`).join("")}</ul></nav>`;
}

const POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; frame-src 'self' file:; base-uri 'none'; form-action 'none'";

function whole({ address, title, html, source }) {
  const up = toRoot(address);
  const text = linked(html, address);
  return `<!doctype html>
<html lang="en" data-root="${up}">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${escape(title)} · scopegate</title>
<link rel="icon" href="${up}icon.svg" type="image/svg+xml">
<link rel="stylesheet" href="${up}base.css">
<link rel="stylesheet" href="${up}site.css">
<script src="${up}site.js" defer></script>
</head>
<body>
<a class="skip" href="#content">Skip to the text</a>
<header class="top">
  <a class="name" href="${up}index.html"><img src="${up}icon.svg" alt="" width="24" height="24"> scopegate</a>
  <div class="search" role="search">
    <label class="hidden-text" for="search">Search</label>
    <input type="search" id="search" placeholder="Search, or press /" autocomplete="off" spellcheck="false" aria-controls="results">
    <div id="results" hidden></div>
  </div>
  <a class="button" href="${up}playground/index.html">Playground</a>
  <button type="button" id="theme">Theme</button>
</header>
<div class="frame">
  <nav class="pages" aria-label="Pages"><details id="menu"><summary>Menu</summary><ul>${navigation(address)}</ul></details></nav>
  <main id="content" tabindex="-1">
${text}
${source ? `<p class="source">From <code>${escape(source)}</code>.</p>` : ""}
  </main>
  ${contents(html)}
</div>
</body>
</html>
`;
}

/** What the search looks through: a page's sections. */
function sections() {
  const plain = (html) => html.replaceAll(/<[^>]+>/g, " ").replaceAll("&lt;", "<").replaceAll("&gt;", ">").replaceAll("&quot;", '"').replaceAll("&amp;", "&").replaceAll(/\s+/g, " ").trim();
  const found = [];
  for (const { address, title, html, group } of pages) {
    if (group === "Files") continue;
    const parts = html.split(/(?=<h[23] id=")/);
    for (const part of parts) {
      const [, id, heading] = /^<h[23] id="([^"]+)">(.*?)<\/h[23]>/.exec(part) ?? [];
      const isKey = group === "Keys" || group === "Reasons";
      if (isKey && id) continue;
      found.push({ id: found.length, address: id ? `${address}#${id}` : address, title, heading: heading ? plain(heading) : "", text: plain(isKey ? html : part).slice(0, isKey ? 500 : 4000) });
    }
  }
  return found;
}

/** Links and anchors of the site that lead nowhere. */
function dead() {
  const ids = new Map(pages.map(({ address, html }) => [address, new Set(["content", ...[...html.matchAll(/ id="([^"]+)"/g)].map(([, id]) => id)])]));
  const lost = [];
  for (const { address, html } of pages) {
    for (const [, link] of linked(html, address).matchAll(/<a [^>]*href="([^"]+)"/g)) {
      if (/^[a-z]+:/.test(link)) continue;
      const [file, anchor] = link.replaceAll("&amp;", "&").split("#");
      const target = file ? normalize(join(dirname(address), file)) : address;
      if (target === "playground/index.html" || existsSync(join(output, target))) continue;
      if (!ids.has(target) || (anchor && !ids.get(target).has(anchor))) lost.push(`${address}: ${link}`);
    }
  }
  return lost;
}

rmSync(output, { recursive: true, force: true });
mkdirSync(output, { recursive: true });
await reasonPages();
keyPages();
for (const { path, title, group } of DOCUMENTS) {
  const address = addressOf(path);
  const markdown = read(path);
  let html = rendered(markdown, path, address);
  if (path === "docs/systems.md") {
    // Each system has its configuration beside what is said of it.
    for (const [, system, anchor] of markdown.matchAll(/\[`([\w-]+)\.yaml`\]\(#([\w-]+)\)/g)) {
      html = html.replace(new RegExp(`<h2 id="${anchor}">.*</h2>`), (heading) => heading + embedded(toRoot(address), `example=${system}`));
    }
  }
  page(address, title ?? /^# (.*)$/m.exec(markdown)[1].replaceAll("`", ""), html, { group, source: path });
}
filePages();

const lost = dead();
if (lost.length) throw new Error(`links that lead nowhere:\n${lost.join("\n")}`);

for (const one of pages) {
  mkdirSync(join(output, dirname(one.address)), { recursive: true });
  writeFileSync(join(output, one.address), whole(one));
}
const search = new MiniSearch({ fields: ["title", "heading", "text"], storeFields: ["address", "title", "heading"] });
search.addAll(sections());
writeFileSync(join(output, "search.js"), `globalThis.scopegateSearch=${JSON.stringify(JSON.stringify(search))};\n`);
const built = await esbuild.build({
  bundle: true, minify: true, format: "iife", target: "es2022", legalComments: "none", write: false, entryPoints: [join(here, "site/site.js")],
});
writeFileSync(join(output, "site.js"), built.outputFiles[0].contents);
for (const name of ["base.css", "icon.svg"]) cpSync(join(here, "page", name), join(output, name));
cpSync(join(here, "site/site.css"), join(output, "site.css"));
cpSync(playground, join(output, "playground"), { recursive: true });
console.log(`documentation: ${output}/index.html, ${pages.length} pages`);
