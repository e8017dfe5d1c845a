// Flow: the console page and the README's browser code, in a real Chromium.
// Guarantees: a person signs in, sends, sees the message arrive and its state become delivered.
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { TestCluster } from "@petrel/shared/testing/cluster/start-cluster";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { runsInBrowser } from "../support/browser/chromium.js";
import { openConsole, type OpenConsole } from "../support/browser/open-console.js";
import { readmeBlocks } from "../support/repository/readme-blocks.js";

describe.runIf(runsInBrowser())("in a browser", () => {
  let opened: OpenConsole;
  let cluster: TestCluster;
  let consoleUrl: string;
  let browser: Browser;
  let page: Page;

  beforeAll(async () => {
    opened = await openConsole({ together: (name) => !name.startsWith("push-node") });
    ({ cluster, consoleUrl, browser, page } = opened);
  });
  afterAll(() => opened?.close());

  test("a person signs in, sends to herself, and sees it arrive and become delivered", async () => {
    await page.goto(consoleUrl);
    await page.fill("#user", "ada");
    await page.click("#sign-in");
    await page.waitForSelector('#state[data-state="online"]', { timeout: 15_000 });
    await page.fill("#to", "ada");
    await page.fill("#data", '{ "text": "from the page" }');
    await page.click("#send");
    const message = await page.waitForSelector("#messages li[data-seq='1']", { timeout: 15_000 });
    expect(await message.textContent()).toContain("from the page");
    await page.waitForSelector('#sent li[data-state="delivered"]', { timeout: 15_000 });

    // A message that a business system sends by HTTP shows on the page too.
    const { id } = (await cluster.post("/v1/messages", {
      to: { user: "ada" },
      data: { text: "from afar" },
    })) as {
      id: string;
    };
    const second = await page.waitForSelector(`#messages li[data-id='${id}']`, { timeout: 15_000 });
    expect(await second.textContent()).toContain("from afar");
    expect(opened.problems).toEqual([]);
  });

  test("an address names a user but signs nobody in: that takes a click", async () => {
    const visitor = await browser.newPage();
    const changes: string[] = [];
    visitor.on("request", (request) => {
      if (request.method() !== "GET") changes.push(`${request.method()} ${request.url()}`);
    });
    visitor.on("websocket", (socket) => changes.push(socket.url()));
    await visitor.goto(`${consoleUrl}/?user=mallory`, { waitUntil: "networkidle" });
    await visitor.waitForFunction(`document.getElementById("user").value === "mallory"`);
    expect(await visitor.inputValue("#to")).toBe("mallory");
    expect(await visitor.getAttribute("#state", "data-state")).toBe("closed");
    expect(changes).toEqual([]);
    // The name is filled in and the button focused: one key suffices.
    await visitor.keyboard.press("Enter");
    await visitor.waitForSelector('#state[data-state="online"]', { timeout: 15_000 });
    expect(await visitor.textContent("#whereabouts")).toContain("mallory");
    await visitor.close();
  });

  test("two people meet in a topic: they see each other, what is said, and by whom", async () => {
    const context = await browser.newContext();
    const bob = await context.newPage();
    await bob.goto(`${consoleUrl}/?user=bob`);
    await bob.keyboard.press("Enter");
    for (const one of [page, bob]) {
      await one.waitForSelector('#state[data-state="online"]', { timeout: 15_000 });
      await one.click("#topic-join");
      await one.waitForSelector('#topic-state[data-state="subscribed"]', { timeout: 15_000 });
    }
    const both = "#topic-here:has-text('2 users here: ada, bob')";
    for (const one of [page, bob]) await one.waitForSelector(both, { timeout: 15_000 });
    await bob.fill("#topic-text", "hello, ada");
    await bob.click("#topic-publish");
    for (const one of [page, bob]) {
      const said = await one.waitForSelector("#topic-messages li[data-offset='1']", { timeout: 15_000 });
      expect(await said.textContent()).toMatch(/#1bob.*hello, ada/);
    }
    await cluster.post("/v1/messages", { to: { topic: "demo.lobby" }, data: "from a system" });
    const said = await page.waitForSelector("#topic-messages li[data-offset='2']", { timeout: 15_000 });
    expect(await said.textContent()).toContain("a business system");
    // Who comes later sees what is kept.
    await bob.click("#topic-leave");
    await bob.click("#topic-join");
    await bob.waitForSelector("#topic-messages li[data-offset='1']", { timeout: 15_000 });
    await context.close();
    expect(opened.problems).toEqual([]);
  }, 60_000);

  test("a topic whose rule allows less can be joined; the page says what is not allowed", async () => {
    await page.click("#topic-leave");
    await page.fill("#topic", "news");
    await page.click("#topic-join");
    await page.waitForSelector('#topic-state[data-state="subscribed"]', { timeout: 15_000 });
    expect(await page.textContent("#topic-here")).toContain("not told");
    await page.fill("#topic-text", "may I?");
    await page.click("#topic-publish");
    await page.waitForSelector("#topic-problem:not([hidden])", { timeout: 15_000 });
    await page.click("#topic-leave");
    expect(opened.problems).toEqual([]);
  }, 60_000);

  test("a node that dies costs the page a reconnect, not a message", async () => {
    const text = (await page.textContent("#whereabouts")) ?? "";
    const holder = cluster.nodes.find(({ name }) => text.includes(name));
    (holder ?? cluster.nodes[0])?.signal("SIGKILL");
    const { id } = (await cluster.post("/v1/messages", {
      to: { user: "ada" },
      data: { text: "meanwhile" },
    })) as {
      id: string;
    };
    await page.waitForSelector(`#messages li[data-id='${id}']`, { timeout: 30_000 });
    opened.problems.length = 0;
  });

  test("the README's browser code works when pasted", async () => {
    const [code = ""] = readmeBlocks("js", "test/browser/browser.test.ts");
    expect(code.trim().split("\n")).toHaveLength(6);
    const fresh = await browser.newPage();
    const lines: string[] = [];
    fresh.on("console", (line) => lines.push(line.text()));
    await fresh.goto(consoleUrl);
    await fresh.evaluate(`(async () => { ${code.replaceAll('"ada"', '"grace"')} })()`);
    await cluster.post("/v1/messages", { to: { user: "grace" }, data: { text: "pasted" } });
    await waitFor(() => lines.some((line) => line.startsWith("message 1 ")), {
      what: `the message in ${JSON.stringify(lines)}`,
    });
    await fresh.close();
  });
});
