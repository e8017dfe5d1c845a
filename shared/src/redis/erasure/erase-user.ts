// collect/erase-user -> here -> erasure/erase-user.lua, erase-entries, erase-retries, erase-records: erases a user.
// Guarantees: first the user's schedules, tokens, sockets, inbox and kept topics go, the last of them in one step; then
// everything else, in bounded steps. If the process dies in between, nothing reaches what is left, and another call
// completes it. What arrives after the first step stays. docs/operate/erasing-a-person.md says what remains, and why.
import { deadLetterCauses } from "../../protocol/fallback/dead-letter-causes.js";
import { fallbackChannels } from "../../protocol/fallback/fallback-channels.js";
import { partitionOfUser } from "../../protocol/messages/partition.js";
import { decodeMessageRecord, priorities } from "../../protocol/messages/stored-message.js";
import { awaitAnswer } from "../connection/await-answer.js";
import { masterOf } from "../connection/cluster-nodes.js";
import type { DevicesStore } from "../devices/devices-store.js";
import { eraseStrayOwners } from "../devices/erase-stray-owners.js";
import { FALLBACK_GROUP } from "../fallback/fallback-queue.js";
import { idOfRecordKey, isCollapseTurnOf, type PartitionKeys } from "../keys.js";
import { idOfSchedule } from "../../protocol/messages/scheduled-message.js";
import { scanGently } from "../connection/scan-gently.js";
import type { ScriptRunner } from "../scripts/script-runner.js";
import { GENERATION_KEEP_MS } from "../auth/token-revocations.js";

export interface UserEraserOptions {
  readonly scripts: ScriptRunner;
  readonly partitions: readonly PartitionKeys[];
  readonly devices: Pick<DevicesStore, "forgetUser">;
}

export interface ErasedUser {
  /** Messages that were in the inbox. */
  readonly messages: number;
  /** Records of messages, with their attempts. */
  readonly records: number;
  /** Entries of `ready`, the fallback streams, the retries, the dead letters and the events. */
  readonly entries: number;
  /** Audit notes about the user's devices. */
  readonly notes: number;
}

/** Records per script call. */
const MAX_RECORDS = 200;

export class UserEraser {
  readonly #scripts: ScriptRunner;
  readonly #partitions: readonly PartitionKeys[];
  readonly #devices: Pick<DevicesStore, "forgetUser">;

  constructor({ scripts, partitions, devices }: UserEraserOptions) {
    this.#scripts = scripts;
    this.#partitions = partitions;
    this.#devices = devices;
  }

  /**
   * Takes as long as a scan of all keys: nothing else leads to the records of messages that were acknowledged and
   * trimmed, or to device owners that a dead process left behind.
   * @throws PetrelError PETREL_UNAVAILABLE if Redis does not answer; call it again then
   */
  async erase(userId: string): Promise<ErasedUser> {
    const keys = this.#partitions[partitionOfUser(userId, this.#partitions.length)];
    if (keys === undefined) throw new Error("there are no partitions");
    const messages = await awaitAnswer(this.#begin(keys, userId));
    let entries = 0;
    // Before the fallback streams, because only from here can anything still enter them.
    for (const channel of queuesOfFallback) {
      entries += await awaitAnswer(this.#eraseRetries(keys, userId, channel));
    }
    for (const stream of [
      keys.ready,
      ...fallbackStreams(keys),
      ...deadLetterCauses.map((cause) => keys.deadLetters(cause)),
    ]) {
      entries += await awaitAnswer(this.#eraseEntries(keys, userId, stream));
    }
    await this.#devices.forgetUser(userId);
    await awaitAnswer(this.#scripts.redis.unlink(keys.wechatRefusals(userId)));
    await awaitAnswer(eraseStrayOwners(this.#scripts, keys, userId));
    // After the devices: while a device exists, a provider's verdict on it may still be recorded.
    const notes = await awaitAnswer(this.#eraseEntries(keys, userId, keys.invalidations));
    // After everything that may still write an event.
    entries += await awaitAnswer(this.#eraseEntries(keys, userId, keys.events));
    const records = await awaitAnswer(this.#eraseFound(keys, userId));
    return { messages, records, entries, notes };
  }

  /** The schedules first, some with each call; the call that leaves none also does the rest of this step. */
  async #begin(keys: PartitionKeys, userId: string): Promise<number> {
    for (;;) {
      const members = await this.#scripts.redis.zrange(
        keys.schedulesOf(userId),
        "0",
        String(MAX_RECORDS - 1),
      );
      const answer = await this.#scripts.run(
        "erase-user.v5",
        [
          keys.user(userId),
          keys.inbox(userId),
          keys.routes(userId),
          keys.sessions(userId),
          keys.due,
          keys.tokenGeneration(userId),
          keys.keptTopics(userId),
          keys.collapsed(userId),
          keys.scheduled,
          keys.schedulesOf(userId),
          keys.online,
          ...members.map((member) => keys.record(idOfSchedule(member))),
        ],
        [userId, keys.control, GENERATION_KEEP_MS, ...members],
      );
      if (answer !== "more") return Number(answer);
    }
  }

  async #eraseEntries(keys: PartitionKeys, userId: string, stream: string): Promise<number> {
    const isFallback = fallbackStreams(keys).includes(stream);
    let erased = 0;
    let after = "0-0";
    while (after !== "") {
      const answer = await this.#scripts.run(
        "erase-entries.v1",
        [stream, keys.user(userId)],
        [userId, after, isFallback ? FALLBACK_GROUP : ""],
      );
      const [count = "0", next = ""] = answer.split("\t");
      erased += Number(count);
      after = next;
    }
    return erased;
  }

  async #eraseRetries(keys: PartitionKeys, userId: string, channel: string | undefined): Promise<number> {
    let erased = 0;
    let cursor = "0";
    while (cursor !== "") {
      const answer = await this.#scripts.run(
        "erase-retries.v1",
        [keys.retriesOf(channel), keys.user(userId)],
        [userId, cursor],
      );
      const [count = "0", next = ""] = answer.split("\t");
      erased += Number(count);
      cursor = next;
    }
    return erased;
  }

  /** What only a scan of all keys finds: records and collapse turns. */
  async #eraseFound(keys: PartitionKeys, userId: string): Promise<number> {
    // One server for the whole scan: a cursor means nothing to another.
    const server = masterOf(this.#scripts.redis, keys.owner);
    let erased = 0;
    await scanGently(server, `${keys.prefix}*`, async (names) => {
      const ids = await this.#findRecords(keys, userId, names);
      for (let start = 0; start < ids.length; start += MAX_RECORDS) {
        erased += await this.#eraseRecords(keys, userId, ids.slice(start, start + MAX_RECORDS), []);
      }
      const turns = names.filter((name) => isCollapseTurnOf(keys, name, userId));
      if (turns.length > 0) await this.#eraseRecords(keys, userId, [], turns);
    });
    return erased;
  }

  /** The user's records among these keys. Read them here, because most belong to others; the script decides. */
  async #findRecords(keys: PartitionKeys, userId: string, names: readonly string[]): Promise<string[]> {
    const ids = names.flatMap((name) => idOfRecordKey(keys, name) ?? []);
    if (ids.length === 0) return [];
    const records = await this.#scripts.redis.mget(...ids.map((id) => keys.record(id)));
    return ids.filter((_id, i) => decodeMessageRecord(records[i] ?? "").userId === userId);
  }

  async #eraseRecords(
    keys: PartitionKeys,
    userId: string,
    ids: readonly string[],
    turns: readonly string[],
  ): Promise<number> {
    return Number(
      await this.#scripts.run(
        "erase-records.v3",
        [
          keys.user(userId),
          ...ids.flatMap((id) => [keys.record(id), keys.attempts(id), keys.deviceSends(id)]),
          ...turns,
        ],
        [userId, ids.length],
      ),
    );
  }
}

/** The common queue first, because only from there can an entry move to the others. */
const queuesOfFallback: readonly (string | undefined)[] = [undefined, ...fallbackChannels];

function fallbackStreams(keys: PartitionKeys): string[] {
  return queuesOfFallback.flatMap((channel) =>
    priorities.map((priority) => keys.fallback(priority, channel)),
  );
}
