// Tests the sentences of `petrel why` where a cluster does not show the case at will.
// Guarantees: an upper bound is called one; a retry is announced for open messages only; nothing is claimed without facts.
import { describe, expect, test } from "vitest";
import { describeMs } from "./describe-time.js";
import { describeOutcome, describeReasons, describeTimeline } from "./describe-way.js";
import type { MessageAnswer } from "./message-answer.js";

const at = (seconds: number): string => new Date(1_900_000_000_000 + seconds * 1_000).toISOString();
interface PushedCase {
  readonly delivered?: number;
  readonly approximate?: boolean;
  readonly fallback?: string;
}
const message = (parts: Partial<MessageAnswer>): MessageAnswer => ({
  id: "p0_a",
  to: { user: "ann" },
  state: "queued",
  seq: 3,
  acceptedAt: at(0),
  expiresAt: at(600),
  timeline: [{ at: at(0), event: "accepted" }],
  ...parts,
});

describe("the sentences", () => {
  test("states an upper bound for an acknowledgement of several messages", () => {
    const answer = message({
      state: "delivered",
      timeline: [
        { at: at(0), event: "accepted" },
        { at: at(9), event: "delivered", approximate: true },
      ],
      explanation: { at: at(10), notSent: [{ at: at(5), state: "delivered", channel: "apns" }] },
    });
    expect(describeOutcome(answer)).toBe(
      "Delivered: a client acknowledged it, no later than 9 s after it was accepted.",
    );
    expect(describeReasons(answer)).toEqual([
      `Not pushed: acknowledged before apns was to be asked, at ${at(5)}.`,
    ]);
    expect(describeTimeline(answer)).toEqual([
      `${at(0)}  accepted`,
      `${at(5)}  apns was not asked: acknowledged by then`,
      `${at(9)}  delivered, at the latest`,
    ]);
  });

  test.each([
    ["a near look", 5, ` (dispatch looks next at ${at(5)})`],
    ["a look that is just due", -1, ` (dispatch looks next at ${at(-1)})`],
    [
      "a look that did not come",
      -6,
      "; dispatch should have looked 7 s ago: does it run? petrel doctor says",
    ],
    ["a look when it expires, for its channel's queue waits for none", 7 * 86_400, ""],
  ])("names what waits for a channel: %s", (_name, seconds, when) => {
    const user = { connections: [], devices: ["ios"], seq: 3, acked: 0 };
    const policy = { fallback: "offline", priority: "normal", notification: true };
    const explanation = {
      at: at(1),
      user,
      policy,
      nextLookAt: at(seconds),
      notSent: [],
      pausedChannels: ["apns"],
    };
    expect(describeReasons(message({ explanation })).at(-1)).toBe(
      `Not pushed yet: it waits for a fallback channel${when}. Paused by an operator: apns.`,
    );
  });

  test.each([
    ["queued", " yet: 2 attempts", true],
    ["expired", ": 2 attempts", false],
  ])("names a retry of one that is %s", (state, words, isTriedAgain) => {
    const retry = { event: "attempt", channel: "web", outcome: "retry", reason: "503" };
    const timeline = [
      { ...retry, at: at(1) },
      { ...retry, at: at(2) },
    ];
    const said = describeReasons(message({ state, timeline })).join(" ");
    expect(said).toContain(`Not pushed by web${words}, the last at ${at(2)}: 503.`);
    expect(said.includes("tried again")).toBe(isTriedAgain);
  });

  test.each([
    [{}, "; nobody had acknowledged it by then."],
    [{ delivered: 5 }, "; nobody had acknowledged it by then."],
    [{ delivered: 2 }, ", though a client had it already."],
    [{ delivered: 5, approximate: true }, " after it was accepted."],
    [{ delivered: 2, fallback: "always" }, '; it was sent with fallback "always".'],
  ])("pushed after 3 s, %j", ({ delivered, approximate = false, fallback }: PushedCase, words) => {
    const timeline = [
      { at: at(3), event: "pushed", channel: "apns" },
      ...(delivered === undefined
        ? []
        : [{ at: at(delivered), event: "delivered", ...(approximate ? { approximate } : {}) }]),
    ];
    const policy =
      fallback === undefined ? {} : { policy: { fallback, priority: "normal", notification: true } };
    const explanation = { at: at(9), notSent: [], ...policy };
    const said = describeReasons(message({ state: "delivered", timeline, explanation })).at(-1) ?? "";
    expect(said.endsWith(words)).toBe(true);
  });

  test("without an explanation it guesses nothing", () => {
    for (const state of ["delivered", "expired", "cancelled"])
      expect(describeReasons(message({ state }))).toEqual([]);
    expect(describeReasons(message({}))).toEqual([]);
    expect(describeReasons(message({ to: { topic: "t" }, state: "published" }))).toEqual([]);
    expect(describeOutcome(message({ state: "odd" }))).toBe("State: odd.");
  });

  test("names a paused channel", () => {
    const user = { connections: [], devices: ["ios"], seq: 3, acked: 2 };
    const explanation = { at: at(10), notSent: [], user, pausedChannels: ["apns"] };
    expect(describeReasons(message({ explanation })).at(-1)).toBe(
      "Not pushed yet: it waits for a fallback channel. Paused by an operator: apns.",
    );
  });

  test.each([
    [40, "40 ms"],
    [12_345, "12.3 s"],
    [60_000, "60 s"],
    [180_000, "3 min"],
    [7_200_000, "2 h"],
    [-5, "0 ms"],
  ])("%d ms is %s", (ms, words) => expect(describeMs(ms)).toBe(words));
});
