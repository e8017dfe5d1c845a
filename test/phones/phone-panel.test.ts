// Flow: the console's phone, in a real Chromium: a message that reaches no socket rings there.
// Guarantees: a person adds a phone, signs out, sends, and sees the notification; signed in, the phone stays silent.
import { existsSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { spawn, type ChildProcess } from "node:child_process";
import { fileURLToPath } from "node:url";
import { chromium, type Browser, type Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { freePort } from "@petrel/shared/testing/free-port";
import {
  startApnsSimulator,
  type TestApnsSimulator,
} from "@petrel/shared/testing/cluster/start-apns-simulator";
import { startCluster, type TestCluster } from "@petrel/shared/testing/cluster/start-cluster";
import { waitFor } from "@petrel/shared/testing/wait-for";

const root = fileURLToPath(new URL("../..", import.meta.url));
const executablePath = ["/usr/bin/chromium", "/usr/bin/chromium-browser"].find((path) => existsSync(path));
const isRequired = process.env["PETREL_REQUIRE_BROWSER"] === "1";

describe.runIf(executablePath !== undefined || isRequired)("the phone on the page", () => {
  let simulator: TestApnsSimulator;
  let cluster: TestCluster;
  let console_: ChildProcess;
  let consoleUrl: string;
  let directory: string;
  let browser: Browser;
  let page: Page;
  const problems: string[] = [];

  beforeAll(async () => {
    const port = await freePort();
    consoleUrl = `http://127.0.0.1:${port}`;
    simulator = await startApnsSimulator();
    cluster = await startCluster({
      together: true,
      nodes: 1,
      environment: { ALLOWED_ORIGINS: consoleUrl, ...simulator.environment },
    });
    directory = await mkdtemp(join(tmpdir(), "petrel-phone-"));
    const keyFile = join(directory, "api-key");
    await writeFile(keyFile, cluster.apiKey, { mode: 0o600 });
    console_ = spawn(process.execPath, ["services/console/dist/main.js"], {
      cwd: root,
      env: {
        PATH: process.env["PATH"],
        PORT: String(port),
        AUTH_URL: cluster.auth.url,
        COLLECT_URL: cluster.collect.url,
        NODE_URLS: cluster.nodeUrls.join(","),
        API_KEY_FILE: keyFile,
        APNS_SIMULATOR_URL: simulator.controlUrl,
      },
      stdio: "ignore",
    });
    await waitFor(async () => (await fetch(`${consoleUrl}/health/ready`)).ok, {
      what: "the console",
      deadlineMs: 20_000,
    });
    browser = await chromium.launch({
      ...(executablePath === undefined ? {} : { executablePath }),
      args: [
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
      ],
    });
    page = await browser.newPage();
    page.on("pageerror", (error) => problems.push(error.message));
    page.on("console", (line) => {
      if (line.type() === "error") problems.push(line.text());
    });
  }, 90_000);
  afterAll(async () => {
    await browser?.close();
    console_?.kill();
    await cluster?.stop();
    await simulator?.stop();
    await rm(directory, { recursive: true, force: true });
  });

  test("rings for what nobody read, and stays silent for what was", async () => {
    await page.goto(consoleUrl);
    await page.fill("#user", "ada");
    await page.click("#sign-in");
    await page.waitForSelector('#state[data-state="online"]', { timeout: 15_000 });
    await page.click("#phone-add");
    await page.waitForSelector("#phone-remove:visible", { timeout: 10_000 });
    expect(await page.textContent("#phone-title")).toBe("ada's phone");
    expect(await page.textContent("#phone-note")).toContain("Quiet");

    // Read at once: delivered.
    await page.click("details summary");
    await page.fill("#notification-body", "read on the screen");
    await page.click("#send");
    await page.waitForSelector('#sent li[data-state="delivered"]', { timeout: 15_000 });

    await page.click("#sign-out");
    await page.fill("#notification-body", "read <b>on</b> the phone");
    await page.click("#send");
    await page.waitForSelector('#sent li[data-state="pushed"]', { timeout: 20_000 });
    const shown = page.locator("#phone-screen li");
    await shown.first().waitFor({ timeout: 10_000 });
    expect(await shown.allTextContents()).toEqual([expect.stringContaining("read <b>on</b> the phone")]);

    await page.click("#phone-clear");
    await shown.first().waitFor({ state: "detached", timeout: 10_000 });
    await page.click("#phone-remove");
    await page.waitForSelector("#phone-add:visible", { timeout: 10_000 });
    expect(problems).toEqual([]);
  }, 90_000);
});
