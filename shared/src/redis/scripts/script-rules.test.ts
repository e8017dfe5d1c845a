// Tests the rules for every call of a script by its typed caller.
// Guarantees: all keys are declared and share one hash tag, so each call works on a Redis Cluster; answers are strings,
// which read the same in every protocol version.
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { createLogger } from "../../kernel/logging/logging.js";
import { message, openStore, type OpenStore } from "../../testing/redis/open-store.js";
import { waitFor } from "../../testing/wait-for.js";
import type { Redis } from "../connection/connect.js";
import { eventTypes, type EventType } from "../../protocol/events/event-types.js";
import { ackUsers } from "../inbox/ack-users.js";
import { AuditLog } from "../auth/audit-log.js";
import { DeadLettersStore } from "../fallback/dead-letters-store.js";
import { keepDeviceSends } from "../fallback/device-sends-store.js";
import { DevicesStore } from "../devices/devices-store.js";
import { renewMembership } from "../partitions/dispatcher-members.js";
import { partitionOfUser } from "../../protocol/messages/partition.js";
import { UserEraser } from "../erasure/erase-user.js";
import { findExpired } from "../inbox/find-expired.js";
import { expireMessages } from "../inbox/expire-messages.js";
import { holdHistory } from "../inbox/hold-history.js";
import { forgetWorkers, giveBackFallback, promoteRetries, readFallback } from "../fallback/fallback-queue.js";
import { invalidateDevices } from "../devices/invalidate-devices.js";
import { keepRecords } from "../inbox/keep-records.js";
import { partitionKeys } from "../keys.js";
import { reportNode } from "../nodes/node-reports.js";
import { announceNode } from "../nodes/node-presence.js";
import { releasePartition, renewPartition, takePartition } from "../partitions/partition-lease.js";
import { ProducerKeysStore } from "../producers/producer-keys-store.js";
import { ProviderTokenStore } from "../fallback/provider-token-store.js";
import { SlidingWindowLimiter } from "../limits/sliding-window-limiter.js";
import { holdAbsence } from "../partitions/hold-absence.js";
import { readLastSeen } from "../presence/read-last-seen.js";
import { listPresence, readPresence } from "../presence/read-presence.js";
import { findGoneHolders, removeHolder } from "../presence/remove-holder.js";
import { renewHolder, reportPresence } from "../presence/report-presence.js";
import { keepTime, setBack } from "../partitions/keep-time.js";
import { readInbox } from "../inbox/read-inbox.js";
import { trimEvents } from "../events/trim-events.js";
import { findDueOnline, lookOnline } from "../events/watch-online.js";
import { readPartitionEvents } from "../events/read-partition-events.js";
import { takeCollapseTurn } from "../fallback/take-collapse-turn.js";
import { trimReady } from "../accept/ready-stream.js";
import { cancelSchedule } from "../schedules/cancel-schedule.js";
import { listSchedules } from "../schedules/list-schedules.js";
import {
  findDueSchedules,
  isOfTopic,
  promoteMessages,
  promotePublications,
} from "../schedules/promote-schedules.js";
import { MessageScheduler } from "../schedules/schedule-messages.js";
import { dropTopic, keepTopic } from "../topics/kept-topics.js";
import { lookAtTopics } from "../topics/look-at-topics.js";
import { readTopic } from "../topics/read-topic.js";
import { TopicPublisher } from "../topics/topic-publisher.js";
import { beginSend } from "../recall/begin-send.js";
import { cancelMessage } from "../recall/cancel-message.js";
import { decodeFallbackEntry } from "../../protocol/fallback/fallback-entry.js";
import { offerUsers } from "../wake/offer-users.js";
import { reconcileUsers } from "../wake/reconcile-users.js";
import { NodeLoads } from "../nodes/node-loads.js";
import { connectRoute, markLeaving, readRoutes, removeRoute, renewRoutes } from "../nodes/route-store.js";
import { ownSlotScripts, readScripts, scriptNames, type ScriptName } from "./script-catalogue.js";
import { rotateProducerKey } from "../producers/rotate-producer-key.js";
import { EventWriting } from "./event-writing.js";
import { ScriptRunner } from "./script-runner.js";
import { SessionsStore } from "../auth/sessions-store.js";
import { settleFallback } from "../fallback/settle-fallback.js";
import { SigningKeysStore } from "../auth/signing-keys-store.js";
import { TicketsStore } from "../auth/tickets-store.js";
import { TokenRevocations } from "../auth/token-revocations.js";
import { wakeUsers } from "../wake/wake-users.js";
import { countEvents } from "../webhooks/count-events.js";
import {
  beginWebhookProgress,
  endWebhookProgress,
  stepWebhookProgress,
} from "../webhooks/webhook-progress.js";
import { WebhooksStore } from "../webhooks/webhooks-store.js";
import { AccessTokenStore } from "../wechat/access-token-store.js";
import { noteRefusal } from "../wechat/wechat-notes.js";
import { type AcceptResult, MessageAccepter } from "../accept/accept-batch.js";

interface Call {
  readonly name: ScriptName;
  readonly keys: readonly string[];
  readonly args: readonly (string | number)[];
  answer?: unknown;
}

/** Runs everything as always, with all events, and records the calls. */
class NotingRunner extends ScriptRunner {
  readonly calls: Call[] = [];

  constructor(redis: Redis, types: readonly EventType[] = eventTypes) {
    super(redis, readScripts(), new EventWriting(types, 1_000));
  }

  override async run(...[name, keys, args]: Parameters<ScriptRunner["run"]>): Promise<string> {
    const call: Call = { name, keys, args };
    this.calls.push(call);
    const answer = await super.run(name, keys, args);
    call.answer = answer;
    return answer;
  }

  override async runForList(
    ...[name, keys, args]: Parameters<ScriptRunner["runForList"]>
  ): Promise<string[]> {
    const call: Call = { name, keys, args };
    this.calls.push(call);
    const answer = await super.runForList(name, keys, args);
    call.answer = answer;
    return answer;
  }
}

const turnOptions = { holder: "h", leaseMs: 1_000, keepUntilMs: 99_999_999_999_999 } as const;

const logger = createLogger({ service: "test", level: "silent" });
const act = { actor: "system", action: "key.create", target: "k" } as const;

const limits = {
  leaseMs: 30_000,
  maxConnectionsPerUser: 1,
  whenFull: "evict",
  ackTimeoutMs: 10_000,
} as const;

async function callTopics(scripts: ScriptRunner, partition: number): Promise<void> {
  const keys = partitionKeys(partition);
  const partitions = [partitionKeys(0), partitionKeys(1), partitionKeys(2)];
  const publisher = new TopicPublisher({ scripts, partitions, maxInFlight: 1 });
  const news = {
    topic: "news",
    partition,
    id: "n1",
    ttlMs: 60_000,
    history: { size: 1, ageMs: 60_000, bytes: 1_000 },
    from: "",
    data: "1",
  };
  const record = { fingerprint: "f", attempt: "a" };
  await Promise.all([publisher.publish(news), publisher.publish({ ...news, id: "n2", record })]);
  await publisher.publish({ ...news, id: "n2", record });
  await readTopic(scripts, keys, "news", { after: 0, takesPart: true });
  await readTopic(scripts, keys, "unused", { takesPart: false });
  await lookAtTopics(scripts, keys, ["news", "unused"]);
  await keepTopic(scripts, keys, "u1", "news");
  await dropTopic(scripts, keys, "u1", "news");
}

/** What waits for its time, is taken back, promoted, fails, and is tried again. */
async function callSchedules(scripts: ScriptRunner, partition: number): Promise<void> {
  const keys = partitionKeys(partition);
  const partitions = [partitionKeys(0), partitionKeys(1), partitionKeys(2)];
  const scheduler = new MessageScheduler({ scripts, partitions, maxInFlight: 1, cap: 10_000 });
  const deliverAtMs = Date.now() + 86_400_000;
  const record = { fingerprint: "f", attempt: "a" };
  const history = { size: 1, ageMs: 60_000, bytes: 1_000 };
  const news = {
    topic: "news",
    partition,
    id: "s2",
    ttlMs: 86_400_000,
    history,
    from: "",
    data: "1",
    record,
  };
  const mine = { ...message({ userId: "s1", id: "s1", partition }), deliverAtMs };
  await scheduler.schedule(mine);
  await scheduler.schedule({ ...news, deliverAtMs });
  await scheduler.schedule({ ...mine, id: "s3" });
  await listSchedules(scripts, keys, "s1", { after: undefined, limit: 1, maxBytes: 1 });
  await cancelSchedule(scripts, keys, "s1", "s3");
  const members = await scripts.redis.zrange(keys.scheduled, "0", "-1");
  for (const member of members) await scripts.redis.zadd(keys.scheduled, "XX", 1, member);
  const lease = await takePartition(scripts, keys, "d1", 30_000);
  const token = lease.outcome === "held" ? lease.token : "";
  const due = await findDueSchedules(scripts, keys, 10);
  const rules = {
    ackTimeoutMs: 1_000,
    inboxCap: 0,
    readyCap: 1_000,
    fallbackCap: 1_000,
    recordKeepMs: 1_000,
    receiveLimit: 1,
    deadLettersCap: 1,
  };
  await promoteMessages(
    scripts,
    keys,
    token,
    rules,
    due.members.filter((one) => !isOfTopic(one)),
  );
  await promotePublications(scripts, keys, token, rules, due.members.filter(isOfTopic));
  const deadLetters = new DeadLettersStore(scripts, partitions);
  for (const letter of (await deadLetters.list("inbox-full", undefined, 1)).items)
    await deadLetters.replay(letter);
  await releasePartition(scripts, keys, { holder: "d1", token });
}

/** A node that reports, begins anew, and is gone. */
async function callPresence(scripts: ScriptRunner, partition: number): Promise<void> {
  const keys = partitionKeys(partition);
  const [former, holder] = [
    { node: "n1", number: 1 },
    { node: "n1", number: 2 },
  ];
  const topics = [{ topic: "news", users: [["u1", 1] as const, ["u2", undefined] as const] }];
  await renewHolder(scripts, keys, { holder: former, leaseMs: 0, begins: true });
  await reportPresence(scripts, keys, { holder: former, version: 1, former: undefined, topics });
  await renewHolder(scripts, keys, {
    holder,
    leaseMs: 0,
    begins: true,
    former: { holder: former, leaseMs: 0 },
  });
  await reportPresence(scripts, keys, { holder, version: 2, former, topics });
  await readPresence(scripts, keys, [{ topic: "news", wantsList: true }]);
  await listPresence(scripts, keys, "news", { after: "", limit: 1 });
  await findGoneHolders(scripts, keys, 1);
  const lease = await takePartition(scripts, keys, "d1", 30_000);
  const token = lease.outcome === "held" ? lease.token : "";
  for (const one of [former, holder]) await removeHolder(scripts, keys, token, one, { settleMs: 0 });
  await releasePartition(scripts, keys, { holder: "d1", token });
  await readLastSeen(scripts, keys, ["u1", "u2"]);
}

/** Calls every script by its typed caller, in each way that touches different keys. */
async function callWechat(scripts: ScriptRunner, partition: number): Promise<void> {
  const keys = partitionKeys(partition);
  const store = new AccessTokenStore(scripts, [keys]);
  const turn = await store.take("wx1", 5_000);
  const fence = turn.state === "fetch" ? turn.fence : "";
  await store.take("wx1", 5_000);
  await store.keep("wx1", fence, { id: "t1", text: "sealed", expiresInMs: 7_200_000 });
  await store.drop("wx1", "t1", "unreadable");
  const next = await store.take("wx1", 5_000);
  await store.leave("wx1", next.state === "fetch" ? next.fence : "", {
    forMs: 1_000,
    kind: "resting",
    reason: "busy",
  });
  await noteRefusal(scripts, keys, "u1", { id: "d_1", registeredAtMs: 1 }, "T1");
}

async function callEverything(scripts: ScriptRunner, partition: number): Promise<void> {
  const keys = partitionKeys(partition);
  const accepter = new MessageAccepter({
    scripts,
    partitions: [partitionKeys(0), partitionKeys(1), partitionKeys(2)],
    ackTimeoutMs: 0,
    inboxCap: 100,
    readyCap: 100,
    handOver: "accept",
    maxInFlight: 1,
  });
  const accept = (userId: string, id: string) =>
    accepter.accept(message({ userId, id, partition, ttlMs: 0 }));
  const [first] = await Promise.all([
    accept("u1", "m1"),
    accept("u2", "m2"),
    accept("u1", "m3"),
    accept("u1", "m1"),
  ]);
  const epoch = first.outcome === "stored" ? first.epoch : "";
  const route = { userId: "u1", node: "n1", connection: "c1", platform: "web" };
  await connectRoute(scripts, keys, { ...route, position: { epoch, since: 1 } }, limits);
  const connected = await connectRoute(scripts, keys, { ...route, connection: "c2" }, limits);
  const member = connected.outcome === "connected" ? connected.member : "";
  await renewRoutes(
    scripts,
    keys,
    [
      { userId: "u1", member },
      { userId: "u2", member },
    ],
    30_000,
  );
  await holdAbsence(scripts, keys);
  const loads = new NodeLoads({ scripts, nodeId: "n1", staleMs: 7_000 });
  await loads.report(2);
  await loads.report(3);
  await loads.leave();
  await readRoutes(scripts, keys, ["u1", "u2"]);
  const [leaving = ""] = await markLeaving(scripts, keys, [{ userId: "u1", member }]);
  await removeRoute(scripts, keys, "u1", leaving, 1_000);
  await readInbox(scripts, keys, "u1", 0, { maxEntries: 10, maxBytes: 10_000 });
  await accept("u1", "m4");
  const slow = { userId: "u1", connection: "c1", epoch };
  const history = { history: 1, slowHistory: 1 };
  await holdHistory(scripts, keys, { ...slow, lastSent: 1 }, history);
  await holdHistory(scripts, keys, { ...slow, lastSent: undefined }, history);
  const lease = await takePartition(scripts, keys, "d1", 30_000);
  const token = lease.outcome === "held" ? lease.token : "";
  await renewPartition(scripts, keys, { holder: "d1", token }, 30_000);
  await keepTime(scripts, keys, token);
  const rules = { ackTimeoutMs: 10_000, absenceInMs: 0, settleMs: 0, confirmMs: 0 };
  const atOnce = { userId: "u3", partition, fallback: "always", notification: "{}" } as const;
  await callWechat(scripts, partition);
  await accepter.accept(message(atOnce));
  await accepter.accept(message({ ...atOnce, fallback: "offline" }));
  for (const collapseKey of ["k", "k", "l"]) {
    await accepter.accept(message({ userId: "u4", partition, collapseKey }));
  }
  await offerUsers(scripts, keys, token, rules, ["n2", "n3"], ["u1", "u3"]);
  await wakeUsers(scripts, keys, token, rules, ["u1", "u2", "u3"]);
  await reconcileUsers(scripts, keys, token, { overdueMs: 0, idleMs: 0 }, ["u1", "u3"]);
  await keepRecords(scripts, keys, [{ userId: "u1", minAgeMs: 0 }]);
  const back = { nowMs: 0, backMs: 1_001, armedForMs: 99_999_999_999_999, isHeld: () => true } as const;
  await setBack(scripts, keys, token, back);
  await trimReady(scripts, keys, token, "1-1");
  await trimReady(scripts, keys, "stale", "1-1");
  await releasePartition(scripts, keys, { holder: "d1", token });
  await ackUsers(
    scripts,
    keys,
    [
      { userId: "u1", epoch, seq: 3 },
      { userId: "nobody", epoch, seq: 1 },
    ],
    100,
  );
  await findExpired(scripts, keys, "u2", undefined);
  await expireMessages(scripts, keys, "u2", [{ seq: 1, epoch, id: "m2" }], {
    atMs: 1,
    readSeq: 1,
    epoch,
  });
  await callFallback(scripts, partition);
  await callRecall(scripts, partition, accept);
  await callTopics(scripts, partition);
  await callPresence(scripts, partition);
  await callSchedules(scripts, partition);
  await callWebhooks(scripts, partition);
  await new ProviderTokenStore(scripts, [keys]).agree(
    { teamId: "T", keyId: "K", fingerprint: "f" },
    { mintedAtMs: 1, token: "t" },
    1,
  );
  for (const start of ["oldest", "now", { fromMs: 0 }] as const) {
    await readPartitionEvents(scripts, keys, start, { limit: 1 });
  }
  const watch = await takePartition(scripts, keys, "d1", 30_000);
  const watchToken = watch.outcome === "held" ? watch.token : "";
  const { userIds: due } = await findDueOnline(scripts.redis, keys, 10);
  await lookOnline(scripts, keys, watchToken, { absenceInMs: 0, settleMs: 0 }, [...due, "u1"]);
  await trimEvents(scripts, keys, watchToken, 0);
  await releasePartition(scripts, keys, { holder: "d1", token: watchToken });
  await announceNode(scripts, "n1", 1_000);
  await reportNode(scripts, "n1", 1_000, { version: "1", connections: 0, draining: false });
  await renewMembership(scripts, "d1", 1_000);
  await callDevices(scripts, partition);
  await callTokens(scripts, partition);
  await new SlidingWindowLimiter({ scripts, name: "test", limit: 1, windowMs: 1_000 }).take("k");
  await callEraser(scripts, partition);
  const producerKeys = new ProducerKeysStore(scripts);
  const secretSha256 = "b".repeat(64);
  await producerKeys.create({ id: "k", owner: "o", name: "n", scopes: [], secretSha256 }, new Date());
  await producerKeys.create(
    { id: "s", owner: "o", name: "n", scopes: [], secretSha256, sealedSecret: "x" },
    new Date(),
  );
  await producerKeys.reseal("s", () => "y");
  await producerKeys.revoke("k", new Date());
  await new TicketsStore(scripts).issue({ userId: "u1" }, 1_000);
  await rotateProducerKey(scripts, "k", {
    secretSha256: "a".repeat(64),
    sealedSecret: "",
    overlapMs: 0,
    rotatedAt: new Date(),
  });
  await new AuditLog({ scripts, logger, maxEntries: 1_000, keepDays: 1 }).record(act);
}

/** A webhook that comes, gets on, and goes. */
async function callWebhooks(scripts: ScriptRunner, partition: number): Promise<void> {
  const keys = partitionKeys(partition);
  const store = new WebhooksStore(scripts);
  const [id, url] = [`wh_${partition}`, "https://shop.example/"];
  const record = { id, url, types: null, description: null, paused: false, pausedReason: null } as const;
  const secrets = { sealedSecret: "s", former: [] } as const;
  await store.create({ ...record, ...secrets, createdAtMs: 1, era: 0, replay: null });
  await store.change(id, (one) => ({ ...one, paused: true }));
  const lease = await takePartition(scripts, keys, "d1", 30_000);
  const token = lease.outcome === "held" ? lease.token : "";
  const progress = { after: 1, failures: 0, era: 0, replayed: 0 };
  await beginWebhookProgress(scripts, keys, token, id, progress);
  await stepWebhookProgress(scripts, keys, token, id, progress);
  await endWebhookProgress(scripts, keys, token, id);
  await countEvents(scripts, keys, { mark: 0, ms: 0, n: 0 });
  await releasePartition(scripts, keys, { holder: "d1", token });
  await store.remove(id);
}

/** A message with a fallback that fails, is tried again, and is given up. */
async function callFallback(scripts: ScriptRunner, partition: number): Promise<void> {
  const keys = partitionKeys(partition);
  const source = { keys, priority: "low" } as const;
  const how = { attempts: 1, notes: [{ channel: "c", outcome: "failed" }], deadLettersCap: 1 } as const;
  const deadLetters = new DeadLettersStore(scripts, [partitionKeys(0), partitionKeys(1), partitionKeys(2)]);
  await readFallback(scripts, source, "w1", 1);
  const epoch = (await scripts.redis.hget(keys.user("u1"), "epoch")) ?? "";
  const text = `u1\t9\t${epoch}\t1\t2\tm9\tol\t{}`;
  await scripts.redis.xadd(keys.fallback("low"), "*", "m", text, "n", "0");
  await scripts.redis.set(keys.record("m9"), `9\t${epoch}\t1\t99999999999999\tu1\t-\tfirst`);
  await keepDeviceSends(scripts, keys, { id: "m9", seq: 9, epoch, expiresAtMs: 9e13 }, new Set(["d1"]));
  for (const settlement of [
    { outcome: "retry", delayMs: 0 },
    { outcome: "failed", cause: "rejected", reason: "no" },
    { outcome: "passed", channel: "web", failure: undefined },
    { outcome: "taken", channel: "c" },
  ] as const) {
    await promoteRetries(scripts, keys, 10);
    for (const letter of (await deadLetters.list("rejected", undefined, 1)).items) {
      await deadLetters.replay(letter);
    }
    for (const entry of await readFallback(scripts, source, "w1", 1)) {
      await giveBackFallback(scripts, entry, "w1", 1_000);
      await settleFallback(scripts, entry, settlement, how);
    }
  }
  await forgetWorkers(scripts, source, 0);
  await takeCollapseTurn(
    scripts,
    keys,
    { userId: "u1", collapseKey: "k", epoch: "e.1", seq: 1 },
    turnOptions,
  );
}

/** A message that is being sent, and one that is taken back while its user is connected. */
async function callRecall(
  scripts: ScriptRunner,
  partition: number,
  accept: (userId: string, id: string) => Promise<AcceptResult>,
): Promise<void> {
  const keys = partitionKeys(partition);
  await scripts.redis.set(keys.record("m10"), `1\te.1\t1\t99999999999999\tu9\t-\tfirst`);
  const text = `u9\t1\te.1\t1\t99999999999999\tm10\tol\t{}`;
  await beginSend(scripts, keys, decodeFallbackEntry(text), { name: "s", keepMs: 1_000 });
  await accept("u9", "m11");
  const route = { userId: "u9", node: "n1", connection: "c9", platform: "web" };
  await connectRoute(scripts, keys, route, limits);
  await scripts.redis.set(keys.record("m11"), `1\te.1\t1\t99999999999999\tu9\t-\tfirst`);
  for (const id of ["m11", "m11", "m12"]) await cancelMessage(scripts, scripts, keys, id);
}

/** A user is erased; no call touches keys of two partitions. */
async function callEraser(scripts: ScriptRunner, partition: number): Promise<void> {
  const partitions = [partitionKeys(0), partitionKeys(1), partitionKeys(2)];
  const names = Array.from({ length: 50 }, (_, i) => `e${i}`);
  const userId = names.find((name) => partitionOfUser(name, 3) === partition) ?? "";
  const devices = new DevicesStore(scripts, partitions);
  await scripts.redis.set(partitionKeys(partition).record("m_erased"), `1\te.1\t1\t2\t${userId}\t-\tfirst`);
  await takeCollapseTurn(
    scripts,
    partitionKeys(partition),
    { userId, collapseKey: "k", epoch: "e.1", seq: 1 },
    turnOptions,
  );
  await new UserEraser({ scripts, partitions, devices }).erase(userId);
}

/** A user who signs in, refreshes, and is signed out, in each possible way. */
async function callTokens(scripts: ScriptRunner, partition: number): Promise<void> {
  const names = Array.from({ length: 50 }, (_, i) => `d${i}`);
  const userId = names.find((name) => partitionOfUser(name, 3) === partition) ?? "";
  const sessions = new SessionsStore({
    scripts,
    partitions: [partitionKeys(0), partitionKeys(1), partitionKeys(2)],
    leewayMs: -1,
    idleMs: 1_000,
    absoluteMs: 1_000,
    maxPerUser: 1,
  });
  for (const sessionId of ["s1", "s2"]) {
    await sessions.open({ userId, sessionId, hash: "h0", content: { ttlSeconds: 1 } });
  }
  const first = { userId, sessionId: "s2", number: 0, hash: "h0", successorHashes: ["h1"] as const };
  for (let i = 0; i < 2; i++) await sessions.refresh(first);
  // In this partition alone: revoking a token writes to all partitions.
  const revocations = new TokenRevocations({
    scripts,
    partitions: Array.from({ length: 3 }, () => partitionKeys(partition)),
    maxTokenLifeMs: 1,
  });
  await revocations.revokeSession(userId, "s1");
  await revocations.revokeToken("j1");
  await revocations.revokeUser(userId);
  await revocations.isRevoked({ userId, jti: "j1", generation: 0 });
  const signingKeys = new SigningKeysStore(scripts);
  await signingKeys.replace((await signingKeys.read()).revision, []);
}

/** A device that moves between users, is sent to, rests, and goes, in each possible way. */
async function callDevices(scripts: ScriptRunner, partition: number): Promise<void> {
  const keys = partitionKeys(partition);
  const devices = new DevicesStore(scripts, [partitionKeys(0), partitionKeys(1), partitionKeys(2)], {
    maxPerUser: 1,
  });
  const names = Array.from({ length: 50 }, (_, i) => `d${i}`);
  const [a = "", b = ""] = names.filter((name) => partitionOfUser(name, 3) === partition);
  const phone = { platform: "ios", token: "ab".repeat(32), topic: "t", environment: "sandbox" } as const;
  await devices.register(a, phone, 1);
  await devices.register(b, phone, 1);
  const [{ id: deviceId } = { id: "" }] = await devices.list(b);
  await devices.touch(b, deviceId, 2 * 86_400_000);
  const verdict = { userId: b, deviceId, tokenEnd: "ababab", topic: "t", beforeMs: 2 } as const;
  await invalidateDevices(scripts, keys, [{ ...verdict, what: "quarantine", reason: "unregistered" }], 9);
  await devices.register(b, { platform: "wechat", openid: "o", appid: "w" }, 1);
  await devices.forgetUser(b);
}

/** https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/#hash-tags */
function hashTag(key: string): string {
  return /\{([^}]+)\}/.exec(key)?.[1] ?? key;
}

describe("every call", () => {
  let store: OpenStore;
  let calls: readonly Call[];
  beforeAll(async () => {
    store = await openStore();
    const scripts = new NotingRunner(store.redis);
    await callEverything(scripts, 2);
    calls = scripts.calls;
  });
  afterAll(() => store.close());

  test("of every script is among those that are looked at here", () => {
    expect(new Set(calls.map(({ name }) => name))).toEqual(new Set(scriptNames));
  });

  test("has only keys of one hash tag, its partition's; or those of a slot of their own", () => {
    for (const { name, keys } of calls) {
      if (ownSlotScripts.includes(name)) {
        expect(new Set(keys.map(hashTag)).size, name).toBe(1);
        for (const key of keys) expect(hashTag(key), name).not.toMatch(/^p\d+$/);
        continue;
      }
      expect(keys.length, name).toBeGreaterThan(0);
      for (const key of keys) expect(hashTag(key), `${name}: ${key}`).toBe("p2");
    }
  });

  test("has no key among its arguments", () => {
    for (const { name, args } of calls) {
      // A channel is not a key; its name begins as keys do, so that it lies in the same slot.
      const { channel, control, topicChannel } = partitionKeys(2);
      const channels: readonly unknown[] = [channel, control, topicChannel];
      const keyLike = args.filter((arg) => String(arg).includes("petrel:") && !channels.includes(arg));
      expect(keyLike, name).toEqual([]);
    }
  });

  test("answers a string, or a flat list of strings", () => {
    for (const { name, answer } of calls) {
      const all: unknown[] = Array.isArray(answer) ? answer : [answer];
      expect(
        all.map((one) => typeof one),
        name,
      ).toEqual(all.map(() => "string"));
    }
  });
});

describe("on a Redis Cluster", () => {
  let store: OpenStore;
  beforeAll(async () => {
    store = await openStore({
      extraArgs: ["--cluster-enabled", "yes", "--cluster-require-full-coverage", "no"],
    });
    await store.redis.call("CLUSTER", "ADDSLOTSRANGE", "0", "16383");
    await waitFor(
      async () => String(await store.redis.call("CLUSTER", "INFO")).includes("cluster_state:ok"),
      {
        what: "the cluster",
      },
    );
  });
  beforeEach(() => store.clear());
  afterAll(() => store.close());

  test("keys of two partitions in one call are refused: the server does look", async () => {
    const { scripts, redis } = store;
    await expect(
      scripts.run("read-routes.v1", [partitionKeys(0).routes("u"), partitionKeys(1).routes("u")], []),
    ).rejects.toThrow(/CROSSSLOT/);
    expect(await redis.dbsize()).toBe(0);
  });

  test.each([0, 1, 2])("every call is taken, for partition %i", async (partition) => {
    const scripts = new NotingRunner(store.redis);
    await callEverything(scripts, partition);
    expect(new Set(scripts.calls.map(({ name }) => name))).toEqual(new Set(scriptNames));
  });

  test("every call is taken where no events are written", async () => {
    await callEverything(new NotingRunner(store.redis, []), 0);
    expect(await store.redis.exists(partitionKeys(0).events, partitionKeys(0).online)).toBe(0);
  });
});
