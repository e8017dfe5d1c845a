// Flow: a push node with live clients is paused (SIGSTOP): its sockets stay open, but nothing answers.
// Guarantees: messages to its users go to the fallback, if they have one, while the node stands still, and to the
// client after its return; each message ends once.
import { afterAll, beforeAll, expect, test } from "vitest";
import { chooseSeed, seededRandom } from "@petrel/shared/testing/faults/seeded-random";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { describeVerdict } from "../../bench/src/chaos/describe-verdict.js";
import { startRecordedCluster, type RecordedCluster } from "../../bench/src/chaos/recorded-cluster.js";
import { sized } from "../support/sizes.js";

const USERS = sized(100, 30);
const MESSAGES = sized(1_000, 150);
const PAUSE_MS = sized(20_000, 5_000);
/** Much longer than this machine may stall by itself: no other phone may ring. */
const ACK_TIMEOUT_MS = sized(4_000, 2_000);
const NODE_TTL_MS = 2_000;

const random = seededRandom(chooseSeed("paused-node"));
let run: RecordedCluster;
beforeAll(async () => {
  run = await startRecordedCluster({
    together: (name) => name !== "push-node-1",
    userCount: USERS,
    nodes: 2,
    environment: { ACK_TIMEOUT_MS: String(ACK_TIMEOUT_MS), NODE_TTL_MS: String(NODE_TTL_MS) },
  });
});
afterAll(() => run.stop());

test(`a push node paused for ${PAUSE_MS} ms: the fallback while it is paused, the client after its return`, async () => {
  const { producer, userNames, recorder, cluster, users } = run;
  const [paused] = cluster.nodes;
  const ofPaused = new Set(
    recorder.connections.filter(({ node }) => node.startsWith("push-node-1.")).map(({ user }) => user),
  );
  expect(ofPaused.size).toBeGreaterThan(0);
  expect(ofPaused.size).toBeLessThan(USERS);

  const over = recorder.faultBegan("pause", "push-node-1");
  paused?.signal("SIGSTOP");
  const end = performance.now() + PAUSE_MS;
  await Promise.all(
    Array.from({ length: MESSAGES }, async () =>
      producer.post({
        user: random.pick(userNames),
        data: {},
        insists: true,
        ...(random.chance(0.5) ? { fallback: "offline" as const } : {}),
      }),
    ),
  );
  const unreachable = recorder.posts.filter(({ user }) => ofPaused.has(user));
  const forPhones = unreachable.filter(({ mayFallBack }) => mayFallBack);
  const calledIds = (): Set<string> => new Set(recorder.fallbacks.map(({ id }) => id));
  await waitFor(() => forPhones.every(({ id = "" }) => calledIds().has(id)), {
    what: `${forPhones.length} messages to reach the fallback`,
    deadlineMs: 30_000,
  }).catch((error: unknown) => {
    paused?.signal("SIGCONT");
    throw new Error(`${String(error)}; ${recorder.fallbacks.length} came`, { cause: error });
  });
  await new Promise((resolve) => setTimeout(resolve, Math.max(0, end - performance.now())));
  // No other phone rang: the other users were connected, and acknowledged.
  expect(recorder.fallbacks.filter(({ user }) => !ofPaused.has(user))).toEqual([]);
  // None of them reached a client in the meantime.
  expect(unreachable.filter(({ n }) => recorder.handledNumbers.has(n))).toEqual([]);
  paused?.signal("SIGCONT");
  over();

  await waitFor(() => recorder.posts.every(({ n }) => recorder.handledNumbers.has(n)), {
    what: "everything to reach the clients after the node's return",
    deadlineMs: 60_000,
  });
  const verdict = await run.judge(30_000);
  process.stdout.write(`${describeVerdict(verdict)}\n`);
  expect(verdict.violations.slice(0, 10)).toEqual([]);
  expect(verdict.counts).toMatchObject({
    accepted: MESSAGES,
    handled: MESSAGES,
    fallbacks: forPhones.length,
    fallbackRepeats: 0,
  });
  expect(users.stopped()).toEqual([]);
}, 180_000);
