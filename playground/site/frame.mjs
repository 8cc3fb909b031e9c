// What every page has around its text.
import { escape, GROUPS, pages, toRoot } from "./book.mjs";
import { linked } from "./markdown.mjs";

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

export function whole({ address, title, html, source }) {
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
