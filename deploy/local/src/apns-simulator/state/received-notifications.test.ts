// Tests the bounds of what the APNs simulator keeps, and of what it reads at its start.
// Guarantees: the oldest go first, of a device and of all; wrong keys are told by their place.
import { generateKeyPairSync } from "node:crypto";
import { expect, test } from "vitest";
import { parseKnownKeys } from "./known-keys.js";
import { ReceivedNotifications, type ReceivedNotification } from "./received-notifications.js";

const notification = (apnsId: string, payload = "{}"): ReceivedNotification => ({
  at: "2025-01-01T00:00:00.000Z",
  apnsId,
  topic: "com.example",
  pushType: "alert",
  priority: 10,
  collapseId: null,
  expiration: null,
  payload,
});
const idsOf = (kept: ReceivedNotifications, token: string): string[] =>
  kept.list(token).map(({ apnsId }) => apnsId);

test("keeps the newest of a device, and of all", () => {
  const kept = new ReceivedNotifications({ perDevice: 2, inAll: 3 });
  for (const id of ["a1", "a2", "a3"]) kept.add("a", notification(id));
  expect(idsOf(kept, "a")).toEqual(["a2", "a3"]);
  for (const id of ["b1", "b2"]) kept.add("b", notification(id));
  expect([idsOf(kept, "a"), idsOf(kept, "b")]).toEqual([["a3"], ["b1", "b2"]]);
  kept.clear("b");
  kept.add("c", notification("c1"));
  kept.add("c", notification("c2"));
  expect([idsOf(kept, "a"), idsOf(kept, "b"), idsOf(kept, "c")]).toEqual([["a3"], [], ["c1", "c2"]]);
});

test("bounds the bytes of all", () => {
  const kept = new ReceivedNotifications({ bytes: 25 });
  for (const id of ["1", "2", "3"]) kept.add(id, notification(id, JSON.stringify({ a: "12" })));
  expect([idsOf(kept, "1"), idsOf(kept, "2"), idsOf(kept, "3")]).toEqual([[], ["2"], ["3"]]);
});

const publicKey = (namedCurve: string): string =>
  generateKeyPairSync("ec", {
    namedCurve,
    publicKeyEncoding: { type: "spki", format: "pem" },
    privateKeyEncoding: { type: "pkcs8", format: "pem" },
  }).publicKey;

test("reads keys, or refuses them by their place", () => {
  const good = { keyId: "KEY0000001", teamId: "TEAM000001", publicKey: publicKey("P-256") };
  expect(parseKnownKeys(JSON.stringify([good])).get("KEY0000001")).toMatchObject({ teamId: "TEAM000001" });
  const wrong = (change: object): (() => unknown) => {
    return () => parseKnownKeys(JSON.stringify([good, { ...good, ...change }]));
  };
  expect(() => parseKnownKeys("[")).toThrow(/not JSON/);
  expect(() => parseKnownKeys("{}")).toThrow(/not a list/);
  expect(wrong({ keyId: "short" })).toThrow("provider key 2: keyId is not ten of A–Z, 0–9");
  expect(wrong({ teamId: 7 })).toThrow(/teamId/);
  expect(wrong({ environment: "both" })).toThrow(/environment/);
  expect(wrong({ publicKey: "none" })).toThrow(/not a PEM key/);
  expect(wrong({ publicKey: publicKey("P-384") })).toThrow(/not EC P-256/);
});
