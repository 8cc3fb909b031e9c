// What the site is made of: its documents, and the pages so far.
import { readFileSync, readdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

export const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
export const read = (path) => readFileSync(join(root, path), "utf8");
export const escape = (text) => String(text).replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;");
/** The anchor of a heading, as GitHub makes it. */
export const slug = (text) => text.toLowerCase().replace(/[^\p{L}\p{N}\s_-]/gu, "").replaceAll(/\s/g, "-");
export const toRoot = (address) => "../".repeat(address.split("/").length - 1);

/** Every page: its address in the site, its title, its text in HTML, where it belongs, and which document it is. */
export const pages = [];
export function page(address, title, html, { group, source } = {}) {
  pages.push({ address, title, html, group, source });
}

/** What documents link to that is none of them: files that get a page each, and pictures. */
export const shownFiles = new Set();
export const pictures = new Set();

/** The document's address in the site; undefined for what is no document of it. */
export function addressOf(path) {
  if (path === "README.md") return "index.html";
  if (path === "docs/issuers/README.md") return "docs/issuers/index.html";
  return DOCUMENTS.some((one) => one.path === path) ? path.replace(/\.md$/, ".html") : undefined;
}

const issuers = readdirSync(join(root, "docs/issuers")).filter((name) => name.endsWith(".md") && name !== "README.md").sort();
export const DOCUMENTS = [
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
export const GROUPS = ["Begin", "Operate", "Reference", "Identity providers", "Project"];
