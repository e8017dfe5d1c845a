// Tests only: the Chromium of this machine, and whether a test may do without one.
// Guarantees: a test that is left out says so; where PETREL_REQUIRE_BROWSER is 1 none is.
import { existsSync } from "node:fs";
import { chromium, type Browser } from "playwright-core";

export const chromiumPath = ["/usr/bin/chromium", "/usr/bin/chromium-browser"].find((path) =>
  existsSync(path),
);

/** What Chromium does for a person at a window, of which a test has none. */
const WITHOUT = [
  // Pages of its own: each is a process, at every start.
  "InitialWebUI",
  "PreloadTopChromeWebUI",
  "WebUIReloadButton",
  "WebUIOmniboxPopup",
  "WebUIOmniboxAimPopup",
  "WebUIToolbar",
  // A process for the next page, before anybody asks for one: half as many again.
  "SpareRendererForSitePerProcess",
  // Playwright's own list, of which only the last is heard: what concerns a page.
  "HttpsUpgrades",
  "OptimizationHints",
  "PaintHolding",
  "Translate",
];

/** Without a display, and without calling home. */
export const chromiumArguments = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  `--disable-features=${WITHOUT.join()}`,
] as const;

/** For `describe.runIf`. */
export function runsInBrowser(): boolean {
  if (chromiumPath !== undefined || process.env["PETREL_REQUIRE_BROWSER"] === "1") return true;
  process.stderr.write(
    "\n*** No Chromium on this machine: a browser test is left out (apt-get install chromium). ***\n\n",
  );
  return false;
}

export function launchChromium(): Promise<Browser> {
  return chromium.launch({
    ...(chromiumPath === undefined ? {} : { executablePath: chromiumPath }),
    args: [...chromiumArguments],
  });
}
