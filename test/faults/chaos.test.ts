// Flow: a short fixed plan of random faults under load: what `npm run chaos` does for minutes.
// Guarantees: the checker finds no broken promise.
import { expect, test } from "vitest";
import { chooseSeed } from "@petrel/shared/testing/faults/seeded-random";
import { describeVerdict } from "../../bench/src/chaos/describe-verdict.js";
import { runChaos } from "../../bench/src/chaos/run-chaos.js";
import { sized } from "../support/sizes.js";

const DURATION_MS = sized(60_000, 18_000);
/**
 * In 18 s: kills of a push node, a dispatcher, a collect and Redis; a pause; links deafened and stalled; and each event:
 * a collect stopped, a phone that lags, a person erased, a replica, two other clocks.
 */
const FIXED_SEED = 702;

test(
  `${DURATION_MS} ms of faults and load: every promise holds`,
  async () => {
    const lines: string[] = [];
    const result = await runChaos({
      seed: chooseSeed("chaos", FIXED_SEED),
      durationMs: DURATION_MS,
      userCount: sized(200, 24),
      messagesPerSecond: sized(200, 15),
      print: (line) => lines.push(line),
    }).catch((error: unknown) => {
      throw new Error(`${String(error)}\n${lines.join("\n")}`, { cause: error });
    });
    process.stdout.write(`${[...lines, describeVerdict(result.verdict)].join("\n")}\n`);
    expect(result.verdict.violations.slice(0, 10)).toEqual([]);
    expect(result.stoppedClients).toEqual([]);
    const planned = new Set(result.plan.map(({ kind }) => kind));
    expect([...planned]).toEqual(expect.arrayContaining(["stop", "lag", "erase", "replica"]));
    // Without a compiler for the clock's library, a line above says so.
    const hasClock = !lines.some((line) => line.startsWith("LEFT OUT"));
    expect([planned.has("clock"), planned.has("skew")]).toEqual([hasClock, hasClock]);
    expect(result.verdict.counts.erasures).toBeGreaterThan(0);
    expect(result.verdict.counts.faults).toBe(result.plan.length);
    expect(result.verdict.counts.accepted).toBeGreaterThan(100);
    expect(result.verdict.counts.topicHandled).toBeGreaterThan(100);
    expect(result.verdict.counts.topicRecoveries).toBeGreaterThan(0);
  },
  DURATION_MS + 240_000,
);
