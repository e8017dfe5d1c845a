// Tests which push nodes operators see, with which details.
// Guarantees: on a real Redis.
import { afterAll, beforeAll, expect, test } from "vitest";
import { openStore, type OpenStore } from "../../testing/redis/open-store.js";
import { announceNode, withdrawNode } from "./node-presence.js";
import { listNodes, reportNode } from "./node-reports.js";

let store: OpenStore;
beforeAll(async () => void (store = await openStore()));
afterAll(() => store.close());

test("a hanging node with open sockets is not live; one that does not report is shown without details", async () => {
  const { keys } = store;
  await store.listen(`${keys.channel}a.1`);
  const list = () => listNodes(store.scripts, keys);

  expect(await list()).toEqual([]);
  await announceNode(store.scripts, "a.1", 60_000);
  expect(await list()).toEqual([{ id: "a.1", report: undefined, isAsked: false }]);
  await reportNode(store.scripts, "a.1", 60_000, { version: "1", connections: 7, draining: false });
  expect(await list()).toMatchObject([{ id: "a.1", report: { version: "1", connections: 7 } }]);

  // Its report has run out, and its key with it.
  await reportNode(store.scripts, "a.1", 0, { version: "1", connections: 7, draining: false });
  await withdrawNode(store.redis, "a.1");
  expect(await list()).toEqual([]);
});
