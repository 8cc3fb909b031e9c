// Builds the playground: node build.mjs CORE.wasm OUTPUT. The page needs nothing but the files in OUTPUT, and opens from disk.
import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import esbuild from "esbuild";
import { examples } from "./examples.mjs";

const [wasm, output] = process.argv.slice(2);
const here = dirname(fileURLToPath(import.meta.url));
const root = dirname(here);
const page = join(here, "page");

const settings = { bundle: true, minify: true, format: "iife", target: "es2022", legalComments: "none", write: false, logLevel: "warning" };

/** Modules that are made here. */
const made = {
  name: "made",
  setup(build) {
    build.onResolve({ filter: /^(examples|worker-source)$/ }, ({ path }) => ({ path, namespace: "made" }));
    build.onLoad({ filter: /^examples$/, namespace: "made" }, () => ({ contents: JSON.stringify(examples(root)), loader: "json" }));
    build.onLoad({ filter: /^worker-source$/, namespace: "made" }, async () => {
      const built = await esbuild.build({ ...settings, entryPoints: [join(page, "worker.js")] });
      return { contents: built.outputFiles[0].text, loader: "text" };
    });
  },
};

const built = await esbuild.build({ ...settings, entryPoints: [join(page, "main.js")], plugins: [made] });
const core = gzipSync(readFileSync(wasm), { level: 9 });
rmSync(output, { recursive: true, force: true });
mkdirSync(output, { recursive: true });
writeFileSync(join(output, "page.js"), built.outputFiles[0].contents);
writeFileSync(join(output, "core.js"), `globalThis.scopegateCore="${core.toString("base64")}";\n`);
for (const name of ["index.html", "base.css", "page.css", "icon.svg"]) cpSync(join(page, name), join(output, name));
console.log(`playground: ${output}/index.html, core ${Math.round(core.length / 1024)} KiB compressed`);
