// The decision: the outcome, what would have to change, the steps, and what either side gets.
import { h, prose } from "./dom.js";

const WORDS = { allow: "Allowed", shadow: "Passed in shadow", deny: "Refused" };
const MARKS = { passed: "✓", lifted: "~", refused: "✕", skipped: "–" };
const SPOKEN = { passed: "passed", lifted: "lifted by enforcement", refused: "refused", skipped: "not taken" };

export function outcomeOf(decision) {
  if (!decision) return { decision: "none", reason: null, status: null };
  return { decision: decision.decision, reason: decision.reason ?? decision.error ?? null, status: decision.status ?? 200 };
}

export function showDecision(parent, decision, { problem, mismatches, isStale }) {
  if (problem || !decision) {
    parent.replaceChildren(h("div", { class: "outcome" },
      h("div", { class: "big" }, h("span", { class: "badge none", id: "outcome" }, "No decision")),
      h("p", { id: "decision-problem" }, prose(problem ?? "The core is being loaded."))));
    return;
  }
  const opened = new Set([...parent.querySelectorAll(".steps details[open]")].map((details) => details.dataset.step));
  const { reason } = outcomeOf(decision);
  const facts = Object.entries(decision.facts).filter(([, value]) => value !== null);
  parent.replaceChildren(
    h("div", { class: "outcome", "data-stale": isStale },
      h("div", { class: "big" },
        h("span", { class: `badge ${decision.decision}`, id: "outcome" }, WORDS[decision.decision]),
        reason && h("span", { class: "reason", id: "reason" }, reason),
        decision.answer && h("span", { class: "status", id: "status" }, `HTTP ${decision.answer.status}`),
        mismatches && h("span", { class: mismatches.length ? "expected no" : "expected", id: "expected" },
          mismatches.length ? "not as the case expects" : "as the case expects")),
      decision.description && h("p", { id: "description" }, prose(sentence(decision.description))),
      mismatches?.length ? h("ul", { class: "changes" }, mismatches.map((one) =>
        h("li", {}, `${one.what}: expected `, h("code", {}, one.expected), ", found ", h("code", {}, one.found)))) : null,
      decision.remedy && h("div", { class: "remedy" }, h("h3", {}, "To pass"), h("p", { id: "remedy" }, prose(sentence(decision.remedy))),
        h("p", { class: "more" }, "This first; there may be further obstacles.")),
      facts.length ? h("div", { class: "chips" }, facts.map(([name, value]) => h("span", {}, h("b", {}, `${name} `), value))) : null),
    h("div", { class: "block" }, h("h3", {}, "Step by step"), h("ol", { class: "steps" }, decision.steps.map((step) => shownStep(step, opened)))),
    decision.answer ? answered(decision.answer) : forwarded(decision),
    sent(decision),
  );
}

const sentence = (text) => `${text[0].toUpperCase()}${text.slice(1)}${/[.!?]$/.test(text) ? "" : "."}`;

function shownStep(step, opened) {
  const saw = step.saw.length
    ? h("details", { "data-step": step.name, open: step.outcome === "refused" || opened.has(step.name) },
        h("summary", {}, "What it saw"),
        h("dl", { class: "saw" }, step.saw.map(({ what, value }) => [h("dt", {}, what), h("dd", {}, prose(value))])))
    : null;
  return h("li", { class: step.outcome },
    h("span", { class: "mark", "aria-hidden": "true" }, MARKS[step.outcome]),
    h("span", { class: "name" }, step.name),
    h("span", { class: "hidden-text" }, `${SPOKEN[step.outcome]}: `),
    h("span", { class: "said" }, prose(step.concluded)),
    saw);
}

const STATUS = { 200: "OK", 400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 413: "Content Too Large", 503: "Service Unavailable" };

function answered(answer) {
  const lines = [`HTTP/1.1 ${answer.status} ${STATUS[answer.status] ?? ""}\n`, answer.headers.map(({ name, value }) => `${name}: ${value}\n`)];
  const body = answer.body ? `\n${pretty(answer.body)}` : "";
  return h("div", { class: "block" }, h("h3", {}, "What the client gets"),
    h("pre", { class: "message", id: "answer", tabindex: "0", role: "region", "aria-label": "What the client gets" }, lines, body));
}

function pretty(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

const start = (headers) => {
  const of = (name) => headers.find((header) => header.name === name)?.value ?? "";
  return [`${of(":method")} ${of(":path")} HTTP/1.1\n`, of(":authority") ? `host: ${of(":authority")}\n` : ""];
};

/** The request as the upstream gets it, with what the filter has set and taken out. */
function forwarded(decision) {
  const key = (header) => `${header.name}: ${header.value}`;
  const before = new Set(decision.sent.map(key));
  const after = new Set(decision.forwarded.map((header) => header.name));
  const own = decision.forwarded.filter((header) => !header.name.startsWith(":"));
  const gone = decision.sent.filter((header) => !header.name.startsWith(":") && !after.has(header.name));
  return h("div", { class: "block" }, h("h3", {}, "What the upstream gets"),
    h("pre", { class: "message", id: "upstream", tabindex: "0", role: "region", "aria-label": "What the upstream gets" },
      start(decision.forwarded),
      own.map((header) => (before.has(key(header)) ? `${key(header)}\n` : h("span", { class: "set" }, h("span", { class: "hidden-text" }, "set: "), `${key(header)}\n`))),
      gone.map((header) => h("span", { class: "gone" }, h("span", { class: "hidden-text" }, "taken out: "), `${header.name}\n`)),
      decision.body ? `\n${decision.body}` : ""));
}

function sent(decision) {
  const own = decision.sent.filter((header) => !header.name.startsWith(":"));
  const parts = decision.token && [decision.token.header, decision.token.claims].filter((part) => part);
  return h("div", { class: "block" }, h("h3", {}, "What was sent"),
    h("pre", { class: "message", id: "sent", tabindex: "0", role: "region", "aria-label": "What was sent" }, start(decision.sent), own.map(({ name, value }) => `${name}: ${value}\n`)),
    parts?.length ? h("details", {}, h("summary", {}, "The token, decoded"),
      h("pre", { class: "message", tabindex: "0", role: "region", "aria-label": "The token as it was minted, decoded" }, parts.map((part) => JSON.stringify(part, null, 2)).join("\n"))) : null,
    h("p", { class: "beside" }, `Decided for ${decision.now}.`));
}
