// Flow: each subscriber of a topic is cut off eight times at random while thirty messages are published.
// Guarantees: all recover by themselves and get all thirty, in one order, once; nobody is told of a hole.
import { afterAll, beforeAll, expect, test } from "vitest";
import { chooseSeed, seededRandom } from "@petrel/shared/testing/faults/seeded-random";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { describeVerdict } from "../../../bench/src/chaos/describe-verdict.js";
import { startRecordedCluster, type RecordedCluster } from "../../../bench/src/chaos/recorded-cluster.js";
import { sized } from "../../support/sizes.js";

const USERS = sized(400, 60);
const MESSAGES = 30;
const CUTS = 8;
const TOPIC = "room.1";

const random = seededRandom(chooseSeed("cut-off-subscribers"));
let run: RecordedCluster;
beforeAll(async () => {
  run = await startRecordedCluster({ together: true, userCount: USERS, nodes: 2, topics: [TOPIC] });
});
afterAll(() => run.stop());

test(`${USERS} subscribers, each cut off ${CUTS} times during ${MESSAGES} messages`, async () => {
  const { producer, recorder, userNames, users } = run;
  // Else the first messages would be before some, and not for them.
  await waitFor(() => recorder.topics.events.filter(isFirst).length >= USERS, {
    what: "all to be subscribed",
  });
  const cutsAt = userNames.map((user) => ({ user, at: drawDistinct(CUTS, MESSAGES) }));
  for (let n = 0; n < MESSAGES; n++) {
    const isOver = producer.post({ user: `#${TOPIC}`, data: {}, insists: true });
    for (const { user, at } of cutsAt) if (at.has(n)) users.cutOff(user);
    await isOver;
    // So that the next cut finds most of them connected.
    await waitFor(() => users.countOnline() > USERS / 2, { what: "half of them to be back" });
  }
  const verdict = await run.judge(60_000);
  process.stdout.write(`${describeVerdict(verdict)}\n`);
  expect(verdict.violations.slice(0, 10)).toEqual([]);
  expect(verdict.counts).toMatchObject({
    states: { published: MESSAGES },
    topicHandled: MESSAGES * USERS,
    topicHoles: 0,
  });
  expect(verdict.counts.topicRecoveries).toBeGreaterThan(USERS);
}, 180_000);

function isFirst({ topic, kind }: RecordedCluster["recorder"]["topics"]["events"][number]): boolean {
  return topic === TOPIC && kind === "subscribed";
}

function drawDistinct(count: number, below: number): Set<number> {
  const drawn = new Set<number>();
  while (drawn.size < count) drawn.add(random.between(0, below - 1));
  return drawn;
}
