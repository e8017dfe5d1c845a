// dispatch/channels/wechat -> here -> wechat/note-wechat-refusal.lua: which user refuses which template, and which
// sends had no answer.
// Guarantees: a refusal ends when its device is registered again, and by itself. An unanswered send is remembered until
// its message expires. Erasing a person removes the refusals.
import { awaitAnswer } from "../connection/await-answer.js";
import type { PartitionKeys } from "../keys.js";
import type { ScriptRunner } from "../scripts/script-runner.js";

export interface RefusableDevice {
  readonly id: string;
  /** As read before the send. */
  readonly registeredAtMs: number;
}

const REFUSAL_KEEP_MS = 30 * 24 * 60 * 60_000;
const REFUSALS_CAP = 500;

/** The templates that a user refuses, by device. */
export interface Refusals {
  includes(device: RefusableDevice, template: string): boolean;
}

/** @throws PetrelError PETREL_UNAVAILABLE if Redis does not answer, like everything here */
export async function readRefusals(
  { redis }: ScriptRunner,
  keys: PartitionKeys,
  userId: string,
): Promise<Refusals> {
  const all = await awaitAnswer(redis.hgetall(keys.wechatRefusals(userId)));
  return {
    includes: ({ id, registeredAtMs }, template) => all[`${id}\t${template}`] === String(registeredAtMs),
  };
}

export async function noteRefusal(
  scripts: ScriptRunner,
  keys: PartitionKeys,
  userId: string,
  { id, registeredAtMs }: RefusableDevice,
  template: string,
): Promise<void> {
  await awaitAnswer(
    scripts.run(
      "note-wechat-refusal.v1",
      [keys.wechatRefusals(userId)],
      [id, template, registeredAtMs, REFUSAL_KEEP_MS, REFUSALS_CAP],
    ),
  );
}

/** When a send of this message first had no answer, ms by Redis's clock. */
export async function readUnanswered(
  { redis }: ScriptRunner,
  keys: PartitionKeys,
  messageId: string,
): Promise<number | undefined> {
  const text = await awaitAnswer(redis.get(keys.wechatUnanswered(messageId)));
  return text === null ? undefined : Number(text);
}

/** Only the first one counts. */
export async function noteUnanswered(
  { redis }: ScriptRunner,
  keys: PartitionKeys,
  messageId: string,
  atMs: number,
  keepMs: number,
): Promise<void> {
  const key = keys.wechatUnanswered(messageId);
  await awaitAnswer(redis.set(key, String(Math.floor(atMs)), "PX", Math.max(1, Math.ceil(keepMs)), "NX"));
}
