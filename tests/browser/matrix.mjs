// Drives the matrix's page in a headless Chromium: node matrix.mjs PAGE. What it saw goes to standard output as JSON.
import { chromium } from "playwright-core";

const [page_file] = process.argv.slice(2);
const browser = await chromium.launch({
  executablePath: process.env.SCOPEGATE_CHROMIUM,
  args: ["--no-sandbox", "--disable-gpu"],
});
const saw = {};
try {
  const page = await browser.newPage({ viewport: { width: 1280, height: 800 } });
  const errors = [];
  page.on("pageerror", (error) => errors.push(String(error)));
  page.on("console", (message) => { if (message.type() === "error") errors.push(message.text()); });
  const elsewhere = [];
  page.on("request", (request) => { if (!request.url().startsWith("file:")) elsewhere.push(request.url()); });

  const begun = Date.now();
  await page.goto(`file://${page_file}`);
  await page.waitForSelector("tr.operation");
  saw.openedIn = Date.now() - begun;
  saw.first = await page.textContent("#title");
  saw.rowsMade = await page.locator("tr.operation").count();
  saw.shown = await page.textContent("#shown");

  // Every tenant is found, the last too.
  const searched = Date.now();
  await page.fill("#tenant", "02498");
  saw.matches = await page.locator("#matches button").allTextContents();
  saw.searchedIn = Date.now() - searched;
  await page.fill("#tenant", "tenant-0");
  saw.more = await page.textContent("#matches .more");
  await page.fill("#tenant", "02498");
  await page.keyboard.press("Enter");
  saw.chosen = await page.textContent("#title");
  saw.columns = await page.locator("th.column.application").allTextContents();
  saw.address = await page.evaluate(() => location.hash);

  // Filters, and a cell's answer.
  await page.fill("#rows", "suite-7/op-1");
  await page.waitForFunction(() => document.querySelectorAll("tr.operation").length === 1);
  saw.filtered = await page.textContent("#shown");
  saw.cell = await page.locator("tr.operation td.cell").first().getAttribute("title");
  await page.fill("#rows", "");
  await page.fill("#columns", "writer");
  saw.filteredColumns = await page.locator("th.column").allTextContents();
  await page.fill("#columns", "");

  // The last row is made when it is looked at.
  await page.evaluate(() => { const scroll = document.getElementById("scroll"); scroll.scrollTop = scroll.scrollHeight; });
  await page.waitForFunction(() => [...document.querySelectorAll("tr.operation th b")].some((name) => name.textContent === "suite-499/op-9"));
  saw.rowsMadeAtTheEnd = await page.locator("tr.operation").count();

  // The choice stands in the address.
  await page.goto("about:blank");
  await page.goto(`file://${page_file}#tenant=tenant-00042`);
  await page.waitForSelector("tr.operation");
  saw.fromAddress = await page.textContent("#title");

  // A printer gets all rows that are chosen.
  await page.fill("#rows", "suite-7/");
  await page.emulateMedia({ media: "print" });
  await page.evaluate(() => dispatchEvent(new Event("beforeprint")));
  saw.printedRows = await page.locator("tr.operation").count();
  saw.pdf = (await page.pdf()).length;
  saw.formIsPrinted = await page.isVisible("form");
  await page.emulateMedia({ media: "screen" });

  // A small screen.
  await page.setViewportSize({ width: 400, height: 800 });
  await page.evaluate(() => dispatchEvent(new Event("afterprint")));
  saw.smallScroll = await page.evaluate(() => document.documentElement.scrollWidth);
  saw.smallInput = await page.isVisible("#tenant");
  saw.smallCells = await page.locator("tr.operation td.cell").first().isVisible();
  if (process.env.SCOPEGATE_SCREENSHOT) await page.screenshot({ path: process.env.SCOPEGATE_SCREENSHOT });
  saw.errors = errors;
  saw.elsewhere = elsewhere;
} finally {
  await browser.close();
}
process.stdout.write(JSON.stringify(saw));
