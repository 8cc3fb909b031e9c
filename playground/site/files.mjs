// A page for each file of the repository that a document links to.
import { readdirSync, statSync } from "node:fs";
import { extname, join } from "node:path";
import { escape, page, read, root, shownFiles, toRoot } from "./book.mjs";
import { embedded, fragmentOf, isConfiguration } from "./embedded.mjs";
import { block } from "./markdown.mjs";

export function filePages() {
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
