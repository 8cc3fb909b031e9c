// The audit lines of the filter, as a person reads them.

import { closeSync, existsSync, openSync, readSync } from "node:fs";

const POLL_MS = 100;

/** The audit line of a decision in a line of Envoy's log, in words; null where there is none. */
export function auditLine(line) {
  const found = /\{"event":"decision".*\}/.exec(line);
  if (!found) return null;
  const { event, decision, reason, method, path_template, suite, operation, required, ...others } = JSON.parse(found[0]);
  const called = path_template ?? "-";
  const facts = Object.entries({ operation: suite && `${suite}/${operation}`, required: required && words(required), ...others });
  const told = facts.filter(([, value]) => value !== undefined).map(([name, value]) => `${name}=${shown(value)}`);
  return [`${decision} ${reason ?? ""}`.trim().padEnd(28), shown(method), shown(called), ...told].join(" ");
}

/** Hands each line that is written to a file from now on to `take`, until the process ends. */
export function follow(path, take) {
  let position = 0;
  let rest = "";
  const bytes = Buffer.alloc(65_536);
  const decoder = new TextDecoder();
  const read = () => {
    if (!existsSync(path)) return;
    const file = openSync(path, "r");
    for (let count; (count = readSync(file, bytes, 0, bytes.length, position)) > 0; position += count) {
      rest += decoder.decode(bytes.subarray(0, count), { stream: true });
    }
    closeSync(file);
    const lines = rest.split("\n");
    rest = lines.pop();
    lines.forEach(take);
  };
  setInterval(read, POLL_MS).unref();
}

function words({ all_of = [], any_of = [] }) {
  const any = any_of.join(" or ");
  return [...all_of, ...(any ? [all_of.length && any_of.length > 1 ? `(${any})` : any] : [])].join(" and ");
}

/** A value that came from outside, in quotes unless it is a plain word, with all that could command a terminal escaped. */
function shown(value) {
  const text = `${value}`;
  if (/^[\w.:/{}*()@+-]+$/.test(text)) return text;
  return JSON.stringify(text).replace(/[\p{C}\p{Zl}\p{Zp}]/gu, (letter) => `\\u{${letter.codePointAt(0).toString(16)}}`);
}
