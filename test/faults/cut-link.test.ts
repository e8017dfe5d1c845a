// Flow: the link between one push node and Redis falls silent for ten seconds, without a FIN or RST, and comes back.
// Guarantees: afterwards all its clients have everything, in order, over the connections they had.
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startFaultProxy, type FaultProxy } from "@petrel/shared/testing/faults/fault-proxy";
import { chooseSeed, seededRandom } from "@petrel/shared/testing/faults/seeded-random";
import { startRedis, type TestRedis } from "@petrel/shared/testing/redis/start-redis";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { describeVerdict } from "../../bench/src/chaos/describe-verdict.js";
import { offerLoad } from "../../bench/src/chaos/offer-load.js";
import { startRecordedCluster, type RecordedCluster } from "../../bench/src/chaos/recorded-cluster.js";
import { sized } from "../support/sizes.js";

const USERS = sized(300, 24);
const MESSAGES_PER_SECOND = sized(500, 15);
const SILENT_MS = 10_000;
const BEFORE_AND_AFTER_MS = 2_000;

const random = seededRandom(chooseSeed("cut-link"));
let directory: string;
let redis: TestRedis;
let proxy: FaultProxy;
let run: RecordedCluster;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "petrel-cut-link-"));
  const topicsFile = join(directory, "topics.json");
  // A topic keeps all that is sent in the silence.
  await writeFile(topicsFile, JSON.stringify({ rules: [{ topics: "room.*", historySize: 5_000 }] }));
  redis = await startRedis();
  proxy = await startFaultProxy({ targetPort: redis.port });
  run = await startRecordedCluster({
    together: true,
    userCount: USERS,
    nodes: 2,
    topics: ["room.1", "room.2"],
    redis,
    // So long that no missing ack helps: the node itself must notice what it missed.
    environment: { ACK_TIMEOUT_MS: "600000", TOPICS_FILE: topicsFile },
    environmentOf: (name): Record<string, string> =>
      name === "push-node-1" ? { REDIS_URL: `redis://127.0.0.1:${proxy.port}` } : {},
  });
});
afterAll(async () => {
  await run.stop();
  await proxy.stop();
  await redis.stop();
  await rm(directory, { recursive: true });
});

test(`a link silent for ${SILENT_MS} ms: everything arrives, in order, without a reconnect`, async () => {
  const { producer, userNames, recorder, users } = run;
  const load = (durationMs: number): Promise<number> =>
    offerLoad({
      producer,
      random,
      users: userNames,
      topics: run.topics,
      messagesPerSecond: MESSAGES_PER_SECOND,
      durationMs,
      fallbackShare: 0,
    });
  await load(BEFORE_AND_AFTER_MS);
  const over = recorder.faultBegan("stall", "push-node-1");
  proxy.stall();
  await load(SILENT_MS);
  await producer.settled();
  proxy.heal();
  over();
  // Nothing is sent meanwhile, so no later message reveals a gap to the node.
  await waitFor(() => recorder.posts.every(({ n }) => recorder.handledNumbers.has(n)), {
    what: "everything to reach the clients after the link is back",
    everyMs: 100,
    deadlineMs: 60_000,
  });
  const healedAtMs = recorder.faults[0]?.endedAtMs ?? 0;
  const lastAtMs = recorder.wire.at(-1)?.atMs ?? 0;
  process.stdout.write(`the last went out ${Math.round(lastAtMs - healedAtMs)} ms after the link was back\n`);
  await load(BEFORE_AND_AFTER_MS);
  const verdict = await run.judge(60_000);
  process.stdout.write(`${describeVerdict(verdict)}\n`);
  expect(verdict.violations.slice(0, 10)).toEqual([]);
  const { delivered = 0, published = 0 } = verdict.counts.states;
  expect(delivered + published).toBe(verdict.counts.accepted);
  expect(published).toBeGreaterThan(0);
  expect(verdict.counts.topicHoles).toBe(0);
  expect(verdict.counts.unknown).toBe(0);
  // No connection was lost or reopened.
  expect(recorder.connections.filter(({ closed }) => closed !== undefined)).toEqual([]);
  expect(recorder.connections).toHaveLength(USERS);
  expect(users.stopped()).toEqual([]);
  // The fault had an effect: the node went without its messages for seconds.
  const [fault] = recorder.faults;
  const late = recorder.posts.filter(
    ({ startedAtMs }) => startedAtMs > (fault?.atMs ?? 0) && startedAtMs < healedAtMs - 2_000,
  );
  const cameAfter = new Set(recorder.handled.filter(({ atMs }) => atMs > healedAtMs).map(({ n }) => n));
  expect(late.filter(({ n }) => cameAfter.has(n)).length).toBeGreaterThan(late.length / 4);
});
