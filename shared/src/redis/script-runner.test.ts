// Tests how scripts are called.
// Guarantees: whatever Redis has forgotten, and whenever the connection was lost, a call works.
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { message, openStore, type OpenStore } from "../testing/open-store.js";
import { waitFor } from "../testing/wait-for.js";
import { readScripts } from "./script-catalogue.js";
import { ScriptRunner } from "./script-runner.js";

let store: OpenStore;
beforeAll(async () => void (store = await openStore()));
beforeEach(() => store.clear());
afterAll(() => store.close());

const sha1s = [...readScripts().values()].map(({ sha1 }) => sha1);
async function loaded(): Promise<number> {
  const known = (await store.redis.script("EXISTS", ...sha1s)) as number[];
  return known.filter((one) => one === 1).length;
}

test("all scripts are loaded as soon as a runner is made", async () => {
  await store.redis.script("FLUSH");
  const another = new ScriptRunner(store.redis);
  expect(another.redis).toBe(store.redis);
  await waitFor(async () => (await loaded()) === sha1s.length, { what: "the scripts" });
});

test("a script that Redis has lost is sent along", async () => {
  await store.redis.script("FLUSH");
  expect(await store.scripts.run("read-routes.v1", [store.keys.routes("u1")], [])).toBe("");
  expect(await loaded()).toBe(1);
});

test("lost in the middle of calls: all are stored, once, in order", async () => {
  const accepter = store.accepter();
  const ids = Array.from({ length: 300 }, (_, i) => `m${i}`);
  const results = [];
  for (const [i, id] of ids.entries()) {
    results.push(accepter.accept(message({ id })));
    if (i % 50 === 25) void store.redis.script("FLUSH");
    if (i % 10 === 9) await new Promise((resolve) => setImmediate(resolve));
  }
  const seqs = (await Promise.all(results)).map((result) => result.outcome === "stored" && result.seq);
  expect(seqs).toEqual(ids.map((_, i) => i + 1));
});

test("loaded again after the connection was lost", async () => {
  const { redis } = store;
  const id = await redis.client("ID");
  await redis.script("FLUSH");
  await redis.call("CLIENT", "KILL", "ID", String(id), "SKIPME", "no").catch(() => undefined);
  await waitFor(() => redis.status === "ready", { what: "the connection" });
  await waitFor(async () => (await loaded()) === sha1s.length, { what: "the scripts" });
});

test("an error of a script is the caller's", async () => {
  await store.redis.set(store.keys.routes("u1"), "not a sorted set");
  await expect(store.scripts.run("read-routes.v1", [store.keys.routes("u1")], [])).rejects.toThrow(
    /WRONGTYPE/,
  );
});

test("two releases side by side: a script is called by the hash of its text", () => {
  expect(new Set(sha1s).size).toBe(sha1s.length);
  expect(sha1s.every((sha1) => /^[0-9a-f]{40}$/.test(sha1))).toBe(true);
});
