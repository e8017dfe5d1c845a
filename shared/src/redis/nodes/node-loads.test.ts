// Tests what push nodes hear of one another.
// Guarantees: on a real Redis.
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { waitFor } from "../../testing/wait-for.js";
import { openStore, type OpenStore } from "../../testing/redis/open-store.js";
import { NodeLoads } from "./node-loads.js";

let store: OpenStore;
beforeAll(async () => void (store = await openStore()));
beforeEach(() => store.redis.flushall());
afterAll(() => store.close());

const open = (nodeId: string, staleMs = 60_000): NodeLoads =>
  new NodeLoads({ scripts: store.scripts, nodeId, staleMs });
const namesOf = (loads: readonly { readonly node: string }[]): string[] =>
  loads.map(({ node }) => node).sort();

test("each node learns of all others and their loads", async () => {
  const [a, b] = [open("a.1"), open("b.1")];
  expect(await a.report(7)).toMatchObject([{ node: "a.1", connections: 7 }]);
  const loads = await b.report(0);
  expect(namesOf(loads)).toEqual(["a.1", "b.1"]);
  expect((await a.report(8)).find(({ node }) => node === "a.1")?.connections).toBe(8);
  expect(await store.redis.pttl("petrel:node-loads")).toBeGreaterThan(0);
});

test("a leaving node is gone at once, a silent one soon", async () => {
  const [a, b, c] = [open("a.1", 300), open("b.1", 300), open("c.1", 300)];
  await a.report(1);
  await b.report(1);
  expect(namesOf(await c.report(1))).toEqual(["a.1", "b.1", "c.1"]);
  await a.leave();
  expect(namesOf(await c.report(1))).not.toContain("a.1");
  await waitFor(async () => namesOf(await c.report(1)).length === 1, {
    what: "the silent one to be forgotten",
  });
  expect(await store.redis.hkeys("petrel:node-loads")).toEqual(["c.1"]);
});

test("a node that has left joins anew", async () => {
  const a = open("a.1");
  const [first] = await a.report(1);
  await waitFor(
    async () => {
      await a.leave();
      const [again] = await a.report(1);
      return (again?.joinedAtMs ?? 0) > (first?.joinedAtMs ?? 0);
    },
    { what: "a later time of joining", everyMs: 5 },
  );
});

test("a node keeps its time of joining, even if Redis has lost it; a younger one's is later", async () => {
  const [a, b] = [open("a.1"), open("b.1")];
  const [first] = await a.report(1);
  await waitFor(async () => Number((await store.redis.time())[0]) * 1_000 > (first?.joinedAtMs ?? 0), {
    what: "another second",
  });
  const joined = async (loads: NodeLoads, node: string): Promise<number> =>
    (await loads.report(1)).find((one) => one.node === node)?.joinedAtMs ?? 0;
  expect(await joined(b, "b.1")).toBeGreaterThan(first?.joinedAtMs ?? 0);
  await store.redis.flushall();
  await store.redis.hset("petrel:node-loads", "broken", "nonsense");
  expect(await joined(a, "a.1")).toBe(first?.joinedAtMs);
  expect(await store.redis.hkeys("petrel:node-loads")).toEqual(["a.1"]);
});
