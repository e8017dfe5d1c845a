// The Lua scripts, by name; what each takes and answers stands at the head of its file.
// Guarantees: names carry a version, and a script is called by the hash of its text: two releases can run side by
// side, each with its own.
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";

export const scriptNames = [
  "accept.v3",
  "ack.v2",
  "agree-provider-token.v1",
  "agree-signing-keys.v1",
  "announce.v1",
  "append-audit.v2",
  "check-token.v1",
  "claim-device.v1",
  "connect.v2",
  "erase-entries.v1",
  "erase-records.v2",
  "erase-retries.v1",
  "erase-user.v1",
  "expire.v3",
  "find-expired.v1",
  "forget-workers.v1",
  "give-back-fallback.v1",
  "heartbeat.v1",
  "hold-absence.v1",
  "hold-history.v1",
  "invalidate-devices.v1",
  "issue-ticket.v1",
  "keep-device-sends.v1",
  "keep-records.v1",
  "keep-time.v1",
  "lease.v2",
  "leave.v1",
  "mark-leaving.v1",
  "offer.v2",
  "open-fallback.v1",
  "open-session.v1",
  "promote-retries.v1",
  "read-inbox.v2",
  "read-routes.v1",
  "reconcile.v2",
  "refresh-session.v1",
  "register-device.v2",
  "release-device.v1",
  "remove-device.v1",
  "renew-member.v1",
  "replay-dead-letter.v2",
  "revoke-session.v1",
  "revoke-token.v1",
  "revoke-user.v1",
  "rotate-producer-key.v1",
  "set-back.v1",
  "settle-fallback.v3",
  "take-collapse-turn.v1",
  "take-from-window.v1",
  "touch-device.v2",
  "trim-ready.v1",
  "wake.v2",
  "write-producer-key.v1",
] as const;

export type ScriptName = (typeof scriptNames)[number];

/** Scripts that only a partition's owner may run: each takes the owner key and a token, and refuses a stale one. */
export const ownerScripts: readonly ScriptName[] = [
  "keep-time.v1",
  "offer.v2",
  "reconcile.v2",
  "set-back.v1",
  "trim-ready.v1",
  "wake.v2",
];

/** Scripts whose keys belong to no partition, but have a slot of their own. */
export const ownSlotScripts: readonly ScriptName[] = [
  "agree-signing-keys.v1",
  "announce.v1",
  "append-audit.v2",
  "claim-device.v1",
  "issue-ticket.v1",
  "release-device.v1",
  "renew-member.v1",
  "rotate-producer-key.v1",
  "take-from-window.v1",
  "write-producer-key.v1",
];

export interface Script {
  readonly name: ScriptName;
  readonly source: string;
  readonly sha1: string;
}

/** Reads all scripts from beside the sources; called once, by a composition root. */
export function readScripts(): ReadonlyMap<ScriptName, Script> {
  // From src/redis and from dist/redis alike.
  const folder = new URL("../../src/redis/scripts/", import.meta.url);
  return new Map(
    scriptNames.map((name) => {
      const source = withIncludes(readFileSync(new URL(`${name}.lua`, folder), "utf8"), folder);
      return [name, { name, source, sha1: createHash("sha1").update(source).digest("hex") }];
    }),
  );
}

/** Puts the text of `includes/NAME.lua` where a line says `--@include NAME`. */
function withIncludes(source: string, folder: URL): string {
  return source.replace(/^--@include (\S+)$/gm, (_line, name: string) =>
    readFileSync(new URL(`includes/${name}.lua`, folder), "utf8"),
  );
}
