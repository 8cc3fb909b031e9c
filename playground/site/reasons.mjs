// A page for each reason: what it means, what the caller sees, whom to call, and how to see it happen.
import { answer } from "../page/core.js";
import { escape, page } from "./book.mjs";
import { all, embedded } from "./embedded.mjs";
import { block, rendered } from "./markdown.mjs";
import { reasons, whose } from "./reason-table.mjs";

const TAKES_MORE = "It takes more than one request, and the playground decides one at a time:";
const NOT_ALONE = {
  proof_replayed: `${TAKES_MORE} the second request with one proof is refused. \`tests/native/dpop.rs\` has the case.`,
  introspection_overloaded: `${TAKES_MORE} so many have to wait for the issuer that no more may. \`tests/native/reasons.rs\` has the case.`,
};

export async function reasonPages(compiled) {
  const example = all.find(({ id }) => id === "reasons");
  const names = [...reasons.keys()];
  let thrownAway = null;
  for (const [at, name] of names.entries()) {
    const { status, meaning, who, what } = reasons.get(name);
    const address = `reasons/${name}.html`;
    const inline = (text) => rendered(text, "docs/operations.md", address).trim();
    const parts = [`<h1><code>${name}</code></h1>`, `<p class="lead">HTTP ${status}: ${escape(meaning)}.</p>`];
    let decision = null;
    if (!NOT_ALONE[name]) {
      const opened = await answer(compiled, { config: example.config, cases: example.cases, open: name, keys: thrownAway });
      if (!opened.cases?.opened || opened.cases.opened.problem) throw new Error(`playground/examples/reasons_test.yaml has no case ${name}: ${JSON.stringify(opened.cases)}`);
      const { request, token, ...more } = opened.cases.opened;
      const decided = await answer(compiled, { config: example.config, case: { request, token: token ?? "none", ...more }, keys: opened.keys });
      thrownAway = decided.keys;
      decision = decided.decision;
      if (decision.reason !== name) throw new Error(`the case ${name} gives ${JSON.stringify(decision)}`);
    }
    parts.push("<h2 id=\"what-the-caller-sees\">What the caller sees</h2>");
    if (decision) {
      const { answer: { status: code, headers, body } } = decision;
      const fields = headers.map((header) => `${header.name}: ${header.value}`).join("\n");
      parts.push(block(`HTTP/1.1 ${code}\n${fields}\n\n${JSON.stringify(JSON.parse(body), null, 2)}`, "http"));
    } else parts.push(`<p>HTTP ${status}, with the reason in the body and in the log.</p>`);
    parts.push("<h2 id=\"whom-to-call\">Whom to call</h2>", `<ul>${who.map((one) => `<li><b>${escape(one)}</b>: ${inline(whose[one] ?? "").replace(/^<p>|<\/p>$/g, "")}</li>`).join("")}</ul>`,
      who.length > 1 ? "<p>Ask the first first.</p>" : "",
      "<h2 id=\"what-to-do\">What to do</h2>", inline(what.replaceAll("\\|", "|")));
    if (decision) {
      const line = (header) => decision.sent.find((one) => one.name === header)?.value;
      parts.push("<h2 id=\"reproduce\">Reproduce it</h2>",
        `<p>${escape(line(":method"))} <code>${escape(line(":path"))}</code> with the example’s configuration and a token made on the spot. The step that ends it:</p>`,
        `<blockquote>${decision.steps.filter((step) => step.outcome === "refused").map((step) => `<b>${escape(step.name)}</b>: ${escape(step.concluded)}`).join("<br>")}</blockquote>`,
        decision.remedy ? `<p>To pass: ${inline(decision.remedy).replace(/^<p>|<\/p>$/g, "")}.</p>` : "",
        embedded("../", `example=reasons&case=${name}`, "Try it here"));
    } else parts.push("<h2 id=\"reproduce\">Reproduce it</h2>", inline(NOT_ALONE[name]));
    const beside = (to, word) => (to ? `<a href="${to}.html">${word} <code>${to}</code></a>` : "<span></span>");
    parts.push(`<p class="beside">${beside(names[at - 1], "before:")}${beside(names[at + 1], "after:")}</p>`);
    page(address, name, parts.join("\n"), { group: "Reasons" });
  }
  const list = (status) => names.filter((name) => reasons.get(name).status === status)
    .map((name) => `<tr><td><a href="${name}.html"><code>${name}</code></a></td><td>${escape(reasons.get(name).meaning)}</td><td>${escape(reasons.get(name).who.join(", "))}</td></tr>`).join("");
  const statuses = [...new Set(names.map((name) => reasons.get(name).status))];
  page("reasons/index.html", "Reasons for a refusal", `<h1>Reasons for a refusal</h1><p class="lead">One page each: what it means, what the caller sees, whom to call, and how to see it happen.</p>`
    + statuses.map((status) => `<h2 id="status-${status}">HTTP ${status}</h2><div class="table" tabindex="0" role="group" aria-label="Reasons with HTTP ${status}"><table><thead><tr><th>reason</th><th>meaning</th><th>whose matter</th></tr></thead><tbody>${list(status)}</tbody></table></div>`).join(""), { group: "Reference", source: "docs/operations.md" });
}
