// Opens a page in a browser and prints what is on it as JSON: node look.mjs DRIVER PAGE SCREENSHOT
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const [driver, file, shot] = process.argv.slice(2);
const { chromium } = createRequire(driver + "/")("playwright-core");
const browser = await chromium.launch({
  executablePath: "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run"],
});
const found = { console: [], loaded: [], dialogs: 0 };
const open = async options => {
  const page = await (await browser.newContext(options)).newPage();
  page.on("console", message => found.console.push(message.text()));
  page.on("pageerror", error => found.console.push(String(error)));
  page.on("dialog", dialog => { found.dialogs++; dialog.dismiss(); });
  page.on("request", request => { if (!request.url().startsWith("data:")) found.loaded.push(request.url()); });
  await page.goto(pathToFileURL(file).href);
  await page.waitForTimeout(300);
  return page;
};

const page = await open({ viewport: { width: 1200, height: 900 }, colorScheme: "light" });
found.title = await page.title();
found.tiles = await page.evaluate(() => Object.fromEntries([...document.querySelectorAll("dd[id^=tile-]")].map(e => [e.id.slice(5), e.textContent])));
found.tables = await page.evaluate(() => Object.fromEntries([...document.querySelectorAll("table")].map(t =>
  [t.id, [...t.rows].map(r => [...r.cells].map(c => c.textContent.trim()))])));
found.news = await page.evaluate(() => [...document.querySelectorAll(".news")].map(e => e.textContent));
found.first = await page.evaluate(() => document.querySelector("main > *").className);
found.facts = await page.evaluate(() => Object.fromEntries([...document.querySelectorAll(".facts dt")].map(e => [e.textContent, e.nextElementSibling.textContent])));
found.scripts = await page.evaluate(() => document.querySelectorAll("script").length);
found.images = await page.evaluate(() => document.querySelectorAll("img, iframe, object, a").length);

// The values that each chart shows at its second and at its last point, by keyboard; all charts of one axis together.
const legends = () => page.evaluate(() => Object.fromEntries([...document.querySelectorAll(".chart")].map(e =>
  [e.id.slice(6), [...e.querySelectorAll(".legend span")].filter(s => s.textContent).map(s => s.textContent)])));
found.charts = await page.evaluate(() => [...document.querySelectorAll(".chart")].map(e => e.id.slice(6)));
if (found.charts.length) {
  await page.focus(".chart");
  await page.keyboard.press("Home");
  await page.keyboard.press("ArrowRight");
  found.atSecond = await legends();
  await page.keyboard.press("End");
  found.atLast = await legends();
  found.said = await page.textContent("#said");
  await page.keyboard.press("Escape");
  found.atNone = await legends();
}
if (await page.$("#chart-percentiles")) {
  await page.focus("#chart-percentiles");
  await page.keyboard.press("End");
  found.percentilesAtLast = (await legends()).percentiles;
  const box = await (await page.$("#chart-percentiles .plot")).boundingBox();
  await page.mouse.move(box.x + box.width * 0.7, box.y + 50);
}
// The slowest first, by the heading's button; then only what has the first name in it.
if (await page.$("#requests")) {
  await page.click("#requests th:has-text('p99') button");
  found.sorted = await page.evaluate(() => [...document.querySelectorAll("#requests tbody tr")].map(r => r.cells[0].textContent.trim()));
  found.ariaSort = await page.evaluate(() => document.querySelector("#requests th[aria-sort]")?.ariaSort);
  const wanted = found.sorted[0] ?? "";
  await page.fill("input[data-filter]", wanted);
  found.filtered = await page.evaluate(() => [...document.querySelectorAll("#requests tbody tr")].filter(r => !r.hidden).map(r => r.cells[0].textContent.trim()));
  await page.fill("input[data-filter]", "");
}
found.unnamed = await page.evaluate(() => [...document.querySelectorAll("[tabindex], input, button")].filter(e =>
  !(e.ariaLabel || e.textContent.trim() || e.closest("label"))).length);
await page.evaluate(() => scrollTo(0, 0));
await page.evaluate(() => document.activeElement?.blur());
const first = await page.$(".chart .plot");
if (first) {
  const box = await first.boundingBox();
  await page.mouse.move(box.x + box.width * 0.6, box.y + 60);
}
await page.screenshot({ path: shot + "-light.png" });
await page.screenshot({ path: shot + "-light-whole.png", fullPage: true });

const dark = await open({ viewport: { width: 1200, height: 900 }, colorScheme: "dark" });
found.dark = await dark.evaluate(() => getComputedStyle(document.body).backgroundColor);
const chart = await dark.$(".chart .plot");
if (chart) {
  const box = await chart.boundingBox();
  await dark.mouse.move(box.x + box.width * 0.6, box.y + 60);
}
await dark.screenshot({ path: shot + "-dark.png", fullPage: true });

const phone = await open({ viewport: { width: 390, height: 800 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true, colorScheme: "light" });
found.phoneWidth = await phone.evaluate(() => document.documentElement.scrollWidth);
await phone.screenshot({ path: shot + "-phone.png", fullPage: true });

await browser.close();
console.log(JSON.stringify(found));
