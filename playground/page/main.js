// The page: one state, what is shown of it, and the question that follows each change.
import examples from "examples";
import { ask } from "./client.js";
import { outcomeOf, showDecision } from "./decision.js";
import { byId, h, prose, tabs } from "./dom.js";
import { yamlEditor } from "./editors.js";
import { requestForm } from "./request.js";
import { caseOf, empty, openCase, pack, unpack } from "./state.js";
import { showCases, showDiff, showMatrix } from "./tables.js";
import { makeTheme } from "./theme.js";

let state = empty();
let isBusy = false;
let isStale = false;
let names = [];
let ran = [];
let casesProblem = null;
// What was asked last, so that what has not changed is not asked again.
let askedCases = null;
let isFilling = false;
let opening = 0;

const texts = Object.fromEntries(["config", "cases", "before"].map((name) => [name, h("div", {})]));
const views = Object.fromEntries(["decision", "matrix", "diff", "ran"].map((name) => [name, h("div", {})]));

const editors = {};
function makeEditors() {
  const notes = {
    cases: "Cases that the configuration has to pass, as scopegate test runs them. Choose one under “Case”.",
    before: "An earlier configuration: “Difference” says what a reload would change.",
  };
  const labels = { config: "Configuration in YAML", cases: "Case file in YAML", before: "Configuration to compare with, in YAML" };
  for (const [name, panel] of Object.entries(texts)) {
    if (notes[name]) panel.append(h("p", { class: "note" }, notes[name]));
    const holder = h("div", { class: "editor tall" });
    panel.append(holder, h("pre", { class: "printed" }));
    editors[name] = yamlEditor({
      parent: holder, label: labels[name], id: `editor-${name}`, withSchema: name !== "cases",
      changed: (text) => {
        if (isFilling) return;
        state[name] = text;
        if (name === "config") state.example = "";
        if (name !== "before") ran = [];
        askSoon();
      },
    });
  }
}

const showText = tabs(byId("text-tabs"), byId("text-panels"), [
  { id: "config", title: "Configuration", panel: texts.config },
  { id: "cases", title: "Cases", panel: texts.cases },
  { id: "before", title: "Compare with", panel: texts.before },
], "config", () => {});
makeEditors();

const showView = tabs(byId("view-tabs"), byId("view-panels"), [
  { id: "decision", title: "Decision", panel: views.decision },
  { id: "matrix", title: "Who can call what", panel: views.matrix },
  { id: "diff", title: "Difference", panel: views.diff },
  { id: "ran", title: "Cases", panel: views.ran },
], "decision", (id) => { state.view = id; askSoon(); });

const form = requestForm(byId("request"), () => state, () => {
  if (isFilling) return;
  if (state.case) {
    state.case = "";
    form.caseSelect.value = "";
  }
  askSoon();
});
form.caseSelect.addEventListener("change", () => opened(() => open(form.caseSelect.value)));

/** Puts the state into every control. */
function fill() {
  isFilling = true;
  for (const [name, editor] of Object.entries(editors)) editor.text = state[name];
  form.fill();
  showView(state.view in views ? state.view : "decision");
  byId("example").value = state.example;
  isFilling = false;
}

function askSoon() {
  keepInAddress();
  isStale = true;
  settle();
  if (!isBusy) void work();
}

async function work() {
  isBusy = true;
  while (isStale) {
    isStale = false;
    try {
      await once();
    } catch (error) {
      showDecision(views.decision, null, { problem: `The core failed: ${error.message}` });
    }
  }
  isBusy = false;
  settle();
}

/** Says on the page whether what it shows is of the state as it is. */
function settle() {
  document.documentElement.dataset.settled = isBusy || isStale || opening > 0 ? "no" : "yes";
}

/** Does what ends with another state. */
async function opened(work) {
  opening += 1;
  settle();
  try {
    await work();
  } finally {
    opening -= 1;
    settle();
  }
}

async function once() {
  const begun = performance.now();
  const question = { config: state.config, check: true };
  let problem = null;
  try {
    question.case = caseOf(state);
  } catch (error) {
    problem = error.message;
  }
  if (state.token.mode === "paste" && state.token.jwks.trim()) question.jwks = state.token.jwks;
  const asksCases = state.cases !== askedCases || state.case;
  if (asksCases && state.cases.trim()) question.cases = state.cases;
  if (state.case) question.expected_of = state.case;
  if (state.view === "matrix") question.matrix = true;
  if (state.view === "diff" && state.before.trim()) question.before = state.before;
  const shown = state;
  const answered = await ask(question);
  if (shown !== state) return;
  if (state.cases !== askedCases) {
    askedCases = state.cases;
    takeNames(answered.cases);
  }
  showFindings(answered.check);
  form.offer(answered.outline);
  form.problem(problem);
  const valid = answered.check.valid;
  const decision = answered.decision?.problem ? null : answered.decision;
  if (state.token.mode === "paste") form.decoded(decision?.token ?? null);
  const why = problem ?? (valid ? answered.decision?.problem : "The configuration has errors: the filter refuses it, and goes on with the one before.");
  showDecision(views.decision, decision, { problem: decision ? null : why, mismatches: decision?.mismatches ?? null });
  if (state.view === "matrix") showMatrix(views.matrix, answered.matrix);
  if (state.view === "diff") showDiff(views.diff, answered.diff, state.before);
  if (state.view === "ran") drawCases();
  const took = performance.now() - begun;
  byId("took").textContent = `${took < 10 ? took.toFixed(1) : Math.round(took)} ms`;
  Object.assign(document.documentElement.dataset, { took: took.toFixed(1), outcome: JSON.stringify(outcomeOf(decision)) });
}

function takeNames(cases) {
  names = cases?.names ?? [];
  casesProblem = null;
  editors.cases.mark(cases?.findings ?? []);
  if (cases?.findings) casesProblem = `The case file has errors: ${cases.findings[0].message}`;
  if (!names.some(({ name }) => name === state.case)) state.case = "";
  form.caseSelect.replaceChildren(h("option", { value: "" }, "— your own —"), ...names.map(({ name }) => h("option", { value: name }, name)));
  form.caseSelect.value = state.case;
}

function showFindings(check) {
  const { findings, errors, warnings, valid } = check;
  editors.config.mark(findings);
  const counted = (count, noun) => `${count} ${noun}${count === 1 ? "" : "s"}`;
  const verdict = byId("verdict");
  const text = valid ? (warnings ? `valid, ${counted(warnings, "warning")}` : "valid") : counted(errors, "error");
  if (verdict.textContent !== text) verdict.textContent = text;
  verdict.className = `verdict ${valid ? (warnings ? "warn" : "good") : "bad"}`;
  byId("findings").replaceChildren(...(findings.length ? [h("ul", { "aria-label": "Findings" }, findings.map((finding) =>
    h("li", { class: finding.severity }, h("button", { type: "button", onclick: () => { showText("config"); editors.config.goTo(finding); } },
      h("span", { class: "place" }, finding.line ? `${finding.line}:${finding.column}` : "–"),
      h("span", {}, finding.path && h("span", { class: "path" }, `${finding.path}: `), prose(finding.message),
        finding.suggestion && prose(`; did you mean \`${finding.suggestion}\`?`))))))] : []));
}

/** Opens a case of the case file. */
async function open(name) {
  if (!name) {
    state.case = "";
    return;
  }
  const answered = await ask({ config: state.config, cases: state.cases, open: name });
  const found = answered.cases?.opened;
  if (!found || found.problem) {
    form.problem(found?.problem ?? casesProblem ?? `no case is called “${name}”`);
    return;
  }
  openCase(state, found);
  state.case = name;
  if (state.view === "ran") state.view = "decision";
  fill();
  form.caseSelect.value = name;
  askSoon();
}

function drawCases() {
  showCases(views.ran, { names, ran, run: runAll, open: (name) => opened(() => open(name)), problem: casesProblem });
}

async function runAll() {
  ran = [];
  const own = state;
  const all = names.map(({ name }) => name);
  for (let at = 0; at < all.length && own === state; at += 12) {
    const { cases } = await ask({ config: state.config, cases: state.cases, run: all.slice(at, at + 12) });
    if (cases.ran.problem) {
      casesProblem = cases.ran.problem;
      break;
    }
    ran = [...ran, ...cases.ran];
    drawCases();
  }
  drawCases();
  document.documentElement.dataset.ran = JSON.stringify(ran.map(({ name, ok }) => [name, ok]));
}

/** An example with its first case, or the one named. */
async function openExample(id, name) {
  const example = examples.find((one) => one.id === id);
  if (!example) return;
  state = { ...empty(), example: id, config: example.config, cases: example.cases, before: example.before ?? "" };
  ran = [];
  askedCases = null;
  fill();
  const first = name || /^\s*- name: (.+)$/m.exec(example.cases)?.[1]?.replace(/\s+#.*$/, "").replace(/^"(.*)"$/, "$1");
  const answered = await ask({ config: state.config, cases: state.cases, ...(first ? { open: first } : {}) });
  askedCases = state.cases;
  takeNames(answered.cases);
  const found = answered.cases?.opened ? first : names[0]?.name;
  if (found) await open(found);
  else askSoon();
}

// The address holds the whole state.
let keeping = 0;
function keepInAddress() {
  clearTimeout(keeping);
  keeping = setTimeout(async () => {
    const packed = await pack(state);
    const address = `#s=${packed}`;
    try {
      history.replaceState(null, "", address);
    } catch {
      // Some browsers forbid it to files.
    }
  }, 400);
}

async function fromAddress() {
  const parameters = new URLSearchParams(location.hash.slice(1));
  if (parameters.has("embed") || window.parent !== window) document.documentElement.classList.add("embedded");
  if (parameters.has("s")) {
    try {
      state = await unpack(parameters.get("s"));
      ran = [];
      askedCases = null;
      fill();
      askSoon();
      return;
    } catch {
      showDecision(views.decision, null, { problem: "The link is incomplete: it holds no state." });
    }
  }
  await openExample(parameters.get("example") ?? examples[0].id, parameters.get("case"));
}

function makeExamples() {
  const groups = new Map();
  for (const { id, title, group } of examples) {
    if (!groups.has(group)) groups.set(group, []);
    groups.get(group).push(h("option", { value: id }, title));
  }
  byId("example").replaceChildren(h("option", { value: "" }, "— your own —"), ...[...groups].map(([label, options]) => h("optgroup", { label }, options)));
  byId("example").addEventListener("change", (event) => { if (event.target.value) void opened(() => openExample(event.target.value)); });
}

byId("share").addEventListener("click", async () => {
  const address = `${location.href.split("#")[0]}#s=${await pack(state)}`;
  try {
    history.replaceState(null, "", address);
  } catch {
    location.hash = address.split("#")[1];
  }
  let copied = true;
  try {
    await navigator.clipboard.writeText(address);
  } catch {
    copied = false;
  }
  byId("share").textContent = copied ? "Copied" : "It is in the address";
  setTimeout(() => { byId("share").textContent = "Copy link"; }, 1600);
});

addEventListener("hashchange", () => void opened(fromAddress));
addEventListener("beforeprint", () => {
  for (const [name, panel] of Object.entries(texts)) panel.querySelector(".printed").textContent = state[name];
});

// For whoever drives the page by a program.
globalThis.scopegateEditors = editors;

makeExamples();
makeTheme(byId("theme"));
showDecision(views.decision, null, {});
addEventListener("DOMContentLoaded", () => void opened(fromAddress));
