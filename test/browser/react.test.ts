// Flow: a page in React, in StrictMode, and the example of an app, in a real Chromium, against real services.
// Guarantees: one socket, one subscription and one call of a handler a message, however often React mounts and unmounts.
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort } from "@petrel/shared/testing/free-port";
import { startCluster, type TestCluster } from "@petrel/shared/testing/cluster/start-cluster";
import { waitFor } from "@petrel/shared/testing/wait-for";
import type { Browser, BrowserContext, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { writeTopicRules } from "../../deploy/local/src/data/topic-rules-file.js";
import { bundlePage } from "../support/browser/bundle-page.js";
import { launchChromium, runsInBrowser } from "../support/browser/chromium.js";

/** Before anything else on the page: counts sockets, and keeps what handlers were called with. */
const counting = `
  window.sockets = { opened: 0, open: 0, most: 0 };
  window.handled = [];
  window.handledOfTopic = [];
  const Native = window.WebSocket;
  window.WebSocket = class extends Native {
    constructor(...given) {
      super(...given);
      sockets.opened++;
      sockets.most = Math.max(sockets.most, ++sockets.open);
      this.addEventListener("close", () => sockets.open--);
    }
  };
`;

interface Shown {
  readonly state: string;
  readonly same: boolean;
  readonly messages: readonly number[];
  readonly status: string;
  readonly topic: readonly number[];
  readonly connections: number | null;
}

/** Of a topic. */
interface Presence {
  readonly users: number;
  readonly connections: number;
}

describe.runIf(runsInBrowser())("React", () => {
  let cluster: TestCluster;
  let browser: Browser;
  let server: Server;
  let script: string;
  let address: string;
  let directory: string;
  let examplePort: number;
  let example: ChildProcess | undefined;

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), "petrel-react-"));
    script = await bundlePage("test/browser/pages/react-page.ts");
    server = createServer((request, response) => {
      const isScript = request.url === "/page.js";
      response.setHeader("content-type", isScript ? "text/javascript" : "text/html");
      response.end(isScript ? script : "<!doctype html><div id=root></div>");
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    address = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
    examplePort = await freePort();
    cluster = await startCluster({
      nodes: 1,
      together: true,
      environment: {
        ALLOWED_ORIGINS: `${address.slice(0, -1)},${exampleOrigin()}`,
        TOPICS_FILE: await writeTopicRules(directory),
      },
    });
    browser = await launchChromium();
  });
  afterAll(async () => {
    example?.kill();
    await browser?.close();
    await cluster?.stop();
    server?.close();
    await rm(directory, { recursive: true, force: true });
  });

  const exampleOrigin = (): string => `http://127.0.0.1:${examplePort}`;

  /** @param profile where given, its tabs share a connection */
  async function open(user: string, profile?: BrowserContext): Promise<Page> {
    const token = await cluster.tokenFor(user, [
      { topic: "demo.*", can: ["subscribe", "publish", "presence"] },
    ]);
    const page = await (profile ?? browser).newPage();
    const topic = `demo.${user}`;
    const options = { url: cluster.nodeUrls[0], token, topic, shared: profile !== undefined };
    await page.addInitScript(`${counting} window.petrelOptions = ${JSON.stringify(options)};`);
    await page.goto(address);
    await page.addScriptTag({ url: "/page.js" });
    return page;
  }

  const show = (page: Page, provider: boolean, rooms: number): Promise<unknown> =>
    page.evaluate(`show({ provider: ${provider}, rooms: ${rooms} })`);
  const shown = async (page: Page): Promise<Shown[]> =>
    (await page.locator(".room").allTextContents()).map((text) => JSON.parse(text) as Shown);
  const until = (page: Page, isSo: (all: readonly Shown[]) => boolean, what: string): Promise<unknown> =>
    waitFor(async () => isSo(await shown(page)), { what, deadlineMs: 60_000 });
  const sockets = (page: Page): Promise<unknown> => page.evaluate("({ ...sockets })");
  const joined = (all: readonly Shown[]): boolean =>
    all.length > 0 && all.every(({ state, status }) => state === "online" && status === "joined");
  const send = (user: string, data: number): Promise<unknown> =>
    cluster.post("/v1/messages", { to: { user }, data });

  test("StrictMode: one socket, each message once to each handler and list, acknowledged", async () => {
    const page = await open("ada");
    await show(page, true, 2);
    await until(page, joined, "both online");
    expect(await sockets(page)).toEqual({ opened: 1, open: 1, most: 1 });
    const { id } = (await send("ada", 1)) as { id: string };
    await page.evaluate("publish(7)");
    await until(
      page,
      (all) => all.every((one) => one.messages.length === 1 && one.topic.length === 1),
      "both",
    );
    expect(await shown(page)).toMatchObject([
      { same: true, messages: [1], topic: [7] },
      { same: true, messages: [1], topic: [7] },
    ]);
    // Two rooms, a handler each.
    expect(await page.evaluate("[handled, handledOfTopic]")).toEqual([
      [1, 1],
      [7, 7],
    ]);
    await until(page, (all) => all.every(({ connections }) => connections === 1), "one connection");
    await waitFor(
      async () => {
        const answer = await fetch(`${cluster.collect.url}/v1/messages/${id}`, {
          headers: { authorization: `Bearer ${cluster.apiKey}` },
        });
        return ((await answer.json()) as { state: string }).state === "delivered";
      },
      { what: "the acknowledgement" },
    );
    await page.close();
  });

  test("a storm of mounting and unmounting components: one socket, no message lost, none twice", async () => {
    const page = await open("bob");
    await show(page, true, 1);
    await until(page, joined, "online");
    for (let i = 1; i <= 20; i++) {
      await Promise.all([
        page.evaluate(`(async () => {
          for (let n = 0; n < 20; n++) {
            show({ provider: true, rooms: 1 + (n % 3) });
            if (n % 4 === 0) await new Promise((resolve) => setTimeout(resolve));
          }
          show({ provider: true, rooms: 1 });
        })()`),
        send("bob", i),
      ]);
    }
    const all = Array.from({ length: 20 }, (_, i) => i + 1);
    await until(page, ([one]) => one?.messages.length === 20, "all messages");
    const [one] = await shown(page);
    expect(one?.messages).toEqual(all);
    expect(await sockets(page)).toEqual({ opened: 1, open: 1, most: 1 });
    // Whoever stayed was called once for each; whoever came and went, at most once.
    const handled = (await page.evaluate("handled")) as number[];
    for (const n of all) expect(handled.filter((one) => one === n).length).toBeLessThanOrEqual(3);
    await page.close();
  });

  test("two tabs that share, in StrictMode: one socket, and one presence of the browser", async () => {
    const profile = await browser.newContext();
    const pages = [await open("dora", profile), await open("dora", profile)] as const;
    const [first, second] = pages;
    for (const page of pages) {
      await show(page, true, 2);
      await until(page, joined, "both rooms online");
    }
    const oneSocket = async (): Promise<boolean> => {
      const open = await Promise.all(pages.map((page) => page.evaluate<number>("sockets.open")));
      return open.reduce((sum, one) => sum + one) === 1;
    };
    // (On a loaded machine one may take it over from the other.)
    await waitFor(oneSocket, { what: "one socket for both", deadlineMs: 60_000 });
    await send("dora", 1);
    await second.evaluate("publish(7)");
    const eachHas = (messages: number, topic: number) => (all: readonly Shown[]) =>
      all.length === 2 && all.every((one) => one.messages.length === messages && one.topic.length === topic);
    for (const page of pages) {
      await until(page, eachHas(1, 1), "the message, and what was published");
      expect(await page.evaluate("[handled, handledOfTopic]")).toEqual([
        [1, 1],
        [7, 7],
      ]);
      await until(page, (all) => all.every(({ connections }) => connections === 1), "one connection");
    }
    const ask = async (path: string): Promise<unknown> => {
      const headers = { authorization: `Bearer ${cluster.apiKey}` };
      return (await fetch(`${cluster.collect.url}${path}`, { headers })).json();
    };
    const isOnce = async (): Promise<boolean> => {
      const topic = (await ask("/v1/topics/demo.dora/presence")) as Presence;
      const user = (await ask("/v1/users/dora/presence")) as { readonly connections: readonly unknown[] };
      return [topic.users, topic.connections, user.connections.length].every((count) => count === 1);
    };
    await waitFor(isOnce, { what: "the browser to count once", deadlineMs: 60_000 });

    // The provider of the tab that holds the socket comes and goes; messages come meanwhile.
    for (let i = 2; i <= 6; i++) {
      await Promise.all([
        first.evaluate(`(async () => {
          show({ provider: false, rooms: 0 });
          if (${i} % 2 === 0) await new Promise((resolve) => setTimeout(resolve));
          show({ provider: true, rooms: 2 });
        })()`),
        send("dora", i),
      ]);
    }
    await until(first, joined, "back");
    await until(second, eachHas(6, 1), "all messages");
    expect((await shown(second)).map(({ messages }) => messages)).toEqual([
      [1, 2, 3, 4, 5, 6],
      [1, 2, 3, 4, 5, 6],
    ]);
    await waitFor(oneSocket, { what: "one socket for both", deadlineMs: 60_000 });
    await profile.close();
  });

  test("the example: two people talk in a room, and one gets a message", async () => {
    const [apiKey, apiSecret] = cluster.apiKey.split(".");
    const devFile = join(directory, "dev.json");
    const dev = { auth: cluster.auth.url, nodes: cluster.nodeUrls, apiKey, apiSecret };
    await writeFile(devFile, JSON.stringify(dev));
    const script = fileURLToPath(new URL("../../examples/react-app/server.mjs", import.meta.url));
    const child = spawn(process.execPath, [script, String(examplePort)], {
      env: { PATH: process.env["PATH"], PETREL_DEV_JSON: devFile },
      stdio: ["ignore", "pipe", "inherit"],
    });
    example = child;
    const lines: string[] = [];
    createInterface({ input: child.stdout }).on("line", (line) => void lines.push(line));
    await waitFor(() => lines.length > 0, { what: "the example's server", deadlineMs: 60_000 });
    expect(lines).toEqual([exampleOrigin()]);

    const pageOf = async (user: string): Promise<Page> => {
      const page = await browser.newPage();
      await page.goto(`${exampleOrigin()}/?user=${user}`);
      await page.getByText("online", { exact: true }).waitFor();
      return page;
    };
    const [eve, fred] = [await pageOf("eve"), await pageOf("fred")];
    await eve.getByText("2 there").waitFor();
    await eve.getByPlaceholder("say something").fill("hello, fred");
    await eve.keyboard.press("Enter");
    await fred.getByText("eve: hello, fred").waitFor();
    await cluster.post("/v1/messages", { to: { user: "fred" }, data: { text: "your parcel is here" } });
    await fred.getByText("your parcel is here").waitFor();
    expect(await fred.locator("#inbox li").allTextContents()).toEqual(["your parcel is here"]);
    expect(await eve.locator("#inbox li").count()).toBe(0);
    await Promise.all([eve.close(), fred.close()]);
  });

  test("a provider that is mounted and unmounted: no socket is left, and the last one works", async () => {
    const page = await open("carol");
    await page.evaluate(`(async () => {
      for (let n = 0; n < 30; n++) {
        show({ provider: n % 2 === 0, rooms: 1 });
        if (n % 5 === 0) await new Promise((resolve) => setTimeout(resolve, 0));
      }
      show({ provider: true, rooms: 1 });
    })()`);
    await until(page, joined, "online");
    await waitFor(async () => (await page.evaluate("sockets.open")) === 1, { what: "the only socket" });
    await send("carol", 1);
    await until(page, ([one]) => one?.messages.length === 1, "the message");
    expect(await page.evaluate("handled")).toEqual([1]);
    await show(page, false, 0);
    await waitFor(async () => (await page.evaluate("sockets.open")) === 0, { what: "no socket" });
    await page.close();
  });
});
