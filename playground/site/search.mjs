// What the search looks through.
import MiniSearch from "minisearch";
import { pages } from "./book.mjs";

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

/** The index, as `MiniSearch.loadJSON` takes it. */
export function searchIndex() {
  const search = new MiniSearch({ fields: ["title", "heading", "text"], storeFields: ["address", "title", "heading"] });
  search.addAll(sections());
  return JSON.stringify(search);
}
