// Flow: the console's phone, in a real Chromium: a message that reaches no socket rings there.
// Guarantees: a person adds a phone, signs out, sends, and sees the notification; signed in, the phone stays silent.
import type { Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  startApnsSimulator,
  type TestApnsSimulator,
} from "@petrel/shared/testing/cluster/start-apns-simulator";
import { runsInBrowser } from "../support/browser/chromium.js";
import { openConsole, type OpenConsole } from "../support/browser/open-console.js";

describe.runIf(runsInBrowser())("the phone on the page", () => {
  let simulator: TestApnsSimulator;
  let opened: OpenConsole;
  let page: Page;

  beforeAll(async () => {
    simulator = await startApnsSimulator();
    opened = await openConsole(
      { together: true, nodes: 1, environment: simulator.environment },
      { APNS_SIMULATOR_URL: simulator.controlUrl },
    );
    ({ page } = opened);
  });
  afterAll(async () => {
    await opened?.close();
    await simulator?.stop();
  });

  test("rings for what nobody read, and stays silent for what was", async () => {
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
});
