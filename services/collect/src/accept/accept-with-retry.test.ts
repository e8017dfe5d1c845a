// Tests how many messages collect has in progress at once.
// Guarantees: beyond the bound a message is refused at once; finished ones make room again.
import { systemClock } from "@petrel/shared/kernel/clock";
import type { AcceptResult } from "@petrel/shared/redis/accept/accept-answers";
import type { MessageToAccept } from "@petrel/shared/redis/accept/accept-batch";
import type { PendingRequest } from "@petrel/shared/redis/accept/turn-batches";
import { expect, test } from "vitest";
import { AcceptWithRetry } from "./accept-with-retry.js";
import { AcceptanceCounts } from "./acceptance-counts.js";

const message = (data: string): MessageToAccept => ({
  userId: "ada",
  partition: 0,
  id: "p0_aaaaaaaaaaaaaaaaaaaaaa",
  ttlMs: 1_000,
  fingerprint: "-",
  attempt: "1",
  data,
  fallback: "offline",
  priority: "normal",
  notification: "",
});

test("bounds messages in progress", async () => {
  const held: ((result: AcceptResult) => void)[] = [];
  const acceptance = new AcceptWithRetry({
    store: () => new Promise((resolve) => held.push(resolve)),
    attemptMs: 1_000,
    clock: systemClock,
    counts: new AcceptanceCounts(),
    maxUnderWay: 10,
  });
  const giveUpAtMs = systemClock.monotonicMs() + 60_000;
  const first = acceptance.accept([message("12345"), message("1234")], giveUpAtMs);
  expect(await acceptance.accept([message("12")], giveUpAtMs)).toMatchObject([
    { outcome: "unavailable", error: { code: "PETREL_UNAVAILABLE" } },
  ]);
  const fits = acceptance.accept([message("1")], giveUpAtMs);
  expect(held).toHaveLength(3);

  for (const answer of held.splice(0)) answer({ outcome: "stored", seq: 1, epoch: "e", atMs: 0 });
  await Promise.all([first, fits]);
  void acceptance.accept([message("0123456789")], giveUpAtMs);
  expect(held).toHaveLength(1);
});

test("answers by the deadline with what is known by then; later results change nothing", async () => {
  const held = new Map<string, (result: AcceptResult) => void>();
  const requests: (PendingRequest | undefined)[] = [];
  const acceptance = new AcceptWithRetry({
    store: ({ data }, request) => {
      requests.push(request);
      return new Promise((resolve) => held.set(data, resolve));
    },
    attemptMs: 100,
    clock: systemClock,
    counts: new AcceptanceCounts(),
  });
  const answer = acceptance.accept([message("stuck"), message("stored")], systemClock.monotonicMs() + 300);
  held.get("stored")?.({ outcome: "stored", seq: 1, epoch: "e", atMs: 0 });
  expect(requests.map((request) => request?.isOver)).toEqual([false, false]);
  expect(await answer).toMatchObject([
    { outcome: "unavailable", error: { code: "PETREL_UNAVAILABLE" } },
    { outcome: "accepted", duplicate: false },
  ]);
  // This tells the store not to send it if it is still waiting.
  expect(requests.map((request) => request?.isOver)).toEqual([true, true]);
  held.get("stuck")?.({ outcome: "stored", seq: 2, epoch: "e", atMs: 0 });
});
