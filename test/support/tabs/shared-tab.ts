// Tests only: a tab of the fake browser with a real client that shares, and whole browsers of them.
// Guarantees: nothing but fake time passes, but for what comes by the real clock, which is awaited.
import { PetrelClient, type PetrelClientOptions, type SharedOptions, type TopicHandle } from "@petrel/client";
import { vi } from "vitest";
import { FakeBrowser, type FakeTab } from "./fake-browser.js";
import type { FakePushNode } from "./fake-push-node.js";

export const token = (sub: string, rights: object = {}): string => {
  const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString("base64url");
  return `${part({ alg: "none" })}.${part({ sub, iat: Math.random(), ...rights })}.signature`;
};

export interface TabOptions extends Partial<PetrelClientOptions> {
  readonly user?: string;
  readonly shared?: SharedOptions;
}

export class SharedTab {
  readonly seen: number[] = [];
  readonly seenOfRoom: number[] = [];
  readonly errors: string[] = [];
  after: number | undefined;
  roomAfter: number | undefined;
  readonly page: FakeTab;
  readonly client: PetrelClient<number>;
  readonly room: TopicHandle;

  constructor(
    readonly browser: FakeBrowser,
    node: Pick<FakePushNode, "socketFor">,
    options: TabOptions = {},
  ) {
    this.page = browser.openTab();
    const { user = "alice", shared, ...others } = options;
    this.client = new PetrelClient<number>({
      url: "ws://node.test/v1/connect",
      getToken: () => token(user),
      WebSocket: node.socketFor(this.page),
      ...others,
      shared: { environment: this.page.environment, ...shared },
      timing: { backoffBaseMs: 50, backoffCapMs: 500, ...others.timing },
    });
    this.client.on("error", (error) => this.errors.push(error.message));
    this.client.on("welcome", ({ after }) => (this.after ??= after));
    this.client.on("message", ({ seq }) => this.seen.push(seq));
    this.room = this.client.subscribe<number>("room", {
      onMessage: ({ offset }) => this.seenOfRoom.push(offset),
      onSubscribed: ({ offset, recovered }) => {
        if (!recovered) this.roomAfter ??= offset;
      },
    });
    this.client.connect();
  }
}

/** The first time, the part that shares comes by the real clock, which a busy machine makes slow. */
export async function loadSharing(): Promise<void> {
  // The one that the client imports: built where `npm test` runs it so (vitest.config.ts).
  if (process.env["PETREL_TEST_BUILT"] === "1") await import(BUILT_SHARING);
  else await import("../../../clients/browser/src/share/share-sockets.js");
}

/** Not a literal, as the compiler would want it built first. */
const BUILT_SHARING: string = new URL("../../../clients/browser/dist/share/share-sockets.js", import.meta.url)
  .href;

/** Modules come by the real clock. */
export async function loaded(): Promise<void> {
  await vi.advanceTimersByTimeAsync(0);
  await vi.dynamicImportSettled();
}

export const upTo = (after: number, last: number): number[] =>
  Array.from({ length: last - after }, (_, i) => after + 1 + i);

const MOST_TURNS = 20_000;

/** Tabs of one browser, all online. */
export async function opened(node: FakePushNode, ...all: readonly TabOptions[]): Promise<SharedTab[]> {
  const browser = new FakeBrowser(() => 1);
  const tabs: SharedTab[] = [];
  for (const options of all) {
    const tab = new SharedTab(browser, node, options);
    tabs.push(tab);
    await loaded();
    await vi.advanceTimersByTimeAsync(100);
    // Digests come by the real clock, too, which a loaded machine makes slow.
    for (let turn = 0; turn < MOST_TURNS && tab.client.state === "connecting"; turn++) {
      await new Promise((resolve) => setImmediate(resolve));
      await vi.advanceTimersByTimeAsync(1);
    }
  }
  return tabs;
}

export async function closed(tabs: readonly SharedTab[]): Promise<void> {
  const ends = Promise.all(tabs.map(({ client }) => client.close()));
  await vi.advanceTimersByTimeAsync(5_000);
  await ends;
}
