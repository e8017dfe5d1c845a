// chaos: after the faults, waits until every accepted message has ended, and records how.
// Guarantees: gives up at its deadline; then unfinished messages stay in the history as they are.
import { setTimeout as sleep } from "node:timers/promises";
import { mayBeErased } from "@petrel/shared/testing/checks/check-erasures";
import { askService } from "@petrel/shared/testing/cluster/ask-service";
import type { MessageRecorder, PostRecord, StateRecord } from "@petrel/shared/testing/peers/message-recorder";

export interface SettleOptions {
  readonly recorder: MessageRecorder;
  readonly collectUrl: string;
  /** `key.secret` with the scope read. */
  readonly apiKey: string;
  readonly deadlineMs: number;
}

const CONCURRENT_READS = 16;
const LOOK_EVERY_MS = 250;

export async function settleHistory({
  recorder,
  collectUrl,
  apiKey,
  deadlineMs,
}: SettleOptions): Promise<void> {
  const end = performance.now() + deadlineMs;
  const isErased = mayBeErased(recorder);
  const accepted = recorder.posts.filter(({ outcome }) => outcome === "accepted");
  const ended = new Set<string>();
  // The cheap check first: most are seen at a client.
  while (performance.now() < end && accepted.some(({ n }) => !recorder.handledNumbers.has(n))) {
    await sleep(LOOK_EVERY_MS);
    if (await haveEnded(accepted.filter(({ n }) => !recorder.handledNumbers.has(n)))) break;
  }
  const states = new Map<string, StateRecord>();
  let open = accepted;
  do {
    for (const state of await readStates(open)) states.set(state.id, state);
    open = open.filter((post) => {
      const { id = "", n } = post;
      const { state = "missing" } = states.get(id) ?? {};
      if (isErased(post)) return false;
      // What an application got is acknowledged, though perhaps not yet recorded.
      const mayChange = recorder.handledNumbers.has(n) && ["pushed", "failed"].includes(state);
      return mayChange || ["queued", "missing"].includes(state);
    });
    if (open.length > 0) await sleep(LOOK_EVERY_MS);
  } while (open.length > 0 && performance.now() < end);
  recorder.states = [...states.values()];

  /** What has ended is not asked for again: that would be most of the work while the last ones wait. */
  async function haveEnded(posts: readonly PostRecord[]): Promise<boolean> {
    const waiting = posts.filter(({ id = "" }) => !ended.has(id));
    for (const { id, state } of await readStates(waiting)) if (state !== "queued") ended.add(id);
    return waiting.every(({ id = "" }) => ended.has(id));
  }

  async function readStates(posts: readonly PostRecord[]): Promise<StateRecord[]> {
    const results: StateRecord[] = [];
    const waiting = posts.values();
    const readNext = async (): Promise<void> => {
      for (const { id = "" } of waiting) results.push(await readState(id));
    };
    await Promise.all(Array.from({ length: CONCURRENT_READS }, readNext));
    return results;
  }

  async function readState(id: string): Promise<StateRecord> {
    for (let attempt = 0; ; attempt++) {
      const answer = await askService(`${collectUrl}/v1/messages/${id}`, {
        headers: { authorization: `Bearer ${apiKey}` },
      }).catch(() => undefined);
      if (answer?.ok === true) {
        const found = JSON.parse(await answer.text()) as StateRecord & { readonly offset?: number };
        const { state, seq, epoch, offset = seq } = found;
        return { id, state, seq: offset, epoch };
      }
      if (answer?.status === 404) return { id, state: "missing", seq: 0, epoch: "" };
      if (performance.now() > end)
        throw new Error(`GET /v1/messages/${id}: ${answer?.status ?? "no answer"}`);
      await sleep(LOOK_EVERY_MS);
    }
  }
}
