// What docs/operations.md says of each reason.
import { read } from "./book.mjs";

const operations = read("docs/operations.md");
const [, told] = operations.split("\n## When it refuses\n");
export const whose = Object.fromEntries([...told.matchAll(/^- \*\*(\w+)\*\*: ((?:.|\n(?!\n|-))*)/gm)].map(([, name, text]) => [name, text.replaceAll("\n", " ").trim()]));
export const reasons = new Map();
for (const line of told.split("\n")) {
  const cells = /^\| (\d+) \| `([a-z_]+)` \| (.*) \| (.*) \| (.*) \|$/.exec(line);
  if (cells) reasons.set(cells[2], { status: cells[1], meaning: cells[3], who: cells[4].split(", "), what: cells[5] });
}
