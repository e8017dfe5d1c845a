// dispatch/channels/wechat -> here -> wechat/note-wechat-refusal.lua: who refuses which template, and which sends have no
// answer.
// Guarantees: a refusal ends when its device is registered again, and by itself; an unanswered send is remembered until
// its message expires. Erasing a person takes the refusals.
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

/** Which templates a user refuses, on which device. */
export interface Refusals {
  includes(device: RefusableDevice, template: string): boolean;
}

/** @throws PetrelError PETREL_UNAVAILABLE where Redis does not answer, as all here */
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

/** When a send of this message first went without an answer, ms by Redis' clock. */
export async function readUnanswered(
  { redis }: ScriptRunner,
  keys: PartitionKeys,
  messageId: string,
): Promise<number | undefined> {
  const text = await awaitAnswer(redis.get(keys.wechatUnanswered(messageId)));
  return text === null ? undefined : Number(text);
}

/** The first one counts. */
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
