// Flow: the client library and its service worker in a real Chromium. The push comes by the browser's own debugging
// interface, as no vendor's push service can be reached here; subscribing to one is played.
// Guarantees: the browser is registered with auth, and forgotten; what is pushed is shown, the newest of a tag alone; a
// click opens the page, or brings it to the front, and the client hears of it.
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { fileURLToPath } from "node:url";
import type { CDPSession, Page, Worker } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { runsInBrowser } from "../support/browser/chromium.js";
import { openRealBrowser, type RealBrowser } from "../support/browser/real-browser.js";

const client = fileURLToPath(new URL("../../clients/browser/", import.meta.url));
const KEY = `B${"A".repeat(86)}`;

const html = `<!doctype html><title>page</title><script type="module">
  import { PetrelClient } from "/sdk/client.js";
  window.clicks = [];
  window.client = new PetrelClient({ url: "ws://127.0.0.1:9/", getToken: () => "token" });
  // As a browser answers that reaches its vendor's push service.
  let present = null;
  const made = (applicationServerKey) => ({
    endpoint: "https://push.example/x-123456",
    options: { applicationServerKey: Uint8Array.from(atob(applicationServerKey.replaceAll("-", "+") + "="), (c) => c.charCodeAt(0)).buffer },
    toJSON: () => ({ endpoint: "https://push.example/x-123456", expirationTime: null, keys: { p256dh: "p", auth: "a" } }),
    unsubscribe: async () => { present = null; return true; },
  });
  PushManager.prototype.subscribe = async (given) => (window.given = given, present = made(given.applicationServerKey));
  PushManager.prototype.getSubscription = async () => present;
  const options = { serviceWorker: "/petrel-service-worker.js", onClick: (click) => clicks.push(click) };
  window.enable = async () => (await client.enableWebPush(options)).endpoint;
  window.disable = () => client.disableWebPush();
</script>`;

/** Only a failure waits for it. */
const DEADLINE = { deadlineMs: 90_000 };
const LOOK_EVERY_MS = 250;
/** Long enough that what comes again was lost. */
const LOOKS_PER_PUSH = 60;

describe.runIf(runsInBrowser())("a page with Web Push", () => {
  let browser: RealBrowser;
  let server: Server;
  let origin: string;
  let page: Page;
  let debug: CDPSession;
  let worker: Worker;
  let registrationId = "";
  const asked: string[] = [];

  beforeAll(async () => {
    server = createServer((request, response) => {
      const { method = "", url = "", headers } = request;
      const chunks: Buffer[] = [];
      request.on("data", (chunk: Buffer) => chunks.push(chunk));
      request.on("end", () => {
        const path = url.split("?", 1)[0] ?? "";
        const answer = (status: number, type: string, body: string | Buffer): void =>
          void response.writeHead(status, { "content-type": type }).end(body);
        if (path.startsWith("/v1/")) {
          asked.push(
            [method, path, headers.authorization, Buffer.concat(chunks).toString()].join(" ").trim(),
          );
          const device = { id: "d_1", platform: "web", host: "push.example", endpointEnd: "123456" };
          const body =
            path === "/v1/web-push-key"
              ? { key: KEY }
              : { items: [{ ...device, id: "d_0", endpointEnd: "other!" }, device] };
          return method === "GET"
            ? answer(200, "application/json", JSON.stringify(body))
            : answer(204, "text/plain", "");
        }
        const script = /^\/sdk\/((?:[a-z-]+\/)*[a-z-]+\.js)$/.exec(path)?.[1];
        const file =
          path === "/petrel-service-worker.js"
            ? "web-push/petrel-service-worker.js"
            : script && `dist/${script}`;
        if (file === undefined) return answer(200, "text/html", html);
        readFile(`${client}${file}`).then(
          (content) => answer(200, "text/javascript", content),
          () => answer(404, "text/plain", ""),
        );
      });
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    browser = await openRealBrowser();
    await browser.context.grantPermissions(["notifications"], { origin });
    page = await browser.context.newPage();
    debug = await browser.context.newCDPSession(page);
    debug.on("ServiceWorker.workerRegistrationUpdated", ({ registrations }) => {
      registrationId = registrations.find(({ isDeleted }) => !isDeleted)?.registrationId ?? registrationId;
    });
    await debug.send("ServiceWorker.enable");
    await page.goto(origin);
  }, 60_000);
  afterAll(async () => {
    await browser?.close();
    server?.close();
    server?.closeAllConnections();
  });

  const shown = () =>
    page.evaluate(async () => {
      const registration = await navigator.serviceWorker.ready;
      const all = await registration.getNotifications();
      return all.map(({ title, body, tag, requireInteraction, data }) => ({
        title,
        body,
        tag,
        requireInteraction,
        data: data as unknown,
      }));
    });
  const push = (text: string) =>
    debug.send("ServiceWorker.deliverPushMessage", { origin, registrationId, data: text });
  const pushed = (notification: object, seq: number) =>
    push(JSON.stringify({ notification, petrel: { id: `m${seq}`, seq, epoch: "e" } }));

  /** A push that comes while Chromium stops or starts the worker is lost: after a while it comes again. */
  const pushedUntilShown = async (
    notification: { readonly title: string; readonly body: string; readonly [name: string]: unknown },
    seq: number,
  ): Promise<void> => {
    let looks = 0;
    const isShown = async (): Promise<boolean> => {
      if ((await shown()).some(({ body }) => body === notification.body)) return true;
      if (looks++ % LOOKS_PER_PUSH === 0) await pushed(notification, seq);
      return false;
    };
    const what = `the notification ${notification.body}`;
    await waitFor(isShown, { what, everyMs: LOOK_EVERY_MS, ...DEADLINE });
  };

  test("enableWebPush subscribes with auth's key, and registers the browser as the user's", async () => {
    expect(await page.evaluate("enable()")).toBe("https://push.example/x-123456");
    expect(await page.evaluate("given")).toEqual({ userVisibleOnly: true, applicationServerKey: KEY });
    const subscription = {
      endpoint: "https://push.example/x-123456",
      expirationTime: null,
      keys: { p256dh: "p", auth: "a" },
    };
    expect(asked).toEqual([
      "GET /v1/web-push-key",
      `PUT /v1/devices Bearer token ${JSON.stringify({ platform: "web", subscription })}`,
    ]);
    // Once more, as at the next start of the page: the same subscription, registered again.
    await page.evaluate("given = undefined; enable()");
    expect(await page.evaluate("given")).toBeUndefined();
    expect(asked).toHaveLength(4);
    await waitFor(() => registrationId !== "", { what: "the service worker", ...DEADLINE });
    await waitFor(() => (worker = browser.context.serviceWorkers()[0] as Worker) !== undefined, {
      what: "its process",
      ...DEADLINE,
    });
    // A push to a worker that still starts is lost.
    await page.evaluate(async () => {
      const { active } = await navigator.serviceWorker.ready;
      while (active !== null && active.state !== "activated")
        await new Promise((resolve) => active.addEventListener("statechange", resolve, { once: true }));
    });
  });

  test("shows pushes, and of one tag only the newest", async () => {
    await pushedUntilShown({ title: "Score", body: "1:0", tag: "score" }, 1);
    await pushedUntilShown(
      { title: "Order", body: "On its way", navigate: "/orders/1", requireInteraction: true, data: { a: 1 } },
      2,
    );
    await pushedUntilShown({ title: "Score", body: "2:0", tag: "score" }, 3);
    const all = (await shown()).toSorted((a, b) => a.title.localeCompare(b.title));
    expect(all).toMatchObject([
      {
        title: "Order",
        body: "On its way",
        requireInteraction: true,
        data: { petrel: { id: "m2" }, navigate: "/orders/1", data: { a: 1 } },
      },
      { title: "Score", body: "2:0", tag: "score", data: { petrel: { id: "m3" } } },
    ]);
    console.log(
      `must show 4: Chromium shows ${JSON.stringify(all.map(({ title, body }) => `${title}: ${body}`))}`,
    );
  });

  test("shows pushes that are not Petrel's, too: a page that shows nothing loses its right", async () => {
    await push("just text");
    await waitFor(async () => (await shown()).some(({ title }) => title === "just text"), {
      what: "the text",
      ...DEADLINE,
    });
  });

  /** A click of a person cannot be made here: the worker gets the event that the browser makes of it. */
  const click = (title: string): Promise<string[]> =>
    worker.evaluate(async (wanted) => {
      const scope = globalThis as unknown as {
        registration: { getNotifications: () => Promise<{ title: string }[]> };
        clients: { openWindow: (url: string) => Promise<unknown> };
        NotificationEvent: new (type: string, init: object) => Event;
        dispatchEvent: (event: Event) => boolean;
      };
      const opened: string[] = [];
      let waits: Promise<unknown> = Promise.resolve();
      scope.clients.openWindow = (url) => (opened.push(url), Promise.resolve(null));
      const notification = (await scope.registration.getNotifications()).find((one) => one.title === wanted);
      const event = new scope.NotificationEvent("notificationclick", { notification, action: "" });
      Object.defineProperty(event, "waitUntil", { value: (promise: Promise<unknown>) => (waits = promise) });
      scope.dispatchEvent(event);
      await waits;
      return opened;
    }, title);

  test("a click opens its page and closes the notification", async () => {
    expect(await click("Order")).toEqual([`${origin}/orders/1`]);
    await waitFor(async () => !(await shown()).some(({ title }) => title === "Order"), {
      what: "it to go",
      ...DEADLINE,
    });
  });

  test("uses an open page, and its client learns the message's id", async () => {
    await pushed({ title: "Here", body: "b", navigate: "/", data: 7 }, 4);
    await waitFor(async () => (await shown()).some(({ title }) => title === "Here"), {
      what: "the notification",
      ...DEADLINE,
    });
    expect(await click("Here")).toEqual([]);
    await waitFor(async () => (await page.evaluate("clicks.length")) === 1, {
      what: "the click",
      ...DEADLINE,
    });
    expect(await page.evaluate("clicks")).toEqual([{ id: "m4", seq: 4, epoch: "e", action: "", data: 7 }]);
  });

  test("disableWebPush ends the subscription and removes only this browser's device", async () => {
    asked.length = 0;
    await page.evaluate("disable()");
    expect(asked).toEqual(["GET /v1/devices Bearer token", "DELETE /v1/devices/d_1 Bearer token"]);
    asked.length = 0;
    await page.evaluate("disable()");
    expect(asked).toEqual([]);
  });

  test("a user who declines gets an error that says so, and auth is not called", async () => {
    await browser.context.clearPermissions();
    await page.evaluate(`Notification.requestPermission = async () => "denied"`);
    const code = await page.evaluate(
      `enable().then(() => "enabled", ({ code, message }) => code + " " + message)`,
    );
    expect(code).toBe("PETREL_CLIENT_WEB_PUSH_FAILED enableWebPush: notifications are denied");
    expect(asked).toEqual([]);
  });
});
