// Tests `petrel redis failover` on real servers and sentinels. test/faults/redis/redis-planned-failover.test.ts does so
// under load.
// Guarantees: a failover that cannot be done leaves the master as it was, taking writes. After one that succeeds, only
// the new master takes writes.
import { PassThrough } from "node:stream";
import { createLogger } from "@petrel/shared/kernel/logging/logging";
import { connectRedis } from "@petrel/shared/redis/connection/connect";
import {
  startRedisSentinels,
  type TestRedisSentinels,
} from "@petrel/shared/testing/redis/start-redis-sentinels";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { afterAll, beforeAll, expect, test } from "vitest";
import { runPetrel } from "../run-petrel.js";

const logger = createLogger({ service: "test", level: "silent" });
let group: TestRedisSentinels;
beforeAll(async () => void (group = await startRedisSentinels({ replicas: 1, downAfterMs: 30_000 })));
afterAll(() => group?.stop());

async function run(...args: readonly string[]) {
  const out: string[] = [];
  const err: string[] = [];
  const exitCode = await runPetrel(
    ["redis", "failover", ...args],
    {
      print: (line) => void out.push(line),
      deliver: async (line) => void out.push(line),
      note: (line) => void err.push(line),
      stdin: new PassThrough(),
      environment: group.environment,
      workingDirectory: ".",
      interrupted: new AbortController().signal,
    },
    "0",
  );
  return { exitCode, out, err: err.join("\n") };
}

test("names what cannot be read", async () => {
  expect(await run("--sentinels", "host:1")).toMatchObject({
    exitCode: 2,
    err: expect.stringContaining("--sentinels"),
  });
  expect(await run("--url", "http://x")).toMatchObject({
    exitCode: 2,
    err: expect.stringContaining("--url"),
  });
  const { REDIS_SENTINELS } = group.environment;
  expect(await run("--sentinels", REDIS_SENTINELS.replace("main@", "other@"))).toMatchObject({
    exitCode: 1,
    err: expect.stringContaining("other"),
  });
});

test("gives up if a replica does not catch up, and the master accepts writes again", async () => {
  const [master, replica] = group.servers;
  if (master === undefined || replica === undefined) throw new Error("two servers");
  const link = await group.connect(master);
  replica.signal("SIGSTOP");
  try {
    await link.set("k", "x".repeat(1_000));
    expect(await run("--deadline-seconds", "1")).toMatchObject({
      exitCode: 1,
      err: expect.stringContaining("waited 1 s for the replicas"),
    });
    expect(await link.set("k", "again")).toBe("OK");
  } finally {
    replica.signal("SIGCONT");
  }
  expect(await group.master()).toBe(master);
}, 60_000);

test("when done, the old master is a replica, and a write that waited there is not answered with OK", async () => {
  const [master, replica] = group.servers;
  if (master === undefined || replica === undefined) throw new Error("two servers");
  // A client that does not listen to sentinels.
  const stranger = await connectRedis({
    url: master.url,
    role: "stranger",
    logger,
    commandTimeoutMs: 30_000,
  });
  const answered: number[] = [];
  let isOver = false;
  const writing = (async () => {
    for (let n = 0; !isOver; n++) {
      await stranger.sadd("written", n).then(
        () => answered.push(n),
        () => new Promise((resolve) => setTimeout(resolve, 20)),
      );
    }
  })();
  await waitFor(() => answered.length > 10, { what: "writes" });
  const done = await run();
  isOver = true;
  await writing;
  stranger.disconnect();
  expect(done).toMatchObject({
    exitCode: 0,
    out: [expect.stringContaining(`failed over from 127.0.0.1:${master.port} to 127.0.0.1:${replica.port}`)],
  });
  const old = await group.connect(master);
  expect(await old.info("replication")).toContain("role:slave");
  const there = new Set(await (await group.connect(replica)).smembers("written"));
  expect(answered.filter((n) => !there.has(String(n)))).toEqual([]);
}, 60_000);
