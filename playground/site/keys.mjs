// The configuration's keys: what schema.json says of each, its row in docs/configuration.md, and where the examples use it.
import { place } from "../page/place.js";

/** Every key with its path; `NAME` stands for a name that one chooses, `[]` for each item of a list. */
export function keys(schema) {
  const found = new Map();
  const resolve = (node) => (node?.$ref
    ? { ...node.$ref.replace("#/", "").split("/").reduce((at, name) => at[name], schema), ...withoutRef(node) } : node);
  const withoutRef = ({ $ref: _, ...rest }) => rest;
  function walk(raw, path, names, depth) {
    const node = resolve(raw);
    if (!node || depth > 12) return;
    for (const choice of [...(node.anyOf ?? []), ...(node.oneOf ?? [])]) walk(choice, path, names, depth + 1);
    for (const [name, value] of Object.entries(node.properties ?? {})) {
      const own = path ? `${path}.${name}` : name;
      const schemas = found.get(own)?.schemas ?? [];
      const isRequired = node.required?.includes(name) ?? false;
      found.set(own, { path: own, name, names: [...names, name], schemas: [...schemas, resolve(value)], isRequired });
      walk(value, own, [...names, name], depth + 1);
    }
    if (node.items) walk(node.items, `${path}[]`, names, depth + 1);
    if (typeof node.additionalProperties === "object") walk(node.additionalProperties, `${path}.NAME`, [...names, null], depth + 1);
  }
  walk(schema, "", [], 0);
  return [...found.values()];
}

/** The facts of a key, as pairs of a word and a text. */
export function facts({ schemas, isRequired }) {
  const all = (member) => [...new Set(schemas.flatMap((schema) => [schema, ...(schema.anyOf ?? []), ...(schema.oneOf ?? [])])
    .flatMap((schema) => schema[member] ?? []))];
  const list = [];
  const types = all("type");
  if (types.length) list.push(["type", types.join(" or ")]);
  const allowed = [...all("enum"), ...all("const")];
  if (allowed.length) list.push(["one of", allowed.map((value) => JSON.stringify(value)).join(", ")]);
  list.push(["required", isRequired ? "yes" : "no"]);
  const usual = schemas.map((schema) => schema.default).filter((value) => value !== undefined);
  if (usual.length) list.push(["default", JSON.stringify(usual[0])]);
  for (const [member, word] of [["minimum", "at least"], ["maximum", "at most"], ["minLength", "characters, at least"], ["maxLength", "characters, at most"], ["minItems", "items, at least"], ["maxItems", "items, at most"], ["pattern", "pattern"]]) {
    const values = all(member);
    if (values.length) list.push([word, String(values[0])]);
  }
  return list;
}

/** The rows of the tables of a document in Markdown: the keys that each is of, and the heading that it stands under. */
export function rows(markdown) {
  const found = [];
  let heading = "";
  for (const line of markdown.split("\n")) {
    const title = /^#+ (.*)$/.exec(line);
    if (title) heading = title[1];
    const cells = /^\|(.*)\|$/.exec(line)?.[1].split(/(?<!\\)\|/).map((cell) => cell.trim());
    const own = cells && [...cells[0].matchAll(/`([^`]+)`/g)].map((match) => match[1]);
    if (own?.length && cells.length >= 3) found.push({ heading, keys: own, cells });
  }
  return found;
}

/** The row that tells of a key, the one that stands nearest. */
export function rowOf(key, all) {
  const names = key.names.filter((name) => name !== null);
  for (let at = names.length - 1; at >= 0; at -= 1) {
    const wanted = names.slice(at).join(".");
    const above = at === 0 ? ["Top level"] : [names[at - 1]];
    const row = all.find((one) => one.keys.includes(wanted) && above.some((name) => one.heading.split(/[ ,:]+/).includes(name) || one.heading === name));
    if (row) return row;
  }
  return null;
}

const asDocument = (text) => {
  const lines = text.split("\n");
  const starts = [];
  let at = 0;
  for (const line of lines) {
    starts.push(at);
    at += line.length + 1;
  }
  return {
    lines: lines.length,
    line: (number) => ({ number, text: lines[number - 1], from: starts[number - 1] }),
    lineAt(position) {
      let number = starts.findLastIndex((start) => start <= position) + 1;
      number = Math.max(number, 1);
      return this.line(number);
    },
  };
};

/** Where the examples have each key: by its names, joined; a name that one chooses is `*`. */
export function uses(examples, keys) {
  const byShape = new Map();
  for (const key of keys) byShape.set(key.names.map((name) => name ?? "*").join("."), key.path);
  const found = new Map();
  for (const example of examples) {
    const document = asDocument(example.config);
    for (let number = 1; number <= document.lines; number += 1) {
      const { text, from } = document.line(number);
      for (const match of text.matchAll(/([\w-]+):(?=[\s[{]|$)/g)) {
        const place_ = place(document, from + match.index);
        if (!place_) continue;
        const path = pathOf([...place_.path, match[1]], byShape);
        if (path && !found.has(path)) found.set(path, { example, line: number });
      }
    }
  }
  return found;
}

function pathOf(names, byShape) {
  const exact = byShape.get(names.join("."));
  if (exact) return exact;
  for (let at = 0; at < names.length - 1; at += 1) {
    const shape = names.map((name, place) => (place === at ? "*" : name)).join(".");
    if (byShape.has(shape)) return byShape.get(shape);
  }
  return null;
}
