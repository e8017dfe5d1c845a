// push-node/node/report-node -> here -> nodes/report-node.lua, dispatch/routes/node-routes: what push nodes report
// about themselves, and whether an operator has asked one to drain.
// Guarantees: a node learns of a request with its next report and again with each one, so a lost answer changes
// nothing. A node of an older release is listed too, without details, because its channel and its key show it. A node
// whose key has expired counts as dead.
import { masterOf } from "../connection/cluster-nodes.js";
import { readServerTimeMs } from "../connection/server-time.js";
import { clusterKeys, type PartitionKeys } from "../keys.js";
import type { ScriptRunner } from "../scripts/script-runner.js";
import { findGoneNodes } from "./node-presence.js";

export interface NodeReport {
  readonly version: string;
  readonly connections: number;
  /** It accepts no connections and asks its clients to move. */
  readonly draining: boolean;
}

export interface ListedNode {
  /** Name and boot epoch. */
  readonly id: string;
  /** Undefined for a node of a release without reports. */
  readonly report: (NodeReport & { readonly leaseEndsAtMs: number }) | undefined;
  /** An operator has asked it to drain. */
  readonly isAsked: boolean;
}

/** @returns whether it should drain; undefined if nothing was requested */
export async function reportNode(
  scripts: ScriptRunner,
  nodeId: string,
  ttlMs: number,
  report: NodeReport,
): Promise<boolean | undefined> {
  const answer = await scripts.run(
    "report-node.v1",
    [clusterKeys.nodes],
    [nodeId, ttlMs, JSON.stringify(report)],
  );
  return answer === "" ? undefined : answer === "1";
}

/** For a planned stop. */
export async function withdrawReport({ redis }: ScriptRunner, nodeId: string): Promise<void> {
  await redis.hdel(clusterKeys.nodes, `node:${nodeId}`, `drain:${nodeId}`);
}

/** The node acts on it with its next report. */
export async function askToDrain({ redis }: ScriptRunner, nodeId: string, isOn: boolean): Promise<void> {
  await redis.hset(clusterKeys.nodes, `drain:${nodeId}`, isOn ? "1" : "0");
}

/** @returns all live nodes, by id */
export async function listNodes({ redis }: ScriptRunner, anyPartition: PartitionKeys): Promise<ListedNode[]> {
  const [fields, nowMs, channels] = await Promise.all([
    redis.hgetall(clusterKeys.nodes),
    readServerTimeMs(redis, clusterKeys.nodes),
    // Each node subscribes in every partition.
    masterOf(redis, anyPartition.due).pubsub("SHARDCHANNELS", `${escapePattern(anyPartition.channel)}*`),
  ]);
  const reports = new Map<string, ListedNode["report"]>();
  for (const channel of channels as string[])
    reports.set(channel.slice(anyPartition.channel.length), undefined);
  for (const [field, text] of Object.entries(fields)) {
    if (!field.startsWith("node:")) continue;
    const report = decodeReport(text);
    if (report !== undefined && report.leaseEndsAtMs > nowMs)
      reports.set(field.slice("node:".length), report);
  }
  // A process that hangs keeps its sockets, and so its channel, but its key has expired.
  const silent = [...reports].flatMap(([id, report]) => (report === undefined ? [id] : []));
  for (const id of await findGoneNodes(redis, silent)) reports.delete(id);
  return [...reports]
    .map(([id, report]) => ({ id, report, isAsked: fields[`drain:${id}`] === "1" }))
    .sort((a, b) => (a.id < b.id ? -1 : 1));
}

function decodeReport(text: string): ListedNode["report"] {
  const tab = text.indexOf("\t");
  let value: unknown;
  try {
    value = JSON.parse(text.slice(tab + 1));
  } catch {
    return undefined;
  }
  if (typeof value !== "object" || value === null) return undefined;
  const { version, connections, draining } = value as Readonly<Record<string, unknown>>;
  return {
    leaseEndsAtMs: Number(text.slice(0, tab)),
    version: typeof version === "string" ? version : "",
    connections: typeof connections === "number" ? connections : 0,
    draining: draining === true,
  };
}

/** Braces and the like have a meaning in patterns. */
function escapePattern(text: string): string {
  return text.replace(/[\\[\]*?]/g, "\\$&");
}
