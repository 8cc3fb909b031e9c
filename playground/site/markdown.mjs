// Markdown to HTML: links lead to the site's pages, code has colours, a whole configuration has the playground beside it.
import { existsSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { json } from "@codemirror/lang-json";
import { yaml } from "@codemirror/lang-yaml";
import { highlightCode } from "@lezer/highlight";
import MarkdownIt from "markdown-it";
import { highlighter } from "../highlight.mjs";
import { addressOf, escape, pictures, root, shownFiles, slug, toRoot } from "./book.mjs";
import { embedded, fragmentOf, isConfiguration } from "./embedded.mjs";
import { reasons } from "./reason-table.mjs";

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

export const block = (code, language) =>
  `<pre class="code${language === "http" ? " http" : ""}" tabindex="0"><code>${language === "console" ? console_(code) : highlighted(code, language)}</code></pre>`;

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
    pictures.add(target);
    return `${toRoot(address)}${target}`;
  }
  shownFiles.add(target);
  return `${toRoot(address)}files/${target}.html`;
}

export function rendered(markdown, path, address) {
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
export function linked(html, address) {
  return html.replaceAll(/<a [^>]*>.*?<\/a>|<code>([a-z_]+)<\/code>/gs, (whole, name) =>
    (reasons.has(name) && address !== `reasons/${name}.html` ? `<a href="${toRoot(address)}reasons/${name}.html">${whole}</a>` : whole));
}
