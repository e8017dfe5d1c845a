// Flow: one limit, many processes that take from it as fast as it lets them, one Redis.
// Guarantees: together they never exceed the limit in any window, by Redis' own clock; nor stay far below it.
import { spawn, type ChildProcess } from "node:child_process";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startRedis, type TestRedis } from "@petrel/shared/testing/redis/start-redis";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { sized } from "../support/sizes.js";

const PROCESSES = sized(50, 8);
const LIMIT = 400;
const WINDOW_MS = 2_000;
const FOR_MS = 7_000;

let redis: TestRedis;
const children: ChildProcess[] = [];
beforeAll(async () => {
  redis = await startRedis();
});
afterAll(async () => {
  for (const child of children) child.kill("SIGKILL");
  await redis.stop();
});

type Grant = readonly [atMs: number, count: number];

async function startProcess(prepaid: number): Promise<{ go(): Promise<readonly Grant[]> }> {
  const child = spawn(
    process.execPath,
    ["bench/dist/limiter-process.js", redis.url, LIMIT, WINDOW_MS, prepaid, FOR_MS, `key-${prepaid}`].map(
      String,
    ),
    { stdio: ["pipe", "pipe", "inherit"] },
  );
  children.push(child);
  let output = "";
  let hasEnded = false;
  child.stdout.on("data", (chunk: Buffer) => (output += chunk.toString()));
  child.stdout.on("end", () => (hasEnded = true));
  await waitFor(() => output.startsWith("ready\n"), { what: "a process", deadlineMs: 60_000 });
  return {
    go: async () => {
      child.stdin.write("go\n");
      await waitFor(() => hasEnded, { what: "its end", deadlineMs: 120_000 });
      return JSON.parse(output.split("\n")[1] ?? "") as Grant[];
    },
  };
}

/** The most that was taken in any window. */
function fullestWindow(grants: readonly Grant[]): number {
  const inOrder = [...grants].sort(([a], [b]) => a - b);
  let [sum, most, from] = [0, 0, 0];
  for (const [atMs, count] of inOrder) {
    sum += count;
    while ((inOrder[from]?.[0] ?? 0) <= atMs - WINDOW_MS) sum -= inOrder[from++]?.[1] ?? 0;
    most = Math.max(most, sum);
  }
  return most;
}

test.each([0, 0.02])(
  `${PROCESSES} processes, %d of the limit taken ahead: as much as it allows, and no more`,
  async (prepaid) => {
    const started = [];
    // Two at a time: fifty at once would overload the machine.
    for (let i = 0; i < PROCESSES; i += 2) {
      started.push(...(await Promise.all([startProcess(prepaid), startProcess(prepaid)])));
    }
    const grants = await Promise.all(started.map((one) => one.go()));
    const all = grants.flat();
    const total = all.reduce((sum, [, count]) => sum + count, 0);
    const took = grants.filter((ofOne) => ofOne.length > 0).length;
    expect(fullestWindow(all)).toBeLessThanOrEqual(LIMIT);
    // They all run for three windows and a half, or longer if the machine starts them apart.
    expect(total).toBeGreaterThan(LIMIT * 2);
    expect(took).toBeGreaterThan(PROCESSES / 2);
    console.log(
      `${PROCESSES} processes: ${total} taken, ${fullestWindow(all)} of ${LIMIT} in the fullest window, ${took} had some`,
    );
  },
  240_000,
);
