// Tests what crosses the hop to a push node.
// Guarantees: encoding and decoding round-trip; kinds of a newer release are skipped, not guessed at.
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { priorities } from "./stored-message.js";
import { decodeNodeMessage, encodeDeliver, encodeDisconnect, type Envelope } from "./node-messages.js";

const word = fc.stringMatching(/^[A-Za-z0-9._-]{1,12}$/);
const envelope: fc.Arbitrary<Envelope> = fc.record({
  userId: word,
  epoch: word,
  seq: fc.nat({ max: Number.MAX_SAFE_INTEGER }),
  atMs: fc.nat({ max: Number.MAX_SAFE_INTEGER }),
  id: word,
  priority: fc.constantFrom(...priorities),
  data: fc.jsonValue().map((value) => JSON.stringify(value)),
  trace: fc.constantFrom(undefined, "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
});

test("decodes envelopes as they were encoded, in order, whatever their data", () => {
  fc.assert(
    fc.property(fc.array(envelope, { minLength: 1, maxLength: 5 }), (envelopes) => {
      expect(decodeNodeMessage(encodeDeliver(envelopes))).toEqual({ kind: "deliver", envelopes });
    }),
  );
});

test("tabs and line breaks in data are escaped by JSON, so a line stays a line", () => {
  const data = JSON.stringify("a\tb\nc\u2028d");
  const one = { userId: "u", epoch: "e", seq: 1, atMs: 2, id: "m", priority: "high", data } as const;
  expect(encodeDeliver([one]).split("\n")).toHaveLength(2);
  expect(decodeNodeMessage(encodeDeliver([one]))).toEqual({ kind: "deliver", envelopes: [one] });
});

test("nudge, disconnect and evict", () => {
  expect(decodeNodeMessage("nudge\nu1\nu2")).toEqual({ kind: "nudge", userIds: ["u1", "u2"] });
  expect(decodeNodeMessage(encodeDisconnect(["u1", "u2"]))).toEqual({
    kind: "disconnect",
    userIds: ["u1", "u2"],
  });
  expect(decodeNodeMessage("evict\nu1\tc1\telsewhere\tios\nu2\tc2\tlimit\tweb")).toEqual({
    kind: "evict",
    connections: [
      { userId: "u1", connection: "c1", reason: "elsewhere", platform: "ios" },
      { userId: "u2", connection: "c2", reason: "limit", platform: "web" },
    ],
  });
});

test("an eviction without a reason means the limit; one with an unknown reason too", () => {
  const limit = { userId: "u1", connection: "c1", reason: "limit" };
  expect(decodeNodeMessage("evict\nu1\tc1")).toEqual({
    kind: "evict",
    connections: [{ ...limit, platform: "" }],
  });
  expect(decodeNodeMessage("evict\nu1\tc1\tweather\tios")).toEqual({
    kind: "evict",
    connections: [{ ...limit, platform: "ios" }],
  });
});

test("reads revocations as the scripts write them", () => {
  expect(decodeNodeMessage("revoke-user\nu1\t1800000000000")).toEqual({
    kind: "revoke-user",
    revocations: [{ userId: "u1", generation: 1_800_000_000_000 }],
  });
  expect(decodeNodeMessage("revoke-session\nu1\ts1")).toEqual({
    kind: "revoke-session",
    revocations: [{ userId: "u1", sessionId: "s1" }],
  });
  expect(decodeNodeMessage("revoke-token\nj1")).toEqual({ kind: "revoke-token", jtis: ["j1"] });
  expect(decodeNodeMessage("erase-user\nu1\n\t1800000000000")).toEqual({
    kind: "erase-user",
    erasures: [{ userId: "u1", generation: 1_800_000_000_000 }],
  });
  // Of the release before.
  expect(decodeNodeMessage("erase-user\nu1\nu2")).toEqual({
    kind: "erase-user",
    erasures: [
      { userId: "u1", generation: Infinity },
      { userId: "u2", generation: Infinity },
    ],
  });
});

test.each(["", "topic\nx", "toString\n", "delivered\nu"])("%j is of an unknown kind", (text) => {
  expect(decodeNodeMessage(text)).toBeUndefined();
});
