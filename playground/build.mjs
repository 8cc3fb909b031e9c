// Builds the playground: node build.mjs CORE.wasm OUTPUT. The page needs nothing but the files in OUTPUT, and opens from disk.
import { cpSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
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

/** The licences of the packages that the page is made of. */
function licences() {
  const paths = [...Object.keys(built.metafile.inputs), "node_modules/@bjorn3/browser_wasi_shim/"];
  const names = new Set(paths.map((path) => /node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(path)?.[1]).filter((name) => name));
  return [...names].sort().map((name) => {
    const directory = join(here, "node_modules", name);
    const { version, license } = JSON.parse(readFileSync(join(directory, "package.json"), "utf8"));
    const files = readdirSync(directory).filter((file) => /^licen[cs]e/i.test(file)).sort();
    return `${name} ${version}, ${license}\n\n${files.map((file) => readFileSync(join(directory, file), "utf8")).join("\n")}`;
  }).join("\n----\n\n");
}

const built = await esbuild.build({ ...settings, entryPoints: [join(page, "main.js")], plugins: [made], metafile: true });
const core = gzipSync(readFileSync(wasm), { level: 9 });
rmSync(output, { recursive: true, force: true });
mkdirSync(output, { recursive: true });
writeFileSync(join(output, "page.js"), built.outputFiles[0].contents);
writeFileSync(join(output, "core.js"), `globalThis.scopegateCore="${core.toString("base64")}";\n`);
writeFileSync(join(output, "licences.txt"), licences());
for (const name of ["index.html", "base.css", "page.css", "icon.svg"]) cpSync(join(page, name), join(output, name));
console.log(`playground: ${output}/index.html, core ${Math.round(core.length / 1024)} KiB compressed`);
