// Tests how long a checked producer is remembered, with a clock of the test.
// Guarantees: no longer than a second, and not past a change of any key.
import type { IncomingMessage } from "node:http";
import { describe, expect, test } from "vitest";
import type { Producer } from "./authenticate-producer.js";
import { RememberedProducers } from "./authorize-producer.js";

describe("a producer that was checked a moment ago", () => {
  const shop = { keyId: "shop" } as Producer;
  const open = () => {
    const clock = { nowMs: 0, monotonicMs: () => clock.nowMs, wallMs: () => clock.nowMs };
    const authenticator = { forgotten: 0, clock };
    const remembered = new RememberedProducers(authenticator);
    const checked = (request: IncomingMessage, producer = shop): void =>
      remembered.beginCheck(request)(producer);
    return { remembered, authenticator, clock, checked };
  };
  const request = (
    authorization: string | undefined,
    socket: object = {},
    more: Record<string, string> = {},
  ): IncomingMessage => ({ headers: { authorization, ...more }, socket }) as unknown as IncomingMessage;

  test("counts on every connection with the same header, and no other", () => {
    const { remembered, checked } = open();
    expect(remembered.find(request("Bearer shop.s3cret"))).toBeUndefined();
    checked(request("Bearer shop.s3cret"));
    const socket = {};
    expect(remembered.find(request("Bearer shop.s3cret", socket))).toBe(shop);
    expect(remembered.find(request("Bearer shop.s3cret", socket))).toBe(shop);
    for (const other of ["Bearer shop.s3creT", "Bearer shop.s3cret ", "bearer shop.s3cret", undefined])
      expect(remembered.find(request(other, socket))).toBeUndefined();
    expect(remembered.find(request("Bearer shop.s3cret", socket, { "petrel-key": "shop" }))).toBeUndefined();
  });

  test("counts for a second from the start of its check, wherever it is used meanwhile", () => {
    const { remembered, checked, clock } = open();
    const [first, second] = [{}, {}];
    const remember = remembered.beginCheck(request("Bearer shop.s3cret", first));
    clock.nowMs = 500;
    remember(shop);
    clock.nowMs = 999;
    for (const socket of [first, second, {}])
      expect(remembered.find(request("Bearer shop.s3cret", socket))).toBe(shop);
    clock.nowMs = 1_000;
    for (const socket of [first, second, {}])
      expect(remembered.find(request("Bearer shop.s3cret", socket))).toBeUndefined();
    // One check is enough for all of them.
    checked(request("Bearer shop.s3cret", first));
    for (const socket of [first, second, {}])
      expect(remembered.find(request("Bearer shop.s3cret", socket))).toBe(shop);
  });

  test("does not count once a key was invalidated, even one that was being checked then", () => {
    const { remembered, checked, authenticator } = open();
    const socket = {};
    checked(request("Bearer shop.s3cret", socket));
    const late = remembered.beginCheck(request("Bearer other.s3cret", socket));
    authenticator.forgotten++;
    late(shop);
    for (const header of ["Bearer shop.s3cret", "Bearer other.s3cret"])
      for (const connection of [socket, {}])
        expect(remembered.find(request(header, connection))).toBeUndefined();
  });

  test("is checked each time if its header is padded: 16 KiB of spaces are neither kept nor hashed", () => {
    const { remembered, checked } = open();
    const longest = `Bearer ${"k".repeat(64)}.${"s".repeat(256)}`;
    checked(request(longest));
    expect(remembered.find(request(longest))).toBe(shop);
    const socket = {};
    for (let n = 0; n < 100; n++) {
      const padded = `Bearer${" ".repeat(16_000 + n)}shop.s3cret`;
      checked(request(padded, socket));
      expect(remembered.find(request(padded, socket))).toBeUndefined();
    }
    expect(remembered.held).toBe(1);
  });

  test("is kept for at most two such periods", () => {
    const { remembered, checked, clock } = open();
    for (let n = 0; n < 1_000; n++) checked(request(`Bearer key-${n}.s3cret`));
    expect(remembered.held).toBe(1_000);
    clock.nowMs = 1_000;
    checked(request("Bearer shop.s3cret"));
    expect(remembered.held).toBe(1);
  });
});
