// user-routes -> here -> shared/redis: everything known about a user at this moment, for support.
// Guarantees: reads only; a bounded number of calls, whatever the user has stored.
import { formatTime, timeSchema } from "@petrel/shared/kernel/http/answer-time";
import { Type } from "@petrel/shared/kernel/schemas/json-schema";
import type { DevicesStore } from "@petrel/shared/redis/devices/devices-store";
import { readRecentMessages } from "@petrel/shared/redis/events/read-recent-messages";
import type { PartitionKeys } from "@petrel/shared/redis/keys";
import { readConnections } from "@petrel/shared/redis/routes/route-store";
import { readLastSeen } from "@petrel/shared/redis/presence/read-last-seen";
import type { ScriptRunner } from "@petrel/shared/redis/scripts/script-runner";
import type { Static } from "typebox";

/** How many of the newest messages are listed. */
const RECENT = 10;

const nullableTime = Type.Unsafe<string | null>({ type: ["string", "null"], format: "date-time" });

export const userSchema = Type.Object(
  {
    user: Type.String(),
    connections: Type.Array(
      Type.Object({
        id: Type.String(),
        node: Type.String(),
        platform: Type.String(),
        connectedAt: timeSchema,
      }),
      { description: "Oldest first." },
    ),
    lastSeenAt: nullableTime,
    devices: Type.Array(
      Type.Object({
        id: Type.String(),
        platform: Type.String(),
        registeredAt: timeSchema,
        lastSeenAt: timeSchema,
      }),
      { description: "Devices that a fallback channel may reach." },
    ),
    sequence: Type.Union(
      [
        Type.Object({
          epoch: Type.String(),
          seq: Type.Integer({ description: "The newest number." }),
          acked: Type.Integer({
            description: "Clients have acknowledged up to this one, or it ended otherwise.",
          }),
          ackedAt: Type.Optional(
            Type.String({ format: "date-time", description: "When a client last acknowledged." }),
          ),
          nudged: Type.Integer({ description: "The nodes were asked to send again up to this one." }),
          offered: Type.Integer({
            description: "The fallback was offered what may be pushed up to this one.",
          }),
        }),
        Type.Null(),
      ],
      { description: "`null` if there was never a message or a connection." },
    ),
    nextLookAt: nullableTime,
    stored: Type.Integer({
      description: "Messages in the inbox: open ones, and acknowledged ones that are kept.",
    }),
    scheduled: Type.Integer({ description: "Scheduled messages." }),
    topics: Type.Integer({ description: "Topics that the server keeps for the user." }),
    recent: Type.Array(Type.Object({ id: Type.String(), seq: Type.Integer() }), {
      description: `The newest ${RECENT} messages that are known, newest first, in whatever state.`,
    }),
  },
  { title: "User" },
);

export interface DescribeUserDeps {
  readonly scripts: ScriptRunner;
  readonly devices: Pick<DevicesStore, "list">;
}

export async function describeUser(
  { scripts, devices }: DescribeUserDeps,
  keys: PartitionKeys,
  user: string,
): Promise<Static<typeof userSchema>> {
  const { redis } = scripts;
  const [connections, [seen], reachable, hash, due, stored, scheduled, topics, recent] = await Promise.all([
    readConnections(scripts, keys, user),
    readLastSeen(scripts, keys, [user]),
    devices.list(user),
    redis.hmget(keys.user(user), "epoch", "seq", "acked", "ackedAt", "nudged", "offered"),
    redis.zscore(keys.due, user),
    redis.xlen(keys.inbox(user)),
    redis.zcard(keys.schedulesOf(user)),
    redis.hlen(keys.keptTopics(user)),
    readRecentMessages(redis, keys, user, RECENT),
  ]);
  return {
    user,
    connections: connections.map(({ id, node, platform, connectedAtMs }) => ({
      id,
      node,
      platform,
      connectedAt: formatTime(connectedAtMs),
    })),
    lastSeenAt: seen?.lastSeenAtMs === undefined ? null : formatTime(seen.lastSeenAtMs),
    devices: reachable.map(({ id, platform, registeredAtMs, lastSeenAtMs }) => ({
      id,
      platform,
      registeredAt: formatTime(registeredAtMs),
      lastSeenAt: formatTime(lastSeenAtMs),
    })),
    sequence: describeSequence(hash),
    nextLookAt: due === null ? null : formatTime(Number(due)),
    stored,
    scheduled,
    topics,
    recent,
  };
}

function describeSequence([epoch, seq, acked, ackedAt, nudged, offered]: (string | null)[]): Static<
  typeof userSchema
>["sequence"] {
  if (typeof epoch !== "string" || typeof seq !== "string") return null;
  return {
    epoch,
    seq: Number(seq),
    acked: Number(acked ?? 0),
    ...(typeof ackedAt === "string" ? { ackedAt: formatTime(Number(ackedAt)) } : {}),
    nudged: Number(nudged ?? 0),
    offered: Number(offered ?? 0),
  };
}
