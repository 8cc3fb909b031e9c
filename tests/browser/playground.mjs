// Drives the playground and the documentation in a headless Chromium: node playground.mjs PLAYGROUND DOCUMENTATION. What it saw
// goes to standard output as JSON.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { chromium } from "playwright-core";
import { serve } from "./serve.mjs";

const [directory, documentation] = process.argv.slice(2);
const shots = process.env.SCOPEGATE_SCREENSHOTS;
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const browser = await chromium.launch({ executablePath: process.env.SCOPEGATE_CHROMIUM, args: ["--no-sandbox", "--disable-gpu"] });
const site = await serve(directory);
const docs = await serve(documentation);
const address = `${site.address}/index.html`;
const saw = { errors: [], elsewhere: [] };

/** A page that tells what goes wrong, and whom it speaks to. */
async function opened(url, { width = 1280, theme = "light", bypassCSP = false } = {}) {
  const context = await browser.newContext({ viewport: { width, height: 900 }, colorScheme: theme, bypassCSP });
  const page = await context.newPage();
  page.on("pageerror", (error) => saw.errors.push(String(error)));
  page.on("console", (message) => { if (message.type() === "error") saw.errors.push(message.text()); });
  page.on("request", (request) => {
    const own = [site.address, docs.address, "file:", "blob:", "data:"];
    if (!own.some((start) => request.url().startsWith(start))) saw.elsewhere.push(request.url());
  });
  await page.goto(url);
  if (!url.startsWith(docs.address)) await settled(page);
  return page;
}

/** Waits until nothing is left to be decided. */
const settled = (page) => page.waitForFunction(() => document.documentElement.dataset.settled === "yes", null, { timeout: 60_000 });

const outcome = (page) => page.evaluate(() => {
  const text = (id) => document.getElementById(id)?.textContent ?? null;
  return { outcome: text("outcome"), reason: text("reason"), status: text("status"), expected: text("expected"), problem: text("decision-problem") };
});

/** What axe finds on the page as it is. */
async function violations(page, where) {
  await page.evaluate(`${axe}; undefined`);
  const found = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ["violations"] }));
  return found.violations.map((one) => `${where}: ${one.id}: ${one.nodes.slice(0, 3).map((node) => `${node.target} ${node.failureSummary.split("\n")[1]}`).join("; ")}`);
}

const shot = async (page, name) => { if (shots) await page.screenshot({ path: `${shots}/${name}.png`, fullPage: true }); };

try {
  // Opened over loopback, and fast.
  const page = await opened(address);
  saw.first = await outcome(page);
  const paints = [];
  for (let round = 0; round < 3; round += 1) {
    await page.goto("about:blank");
    await page.goto(address);
    await settled(page);
    paints.push(await page.evaluate(() => performance.getEntriesByName("first-contentful-paint")[0].startTime));
  }
  saw.firstPaint = Math.min(...paints);

  // The cases of the five systems: all by the button, some by opening them.
  saw.systems = {};
  saw.opened = {};
  for (const system of ["teamcenter", "appian-erp", "infor-suites", "thingworx-billing", "otk-branches"]) {
    await page.selectOption("#example", system);
    await settled(page);
    await page.click("#tab-ran");
    await settled(page);
    await page.evaluate(() => delete document.documentElement.dataset.ran);
    await page.click("#run-cases");
    await page.waitForFunction(() => document.documentElement.dataset.ran, null, { timeout: 120_000 });
    saw.systems[system] = await page.evaluate(() => [...document.querySelectorAll(".ran li")].map((row) => ({
      name: row.querySelector("span:nth-child(2)").textContent, ok: row.querySelector(".ok") !== null, came: row.querySelector(".came").textContent,
    })));
    await page.click("#tab-decision");
    const names = await page.evaluate(() => [...document.querySelectorAll("#case option")].map((option) => option.value).filter((value) => value));
    saw.opened[system] = {};
    for (const name of names.filter((_, at) => at % Math.ceil(names.length / 8) === 0)) {
      await page.evaluate((wanted) => {
        delete document.documentElement.dataset.settled;
        const select = document.getElementById("case");
        select.value = wanted;
        select.dispatchEvent(new Event("change"));
      }, name);
      await settled(page);
      saw.opened[system][name] = await outcome(page);
    }
  }

  // A decision as one types.
  await page.goto("about:blank");
  await page.goto(`${address}#example=teamcenter`);
  await settled(page);
  await page.fill("#path", "/tc/x");
  const times = [];
  for (let number = 0; number < 25; number += 1) {
    await page.locator("#path").press("y");
    await settled(page);
    times.push(await page.evaluate(() => Number(document.documentElement.dataset.took)));
  }
  times.sort((one, other) => one - other);
  saw.decision = { fastest: times[0], median: times[12] };
  saw.typed = await outcome(page);

  // Errors as typed show where they are, and a key is completed and explained.
  await page.selectOption("#example", "first");
  await settled(page);
  await page.locator("#editor-config .cm-line", { hasText: "audiences:" }).click();
  await page.keyboard.press("Home");
  for (let step = 0; step < "audiences".length; step += 1) await page.keyboard.press("ArrowRight");
  await page.keyboard.press("Backspace");
  await settled(page);
  saw.findings = await page.locator("#findings button").allTextContents();
  saw.verdict = await page.textContent("#verdict");
  saw.underlined = await page.locator("#editor-config .cm-lintRange-error").allTextContents();
  saw.undecided = await outcome(page);
  await shot(page, "errors");
  await page.locator("#findings button", { hasText: "unknown key" }).click();
  saw.cursor = await page.evaluate(() => getSelection().anchorNode.textContent.trim());
  await page.locator("#editor-config .cm-lintRange-error", { hasText: "audience" }).hover();
  await page.locator(".cm-diagnosticAction").first().click();
  await settled(page);
  saw.mended = await page.textContent("#verdict");
  await page.locator("#editor-config .cm-line", { hasText: "version: 1" }).click();
  await page.keyboard.press("End");
  await page.keyboard.type("\nunm");
  await page.waitForSelector(".cm-tooltip-autocomplete");
  saw.completions = await page.locator(".cm-tooltip-autocomplete li .cm-completionLabel").allTextContents();
  await shot(page, "completion");
  await page.waitForTimeout(120);
  await page.keyboard.press("Enter");
  await page.keyboard.type("al");
  await page.waitForSelector(".cm-tooltip-autocomplete");
  saw.values = await page.locator(".cm-tooltip-autocomplete li .cm-completionLabel").allTextContents();
  await page.keyboard.press("Escape");
  await page.locator("#editor-config .cm-line", { hasText: "required_evidence" }).locator("span", { hasText: "required_evidence" }).hover();
  await page.waitForSelector(".key-help");
  saw.help = await page.textContent(".key-help");

  // A token that is pasted: no token at all, one that somebody else has signed, and one that its key set verifies.
  await page.selectOption("#example", "first");
  await settled(page);
  const paste = async (token, jwks) => {
    await page.locator("label", { has: page.locator("#token-paste") }).click();
    await page.fill("#jwks", jwks);
    await page.fill("#raw", token);
    await settled(page);
    return { ...(await outcome(page)), decoded: await page.textContent("#decoded"), remedy: await page.textContent("#remedy") };
  };
  const { token, other, jwks, config } = JSON.parse(process.env.SCOPEGATE_PASTED);
  saw.pasted = { garbage: await paste("this is no token", jwks) };
  saw.pasted.strange = await paste(other, jwks);
  await shot(page, "pasted");
  await page.evaluate((text) => { globalThis.scopegateEditors.config.text = text; }, config);
  await page.fill("#path", "/acme/books");
  await page.locator("label", { has: page.locator("#token-paste") }).click();
  await page.fill("#raw", token);
  await page.fill("#jwks", jwks);
  await settled(page);
  saw.pasted.good = await outcome(page);
  await page.fill("#raw", `${token.slice(0, -4)}AAAA`);
  await settled(page);
  saw.pasted.changed = await outcome(page);

  // A link restores the state.
  await page.selectOption("#example", "reasons");
  await settled(page);
  await page.selectOption("#case", "scope_not_granted");
  await settled(page);
  await page.fill("#path", "/acme/books?page=2");
  await page.locator("#tab-matrix").click();
  await settled(page);
  await page.click("#share");
  await page.waitForFunction(() => document.getElementById("share").textContent !== "Copy link");
  const link = await page.evaluate(() => location.href);
  const state = (other) => other.evaluate(() => ({
    config: globalThis.scopegateEditors.config.text, path: document.getElementById("path").value, method: document.getElementById("method").value,
    claims: document.getElementById("claims").textContent, view: document.querySelector("#view-tabs [aria-selected=true]").textContent,
    matrix: document.querySelectorAll(".matrix tbody tr").length,
    reason: document.getElementById("reason")?.textContent,
  }));
  const restored = await opened(link);
  saw.link = { length: link.length, before: await state(page), after: await state(restored) };
  await restored.context().close();

  // Keyboard.
  await page.goto("about:blank");
  await page.goto(address);
  await settled(page);
  await page.keyboard.press("Tab");
  saw.firstStop = await page.evaluate(() => document.activeElement.textContent);
  await page.focus("#tab-decision");
  await page.keyboard.press("ArrowRight");
  await settled(page);
  saw.arrow = await page.evaluate(() => document.activeElement.textContent);
  await page.click("#editor-config");
  await page.keyboard.press("Tab");
  saw.tabLeaves = await page.evaluate(() => !document.activeElement.closest("#panel-config"));

  // The difference.
  await page.goto("about:blank");
  await page.goto(`${address}#example=first`);
  await settled(page);
  await page.evaluate(() => {
    const { config, before } = globalThis.scopegateEditors;
    before.text = config.text.replace("scopes: [billing:read, billing:write]}", "scopes: [billing:read]}");
  });
  await page.click("#tab-diff");
  await settled(page);
  saw.difference = await page.textContent("#diff-text");

  // Print.
  await page.click("#tab-decision");
  await settled(page);
  await page.emulateMedia({ media: "print" });
  await page.evaluate(() => dispatchEvent(new Event("beforeprint")));
  saw.print = {
    pdf: (await page.pdf()).length, editor: await page.isVisible("#editor-config"), config: await page.isVisible("#panel-config .printed"),
    steps: await page.locator(".steps li").first().isVisible(),
  };
  await page.context().close();

  // Opened from disk.
  const disk = await opened(`file://${directory}/index.html#example=reasons&case=token_expired`);
  saw.disk = await outcome(disk);
  await disk.context().close();

  // For everybody, in both themes and at both widths.
  saw.axe = [];
  saw.overflow = {};
  for (const theme of ["light", "dark"]) {
    for (const width of [1440, 400]) {
      const where = `${theme} ${width}`;
      const own = await opened(`${address}#example=reasons&case=scope_not_granted`, { theme, width, bypassCSP: true });
      // Each theme and each width with all views once: axe takes more than a second a view.
      const others = (theme === "light") === (width === 1440) ? ["matrix", "ran"] : [];
      for (const view of ["decision", ...others]) {
        await own.click(`#tab-${view}`);
        await settled(own);
        saw.axe.push(...await violations(own, `${where} ${view}`));
        await shot(own, `${theme}-${width}-${view}`);
      }
      saw.overflow[where] = await own.evaluate(() => document.documentElement.scrollWidth);
      await own.context().close();
    }
  }
  // The documentation: search, a page of a reason, a page of a key, the playground beside an example.
  const book = await opened(`${docs.address}/index.html`);
  await book.keyboard.press("/");
  await book.keyboard.type("token_expired");
  await book.waitForFunction(() => document.documentElement.dataset.searched === "token_expired");
  saw.search = await book.locator("#results a").allTextContents();
  await shot(book, "search");
  await book.keyboard.press("ArrowDown");
  await book.keyboard.press("Enter");
  await book.waitForURL("**/reasons/token_expired.html");
  saw.reason = await book.textContent("main");
  await book.click(".try-here");
  const frame = book.frameLocator("iframe.playground");
  await frame.locator("#reason").waitFor();
  saw.embedded = await frame.locator("#reason").textContent();
  await shot(book, "embedded");
  await book.goto(`${docs.address}/keys/providers.NAME.audiences.html`);
  saw.key = await book.textContent("main");
  await book.goto(`file://${documentation}/docs/issuers/keycloak.html`);
  await book.click(".try-here");
  await book.frameLocator("iframe.playground").locator("#outcome", { hasText: "Allowed" }).waitFor();
  await book.context().close();
  for (const [theme, width] of [["light", 1440], ["dark", 400]]) {
    const own = await opened(`${docs.address}/index.html`, { theme, width, bypassCSP: true });
    // One page of each kind; the largest has nothing that smaller ones have not, and takes axe ten seconds.
    const large = width === 400 ? ["index", "docs/configuration"] : [];
    for (const path of ["docs/issuers/keycloak", "reasons/index", "reasons/scope_not_granted", "keys/providers.NAME.dpop", ...large]) {
      await own.goto(`${docs.address}/${path}.html`);
      const where = `${theme} ${width} ${path}`;
      if (path !== "docs/configuration") saw.axe.push(...await violations(own, where));
      await shot(own, `docs-${where.replaceAll(/[ /]/g, "-")}`);
      saw.overflow[`${path} ${width}`] = await own.evaluate(() => document.documentElement.scrollWidth);
    }
    await own.context().close();
  }
} finally {
  await browser.close();
  site.close();
  docs.close();
}
process.stdout.write(JSON.stringify(saw));
