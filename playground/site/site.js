// The documentation's pages: search, theme, the playground beside an example.
import MiniSearch from "minisearch";
import { h } from "../page/dom.js";
import { makeTheme } from "../page/theme.js";

const root = document.documentElement.dataset.root;
const byId = (id) => document.getElementById(id);

// On a wide screen the menu is always there.
const wide = matchMedia("(min-width: 900px)");
const openMenu = () => { byId("menu").open = wide.matches; };
wide.addEventListener("change", openMenu);
openMenu();
document.querySelector(".pages [aria-current]")?.scrollIntoView({ block: "nearest" });

makeTheme(byId("theme"));

// The index is fetched when somebody searches.
let index = null;
function load() {
  index ??= new Promise((resolve, reject) => {
    const script = h("script", { src: `${root}search.js` });
    script.addEventListener("load", () => resolve(MiniSearch.loadJSON(globalThis.scopegateSearch, {
      fields: ["title", "heading", "text"], storeFields: ["address", "title", "heading"],
    })));
    script.addEventListener("error", reject);
    document.head.append(script);
  });
  return index;
}

const input = byId("search");
const results = byId("results");
input.addEventListener("focus", () => void load());
input.addEventListener("input", async () => {
  const wanted = input.value.trim();
  const found = wanted
    ? (await load()).search(wanted, { prefix: true, fuzzy: (term) => (term.length > 4 ? 0.2 : 0), boost: { title: 4, heading: 2 }, combineWith: "AND" }).slice(0, 12)
    : [];
  if (input.value.trim() !== wanted) return;
  results.hidden = !wanted;
  results.replaceChildren(found.length
    ? h("ul", {}, found.map((one) => h("li", {}, h("a", { href: `${root}${one.address}` }, h("b", {}, one.title), one.heading && ` › ${one.heading}`))))
    : h("p", {}, "Nothing is found."));
  document.documentElement.dataset.searched = wanted;
});
document.querySelector(".search").addEventListener("keydown", (event) => {
  const links = [...results.querySelectorAll("a")];
  const at = links.indexOf(document.activeElement);
  if (event.key === "Escape") {
    results.hidden = true;
    input.focus();
  } else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
    event.preventDefault();
    (links[at + (event.key === "ArrowDown" ? 1 : -1)] ?? input).focus();
  } else if (event.key === "Enter" && at < 0) links[0]?.click();
});
document.addEventListener("focusin", (event) => { if (!event.target.closest(".search")) results.hidden = true; });
document.addEventListener("keydown", (event) => {
  if (event.key !== "/" || event.target.closest("input, textarea, select")) return;
  event.preventDefault();
  input.focus();
});

// The playground is loaded when it is asked for.
for (const button of document.querySelectorAll(".try-here")) {
  button.addEventListener("click", () => {
    const shown = button.parentElement.querySelector("iframe");
    if (shown) shown.remove();
    else button.parentElement.append(h("iframe", { src: button.dataset.src, title: "Playground", class: "playground" }));
    button.setAttribute("aria-expanded", String(!shown));
    button.textContent = shown ? "Try it here" : "Close it";
  });
}
