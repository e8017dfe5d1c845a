// dispatch's routes, dispatch/webhooks -> here -> webhooks/write-webhook.lua: the existing webhooks.
// Guarantees: no concurrent change is lost: each is applied to the result of the other. Every change increases the
// version, by which readers notice it.
import { awaitAnswer } from "../connection/await-answer.js";
import { clusterKeys } from "../keys.js";
import type { ScriptRunner } from "../scripts/script-runner.js";
import { decodeWebhook, encodeWebhook, type WebhookRecord } from "./webhook-record.js";

export interface Webhooks {
  readonly version: string;
  /** In the order of their creation. */
  readonly records: readonly WebhookRecord[];
}

export const MAX_WEBHOOKS = 100;

const VERSION = "version";
/** Changes are rare, so losing this many races means a fault. */
const MAX_TRIES = 20;

/** @throws PetrelError PETREL_UNAVAILABLE if Redis does not answer, like all methods here */
export class WebhooksStore {
  readonly #scripts: ScriptRunner;

  constructor(scripts: ScriptRunner) {
    this.#scripts = scripts;
  }

  /** "" before the first change. */
  async readVersion(): Promise<string> {
    return (await awaitAnswer(this.#scripts.redis.hget(clusterKeys.webhooks, VERSION))) ?? "";
  }

  async list(): Promise<Webhooks> {
    const { [VERSION]: version = "", ...texts } = await awaitAnswer(
      this.#scripts.redis.hgetall(clusterKeys.webhooks),
    );
    const records = Object.values(texts).map(decodeWebhook);
    records.sort((a, b) => a.createdAtMs - b.createdAtMs || (a.id < b.id ? -1 : 1));
    return { version, records };
  }

  async find(id: string): Promise<WebhookRecord | undefined> {
    const text = await this.#read(id);
    return text === "" ? undefined : decodeWebhook(text);
  }

  /** @param record with an id that is not in use */
  async create(record: WebhookRecord): Promise<"created" | "full"> {
    const answer = await this.#write(record.id, "", encodeWebhook(record));
    if (answer === "changed") throw new Error(`there is a webhook ${record.id} already`);
    return answer === "full" ? "full" : "created";
  }

  /**
   * @param change may be called again if somebody else was faster; undefined for no change
   * @returns the resulting record; undefined if there is no such webhook
   */
  async change(
    id: string,
    change: (record: WebhookRecord) => WebhookRecord | undefined,
  ): Promise<WebhookRecord | undefined> {
    for (let tries = 0; tries < MAX_TRIES; tries++) {
      const text = await this.#read(id);
      if (text === "") return undefined;
      const record = decodeWebhook(text);
      const next = change(record);
      if (next === undefined) return record;
      if ((await this.#write(id, text, encodeWebhook(next))) === "written") return next;
    }
    throw new Error(`the webhook ${id} changes all the time`);
  }

  /** @returns whether it existed */
  async remove(id: string): Promise<boolean> {
    for (let tries = 0; tries < MAX_TRIES; tries++) {
      const text = await this.#read(id);
      if (text === "") return false;
      if ((await this.#write(id, text, "")) === "written") return true;
    }
    throw new Error(`the webhook ${id} changes all the time`);
  }

  /** @returns "" if there is none */
  async #read(id: string): Promise<string> {
    if (id === VERSION) return "";
    return (await awaitAnswer(this.#scripts.redis.hget(clusterKeys.webhooks, id))) ?? "";
  }

  #write(id: string, expected: string, text: string): Promise<string> {
    const args = [id, expected, text, MAX_WEBHOOKS];
    return awaitAnswer(this.#scripts.run("write-webhook.v1", [clusterKeys.webhooks], args));
  }
}
