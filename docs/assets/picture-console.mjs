// Makes docs/assets/console.png, the picture in the README: the console page of a running `npm start`, with its phone.
// Usage: node docs/assets/picture-console.mjs [console URL] [file]. It needs Chromium (apt-get install chromium).
import { existsSync } from "node:fs";
import { stat } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

const MAX_BYTES = 200 * 1024;
const [consoleUrl = "http://127.0.0.1:7100", file = fileURLToPath(new URL("console.png", import.meta.url))] =
  process.argv.slice(2);
const executablePath = ["/usr/bin/chromium", "/usr/bin/chromium-browser"].find((path) => existsSync(path));

const browser = await chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-gpu"] });
try {
  const page = await browser.newPage({
    viewport: { width: 1200, height: 830 },
    deviceScaleFactor: 0.9,
    colorScheme: "light",
    reducedMotion: "reduce",
  });
  const isOnline = () => page.waitForSelector('#state[data-state="online"]', { timeout: 15_000 });
  const send = async (data, notification, state) => {
    await page.fill("#data", JSON.stringify(data));
    await page.fill("#notification-body", notification);
    await page.click("#send");
    await page.waitForSelector(`#sent li[data-state="${state}"]`, { timeout: 30_000 });
  };
  await page.goto(consoleUrl);
  await page.fill("#user", "ada");
  await page.fill("#to", "ada");
  await page.click("#sign-in");
  await isOnline();
  await page.waitForSelector("#phone-add:visible, #phone-remove:visible", { timeout: 10_000 });
  if (await page.isVisible("#phone-add")) await page.click("#phone-add");
  await page.waitForSelector("#phone-remove:visible", { timeout: 10_000 });
  // What an earlier run has left on it.
  await page.click("#phone-clear");
  await page.click("details summary");
  await page.fill("#notification-title", "Order 4711");

  // Nobody is there: the phone rings.
  await page.click("#sign-out");
  await send({ order: 4711, state: "shipped" }, "On its way to you.", "pushed");
  await page.locator("#phone-screen li").first().waitFor({ timeout: 10_000 });

  // Back again: what was missed comes at once, what is sent now is read at once.
  await page.click("#sign-in");
  await isOnline();
  await page.locator("#messages li", { hasText: "shipped" }).waitFor({ timeout: 10_000 });
  await send({ order: 4711, state: "at the door" }, "At your door.", "delivered");
  await send({ text: "Thank you, Ada." }, "Thank you.", "delivered");
  await page.locator("#messages li").nth(2).waitFor({ timeout: 10_000 });
  await page.click("details summary");
  await page.evaluate(() => document.activeElement?.blur());
  await page.waitForFunction(
    () => document.querySelectorAll('#sent li[data-state="delivered"]').length === 3,
  );
  await page.evaluate(() => scrollTo(0, 0));
  await page.screenshot({ path: file });
} finally {
  await browser.close();
}
const { size } = await stat(file);
console.log(`${file}: ${size} bytes`);
if (size > MAX_BYTES) throw new Error(`the picture has more than ${MAX_BYTES} bytes`);
