// Tests that a plain body is read as the schema and check-message would read it.
import * as fc from "fast-check";
import { buildHttpApp, type HttpApp } from "@petrel/shared/kernel/http/http-app";
import { createLogger } from "@petrel/shared/kernel/logging/logging";
import type { FastifySchemaCompiler } from "fastify";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type CheckedMessage, checkMessage } from "./check-message.js";
import { type MessageBody, messageSchema } from "./message-schema.js";
import { readPlainBatch, readPlainMessage } from "./read-plain-messages.js";

let app: HttpApp;
let fits: (data: unknown) => unknown;

beforeAll(async () => {
  app = await buildHttpApp({
    service: "test",
    version: "1.2.3",
    logger: createLogger({ service: "test", level: "silent" }),
    bodyLimitBytes: 1_000,
    readiness: () => ({ ready: true, checks: {} }),
  });
  // The framework makes its compilers for the first schema.
  app.post("/v1/messages", { schema: { body: messageSchema } }, () => undefined);
  await app.ready();
  const compiler = app.validatorCompiler as FastifySchemaCompiler<unknown>;
  fits = compiler({ schema: messageSchema, url: "/v1/messages", method: "POST", httpPart: "body" });
});
afterAll(() => app.close());

/** As the routes do. @returns undefined if it is refused */
function readFully(text: string): CheckedMessage | undefined {
  try {
    const body: unknown = JSON.parse(text);
    return fits(body) === true ? checkMessage(body as MessageBody) : undefined;
  } catch {
    return undefined;
  }
}

const users = fc.oneof(
  fc.stringMatching(/^[A-Za-z0-9._:@|~+=-]{1,12}$/),
  fc.constantFrom("", ".", "..", "a b", "é", "x".repeat(129)),
);
const ttls = fc.oneof(
  fc.integer({ min: -1, max: 3_000_000 }),
  fc.constantFrom(0, 1, 0.5, 2_592_000, 2_592_001, "60", null),
);
const member = fc.oneof(
  users.map((user) => `"to":${JSON.stringify({ user })}`),
  fc.jsonValue({ maxDepth: 3 }).map((value) => `"data":${JSON.stringify(value)}`),
  ttls.map((ttl) => `"ttlSeconds":${JSON.stringify(ttl)}`),
  fc.constantFrom(
    '"to":{"topic":"news"}',
    '"to":{"users":["a"]}',
    '"priority":"high"',
    '"data": 1',
    '"fallback":"never"',
  ),
);
const bodies = fc
  .tuple(fc.boolean(), users, fc.jsonValue({ maxDepth: 3 }), fc.array(member, { maxLength: 3 }))
  .map(([isWhole, user, data, others]) => {
    const usual = [`"to":${JSON.stringify({ user })}`, `"data":${JSON.stringify(data)}`];
    return `{${(isWhole ? [...usual, ...others.slice(2)] : others).join(",")}}`;
  });

test("whatever is read is what the schema and the rules make of it", () => {
  let read = 0;
  fc.assert(
    fc.property(bodies, (any) => {
      const text = Buffer.from(any).toString();
      const plain = readPlainMessage(text);
      if (plain === undefined) return;
      read++;
      expect(plain).toEqual(readFully(text));
    }),
    { numRuns: 2_000 },
  );
  expect(read).toBeGreaterThan(100);
});

test("a batch is read entry by entry, or not at all", () => {
  const entry = (user: string): string =>
    `{"to":{"user":"${user}"},"data":{"n":1.5,"text":"he said \\"no\\""}}`;
  const batch = (...entries: string[]): string => `{"messages":[${entries.join(",")}]}`;
  const both = [entry("ada"), `{"ttlSeconds":60,"data":[true,null],"to":{"user":"bob"}}`];
  expect(readPlainBatch(batch(...both))).toEqual(both.map(readFully));
  expect(readPlainBatch(batch(entry("ada"), entry("not a name")))).toBeUndefined();
  expect(readPlainBatch(batch())).toBeUndefined();
  expect(readPlainBatch(`${batch(entry("ada"))} `)).toBeUndefined();
  expect(readPlainBatch(`${batch(entry("ada")).slice(0, -1)},"messages":[]}`)).toBeUndefined();
  expect(readPlainBatch(batch(...Array<string>(1_000).fill(entry("ada"))))).toHaveLength(1_000);
  expect(readPlainBatch(batch(...Array<string>(1_001).fill(entry("ada"))))).toBeUndefined();
});

test("data beyond its limit is left to who refuses it", () => {
  const body = (text: string): string => JSON.stringify({ to: { user: "ada" }, data: text });
  expect(readPlainMessage(body("x".repeat(65_534)))?.data).toHaveLength(65_536);
  expect(readPlainMessage(body("x".repeat(65_535)))).toBeUndefined();
  expect(readPlainMessage(body("é".repeat(32_768)))).toBeUndefined();
});
