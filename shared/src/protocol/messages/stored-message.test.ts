// Tests the stored forms of a message.
// Guarantees: each reads back as written; tests beside the scripts check that the scripts write the same.
import * as fc from "fast-check";
import { expect, test } from "vitest";
import {
  decodeInboxMessage,
  decodeMessageRecord,
  decodeReadyMessage,
  encodeBody,
  encodeRecordTail,
  lineageOf,
  type DeliveryPolicy,
} from "./stored-message.js";

const policy: fc.Arbitrary<DeliveryPolicy> = fc.record({
  fallback: fc.constantFrom("offline", "always", "never"),
  priority: fc.constantFrom("high", "normal", "low"),
  notification: fc.oneof(
    fc.constant(""),
    fc.jsonValue().map((value) => JSON.stringify(value)),
  ),
});

const trace = fc.constantFrom(undefined, "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");

test("reads an inbox entry and a ready entry back, whatever notification and data, sampled or not", () => {
  fc.assert(
    fc.property(policy, fc.jsonValue(), trace, (deliveryPolicy, value, ofTrace) => {
      const data = JSON.stringify(value);
      const body = encodeBody({ id: "m1", ...deliveryPolicy, data, trace: ofTrace });
      const text = `e.0\t1000\t2000\t${body}`;
      const message = {
        seq: 7,
        epoch: "e.0",
        atMs: 1000,
        expiresAtMs: 2000,
        id: "m1",
        ...deliveryPolicy,
        data,
        trace: ofTrace,
      };
      expect(decodeInboxMessage(7, text)).toEqual(message);
      expect(decodeReadyMessage(`u1\t7\t${text}`)).toEqual({ userId: "u1", ...message });
    }),
  );
});

const head = "7\te.0\t1000\t2000";
const record = {
  seq: 7,
  epoch: "e.0",
  atMs: 1000,
  expiresAtMs: 2000,
  userId: "u1",
  fingerprint: "f",
  attempt: "a",
};

test("a record without an end", () => {
  expect(decodeMessageRecord(`${head}\t${encodeRecordTail("u1", "f", "a")}`)).toEqual({
    ...record,
    end: undefined,
  });
});

test.each(["expired", "cancelled", "pushed", "failed"] as const)("a record that ended: %s", (state) => {
  expect(decodeMessageRecord(`${head}\t${encodeRecordTail("u1", "f", "a")}\t${state} 1500`)).toMatchObject({
    ...record,
    end: { state, atMs: 1500 },
  });
});

test("the lineage is the part of an epoch that a new generation keeps", () => {
  expect(lineageOf("abc.0")).toBe("abc");
  expect(lineageOf("abc.xyz")).toBe("abc");
  expect(lineageOf("abc")).toBe("abc");
});
