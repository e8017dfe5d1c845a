// dispatch-partitions -> here -> push-node/receive-envelopes: hands a batch to the nodes that hold its users.
// Guarantees: one look-up per batch, one publish per node (more beyond 256 KiB). Each user's messages go in the order
// they were stored. Expired messages are not handed over, and their end is written first; nor are recalled ones.
import { describeError } from "@petrel/shared/kernel/errors";
import { groupBy } from "@petrel/shared/kernel/group-by";
import type { Tracing } from "@petrel/shared/kernel/tracing/tracing";
import { encodeDeliver, type Envelope } from "@petrel/shared/protocol/messages/node-messages";
import type { ReadyMessage } from "@petrel/shared/protocol/messages/stored-message";
import { expireMessages } from "@petrel/shared/redis/inbox/expire-messages";
import type { PartitionKeys } from "@petrel/shared/redis/keys";
import { publishToNode } from "@petrel/shared/redis/nodes/node-channel";
import { readRoutes } from "@petrel/shared/redis/routes/route-store";
import type { ScriptRunner } from "@petrel/shared/redis/scripts/script-runner";
import { readServerTimeMs } from "@petrel/shared/redis/connection/server-time";
import type { HeldPartition } from "../own/held-partition.js";
import { dropEnded } from "./drop-ended.js";
import { traceRoutes, type TracedRoutes } from "./trace-routes.js";

/** What became of each message in a batch. */
export interface RoutedMessages {
  /** At least one node received it. */
  readonly handedOver: readonly ReadyMessage[];
  /** No live route. */
  readonly offline: readonly ReadyMessage[];
  /**
   * Routes exist, but nobody listened on their nodes' channels: a node is gone, or its subscription is about to return.
   */
  readonly unheard: readonly ReadyMessage[];
  readonly expired: readonly ReadyMessage[];
  /** User -> the nodes of its live routes. */
  readonly nodesOf: ReadonlyMap<string, readonly string[]>;
}

const MAX_PUBLISH_BYTES = 256 * 1024;
/** The rest of an envelope's line besides its data: user, epoch, seq, time and id at their longest. */
const ENVELOPE_OVERHEAD_BYTES = 280;

/** A part of what goes to one node. */
interface Chunk {
  readonly node: string;
  readonly messages: ReadyMessage[];
  bytes: number;
}

/**
 * @param messages of one partition, in the order they were stored, at most 200
 * @returns undefined if the lease ended before they were published; then nothing may follow
 * @throws what Redis's client throws; some may have been published then, and publishing them again does no harm
 */
export async function routeMessages(
  scripts: ScriptRunner,
  held: HeldPartition,
  messages: readonly ReadyMessage[],
  tracing: Tracing,
): Promise<RoutedMessages | undefined> {
  const traced = traceRoutes(tracing, held.keys.partition, messages);
  if (traced === undefined) return route(scripts, held, messages, undefined);
  try {
    const routed = await route(scripts, held, messages, traced);
    traced.end("handed-over", routed?.handedOver ?? []);
    traced.end("offline", routed?.offline ?? []);
    traced.end("unheard", routed?.unheard ?? []);
    traced.end("expired", routed?.expired ?? []);
    traced.fail("the lease ended");
    return routed;
  } catch (error) {
    traced.fail(describeError(error));
    throw error;
  }
}

async function route(
  scripts: ScriptRunner,
  held: HeldPartition,
  messages: readonly ReadyMessage[],
  traced: TracedRoutes | undefined,
): Promise<RoutedMessages | undefined> {
  const { keys } = held;
  const userIds = [...new Set(messages.map(({ userId }) => userId))];
  const [nowMs, routes, open] = await Promise.all([
    readServerTimeMs(scripts.redis, held.keys.due),
    readRoutes(scripts, keys, userIds),
    dropEnded(scripts.redis, keys, messages),
  ]);
  const nodesOf = new Map(userIds.map((userId, i) => [userId, routes[i] ?? []]));
  const expired = open.filter(({ expiresAtMs }) => expiresAtMs <= nowMs);
  const live = expired.length === 0 ? open : open.filter(({ expiresAtMs }) => expiresAtMs > nowMs);
  if (expired.length > 0) await writeEnds(scripts, keys, expired);
  if (!held.isHeld) return undefined;

  const reached = await publish(scripts, keys, splitByNode(live, nodesOf), traced);
  const handedOver: ReadyMessage[] = [];
  const offline: ReadyMessage[] = [];
  const unheard: ReadyMessage[] = [];
  for (const message of live) {
    if (reached.has(message)) handedOver.push(message);
    else if ((nodesOf.get(message.userId) ?? []).length === 0) offline.push(message);
    else unheard.push(message);
  }
  return { handedOver, offline, unheard, expired, nodesOf };
}

/** @returns the parts, in the order to publish them */
function splitByNode(
  messages: readonly ReadyMessage[],
  nodesOf: ReadonlyMap<string, readonly string[]>,
): Chunk[] {
  const chunks: Chunk[] = [];
  const openChunk = new Map<string, Chunk>();
  for (const message of messages) {
    const nodes = nodesOf.get(message.userId) ?? [];
    if (nodes.length === 0) continue;
    const bytes = Buffer.byteLength(message.data) + ENVELOPE_OVERHEAD_BYTES;
    for (const node of nodes) {
      let chunk = openChunk.get(node);
      if (chunk === undefined || chunk.bytes + bytes > MAX_PUBLISH_BYTES) {
        chunk = { node, messages: [], bytes: 0 };
        openChunk.set(node, chunk);
        chunks.push(chunk);
      }
      chunk.messages.push(message);
      chunk.bytes += bytes;
    }
  }
  return chunks;
}

/** @returns the messages that somebody received */
async function publish(
  scripts: ScriptRunner,
  keys: PartitionKeys,
  chunks: readonly Chunk[],
  traced: TracedRoutes | undefined,
): Promise<ReadonlySet<ReadyMessage>> {
  // Pipelined. Waits for all answers before anyone retries, so that no two attempts mix.
  const answers = await Promise.allSettled(
    chunks.map(({ node, messages }) =>
      publishToNode(
        scripts.redis,
        keys,
        node,
        encodeDeliver(messages.map((message) => toEnvelope(message, traced))),
      ),
    ),
  );
  const reached = new Set<ReadyMessage>();
  for (const [i, answer] of answers.entries()) {
    if (answer.status === "rejected") throw answer.reason;
    if (answer.value > 0) for (const message of chunks[i]?.messages ?? []) reached.add(message);
  }
  return reached;
}

async function writeEnds(
  scripts: ScriptRunner,
  keys: PartitionKeys,
  expired: readonly ReadyMessage[],
): Promise<void> {
  const byUser = groupBy(expired, ({ userId }) => userId);
  await Promise.all([...byUser].map(([userId, ended]) => expireMessages(scripts, keys, userId, ended)));
}

function toEnvelope(message: ReadyMessage, traced: TracedRoutes | undefined): Envelope {
  const { userId, epoch, seq, atMs, id, priority, data } = message;
  return { userId, epoch, seq, atMs, id, priority, data, trace: traced?.contextOf(message) };
}
