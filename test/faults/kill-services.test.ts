// Flow: under load, a push node, a dispatcher or a collect is killed now and then, and restarted.
// Guarantees: nothing is lost or out of order; duplicates on the wire come only after a fault, and never reach the
// application.
import { afterAll, beforeAll, expect, test } from "vitest";
import { keepRunning, type ProcessKeeper } from "@petrel/shared/testing/faults/keep-running";
import { chooseSeed, seededRandom } from "@petrel/shared/testing/faults/seeded-random";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { describeVerdict } from "../../bench/src/chaos/describe-verdict.js";
import { offerLoad } from "../../bench/src/chaos/offer-load.js";
import { startRecordedCluster, type RecordedCluster } from "../../bench/src/chaos/recorded-cluster.js";
import { sized } from "../support/sizes.js";

const USERS = sized(300, 30);
const MESSAGES_PER_SECOND = sized(500, 25);
const DURATION_MS = sized(60_000, 8_500);
const KILL_EVERY_MS = sized(2_000, 1_500);
/** Two of each kind; a short run kills one of them, and the other goes on meanwhile. */
const VICTIMS = ["push-node", "dispatch", "collect"].flatMap((kind) =>
  Array.from({ length: sized(2, 1) }, (_, i) => `${kind}-${i + 1}`),
);

const random = seededRandom(chooseSeed("kill-services"));
let run: RecordedCluster;
let keeper: ProcessKeeper;
beforeAll(async () => {
  run = await startRecordedCluster({
    together: (name) => !VICTIMS.includes(name),
    userCount: USERS,
    nodes: 2,
    dispatchers: 2,
    collects: 2,
    appendOnly: true,
    environment: { ACK_TIMEOUT_MS: "2000", LEASE_MS: "1000", NODE_TTL_MS: "1500", ROUTE_LEASE_MS: "6000" },
  });
  keeper = keepRunning(run.cluster);
});
afterAll(async () => {
  await keeper.stop();
  await run.stop();
});

/** In rounds of random order, so that each kind of process has its turn in a short run too. */
async function killEveryFewSeconds(): Promise<void> {
  const end = performance.now() + DURATION_MS;
  let round: string[] = [];
  while (performance.now() + KILL_EVERY_MS < end) {
    await new Promise((resolve) => setTimeout(resolve, KILL_EVERY_MS));
    if (round.length === 0) round = random.shuffled(VICTIMS);
    const name = round.find((one) => !keeper.away().has(one));
    if (name === undefined) continue;
    round = round.filter((one) => one !== name);
    const victim = run.cluster.newest(name);
    const over = run.recorder.faultBegan("kill", victim.name);
    victim.signal("SIGKILL");
    void keeper.back(victim).then(over);
  }
}

test(
  `${MESSAGES_PER_SECOND} msg/s to ${USERS} users, a process killed every ${KILL_EVERY_MS} ms: nothing lost, all in order`,
  async () => {
    const { producer, userNames, recorder, users } = run;
    const load = {
      producer,
      random,
      users: userNames,
      messagesPerSecond: MESSAGES_PER_SECOND,
      durationMs: DURATION_MS,
      fallbackShare: 0.25,
    };
    const [leftOut] = await Promise.all([offerLoad(load), killEveryFewSeconds()]);
    await waitFor(() => keeper.away().size === 0, { what: "everybody to be back", deadlineMs: 60_000 });
    const verdict = await run.judge(60_000);
    process.stdout.write(`${describeVerdict(verdict)}\nnot sent, since too many waited: ${leftOut}\n`);
    expect(verdict.violations.slice(0, 10)).toEqual([]);
    expect(users.stopped()).toEqual([]);
    // There were faults, and they had an effect: this is no quiet run.
    expect(recorder.faults.length).toBeGreaterThanOrEqual(4);
    expect(keeper.restarts()).toBeGreaterThanOrEqual(4);
    expect(verdict.counts.connections).toBeGreaterThan(USERS);
    expect(verdict.counts.accepted).toBeGreaterThan((MESSAGES_PER_SECOND * DURATION_MS) / 1_000 / 2);
  },
  DURATION_MS + 180_000,
);
