// Flow: `ack: "visible"` in a real Chromium: whether the phone rings depends on whether anybody can see the page.
// Guarantees: a hidden page receives and the phone rings after the ack timeout; a visible one keeps it silent.
import { randomBytes } from "node:crypto";
import {
  startApnsSimulator,
  type TestApnsSimulator,
} from "@petrel/shared/testing/cluster/start-apns-simulator";
import { startCluster, type TestCluster } from "@petrel/shared/testing/cluster/start-cluster";
import { waitFor } from "@petrel/shared/testing/wait-for";
import type { Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { readState, registerPhone } from "../support/phones/cluster-with-phones.js";
import { runsInBrowser } from "../support/browser/chromium.js";
import { openRealBrowser, type RealBrowser } from "../support/browser/real-browser.js";
import { servePage, type ServedPage } from "../support/browser/serve-page.js";

const html = `<!doctype html><title>page</title><script type="module">
  import { PetrelClient } from "/sdk/client.js";
  const { url, token, ack, shared } = JSON.parse(decodeURIComponent(location.search.slice(1)));
  window.heard = [];
  window.client = new PetrelClient({ url, ack, shared, getToken: () => token });
  client.on("message", (message) => { heard.push(message); });
  client.connect();
</script>`;

describe.runIf(runsInBrowser())("a page with ack: visible", () => {
  let simulator: TestApnsSimulator;
  let cluster: TestCluster;
  let browser: RealBrowser;
  let served: ServedPage;

  beforeAll(async () => {
    served = await servePage(html);
    simulator = await startApnsSimulator();
    cluster = await startCluster({
      nodes: 1,
      together: true,
      environment: { ...simulator.environment, ACK_TIMEOUT_MS: "1000", ALLOWED_ORIGINS: served.origin },
    });
    browser = await openRealBrowser();
  });
  afterAll(async () => {
    await browser?.close();
    await cluster?.stop();
    await simulator?.stop();
    served?.close();
  });

  const newPhone = async (user: string): Promise<string> => {
    const phone = randomBytes(32).toString("hex");
    await registerPhone(cluster, user, phone);
    return phone;
  };
  const rings = async (phone: string): Promise<number> => (await simulator.notifications(phone)).length;

  async function open(user: string, ack: string, shared = false): Promise<Page> {
    const options = { url: cluster.nodeUrls[0], token: await cluster.tokenFor(user), ack, shared };
    const page = await browser.context.newPage();
    await page.goto(`${served.origin}/?${encodeURIComponent(JSON.stringify(options))}`);
    await page.bringToFront();
    await page.waitForFunction(
      `client.state === "online" && document.visibilityState === "visible"`,
      undefined,
      {
        polling: 50,
      },
    );
    return page;
  }

  /** Another tab comes to the front. */
  async function hide(page: Page): Promise<void> {
    await browser.blank.bringToFront();
    await page.waitForFunction(`document.visibilityState === "hidden"`, undefined, { polling: 50 });
  }

  async function send(user: string, data: string): Promise<string> {
    const notification = { title: "You have mail", body: data };
    const answer = await cluster.post("/v1/messages", { to: { user }, data, notification });
    return (answer as { id: string }).id;
  }

  const untilState = (id: string, state: string): Promise<unknown> =>
    waitFor(async () => (await readState(cluster, id)).state === state, {
      what: `the message to be ${state}`,
      deadlineMs: 60_000,
    });
  async function connections(user: string): Promise<number> {
    const answer = await fetch(`${cluster.collect.url}/v1/users/${user}/presence`, {
      headers: { authorization: `Bearer ${cluster.apiKey}` },
    });
    return ((await answer.json()) as { readonly connections: readonly unknown[] }).connections.length;
  }
  const hears = (page: Page, data: string): Promise<unknown> =>
    page.waitForFunction(`heard.some((one) => one.data === ${JSON.stringify(data)})`, undefined, {
      polling: 50,
    });

  test("visible: silent; hidden: it receives, and the phone rings; visible again: delivered", async () => {
    const phone = await newPhone("ada");
    const page = await open("ada", "visible");
    await untilState(await send("ada", "visible"), "delivered");

    await hide(page);
    const hidden = await send("ada", "hidden");
    await hears(page, "hidden");
    await untilState(hidden, "pushed");
    // For the hidden one alone: the one before would have rung first.
    expect((await simulator.notifications(phone)).map(({ collapseId }) => collapseId)).toEqual([hidden]);

    await page.bringToFront();
    await untilState(hidden, "delivered");
    expect(await rings(phone)).toBe(1);
    await page.close();
  });

  test("hidden, and the application says seen(): delivered, and silent; so is ack: handled", async () => {
    const phone = await newPhone("bob");
    const page = await open("bob", "visible");
    await hide(page);
    const seen = await send("bob", "read aloud");
    await hears(page, "read aloud");
    expect(await page.evaluate("heard[0].seen()")).toBe(true);
    await untilState(seen, "delivered");

    const handledPhone = await newPhone("carol");
    const second = await open("carol", "handled");
    await hide(second);
    await untilState(await send("carol", "in the background"), "delivered");
    expect([await rings(phone), await rings(handledPhone)]).toEqual([0, 0]);
    for (const one of [page, second]) await one.close();
  });

  test("shared tabs: a visible one keeps the phone silent, wherever the socket is; without one it rings", async () => {
    const phone = await newPhone("dora");
    const holder = await open("dora", "visible", true);
    const other = await open("dora", "visible", true);
    await holder.waitForFunction(`document.visibilityState === "hidden"`, undefined, { polling: 50 });
    // (On a loaded machine the visible one may take it over.)
    await waitFor(async () => (await connections("dora")) === 1, {
      what: "one connection for both",
      deadlineMs: 60_000,
    });
    await untilState(await send("dora", "seen in the other"), "delivered");
    await hears(holder, "seen in the other");

    await hide(other);
    const hidden = await send("dora", "seen in none");
    for (const page of [holder, other]) await hears(page, "seen in none");
    await untilState(hidden, "pushed");
    expect((await simulator.notifications(phone)).map(({ collapseId }) => collapseId)).toEqual([hidden]);

    await holder.bringToFront();
    await untilState(hidden, "delivered");
    expect(await rings(phone)).toBe(1);
    for (const one of [holder, other]) await one.close();
  });
});
