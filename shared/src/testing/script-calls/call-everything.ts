// Tests only: calls every script by its typed caller; each subject has a file of its own.
import { createLogger } from "../../kernel/logging/logging.js";
import { MessageAccepter } from "../../redis/accept/accept-batch.js";
import { trimReady } from "../../redis/accept/ready-stream.js";
import { AuditLog } from "../../redis/auth/audit-log.js";
import { TicketsStore } from "../../redis/auth/tickets-store.js";
import { ProviderTokenStore } from "../../redis/fallback/provider-token-store.js";
import { ackUsers } from "../../redis/inbox/ack-users.js";
import { expireMessages } from "../../redis/inbox/expire-messages.js";
import { findExpired } from "../../redis/inbox/find-expired.js";
import { holdHistory } from "../../redis/inbox/hold-history.js";
import { keepRecords } from "../../redis/inbox/keep-records.js";
import { readInbox } from "../../redis/inbox/read-inbox.js";
import { partitionKeys } from "../../redis/keys.js";
import { SlidingWindowLimiter } from "../../redis/limits/sliding-window-limiter.js";
import { NodeLoads } from "../../redis/nodes/node-loads.js";
import { announceNode } from "../../redis/nodes/node-presence.js";
import { reportNode } from "../../redis/nodes/node-reports.js";
import { connectRoute } from "../../redis/routes/connect-routes.js";
import { markLeaving, readRoutes, removeRoute, renewRoutes } from "../../redis/routes/route-store.js";
import { renewMembership } from "../../redis/partitions/dispatcher-members.js";
import { holdAbsence } from "../../redis/partitions/hold-absence.js";
import { keepTime, setBack } from "../../redis/partitions/keep-time.js";
import { lookAtPartition } from "../../redis/partitions/look-at-partition.js";
import { releasePartition, renewPartition, takePartition } from "../../redis/partitions/partition-lease.js";
import type { ScriptRunner } from "../../redis/scripts/script-runner.js";
import { offerUsers } from "../../redis/wake/offer-users.js";
import { reconcileUsers } from "../../redis/wake/reconcile-users.js";
import { wakeUsers } from "../../redis/wake/wake-users.js";
import { message } from "../redis/open-store.js";
import { callEvents, callWebhooks } from "./call-events.js";
import { callFallback, callRecall, callWechat } from "./call-fallback.js";
import { callSchedules } from "./call-schedules.js";
import { callPresence, callTopics } from "./call-topics.js";
import { callDevices, callEraser, callProducerKeys, callTokens } from "./call-users.js";

const logger = createLogger({ service: "test", level: "silent" });
const act = { actor: "system", action: "key.create", target: "k" } as const;

const limits = {
  leaseMs: 30_000,
  maxConnectionsPerUser: 1,
  whenFull: "evict",
  ackTimeoutMs: 10_000,
} as const;

/** Calls every script by its typed caller, in each way that touches different keys. */
export async function callEverything(scripts: ScriptRunner, partition: number): Promise<void> {
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
    { leaseMs: 30_000, keepsRoutes: true },
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
  await lookAtPartition(scripts, keys, token);
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
  await callEvents(scripts, partition);
  await announceNode(scripts, "n1", 1_000);
  await reportNode(scripts, "n1", 1_000, { version: "1", connections: 0, draining: false });
  await renewMembership(scripts, "d1", 1_000);
  await callDevices(scripts, partition);
  await callTokens(scripts, partition);
  await new SlidingWindowLimiter({ scripts, name: "test", limit: 1, windowMs: 1_000 }).take("k");
  await callEraser(scripts, partition);
  await callProducerKeys(scripts);
  await new TicketsStore(scripts).issue({ userId: "u1" }, 1_000);
  await new AuditLog({ scripts, logger, maxEntries: 1_000, keepDays: 1 }).record(act);
}
