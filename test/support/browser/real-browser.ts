// Tests only: a Chromium as a person has it: hidden tabs are hidden, and the back/forward cache is on.
// Guarantees: its own profile, gone when it is closed. (Playwright's own launch keeps every page "visible".)
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromium, type BrowserContext, type Page } from "playwright-core";
import { chromiumArguments, chromiumPath } from "./chromium.js";

export interface RealBrowser {
  readonly context: BrowserContext;
  /** The tab that it started with: in front, it hides the others. */
  readonly blank: Page;
  readonly close: () => Promise<void>;
}

const STARTS_WITHIN_MS = 30_000;

export async function openRealBrowser(): Promise<RealBrowser> {
  if (chromiumPath === undefined) throw new Error("no Chromium on this machine (apt-get install chromium)");
  const profile = await mkdtemp(join(tmpdir(), "petrel-chromium-"));
  const child = spawn(
    chromiumPath,
    [
      "--headless=new",
      ...chromiumArguments,
      "--remote-debugging-port=0",
      `--user-data-dir=${profile}`,
      "about:blank",
    ],
    { stdio: ["ignore", "ignore", "pipe"] },
  );
  const address = await new Promise<string>((resolve, reject) => {
    let said = "";
    const timer = setTimeout(() => reject(new Error(`Chromium does not start: ${said}`)), STARTS_WITHIN_MS);
    child.stderr.on("data", (chunk: Buffer) => {
      said += chunk.toString();
      const found = /ws:\/\/127\.0\.0\.1\S+/.exec(said)?.[0];
      if (found === undefined) return;
      clearTimeout(timer);
      resolve(found);
    });
  });
  const browser = await chromium.connectOverCDP(address, { noDefaults: true });
  const [context] = browser.contexts();
  const [blank] = context?.pages() ?? [];
  if (context === undefined || blank === undefined) throw new Error("Chromium has no profile, or no tab");
  return {
    context,
    blank,
    close: async () => {
      await browser.close();
      const exited = child.exitCode === null ? once(child, "exit") : undefined;
      child.kill("SIGKILL");
      await exited;
      await rm(profile, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 });
    },
  };
}
