// Opens a page from disk in Debian's Chromium and does what standard input says; prints what happened as one JSON line.
// {"page", "browser", "flags"?, "context"?, "steps": [{"press"|"eval"|"wait"|"click"|"hover"|"screenshot"|"fragment": ...}]}
import { chromium } from "playwright-core";

const plan = JSON.parse(await new Response(process.stdin).text());
const flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", ...(plan.flags ?? [])];
const browser = await chromium.launch({ executablePath: plan.browser, headless: true, args: flags });
const report = { requests: [], errors: [], results: [] };
try {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, ...plan.context });
  const page = await context.newPage();
  page.on("request", (request) => {
    const url = request.url();
    if (!url.startsWith("data:") && !url.startsWith("blob:") && url.split("#")[0] !== plan.page) report.requests.push(url);
  });
  page.on("console", (message) => message.type() === "error" && report.errors.push(message.text()));
  page.on("pageerror", (error) => report.errors.push(String(error)));
  page.on("dialog", (dialog) => {
    report.errors.push(`dialog: ${dialog.message()}`);
    return dialog.dismiss();
  });
  const started = Date.now();
  await page.goto(plan.page + (plan.fragment ?? ""));
  await page.waitForFunction(() => window.__sociogram?.ready, undefined, { timeout: plan.patience ?? 60_000 });
  report.loaded = (Date.now() - started) / 1000;
  for (const step of plan.steps ?? []) report.results.push(await done(page, step));
} catch (error) {
  report.failed = String(error);
} finally {
  await browser.close();
}
console.log(JSON.stringify(report));

async function done(page, step) {
  if ("press" in step) return page.keyboard.press(step.press);
  if ("wait" in step) return until(() => page.evaluate(step.wait), 15_000); // not waitForFunction: the page forbids eval
  if ("eval" in step) return page.evaluate(step.eval);
  if ("click" in step) return page.click(step.click, { timeout: 5_000 });
  if ("hover" in step) return page.hover(step.hover, { timeout: 5_000 });
  if ("size" in step) return page.setViewportSize(step.size);
  if ("screenshot" in step) return page.screenshot({ path: step.screenshot, ...step.of }).then(() => step.screenshot);
  throw new Error(`no such step: ${JSON.stringify(step)}`);
}

async function until(holds, patience) {
  for (const end = Date.now() + patience; Date.now() < end; await new Promise((next) => setTimeout(next, 50))) if (await holds()) return true;
  throw new Error("what was waited for did not come true");
}
