// Flow: users come and go under load while nodes and dispatchers are killed; then everything stops, and starts again.
// Guarantees: every end has exactly its event, in order for each user; the set of online users, computed from events
// alone, is the truth within lease and grace of a kill; a cursor goes on over a restart of everything.
import { askService } from "@petrel/shared/testing/cluster/ask-service";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { EventItem } from "@petrel/shared/protocol/events/event-item";
import { checkEvents, onlineUsers } from "@petrel/shared/testing/checks/check-events";
import { keepRunning, type ProcessKeeper } from "@petrel/shared/testing/faults/keep-running";
import { chooseSeed, seededRandom } from "@petrel/shared/testing/faults/seeded-random";
import { connectClient, type WsClient } from "@petrel/shared/testing/peers/ws-client";
import { startRestartableRedis, type RestartableRedis } from "@petrel/shared/testing/redis/restartable-redis";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { offerLoad } from "../../bench/src/chaos/offer-load.js";
import { startRecordedCluster, type RecordedCluster } from "../../bench/src/chaos/recorded-cluster.js";
import { sized } from "../support/sizes.js";

const USERS = sized(500, 16);
const MESSAGES_PER_SECOND = sized(350, 16);
const DURATION_MS = sized(60_000, 8_000);
const KILL_EVERY_MS = 2_000;
/** Two of each kind; a short run kills one of them, and the other goes on meanwhile. */
const VICTIMS = ["push-node", "dispatch"].flatMap((kind) =>
  Array.from({ length: sized(2, 1) }, (_, i) => `${kind}-${i + 1}`),
);
const VISITORS = sized(12, 6);
const [LEASE_MS, GRACE_MS] = [4_000, 2_000];
const PROBE_MS = 50;
/** What the checker judges by when this process heard of it: a machine at its limit breaks that. See chaos.test. */
const BY_THE_CLOCK = new Set(["fallback-late", "fallback-twice"]);

const random = seededRandom(chooseSeed("events"));
let redis: RestartableRedis;
let run: RecordedCluster;
let keeper: ProcessKeeper;
let follower: Follower;
/** From now on nobody is killed. */
let isCalm = false;
beforeAll(async () => {
  redis = await startRestartableRedis();
  run = await startRecordedCluster({
    redis: redis.current(),
    together: (name) => isCalm || !VICTIMS.includes(name),
    userCount: USERS,
    nodes: 2,
    dispatchers: 2,
    environment: {
      EVENTS: "all",
      ACK_TIMEOUT_MS: "2000",
      LEASE_MS: "1000",
      NODE_TTL_MS: "1500",
      ROUTE_LEASE_MS: String(LEASE_MS),
      ROUTE_GRACE_MS: String(GRACE_MS),
    },
  });
  keeper = keepRunning(run.cluster);
  follower = follow();
}, 120_000);
afterAll(async () => {
  await follower?.stop();
  await keeper?.stop();
  await run?.stop();
  await redis?.stop();
});

interface Follower {
  readonly events: readonly EventItem[];
  readonly gaps: () => number;
  readonly stop: () => Promise<void>;
}

/** Reads as a sender does: from the oldest on, from where it was, again after an error. */
function follow(): Follower {
  const events: EventItem[] = [];
  let gaps = 0;
  let isOver = false;
  async function read(): Promise<void> {
    let after = "";
    while (!isOver) {
      const url = `${run.cluster.collect.url}/v1/events?limit=200&waitSeconds=1${after}`;
      const headers = { authorization: `Bearer ${run.cluster.apiKey}` };
      const answer = await askService(url, { headers }).catch(() => undefined);
      if (answer?.ok !== true) {
        await new Promise((resolve) => setTimeout(resolve, 50));
        continue;
      }
      const page = (await answer.json()) as { items: EventItem[]; nextAfter: string; gap: boolean };
      events.push(...page.items);
      gaps += Number(page.gap);
      after = `&after=${page.nextAfter}`;
    }
  }
  const reading = read();
  return {
    events,
    gaps: () => gaps,
    stop: async () => {
      isOver = true;
      await reading;
    },
  };
}

async function killAndCutOff(): Promise<void> {
  const end = performance.now() + DURATION_MS;
  let round: string[] = [];
  while (performance.now() + KILL_EVERY_MS < end) {
    for (const user of random.shuffled(run.userNames).slice(0, USERS / 8)) run.users.cutOff(user);
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

/** How long a service did not get to answer: what a busy machine takes from it. */
function watchStalls(url: string): { readonly stop: () => Promise<number> } {
  let isOver = false;
  let stalledMs = 0;
  const watch = async (): Promise<void> => {
    while (!isOver) {
      const startMs = performance.now();
      await new Promise((resolve) => setTimeout(resolve, PROBE_MS));
      await askService(`${url}/health/live`).catch(() => undefined);
      stalledMs += performance.now() - startMs - PROBE_MS;
    }
  };
  const watching = watch();
  return {
    stop: async () => {
      isOver = true;
      await watching;
      return Math.round(stalledMs);
    },
  };
}

const endsOf = (events: readonly EventItem[]): EventItem[] =>
  events.filter(({ type }) => type.startsWith("message."));
let rememberedStates: RecordedCluster["recorder"]["states"] = [];

test(
  `${MESSAGES_PER_SECOND} msg/s to ${USERS} users who come and go, a process killed every ${KILL_EVERY_MS} ms: every end has its event`,
  async () => {
    const { producer, userNames, recorder } = run;
    const load = {
      producer,
      random,
      users: userNames,
      awayUsers: ["away-1", "away-2"],
      messagesPerSecond: MESSAGES_PER_SECOND,
      durationMs: DURATION_MS,
      fallbackShare: 0.25,
    };
    await Promise.all([offerLoad(load), killAndCutOff()]);
    await waitFor(() => keeper.away().size === 0, { what: "everybody to be back", deadlineMs: 60_000 });
    const { violations } = await run.judge(60_000);
    rememberedStates = recorder.states;
    expect(violations.filter(({ kind }) => !BY_THE_CLOCK.has(kind)).slice(0, 10)).toEqual([]);
    await waitFor(() => checkEvents(follower.events, recorder.states).length === 0, {
      what: "every end's event",
      deadlineMs: 20_000,
    }).catch(() => undefined);
    expect(checkEvents(follower.events, recorder.states).slice(0, 10)).toEqual([]);
    expect(follower.gaps()).toBe(0);
    const counts = new Map<string, number>();
    for (const { type } of follower.events) counts.set(type, (counts.get(type) ?? 0) + 1);
    process.stdout.write(
      `events: ${[...counts].map((count) => count.join(" ")).join(", ")}; ${keeper.restarts()} processes restarted\n`,
    );
    // There were faults, and ends of several kinds: this is no quiet run.
    expect(keeper.restarts()).toBeGreaterThanOrEqual(2);
    for (const type of ["message.delivered", "message.pushed", "message.expired"]) {
      expect(counts.get(type), type).toBeGreaterThan(0);
    }
    expect(endsOf(follower.events).length).toBeGreaterThan((MESSAGES_PER_SECOND * DURATION_MS) / 1_000 / 2);
  },
  DURATION_MS + 180_000,
);

test("presence from events alone is correct after a node and a dispatcher are killed", async () => {
  const { cluster, userNames } = run;
  const visitors: WsClient[] = [];
  for (let i = 0; i < VISITORS; i++) {
    const token = await cluster.tokenFor(`visitor-${i}`);
    visitors.push(await connectClient({ url: cluster.nodeUrls[i % 2] ?? "", token }));
  }
  const all = [...userNames, ...visitors.map((_, i) => `visitor-${i}`)].sort();
  const known = (): string[] => [...onlineUsers(follower.events)].sort();
  await waitFor(() => known().join() === all.join(), { what: "all to be online" });

  // These never come back; the recorded users move to the other node.
  const witness = watchStalls(cluster.newest("dispatch-2").url);
  // Redis' clock, too: it is the same machine.
  const killedAtMs = Date.now();
  for (const name of ["push-node-1", "dispatch-1"]) cluster.newest(name).signal("SIGKILL");
  const truth = all.filter((name) => !name.startsWith("visitor-") || Number(name.slice(8)) % 2 === 1);
  await waitFor(() => known().join() === truth.join(), { what: "the truth", deadlineMs: 60_000 });
  const stalledMs = await witness.stop();
  // By when the events were written: how fast this process reads them says nothing.
  const gone = follower.events.filter(
    ({ type, user = "", at }) =>
      type === "user.offline" && user.startsWith("visitor-") && Date.parse(at) >= killedAtMs,
  );
  expect(new Set(gone.map(({ user }) => user))).toEqual(
    new Set(visitors.flatMap((_, i) => (i % 2 === 0 ? `visitor-${i}` : []))),
  );
  const latestMs = Math.max(...gone.map(({ at }) => Date.parse(at))) - killedAtMs;
  process.stdout.write(
    `the truth was written ${latestMs} ms after the kills; lease and grace are ${LEASE_MS + GRACE_MS} ms, ` +
      `the dispatcher that stayed was stalled for ${stalledMs} ms\n`,
  );
  expect(latestMs).toBeLessThanOrEqual(LEASE_MS + GRACE_MS + stalledMs);
  expect(checkEvents(follower.events, rememberedStates)).toEqual([]);
  for (const visitor of visitors) visitor.close();
  await waitFor(() => known().join() === [...userNames].sort().join(), { what: "the visitors to be gone" });
}, 120_000);

test("a cursor continues over a restart of everything, without a hole", async () => {
  const { cluster } = run;
  await waitFor(() => keeper.away().size === 0, { what: "everybody to be back", deadlineMs: 60_000 });
  await keeper.stop();
  const read = async (query: string) => {
    const answer = await askService(`${cluster.collect.url}/v1/events?${query}`, {
      headers: { authorization: `Bearer ${cluster.apiKey}` },
    });
    expect(answer.status).toBe(200);
    return (await answer.json()) as { items: EventItem[]; nextAfter: string; gap: boolean };
  };
  const { nextAfter } = await read("after=now");
  const send = async (user: string): Promise<string> => {
    const { id } = (await cluster.post("/v1/messages", { to: { user }, data: 1, deliverAt: later() })) as {
      id: string;
    };
    await askService(`${cluster.collect.url}/v1/messages/${id}`, {
      method: "DELETE",
      headers: { authorization: `Bearer ${cluster.apiKey}` },
    });
    return id;
  };
  const later = (): string => new Date(Date.now() + 3_600_000).toISOString();
  const before: string[] = [];
  for (let i = 0; i < 8; i++) before.push(await send(`before-${i}`));

  const names = ["collect", "push-node-1", "push-node-2", "dispatch-1", "dispatch-2"];
  const stopped = names.map((name) => cluster.newest(name));
  for (const one of stopped) one.signal("SIGTERM");
  await Promise.all(stopped.map(({ exited }) => exited));
  redis.current().signal("SIGTERM");
  await redis.current().exited;
  await redis.startAgain();
  isCalm = true;
  await Promise.all(stopped.map((one) => cluster.startAgain(one)));

  const after: string[] = [];
  for (let i = 0; i < 8; i++) after.push(await send(`after-${i}`));
  const page = await read(`after=${nextAfter}&types=message.cancelled&limit=1000`);
  expect(page.items).toHaveLength(before.length + after.length);
  expect(new Set(page.items.map(({ message }) => message))).toEqual(new Set([...before, ...after]));
  expect(page.gap).toBe(false);
}, 120_000);
