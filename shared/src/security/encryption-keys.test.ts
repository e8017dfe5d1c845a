// Tests the keys of KEY_ENCRYPTION_FILE while the file changes.
// Guarantees: what opened before a change of the file opens after it, as long as its key is there.
import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as fc from "fast-check";
import { Registry } from "prom-client";
import { afterEach, beforeEach, expect, test } from "vitest";
import { waitFor } from "../testing/wait-for.js";
import type { Clock } from "../kernel/clock.js";
import { createAtRestCipher, nameOfEncryptionKey } from "./encrypt-at-rest.js";
import { EncryptionKeys } from "./encryption-keys.js";

const [one, two, three] = [randomBytes(32), randomBytes(32), randomBytes(32)];
let directory: string;
let file: string;
let nowMs: number;
let said: string[];
let keys: EncryptionKeys;
const clock: Clock = { wallMs: () => nowMs, monotonicMs: () => nowMs };
const logger = {
  info: (_fields: unknown, text: string) => void said.push(text),
  warn: ({ reason }: { reason: string }, text: string) => void said.push(`${text}: ${reason}`),
} as never;

const put = (...all: readonly (Buffer | string)[]): void =>
  writeFileSync(
    file,
    all.map((key) => `${typeof key === "string" ? key : key.toString("base64")}\n`).join(""),
  );
function open(pollMs = 3_600_000, onChange?: () => void): EncryptionKeys {
  const opened = new EncryptionKeys(file, clock);
  opened.follow({ logger, pollMs, ...(onChange === undefined ? {} : { onChange }) });
  return opened;
}

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "petrel-keys-"));
  file = join(directory, "keys");
  nowMs = 10_000;
  said = [];
  put(one);
  keys = open();
});
afterEach(() => {
  keys.stop();
  rmSync(directory, { recursive: true });
});

test("the first key seals, all open; what the previous release sealed opens too", () => {
  const old = createAtRestCipher(one).encrypt("secret", "c");
  put("# the new one", two, "", one);
  keys.reload();
  expect(keys.names).toEqual([two, one].map(nameOfEncryptionKey));
  const fresh = keys.cipher.encrypt("secret", "c");
  expect(createAtRestCipher(two).decrypt(fresh, "c")).toBe("secret");
  expect([old, fresh].map((sealed) => keys.cipher.decrypt(sealed, "c"))).toEqual(["secret", "secret"]);
  const foreign = createAtRestCipher(three).encrypt("secret", "c");
  expect([fresh, old, foreign, "none"].map((sealed) => keys.cipher.sealedBy(sealed))).toEqual([
    "first",
    "further",
    "unknown",
    "unknown",
  ]);
  expect(() => keys.cipher.decrypt(foreign, "c")).toThrow(/another key/);
});

test("checks the file periodically, and at SIGHUP; whoever subscribes is told", async () => {
  let told = 0;
  keys.stop();
  keys = open(20, () => told++);
  put(one, two);
  await waitFor(() => keys.all.length === 2, { what: "the poll" });
  keys.stop();
  keys = open(3_600_000, () => told++);
  put(two, one);
  process.emit("SIGHUP");
  expect(keys.all).toEqual([two, one]);
  expect(told).toBe(2);
  expect(said).toEqual(Array(2).fill("encryption keys: reloaded; the first one encrypts"));
});

test("a value that no key has sealed leads to a check of the file, at most once a second", () => {
  const early = createAtRestCipher(two).encrypt("secret", "c");
  put(one, two);
  expect(() => keys.cipher.decrypt(early, "c")).toThrow(/another key/);
  nowMs += 1_000;
  expect(keys.cipher.decrypt(early, "c")).toBe("secret");
});

test.each<[string, readonly (Buffer | string)[], RegExp]>([
  ["is empty", [], /must hold 32 bytes/],
  ["is cut short", [one, two.toString("base64").slice(0, 20)], /must hold 32 bytes/],
  ["has none of its keys left", [two, three], /no longer has any key/],
  ["has too many", Array.from({ length: 17 }, () => randomBytes(32)), /more than 16 keys/],
])("a file that %s keeps the previous keys, and is logged once", (_what, content, reason) => {
  put(...content);
  keys.reload();
  keys.reload();
  expect(keys.all).toEqual([one]);
  expect(said).toEqual([expect.stringMatching(reason)]);
  put(two, one);
  keys.reload();
  expect(keys.all).toEqual([two, one]);
});

test("a deleted file keeps the previous keys", () => {
  rmSync(file);
  keys.reload();
  expect(keys.all).toEqual([one]);
  expect(said).toEqual([expect.stringContaining("ENOENT")]);
});

test("the gauge names them", async () => {
  const registry = new Registry();
  keys.register(registry);
  put(two, one);
  keys.reload();
  const text = await registry.metrics();
  expect(text).toContain(`petrel_encryption_key{key="${nameOfEncryptionKey(two)}",place="first"} 1`);
  expect(text).toContain(`petrel_encryption_key{key="${nameOfEncryptionKey(one)}",place="further"} 1`);
});

test("two processes that take the same steps at different times can read each other at each of them", () => {
  // In the documented order; all processes have applied a step before the next.
  const steps = [[one], [one, two], [two, one]];
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 1 }), fc.boolean(), (step, ahead) => {
      const before = steps[step] ?? [];
      const after = steps[step + 1] ?? [];
      const cipher = (all: readonly Buffer[]) => createAtRestCipher(all[0] ?? one, ...all.slice(1));
      const [writer, reader] = ahead ? [after, before] : [before, after];
      expect(cipher(reader).decrypt(cipher(writer).encrypt("secret", "c"), "c")).toBe("secret");
    }),
  );
});
