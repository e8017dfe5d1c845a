// Tests the decisions about archive rows.
// Guarantees: every state of a message leads to its end, or to another look; only what Redis lost is re-driven.
import type { ArchivedRow } from "@petrel/shared/archive/message-archive";
import type { FoundMessage, FoundUserMessage } from "@petrel/shared/redis/inbox/read-message";
import { expect, test } from "vitest";
import { judgeRow, LOOK_AT_LEAST_MS, LOOK_AT_MOST_MS } from "./judge-row.js";

const T0 = 1_800_000_000_000;
const HOUR_MS = 3_600_000;

function row(parts: Partial<ArchivedRow> = {}): ArchivedRow {
  return {
    id: "p0_a",
    partition: 0,
    recipient: "ada",
    data: "1",
    notification: "",
    fallback: "offline",
    priority: "normal",
    collapseKey: undefined,
    ttlMs: 2 * HOUR_MS,
    deliverAtMs: undefined,
    fingerprint: "-",
    attempt: "-",
    acceptedAtMs: T0,
    expiresAtMs: T0 + 2 * HOUR_MS,
    state: "pending",
    seq: undefined,
    epoch: undefined,
    endedAtMs: undefined,
    word: undefined,
    lookAtMs: T0 + 3_000,
    missingSinceMs: undefined,
    isLost: false,
    ...parts,
  };
}

test("a published message stays published, whether Redis lost it or only forgot it", () => {
  const published = row({ recipient: "#news", state: "published", seq: 3, epoch: "e.1" });
  for (const lostBeforeMs of [undefined, T0 + HOUR_MS])
    expect(
      judgeRow(published, undefined, { nowMs: T0 + HOUR_MS, erasedUntilMs: undefined, lostBeforeMs }),
    ).toEqual({ kind: "update", update: { id: "p0_a", lookAtMs: null, missingSinceMs: null } });
});

test("a scheduled message of a topic ended when it was published, not when it was accepted", () => {
  const history = { size: 10, ageMs: HOUR_MS, bytes: 1_000 };
  const at = { nowMs: T0 + 5 * HOUR_MS, erasedUntilMs: undefined, lostBeforeMs: undefined };
  const record = {
    ...found("queued").record,
    userId: "#news",
    expiresAtMs: T0 + 4 * HOUR_MS + HOUR_MS,
  };
  const published = { record, state: "published", topic: "news", isOfUser: false } as const;
  const waited = row({ recipient: "#news", deliverAtMs: T0 + 4 * HOUR_MS, history, ttlMs: 2 * HOUR_MS });
  expect(updateOf(waited, published, at)).toMatchObject({ endedAtMs: T0 + 4 * HOUR_MS });
  const { history: _, ...atOnce } = waited;
  expect(updateOf(atOnce, published, at)).toMatchObject({ endedAtMs: record.atMs });
});

test.each([2 * HOUR_MS, HOUR_MS / 2])(
  "a topic's message sent again late did not end before that: %i ms to live",
  (ttlMs) => {
    const deliverAtMs = T0 + HOUR_MS;
    const expiresAtMs = deliverAtMs + ttlMs;
    // Driven on when a minute of its time to live was left.
    const drivenAtMs = expiresAtMs - 60_000;
    const history = { size: 10, ageMs: HOUR_MS, bytes: 1_000 };
    const waited = row({ recipient: "#news", deliverAtMs, history, ttlMs, expiresAtMs });
    const record = { ...found("queued").record, userId: "#news", atMs: drivenAtMs, expiresAtMs };
    const published = { record, state: "published", topic: "news", isOfUser: false } as const;
    expect(updateOf(waited, published, at(expiresAtMs))).toMatchObject({ endedAtMs: drivenAtMs });
  },
);

function found(state: FoundUserMessage["state"], word?: string): FoundMessage {
  const end =
    state === "queued" || state === "delivered" ? undefined : { state, atMs: T0 + 7, word, isFinal: false };
  return {
    record: {
      seq: 5,
      epoch: "e.1",
      atMs: T0 + 1,
      expiresAtMs: T0 + 2 * HOUR_MS + 1,
      userId: "ada",
      fingerprint: "-",
      attempt: "-",
      end,
      deliverAtMs: undefined,
    },
    state,
    isOfUser: true,
    stateAtMs: state === "queued" ? undefined : T0 + 7,
    stateAtIsUpperBound: false,
  };
}

const at = (nowMs: number, more: { lostBeforeMs?: number; erasedUntilMs?: number } = {}) => ({
  nowMs,
  erasedUntilMs: more.erasedUntilMs,
  lostBeforeMs: more.lostBeforeMs,
});
const updateOf = (...args: Parameters<typeof judgeRow>) => {
  const verdict = judgeRow(...args);
  if (verdict.kind !== "update") throw new Error(verdict.kind);
  return verdict.update;
};

test.each(["delivered", "expired", "cancelled"] as const)("%s is final", (state) => {
  expect(updateOf(row(), found(state), at(T0 + 4_000))).toMatchObject({
    state,
    seq: 5,
    epoch: "e.1",
    acceptedAtMs: T0 + 1,
    endedAtMs: T0 + 7,
    lookAtMs: null,
  });
});

test.each(["pushed", "failed"] as const)("%s may still become delivered, until it expires", (state) => {
  const update = updateOf(row(), found(state, "apns"), at(T0 + HOUR_MS));
  expect(update).toMatchObject({ state, word: "apns", lookAtMs: T0 + HOUR_MS + LOOK_AT_MOST_MS });
  expect(updateOf(row(), found(state), at(T0 + 3 * HOUR_MS)).lookAtMs).toBeNull();
  expect(updateOf(row({ state }), undefined, at(T0 + HOUR_MS))).toMatchObject({ lookAtMs: null });
});

test("checks open messages less often the older they are, within a bound", () => {
  const lookIn = (ageMs: number): number =>
    Number(updateOf(row(), found("queued"), at(T0 + ageMs)).lookAtMs) - (T0 + ageMs);
  expect([100, 10_000, HOUR_MS].map(lookIn)).toEqual([LOOK_AT_LEAST_MS, 10_000, LOOK_AT_MOST_MS]);
  const scheduled = row({ deliverAtMs: T0 + HOUR_MS + 5_000 });
  expect(updateOf(scheduled, found("queued"), at(T0 + HOUR_MS)).lookAtMs).toBe(
    T0 + HOUR_MS + 5_000 + LOOK_AT_LEAST_MS,
  );
});

test("calls a message unknown to Redis refused only after minutes, and unknown if Redis has known it", () => {
  const first = updateOf(row(), undefined, at(T0 + 4_000));
  expect(first).toMatchObject({ missingSinceMs: T0 + 4_000 });
  expect(first.state).toBeUndefined();
  const missing = row({ missingSinceMs: T0 + 4_000 });
  expect(updateOf(missing, undefined, at(T0 + 60_000)).state).toBeUndefined();
  expect(updateOf(missing, undefined, at(T0 + 190_000))).toMatchObject({ state: "refused", lookAtMs: null });
  const seen = row({ missingSinceMs: T0 + 4_000, state: "queued" });
  expect(updateOf(seen, undefined, at(T0 + 190_000))).toMatchObject({ state: "unknown", lookAtMs: null });
  expect(updateOf(missing, found("queued"), at(T0 + 60_000)).missingSinceMs).toBeNull();
});

test("sends again what was accepted before Redis lost data and is no longer known there", () => {
  const lostBeforeMs = T0 + 60_000;
  expect(judgeRow(row(), undefined, at(lostBeforeMs, { lostBeforeMs }))).toEqual({ kind: "drive" });
  // Its writer's clock may be ahead.
  expect(judgeRow(row({ acceptedAtMs: T0 + 90_000 }), undefined, at(T0, { lostBeforeMs })).kind).toBe(
    "drive",
  );
  expect(judgeRow(row({ acceptedAtMs: T0 + 130_000 }), undefined, at(T0, { lostBeforeMs })).kind).toBe(
    "update",
  );
  expect(judgeRow(row({ isLost: true }), undefined, at(T0 + HOUR_MS)).kind).toBe("drive");
  expect(updateOf(row({ isLost: true }), undefined, at(T0 + 3 * HOUR_MS))).toMatchObject({
    state: "expired",
  });
  expect(judgeRow(row({ recipient: "#news" }), undefined, at(T0, { lostBeforeMs })).kind).toBe("update");
  const waiting = { recipient: "#news", deliverAtMs: T0 + HOUR_MS, history: { size: 1, ageMs: 2, bytes: 3 } };
  expect(judgeRow(row({ ...waiting, state: "scheduled" }), undefined, at(T0, { lostBeforeMs })).kind).toBe(
    "drive",
  );
  expect(judgeRow(row({ ...waiting, state: "published" }), undefined, at(T0, { lostBeforeMs })).kind).toBe(
    "update",
  );
  expect(judgeRow(row({ state: "pushed" }), undefined, at(T0, { lostBeforeMs })).kind).toBe("update");
  expect(judgeRow(row(), found("queued"), at(T0, { lostBeforeMs })).kind).toBe("update");
});

test("keeps the time of acceptance for what is sent again", () => {
  expect(updateOf(row({ state: "queued", seq: 2 }), found("queued"), at(T0)).acceptedAtMs).toBeUndefined();
});

test("removes what its user's erasure covers, whatever Redis says", () => {
  const lostBeforeMs = T0 + 60_000;
  expect(judgeRow(row(), undefined, at(T0, { lostBeforeMs, erasedUntilMs: T0 })).kind).toBe("remove");
  expect(judgeRow(row(), found("delivered"), at(T0, { erasedUntilMs: T0 + 1 })).kind).toBe("remove");
  expect(judgeRow(row(), undefined, at(T0, { lostBeforeMs, erasedUntilMs: T0 - 1 })).kind).toBe("drive");
});
