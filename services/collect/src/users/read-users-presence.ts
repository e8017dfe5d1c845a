// presence-routes -> here -> shared/redis/presence/read-last-seen: which of some users are connected.
// Guarantees: in the order of the query; one call for each partition concerned.
import { formatTime } from "@petrel/shared/kernel/http/answer-time";
import { groupBy } from "@petrel/shared/kernel/group-by";
import { Type } from "@petrel/shared/kernel/schemas/json-schema";
import { partitionOfUser } from "@petrel/shared/protocol/messages/partition";
import type { PartitionKeys } from "@petrel/shared/redis/keys";
import { readLastSeen } from "@petrel/shared/redis/presence/read-last-seen";
import type { ScriptRunner } from "@petrel/shared/redis/scripts/script-runner";
import type { Static } from "typebox";

const userPresenceSchema = Type.Object({
  user: Type.String(),
  online: Type.Boolean({ description: "Whether the user has a connection." }),
  lastSeenAt: Type.Unsafe<string | null>({
    type: ["string", "null"],
    format: "date-time",
    description: "When the last connection ended; null while there is one, or if unknown.",
  }),
});

export const usersPresenceSchema = Type.Object(
  { items: Type.Array(userPresenceSchema, { description: "In the order of the request." }) },
  { title: "UsersPresence" },
);

/** @param users at most 200, without duplicates */
export async function readUsersPresence(
  scripts: ScriptRunner,
  partitions: readonly PartitionKeys[],
  users: readonly string[],
): Promise<Static<typeof userPresenceSchema>[]> {
  const found = new Map<string, Static<typeof userPresenceSchema>>();
  const groups = groupBy(users, (user) => partitionOfUser(user, partitions.length));
  await Promise.all(
    [...groups].map(async ([partition, some]) => {
      const keys = partitions[partition];
      if (keys === undefined) throw new Error("no partitions");
      for (const [i, { isOnline, lastSeenAtMs }] of (await readLastSeen(scripts, keys, some)).entries()) {
        const user = some[i] ?? "";
        const lastSeenAt = lastSeenAtMs === undefined ? null : formatTime(lastSeenAtMs);
        found.set(user, { user, online: isOnline, lastSeenAt });
      }
    }),
  );
  return users.map((user) => found.get(user) ?? { user, online: false, lastSeenAt: null });
}
