// Builds the documentation as a site: node site.mjs CORE.wasm PLAYGROUND OUTPUT. The pages are those of README, docs/ and what
// lies beside them, with one page a reason and one page a configuration key, and they open from disk.
import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import esbuild from "esbuild";
import { addressOf, DOCUMENTS, page, pages, pictures, read, root, toRoot } from "./site/book.mjs";
import { embedded } from "./site/embedded.mjs";
import { filePages } from "./site/files.mjs";
import { whole } from "./site/frame.mjs";
import { keyPages } from "./site/key-pages.mjs";
import { linked, rendered } from "./site/markdown.mjs";
import { reasonPages } from "./site/reasons.mjs";
import { searchIndex } from "./site/search.mjs";

const [wasm, playground, output] = process.argv.slice(2);
const here = join(root, "playground");

/** Links and anchors of the site that lead nowhere. */
function dead() {
  const ids = new Map(pages.map(({ address, html }) => [address, new Set(["content", ...[...html.matchAll(/ id="([^"]+)"/g)].map(([, id]) => id)])]));
  const lost = [];
  for (const { address, html } of pages) {
    for (const [, link] of linked(html, address).matchAll(/<a [^>]*href="([^"]+)"/g)) {
      if (/^[a-z]+:/.test(link)) continue;
      const [file, anchor] = link.replaceAll("&amp;", "&").split("#");
      const target = file ? normalize(join(dirname(address), file)) : address;
      if (target === "playground/index.html" || pictures.has(target)) continue;
      if (!ids.has(target) || (anchor && !ids.get(target).has(anchor))) lost.push(`${address}: ${link}`);
    }
  }
  return lost;
}

await reasonPages(await WebAssembly.compile(readFileSync(wasm)));
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

rmSync(output, { recursive: true, force: true });
for (const one of pages) {
  mkdirSync(join(output, dirname(one.address)), { recursive: true });
  writeFileSync(join(output, one.address), whole(one));
}
writeFileSync(join(output, "search.js"), `globalThis.scopegateSearch=${JSON.stringify(searchIndex())};\n`);
for (const path of pictures) {
  mkdirSync(join(output, dirname(path)), { recursive: true });
  cpSync(join(root, path), join(output, path));
}
const built = await esbuild.build({
  bundle: true, minify: true, format: "iife", target: "es2022", legalComments: "none", write: false, entryPoints: [join(here, "site/site.js")],
});
writeFileSync(join(output, "site.js"), built.outputFiles[0].contents);
for (const name of ["base.css", "icon.svg"]) cpSync(join(here, "page", name), join(output, name));
cpSync(join(here, "site/site.css"), join(output, "site.css"));
cpSync(playground, join(output, "playground"), { recursive: true });
console.log(`documentation: ${output}/index.html, ${pages.length} pages`);
