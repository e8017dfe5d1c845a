// Tests how scripts are called.
// Guarantees: a call works after Redis has forgotten its scripts, and after a lost connection.
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { message, openStore, type OpenStore } from "../../testing/redis/open-store.js";
import { waitFor } from "../../testing/wait-for.js";
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

test("loads all scripts as soon as a runner is made", async () => {
  await store.redis.script("FLUSH");
  const another = new ScriptRunner(store.redis);
  expect(another.redis).toBe(store.redis);
  await waitFor(async () => (await loaded()) === sha1s.length, { what: "the scripts" });
});

test("sends a script along that Redis has lost", async () => {
  await store.redis.script("FLUSH");
  expect(await store.scripts.run("read-routes.v1", [store.keys.routes("u1")], [])).toBe("");
  expect(await loaded()).toBe(1);
});

test("if scripts are lost in the middle of calls, all are stored, once, in order", async () => {
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

test("loads them again after the connection was lost", async () => {
  const { redis } = store;
  const id = await redis.client("ID");
  await redis.script("FLUSH");
  await redis.call("CLIENT", "KILL", "ID", String(id), "SKIPME", "no").catch(() => undefined);
  await waitFor(() => redis.status === "ready", { what: "the connection" });
  await waitFor(async () => (await loaded()) === sha1s.length, { what: "the scripts" });
});

test("passes a script's error on to the caller", async () => {
  await store.redis.set(store.keys.routes("u1"), "not a sorted set");
  await expect(store.scripts.run("read-routes.v1", [store.keys.routes("u1")], [])).rejects.toThrow(
    /WRONGTYPE/,
  );
});

test("two releases side by side: a script is called by the hash of its text", () => {
  expect(new Set(sha1s).size).toBe(sha1s.length);
  expect(sha1s.every((sha1) => /^[0-9a-f]{40}$/.test(sha1))).toBe(true);
});

test("retries a slot that is being moved until the move is complete", async () => {
  const clustered = { extraArgs: ["--cluster-enabled", "yes"] };
  const [here, there] = await Promise.all([openStore(clustered), openStore(clustered)]);
  try {
    const { redis, scripts, keys } = here;
    await redis.call("CLUSTER", "ADDSLOTSRANGE", "0", "16383");
    await redis.call("CLUSTER", "MEET", "127.0.0.1", String(there.server.port));
    const thereId = String(await there.redis.call("CLUSTER", "MYID"));
    await waitFor(async () => String(await redis.call("CLUSTER", "NODES")).includes(thereId), {
      what: "the other node",
    });
    await waitFor(async () => String(await redis.call("CLUSTER", "INFO")).includes("cluster_state:ok"), {
      what: "the cluster",
    });
    await redis.zadd(keys.routes("u1"), 9e12, "0000000000001/n1/c1/web");
    const slot = String(await redis.call("CLUSTER", "KEYSLOT", keys.routes("u1")));
    await redis.call("CLUSTER", "SETSLOT", slot, "MIGRATING", thereId);
    // One key is here, the other may be there: Redis cannot tell, and asks to try again.
    const routes = [keys.routes("u1"), keys.routes("u2")];
    await expect(redis.del(...routes)).rejects.toThrow(/^TRYAGAIN/);
    const answer = scripts.run("read-routes.v1", routes, []);
    await redis.call("CLUSTER", "SETSLOT", slot, "STABLE");
    expect(await answer).toBe("n1\n");
  } finally {
    await Promise.all([here.close(), there.close()]);
  }
});

test("reports a slot that stays half moved to the caller", async () => {
  const tries: string[] = [];
  const stuck = new Proxy(store.redis, {
    get: (redis, property) => {
      if (property === "sendCommand") {
        return (command: { readonly name: string }) => {
          tries.push(command.name);
          return Promise.reject(new Error("TRYAGAIN Multiple keys request during rehashing of slot"));
        };
      }
      const value: unknown = Reflect.get(redis, property);
      return typeof value === "function" ? value.bind(redis) : value;
    },
  });
  await expect(new ScriptRunner(stuck).run("read-routes.v1", [store.keys.routes("u1")], [])).rejects.toThrow(
    /^TRYAGAIN/,
  );
  expect(tries).toEqual(Array.from({ length: 6 }, () => "evalsha"));
});
