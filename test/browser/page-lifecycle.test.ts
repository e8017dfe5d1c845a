// Flow: the client library in a page that is hidden, frozen, left and returned to, in a real Chromium.
// Guarantees: a dead connection is noticed when the page is seen again; no page in the back/forward cache is online.
import type { Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { startFaultProxy, type FaultProxy } from "@petrel/shared/testing/faults/fault-proxy";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { WsPeer, type PeerSocket } from "@petrel/shared/testing/peers/ws-peer";
import { runsInBrowser } from "../support/browser/chromium.js";
import { openRealBrowser, type RealBrowser } from "../support/browser/real-browser.js";
import { servePage, type ServedPage } from "../support/browser/serve-page.js";

/** Never, for a test: this wait cannot bring anything. */
const NEVER_MS = 2 ** 31 - 1;
const WITHIN_MS = 30_000;

/** The page's script takes the client's options from its URL. */
const html = `<!doctype html><title>page</title><script type="module">
  import { PetrelClient } from "/sdk/client.js";
  const options = JSON.parse(decodeURIComponent(location.search.slice(1)));
  window.heard = [];
  window.client = new PetrelClient({ ...options, getToken: () => "token" });
  for (const name of ["state", "offline", "online"]) {
    client.on(name, (what) => heard.push(name === "state" ? what : name));
  }
  client.on("message", () => undefined);
  client.connect();
</script>`;

describe.runIf(runsInBrowser())("a page with the client", () => {
  let browser: RealBrowser;
  let served: ServedPage;
  let peer: WsPeer;
  /** Between the page and the peer, at the first of its two addresses. */
  let proxy: FaultProxy;
  let page: Page;

  beforeAll(async () => {
    served = await servePage(html);
    browser = await openRealBrowser();
  });
  afterAll(async () => {
    await browser?.close();
    served?.close();
  });

  beforeEach(async () => {
    peer = await WsPeer.start();
    proxy = await startFaultProxy({ targetPort: Number(new URL(peer.url).port) });
    page = await browser.context.newPage();
  });
  afterEach(async () => {
    await page.close();
    await proxy.stop();
    await peer.close();
  });

  /** Opens the page, and welcomes its client, which practically never pings. */
  async function opened(timing: Readonly<Record<string, number>>): Promise<PeerSocket> {
    const url = [`ws://127.0.0.1:${proxy.port}/v1/connect`, peer.url];
    await page.goto(`${served.origin}/?${encodeURIComponent(JSON.stringify({ url, timing }))}`);
    const socket = await peer.accept(WITHIN_MS);
    socket.welcome({ pingSeconds: 1_000_000, ackWithinMs: NEVER_MS });
    await stateIs("online");
    return socket;
  }

  async function stateIs(state: string): Promise<void> {
    await page.waitForFunction(`client.state === "${state}"`, undefined, { timeout: WITHIN_MS, polling: 50 });
  }

  /** Another tab comes to the front. */
  async function hide(): Promise<void> {
    await browser.blank.bringToFront();
    await page.waitForFunction(`document.visibilityState === "hidden"`, undefined, { polling: 50 });
  }

  test("that becomes visible finds out that its socket has died", async () => {
    await opened({ probeMs: 300, backoffBaseMs: 1 });
    await hide();
    proxy.stall();
    await page.bringToFront();
    // At its second address.
    (await peer.accept(WITHIN_MS)).welcome({ resumed: true });
    await stateIs("online");
  });

  test("that becomes visible does not sit out its wait", async () => {
    const socket = await opened({ backoffBaseMs: NEVER_MS, backoffCapMs: NEVER_MS });
    await hide();
    socket.close(1012);
    await stateIs("waiting");
    await page.bringToFront();
    (await peer.accept(WITHIN_MS)).welcome({ resumed: true });
    await stateIs("online");
  });

  test("that thaws does not sit out its wait", async () => {
    const socket = await opened({ backoffBaseMs: NEVER_MS, backoffCapMs: NEVER_MS });
    await hide();
    socket.close(1012);
    await stateIs("waiting");
    const session = await browser.context.newCDPSession(page);
    await session.send("Page.setWebLifecycleState", { state: "frozen" });
    // Still hidden: only the end of the freeze tells it.
    await session.send("Page.setWebLifecycleState", { state: "active" });
    (await peer.accept(WITHIN_MS)).welcome({ resumed: true });
    await stateIs("online");
    expect(await page.evaluate("document.visibilityState")).toBe("hidden");
  });

  test("that becomes visible keeps a wait that the server asked for", async () => {
    const socket = await opened({ longBackoffBaseMs: NEVER_MS, longBackoffCapMs: NEVER_MS });
    await hide();
    socket.close(4429);
    await stateIs("waiting");
    await page.bringToFront();
    await page.waitForFunction(`document.visibilityState === "visible"`, undefined, { polling: 50 });
    // Long enough for an attempt, had there been one.
    await new Promise((resolve) => setTimeout(resolve, 500));
    expect([await page.evaluate("client.state"), peer.accepted]).toEqual(["waiting", 1]);
  });

  test("that is hidden acknowledges what was handled: it may be ended without warning", async () => {
    const socket = await opened({ ackGatherMs: NEVER_MS });
    socket.message(1);
    expect(await socket.next("ack", WITHIN_MS)).toMatchObject({ seq: 1 });
    socket.message(2);
    await page.waitForFunction(`client.position.since === 2`, undefined, { polling: 50 });
    await hide();
    expect(await socket.next("ack", WITHIN_MS)).toMatchObject({ seq: 2 });
  });

  test("that enters the back/forward cache disconnects, and resumes its state on return", async () => {
    const socket = await opened({ ackDelayMs: NEVER_MS });
    socket.message(1);
    await page.waitForFunction(`client.position.since === 1`, undefined, { polling: 50 });
    await page.goto(`${served.origin}/elsewhere`);
    // What was handled is acknowledged on the way out.
    expect(await socket.next("ack", WITHIN_MS)).toMatchObject({ seq: 1 });
    expect(await socket.closed).toMatchObject({ code: 4000 });

    await page.evaluate("history.back()").catch(() => undefined);
    const second = await peer.accept(WITHIN_MS);
    // The same page goes on: a freshly loaded one would know no position.
    expect([second.query.get("epoch"), second.query.get("since")]).toEqual(["e1", "1"]);
    second.welcome({ after: 1, resumed: true });
    await waitFor(
      async () => {
        const heard = await page.evaluate("window.heard").catch(() => undefined);
        return JSON.stringify(heard) ===
          JSON.stringify([
            "connecting",
            "online",
            "online",
            "waiting",
            "offline",
            "connecting",
            "online",
            "online",
          ])
          ? heard
          : undefined;
      },
      { what: "what the page heard", deadlineMs: WITHIN_MS },
    );
  });

  test("that is closed with a reason too long for a socket still disconnects", async () => {
    const socket = await opened({});
    await page.evaluate(`client.close("é".repeat(1_000))`);
    expect(await socket.closed).toEqual({ code: 1000, reason: "é".repeat(61) });
  });
});
