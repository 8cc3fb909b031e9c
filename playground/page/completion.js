// Keys and values of the configuration as schema.json has them: completion, and help where the pointer rests on a key.
import schema from "../../filter-config/schema.json";
import { h } from "./dom.js";
import { KEY, place } from "./place.js";

/** All schemas that a value may have, with references followed. */
function resolved(node) {
  if (!node || typeof node !== "object") return [];
  const found = [];
  if (node.$ref) {
    const target = node.$ref.replace("#/", "").split("/").reduce((at, name) => at?.[name], schema);
    found.push(...resolved(target).map((one) => ({ ...one, description: node.description ?? one.description })));
  }
  for (const choice of [...(node.anyOf ?? []), ...(node.oneOf ?? [])]) found.push(...resolved(choice));
  if (!node.$ref) found.push(node);
  return found;
}

/** The schemas below `nodes` for a key, or for an item where the key is null. */
function below(nodes, key) {
  return nodes.flatMap((node) => {
    if (key === null) return resolved(node.items);
    if (node.type === "array" || node.items) return below(resolved(node.items), key);
    return resolved(node.properties?.[key] ?? (typeof node.additionalProperties === "object" ? node.additionalProperties : null));
  });
}

const at = (path) => path.reduce((nodes, key) => below(nodes, key), resolved(schema));

function siblings(doc, position) {
  const line = doc.lineAt(position);
  const words = new Set();
  const own = /^((?:\s|-\s)*)/.exec(line.text)[1].length;
  const add = (text) => { const key = KEY.exec(text)?.[1]; if (key) words.add(key); };
  for (const step of [-1, 1]) {
    for (let number = line.number + step; number > 0 && number <= doc.lines; number += step) {
      const text = doc.line(number).text;
      const lead = /^((?:\s|-\s)*)/.exec(text)[1].length;
      if (text.trim() && lead < own) break;
      if (lead === own) add(text.slice(lead));
      // Another item begins or began.
      if (lead === own && /-\s*$/.test(text.slice(0, lead))) break;
    }
  }
  return words;
}

export function completions(context) {
  const doc = context.state.doc;
  const word = context.matchBefore(/[\w-]*/);
  if (!context.explicit && word.from === word.to) return null;
  const found = place(doc, word.from);
  if (!found) return null;
  if (found.key !== null || found.inList) {
    const path = found.key === null ? found.path : [...found.path, found.key];
    const nodes = at(path).flatMap((node) => (found.inList || node.items ? [node, ...resolved(node.items)] : [node]));
    const values = nodes.flatMap((node) => node.enum ?? (node.type === "boolean" ? [true, false] : "const" in node ? [node.const] : []));
    const options = [...new Set(values.filter((value) => value !== null))].map((value) => ({ label: String(value), type: "enum" }));
    return options.length ? { from: word.from, options, validFor: /^[\w-]*$/ } : null;
  }
  const taken = found.isFlow ? new Set() : siblings(doc, word.from);
  const nodes = at(found.path).flatMap((node) => (node.items ? resolved(node.items) : [node]));
  const options = nodes.flatMap((node) => Object.entries(node.properties ?? {}).map(([name, value]) => ({
    label: name,
    apply: `${name}: `,
    detail: node.required?.includes(name) ? "required" : undefined,
    boost: node.required?.includes(name) ? 1 : 0,
    info: () => help(name, resolved(value)),
    type: "property",
  })));
  const unique = options.filter((option, at) => !taken.has(option.label) && options.findIndex((other) => other.label === option.label) === at);
  return unique.length ? { from: word.from, options: unique, validFor: /^[\w-]*$/ } : null;
}

function help(name, nodes) {
  const facts = [];
  const all = (member) => [...new Set(nodes.map((node) => node[member]).flat().filter((value) => value !== undefined))];
  const types = all("type");
  if (types.length) facts.push(["type", types.join(" or ")]);
  if (all("enum").length) facts.push(["one of", all("enum").join(", ")]);
  if (all("default").length) facts.push(["default", JSON.stringify(all("default")[0])]);
  const [least, most] = [all("minimum")[0], all("maximum")[0]];
  if (least !== undefined || most !== undefined) facts.push(["bounds", `${least ?? ""} to ${most ?? ""}`]);
  const text = nodes.map((node) => node.description).find((description) => description);
  return h("div", { class: "key-help" }, h("b", {}, name), text && h("div", {}, text),
    facts.length ? h("dl", {}, facts.map(([what, value]) => [h("dt", {}, what), h("dd", {}, value)])) : null);
}

/** What the key at a position means. */
export function keyHelp(state, position) {
  const line = state.doc.lineAt(position);
  for (const match of line.text.matchAll(/([\w-]+)\s*:(?=[\s[{]|$)/g)) {
    const from = line.from + match.index;
    const to = from + match[1].length;
    if (position < from || position > to) continue;
    const found = place(state.doc, from);
    const nodes = found && at([...found.path, match[1]]);
    if (!nodes?.length) return null;
    return { pos: from, end: to, above: true, create: () => ({ dom: help(match[1], nodes) }) };
  }
  return null;
}
