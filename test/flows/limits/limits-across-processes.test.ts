// Flow: one limit, many processes that take from it as fast as it lets them, one Redis.
// Guarantees: together they never exceed the limit in any window, by Redis' own clock; nor stay far below it.
import { spawn, type ChildProcess } from "node:child_process";
import { afterAll, beforeAll, expect, test } from "vitest";
import { serviceFile } from "@petrel/shared/testing/cluster/service-files";
import { startRedis, type TestRedis } from "@petrel/shared/testing/redis/start-redis";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { sized } from "../../support/sizes.js";

const PROCESSES = sized(50, 4);
const LIMIT = 400;
const WINDOW_MS = 2_000;
const FOR_MS = 7_000;
/** Two limits at once: from the second a share is taken ahead. */
const PREPAID = [0, 0.02] as const;

let redis: TestRedis;
const children: ChildProcess[] = [];
beforeAll(async () => {
  redis = await startRedis();
});
afterAll(async () => {
  for (const child of children) child.kill("SIGKILL");
  await redis.stop();
});

/** Not before, not after, how much. */
type Grant = readonly [fromMs: number, toMs: number, count: number];

interface Started {
  /** Takes as fast as it may from each of the limits; what it was granted of each. */
  go(): Promise<readonly (readonly Grant[])[]>;
}

async function startProcess(): Promise<Started> {
  const child = spawn(
    process.execPath,
    [serviceFile("bench/dist/limiter-process.js"), redis.url, LIMIT, WINDOW_MS, FOR_MS, ...PREPAID].map(
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
      return JSON.parse(output.split("\n")[1] ?? "") as Grant[][];
    },
  };
}

/** The most that was certainly taken in any window: when exactly a grant happened, nobody can say. */
function fullestWindow(grants: readonly Grant[]): number {
  const ends = grants.map(([, toMs]) => toMs);
  return Math.max(
    ...ends.map((endMs) =>
      grants.reduce(
        (sum, [fromMs, toMs, count]) => (fromMs > endMs - WINDOW_MS && toMs <= endMs ? sum + count : sum),
        0,
      ),
    ),
  );
}

/** Of each process, of each limit. */
let grants: readonly (readonly (readonly Grant[])[])[];
beforeAll(async () => {
  const started: Started[] = [];
  // Two at a time: fifty at once would overload the machine.
  for (let i = 0; i < PROCESSES; i += 2) {
    started.push(...(await Promise.all([startProcess(), startProcess()])));
  }
  grants = await Promise.all(started.map((one) => one.go()));
}, 240_000);

test.each(PREPAID.map((share, i) => [share, i] as const))(
  `${PROCESSES} processes, %d of the limit taken ahead: exactly the limit passes`,
  (_share, i) => {
    const all = grants.flatMap((ofOne) => ofOne[i] ?? []);
    const total = all.reduce((sum, [, , count]) => sum + count, 0);
    const took = grants.filter((ofOne) => (ofOne[i] ?? []).length > 0).length;
    expect(fullestWindow(all)).toBeLessThanOrEqual(LIMIT);
    // They all run for three windows and a half, or longer if the machine starts them apart.
    expect(total).toBeGreaterThan(LIMIT * 2);
    expect(took).toBeGreaterThan(PROCESSES / 2);
    console.log(
      `${PROCESSES} processes: ${total} taken, ${fullestWindow(all)} of ${LIMIT} in the fullest window, ${took} had some`,
    );
  },
);
