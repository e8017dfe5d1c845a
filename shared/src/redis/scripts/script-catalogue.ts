// The Lua scripts, by name; the head of each file documents its arguments and answer.
// Guarantees: names carry a version, and a script is called by the hash of its text, so two releases can run side by
// side, each with its own.
import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { basename } from "node:path";

/** Scripts by room: each stands beside the store that calls it. */
export const scriptsByRoom = {
  accept: ["accept-collapsing.v3", "accept-plain.v2", "accept.v6", "trim-ready.v1"],
  auth: [
    "agree-signing-keys.v1",
    "append-audit.v2",
    "check-token.v1",
    "issue-ticket.v1",
    "open-session.v1",
    "refresh-session.v2",
    "revoke-session.v1",
    "revoke-token.v1",
    "revoke-user.v1",
  ],
  devices: [
    "claim-device.v1",
    "invalidate-devices.v2",
    "register-device.v2",
    "release-device.v1",
    "remove-device.v1",
    "touch-device.v2",
  ],
  erasure: ["erase-entries.v1", "erase-records.v3", "erase-retries.v1", "erase-user.v5"],
  events: ["look-online.v1", "read-events.v1", "trim-events.v1"],
  fallback: [
    "agree-provider-token.v1",
    "forget-workers.v1",
    "give-back-fallback.v1",
    "keep-device-sends.v1",
    "open-fallback.v1",
    "promote-retries.v2",
    "replay-dead-letter.v2",
    "settle-fallback.v5",
    "take-collapse-turn.v1",
  ],
  inbox: ["ack.v4", "expire.v5", "find-expired.v2", "hold-history.v1", "keep-records.v1", "read-inbox.v2"],
  limits: ["take-from-window.v1"],
  nodes: ["announce.v1", "report-load.v1", "report-node.v1"],
  partitions: ["hold-absence.v1", "keep-time.v2", "lease.v3", "look.v2", "renew-member.v1", "set-back.v1"],
  presence: [
    "find-gone-holders.v1",
    "list-presence.v1",
    "read-last-seen.v1",
    "read-presence.v1",
    "remove-holder.v2",
    "renew-holder.v2",
    "report-presence.v2",
  ],
  producers: ["reseal-producer-key.v1", "rotate-producer-key.v1", "write-producer-key.v1"],
  recall: ["begin-send.v1", "cancel-message.v2"],
  routes: ["connect.v7", "heartbeat.v3", "leave.v5", "mark-leaving.v1", "read-routes.v1"],
  schedules: [
    "cancel-schedule.v2",
    "find-due-schedules.v2",
    "list-schedules.v1",
    "promote-messages.v3",
    "promote-publications.v2",
    "replay-schedule.v2",
    "schedule.v3",
  ],
  topics: ["drop-topic.v1", "keep-topic.v1", "look-at-topics.v1", "publish-topic.v2", "read-topic.v1"],
  wake: ["offer.v2", "reconcile.v2", "wake.v3"],
  webhooks: ["count-events.v1", "step-webhook.v1", "write-webhook.v1"],
  wechat: [
    "drop-wechat-token.v1",
    "keep-wechat-token.v1",
    "leave-wechat-token.v1",
    "note-wechat-refusal.v1",
    "take-wechat-token.v1",
  ],
} as const;

export type ScriptName = (typeof scriptsByRoom)[keyof typeof scriptsByRoom][number];

export const scriptNames: readonly ScriptName[] = Object.values(scriptsByRoom).flat();

/**
 * Scripts that only a partition's owner may run: each takes the owner key and a fencing token, and refuses a stale one.
 */
export const ownerScripts: readonly ScriptName[] = [
  "keep-time.v2",
  "look-online.v1",
  "look.v2",
  "offer.v2",
  "promote-messages.v3",
  "promote-publications.v2",
  "reconcile.v2",
  "remove-holder.v2",
  "set-back.v1",
  "step-webhook.v1",
  "trim-events.v1",
  "trim-ready.v1",
  "wake.v3",
];

/** Scripts whose keys belong to no partition, but to a slot of their own. */
export const ownSlotScripts: readonly ScriptName[] = [
  "agree-signing-keys.v1",
  "announce.v1",
  "append-audit.v2",
  "claim-device.v1",
  "issue-ticket.v1",
  "release-device.v1",
  "renew-member.v1",
  "report-load.v1",
  "report-node.v1",
  "reseal-producer-key.v1",
  "rotate-producer-key.v1",
  "take-from-window.v1",
  "write-producer-key.v1",
  "write-webhook.v1",
];

export interface Script {
  readonly name: ScriptName;
  readonly source: string;
  readonly sha1: string;
}

/** The files do not change while a process runs: they are read once, however many connections ask. */
class ScriptFiles {
  #scripts: ReadonlyMap<ScriptName, Script> | undefined;

  read(): ReadonlyMap<ScriptName, Script> {
    return (this.#scripts ??= readSourceFolders());
  }
}

const files = new ScriptFiles();

/** All scripts, from the source folders. */
export function readScripts(): ReadonlyMap<ScriptName, Script> {
  return files.read();
}

function readSourceFolders(): ReadonlyMap<ScriptName, Script> {
  // The source folder, relative to both src/redis/scripts and dist/redis/scripts.
  const redis = new URL("../../../src/redis/", import.meta.url);
  const includes = readIncludes(new URL("scripts/includes/", redis));
  return new Map(
    Object.entries(scriptsByRoom).flatMap(([room, names]) =>
      names.map((name): [ScriptName, Script] => {
        const text = readFileSync(new URL(`${room}/${name}.lua`, redis), "utf8");
        const source = withIncludes(text, includes);
        return [name, { name, source, sha1: createHash("sha1").update(source).digest("hex") }];
      }),
    ),
  );
}

/** By name, in any folder. */
function readIncludes(folder: URL): ReadonlyMap<string, string> {
  const files = readdirSync(folder, { recursive: true, encoding: "utf8" }).filter((file) =>
    file.endsWith(".lua"),
  );
  return new Map(files.map((file) => [basename(file, ".lua"), readFileSync(new URL(file, folder), "utf8")]));
}

/** Replaces a line `--@include NAME` with the text of `NAME.lua`, which may have such lines too. */
function withIncludes(source: string, includes: ReadonlyMap<string, string>): string {
  return source.replace(/^ *--@include (\S+)$/gm, (_line, name: string) => {
    const text = includes.get(name);
    if (text === undefined) throw new Error(`no script may include ${name}: there is no such file`);
    return withIncludes(text, includes);
  });
}
