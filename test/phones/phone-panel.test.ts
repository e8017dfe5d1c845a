// Flow: the console's phone and browser, in a real Chromium: a message that reaches no socket comes there.
// Guarantees: a person adds a phone, signs out, sends, and sees the notification; signed in, the phone stays silent. The
// same with a browser that subscribes.
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  startApnsSimulator,
  type TestApnsSimulator,
} from "@petrel/shared/testing/cluster/start-apns-simulator";
import { createLogger } from "@petrel/shared/kernel/logging/logging";
import type { HttpApp } from "@petrel/shared/kernel/http/http-app";
import { encodeVapidKey, makeVapidKey, readVapidPublicKey } from "@petrel/shared/security/web-push/vapid-key";
import { freePort } from "@petrel/shared/testing/free-port";
import { buildPushApp } from "../../deploy/local/src/web-push-simulator/push-app.js";
import { Subscriptions } from "../../deploy/local/src/web-push-simulator/subscriptions.js";
import { runsInBrowser } from "../support/browser/chromium.js";
import { openConsole, type OpenConsole } from "../support/browser/open-console.js";

describe.runIf(runsInBrowser())("the phone on the page", () => {
  let simulator: TestApnsSimulator;
  let opened: OpenConsole;
  let page: Page;
  let directory: string;
  let pushService: HttpApp;

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), "petrel-panel-"));
    const keyFile = join(directory, "vapid.pem");
    await writeFile(keyFile, makeVapidKey());
    const port = await freePort();
    const origin = `http://127.0.0.1:${port}`;
    const applicationServerKey = encodeVapidKey(readVapidPublicKey(keyFile));
    pushService = await buildPushApp({
      version: "0",
      logger: createLogger({ service: "test", level: "silent" }),
      origin,
      subscriptions: new Subscriptions({ origin, applicationServerKey }),
      nowMs: () => Date.now(),
    });
    await pushService.listen({ port, host: "127.0.0.1" });
    simulator = await startApnsSimulator();
    opened = await openConsole(
      {
        together: true,
        nodes: 1,
        environment: {
          ...simulator.environment,
          VAPID_KEY_FILE: keyFile,
          VAPID_SUBJECT: "mailto:a@b.example",
          WEB_PUSH_HOSTS: origin,
        },
      },
      { APNS_SIMULATOR_URL: simulator.controlUrl, WEB_PUSH_SIMULATOR_URL: origin },
    );
    ({ page } = opened);
  });
  afterAll(async () => {
    await opened?.close();
    await simulator?.stop();
    await pushService?.close();
    await rm(directory, { recursive: true, force: true });
  });

  test("rings for unread messages, and stays silent for read ones", async () => {
    await page.goto(opened.consoleUrl);
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
    expect(opened.problems).toEqual([]);
  });

  test("a subscribed browser shows what comes while its page is closed", async () => {
    expect(await page.textContent("#browser-title")).toBe("ada's browser, the page closed");
    await page.click("#browser-add");
    await page.waitForSelector("#browser-remove:visible", { timeout: 10_000 });
    await page.fill("#notification-body", "read <b>in</b> the browser");
    await page.click("#send");
    const shown = page.locator("#browser-list li");
    await shown.first().waitFor({ timeout: 20_000 });
    expect(await shown.allTextContents()).toEqual([expect.stringContaining("read <b>in</b> the browser")]);
    await page.click("#browser-remove");
    await page.waitForSelector("#browser-add:visible", { timeout: 10_000 });
    expect(opened.problems).toEqual([]);
  });
});
