// A real browser that does what its standard input says, one JSON object a line, and answers each with one.
// Everything that the browser complains of (errors, what the page's policy refuses) is kept, for the test to ask for.
// Usage: node drive.mjs FOLDER_FOR_SCREENSHOTS
import { createInterface } from "node:readline";
import { chromium } from "playwright-core";

const PATIENCE_MS = 15000;
const folder = process.argv[2];
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-dev-shm-usage", "--force-color-profile=srgb"],
});
let page = null, complaints = [];

const acts = {
  // A window of its own: {scheme, width, height, script, cookies}.
  async window({ scheme, width, height, script, cookies }) {
    if (page) await page.context().close();
    const context = await browser.newContext({
      colorScheme: scheme ?? "light",
      viewport: { width: width ?? 1280, height: height ?? 900 },
      javaScriptEnabled: script ?? true,
    });
    if (cookies) await context.addCookies(cookies);
    page = await context.newPage();
    page.setDefaultTimeout(PATIENCE_MS);
    page.on("console", (said) => {
      if (["error", "warning"].includes(said.type())) complaints.push(said.text());
    });
    page.on("pageerror", (error) => complaints.push(String(error)));
  },
  async open({ url }) { return (await page.goto(url)).status(); },
  async fill({ at, text }) { await page.fill(at, text); },
  async choose({ at, value }) { await page.selectOption(at, value); },
  async check({ at }) { await page.check(at); },
  async click({ at }) { await page.click(at); },
  async press({ key }) { await page.keyboard.press(key); },
  async type({ text }) { await page.keyboard.type(text); },
  // Not waitForFunction: that runs inside the page, whose policy refuses it, as it should.
  async until({ holds }) {
    const deadline = Date.now() + PATIENCE_MS;
    while (!(await page.evaluate(holds))) {
      if (Date.now() > deadline) throw new Error("it does not come to hold");
      await new Promise((next) => setTimeout(next, 30));
    }
  },
  async until_url({ url }) { await page.waitForURL(url); },
  async seen({ at }) { await page.locator(at).first().waitFor(); },
  async text({ at }) { return page.locator(at).first().innerText(); },
  async count({ at }) { return page.locator(at).count(); },
  async value({ of }) { return page.evaluate(of); },
  async url() { return page.url(); },
  async cookies() { return page.context().cookies(); },
  async shot({ name }) { await page.screenshot({ path: `${folder}/${name}.png`, fullPage: true }); },
  async complaints() { return complaints.splice(0); },
};

for await (const line of createInterface({ input: process.stdin })) {
  const { act, ...details } = JSON.parse(line);
  let answer;
  try {
    answer = { done: (await acts[act](details)) ?? null };
  } catch (error) {
    answer = { failed: String(error) };
  }
  console.log(JSON.stringify(answer));
}
await browser.close();
