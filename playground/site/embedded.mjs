// The playground beside what is told.
import { deflateRawSync } from "node:zlib";
import { examples } from "../examples.mjs";
import { empty } from "../page/state.js";
import { escape, root } from "./book.mjs";

export const all = examples(root);

/** The playground with an example, behind a button in the page. */
export function embedded(up, fragment, title = "Try it here") {
  const address = `${up}playground/index.html#${fragment}`;
  return `<div class="try"><button type="button" class="try-here" data-src="${escape(address)}" aria-expanded="false">${escape(title)}</button> `
    + `<a href="${escape(address)}">Open in the playground</a></div>`;
}

const packed = (state) => deflateRawSync(Buffer.from(JSON.stringify(state))).toString("base64url");
export const isConfiguration = (code) => ["providers:", "tenants:", "suites:"].every((key) => new RegExp(`^${key}`, "m").test(code));

/** The playground's fragment for a configuration that stands in a document. */
export function fragmentOf(code) {
  const known = all.find((example) => example.config.trim() === code.trim());
  if (known) return `example=${known.id}`;
  return `s=${packed({ ...empty(), config: code })}`;
}
