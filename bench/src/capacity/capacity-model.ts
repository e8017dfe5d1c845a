// Bench: what a load needs: processes of each service, shards and memory of Redis, machines.
// Guarantees: whatever runs out first decides, and is named; nothing is planned fuller than its bound.
import type { CostByService, Costs } from "./read-costs.js";

export interface Load {
  readonly connections: number;
  readonly registered: number;
  /** At the peak. */
  readonly messagesPerSecond: number;
  /** Of the messages, from 0 to 1. */
  readonly batchedShare: number;
  /** How long one lasts. */
  readonly connectionSeconds: number;
  /** A day's mean beside the peak. */
  readonly meanShare: number;
  /** Acknowledged messages that an inbox keeps, INBOX_HISTORY. */
  readonly inboxHistory: number;
}

export interface Needs {
  /** Cores in use at the peak. */
  readonly busy: CostByService;
  readonly collects: number;
  readonly nodes: number;
  readonly nodesBound: "CPU" | "connections";
  readonly dispatchers: number;
  readonly redisGb: number;
  readonly shards: number;
  readonly shardsBound: "CPU" | "memory";
  /** Of 16 cores and 64 GB, with replicas of Redis. */
  readonly machines: number;
}

/** How busy a process may be at the peak: the other half is for a neighbour that fails, and for bursts. */
const BUSY = 0.5;
/** Of a node: what its heap and its kernel's tables bear well, and what is to reconnect when it fails. */
const CONNECTIONS_PER_NODE = 50_000;
/** Of a shard: half of it again is needed while a file is rewritten, or a replica catches up. */
const GB_PER_SHARD = 32;
const CORES_PER_MACHINE = 16;
const GB_PER_MACHINE = 64;
/** A shard and its replica. */
const COPIES = 2;
const RECORD_SECONDS = 25 * 3_600;
const DAY_SECONDS = 24 * 3_600;
const HISTORY_STEP = 64;
/** Bytes, see docs/operate/sizing.md: Redis 7.0, messages of 100 B. */
export const BYTES = { record: 228, idle: 215, inbox: 1_344, history: 298, connection: 224, session: 433 };
const SPARE = 1.1;

export function needsOf(load: Load, costs: Costs): Needs {
  const { connections, messagesPerSecond, batchedShare, connectionSeconds } = load;
  const connects = connections / connectionSeconds;
  const coresOf = (service: keyof CostByService): number => {
    const message = (1 - batchedShare) * costs.single[service] + batchedShare * costs.batched[service];
    const us =
      messagesPerSecond * message + connects * costs.connect[service] + connections * costs.idle[service];
    return us / 1e6;
  };
  const busy = {
    collect: coresOf("collect"),
    nodes: coresOf("nodes"),
    redis: coresOf("redis"),
    dispatch: coresOf("dispatch"),
  };
  const nodesByCpu = Math.ceil(busy.nodes / BUSY);
  const nodesByConnections = Math.ceil(connections / CONNECTIONS_PER_NODE);
  const redisGb = redisBytes(load) / 1e9;
  const shardsByCpu = Math.ceil(busy.redis / BUSY);
  const shardsByMemory = Math.ceil(redisGb / GB_PER_SHARD);
  // Two of each at least, so that one may fail.
  const collects = Math.max(2, Math.ceil(busy.collect / BUSY));
  const nodes = Math.max(2, nodesByCpu, nodesByConnections);
  const dispatchers = Math.max(2, Math.ceil(busy.dispatch / BUSY));
  const shards = Math.max(1, shardsByCpu, shardsByMemory);
  const cores = collects + nodes + dispatchers + shards * COPIES;
  const gigabytes = 1.5 * redisGb * COPIES + (connections * costs.connectionKb) / 1e6;
  return {
    busy,
    collects,
    nodes,
    nodesBound: nodesByConnections > nodesByCpu ? "connections" : "CPU",
    dispatchers,
    redisGb,
    shards,
    shardsBound: shardsByMemory > shardsByCpu ? "memory" : "CPU",
    machines: Math.max(2, Math.ceil(cores / CORES_PER_MACHINE), Math.ceil(gigabytes / GB_PER_MACHINE)),
  };
}

/** By the formula of docs/operate/sizing.md. */
export function redisBytes({
  connections,
  registered,
  messagesPerSecond,
  meanShare,
  inboxHistory,
}: Load): number {
  const mean = messagesPerSecond * meanShare;
  // Those who are connected within a day are those who are sent something.
  const active = Math.min(registered, connections);
  const perDay = active === 0 ? 0 : (mean * DAY_SECONDS) / active;
  const held = Math.min(perDay, inboxHistory + HISTORY_STEP / 2);
  return (
    SPARE *
    (mean * RECORD_SECONDS * BYTES.record +
      registered * BYTES.idle +
      active * (BYTES.inbox + held * BYTES.history) +
      connections * (BYTES.connection + BYTES.session))
  );
}
