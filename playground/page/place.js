// Where in a YAML document a position is.

export const KEY = /^([\w-]+|"[^"]*")\s*:(?:\s|$)/;

/** The keys that enclose a position, by indentation and, within its line, by brackets; and what stands before it in the line. */
export function place(doc, position) {
  const line = doc.lineAt(position);
  const before = line.text.slice(0, position - line.from);
  const path = [];
  let [, lead] = /^((?:\s|-\s)*)/.exec(before);
  let column = lead.length;
  let number = line.number - 1;
  while (number > 0 && column > 0) {
    const text = doc.line(number).text;
    number -= 1;
    const body = text.replace(/^((?:\s|-\s)*)/, "");
    const start = text.length - body.length;
    if (!body || body.startsWith("#") || start >= column) continue;
    const key = KEY.exec(body)?.[1];
    if (!key) continue;
    path.unshift(key.replaceAll('"', ""));
    // A key behind a dash stands at the column of the item's other keys.
    column = start;
  }
  const stack = [];
  let rest = before.slice(lead.length);
  let key = null;
  while (rest) {
    const quoted = /^("[^"]*"|'[^']*')/.exec(rest)?.[0];
    const named = KEY.exec(rest) ?? /^([\w-]+)\s*:(?=[\s[{]|$)/.exec(rest);
    if (named) {
      key = named[1];
      rest = rest.slice(named[0].length);
    } else if (quoted) rest = rest.slice(quoted.length);
    else if (rest[0] === "{" || rest[0] === "[") {
      stack.push({ bracket: rest[0], key });
      key = null;
      rest = rest.slice(1);
    } else if (rest[0] === "}" || rest[0] === "]") {
      key = stack.pop()?.key ?? null;
      rest = rest.slice(1);
    } else if (rest[0] === ",") {
      key = null;
      rest = rest.slice(1);
    } else if (rest[0] === "#") return null;
    else rest = rest.slice(1);
  }
  path.push(...stack.map((open) => open.key).filter((name) => name !== null));
  return { path, key, isFlow: stack.length > 0, inList: stack.at(-1)?.bracket === "[" };
}
