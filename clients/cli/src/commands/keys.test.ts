// Tests `petrel keys`.
// Guarantees: a secret is printed once, alone on standard output.
import { CommandBench } from "@petrel/shared/testing/peers/command-bench";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { runPetrel } from "../run-petrel.js";

let bench: CommandBench;
beforeEach(async () => void (bench = await CommandBench.open(runPetrel)));
afterEach(() => bench.close());

describe("petrel keys", () => {
  const key = {
    id: "pk_1",
    owner: "shop",
    name: "Shop",
    scopes: ["send", "read"],
    signing: true,
    createdAt: "2030-01-01T00:00:00.000Z",
  };

  it("creates a key and prints only its credential", async () => {
    bench.answers.set("POST /v1/keys", [{ status: 201, body: { ...key, secret: "new" } }]);
    const made = bench.run(["keys", "create", "--name", "Shop", "--scopes", "send, read"]);
    expect([await made.exitCode, made.out]).toEqual([0, ["pk_1.new"]]);
    expect(made.err).toEqual(["The secret is shown only this once."]);
    const options = ["--owner", "shop", "--signing", "--require-signature", "--messages-per-second", "0"];
    const unlimited = ["--messages-per-second", "unlimited"];
    await bench.run(["keys", "create", "--name", "Shop", "--scopes", "send", ...unlimited]).exitCode;
    expect(bench.asked.pop()?.body).toBe('{"name":"Shop","scopes":["send"],"messagesPerSecond":"unlimited"}');
    const full = bench.run(["keys", "create", "--name", "Shop", "--scopes", "send", ...options, "--json"]);
    expect([await full.exitCode, full.out]).toEqual([0, [JSON.stringify({ ...key, secret: "new" })]]);
    expect(bench.asked.map(({ authorization, body }) => [authorization, body])).toEqual([
      ["Bearer root.s3cret", '{"name":"Shop","scopes":["send","read"]}'],
      [
        "Bearer root.s3cret",
        '{"name":"Shop","owner":"shop","scopes":["send"],"signing":true,"require":"signature","messagesPerSecond":0}',
      ],
    ]);
  });

  it("lists keys page by page", async () => {
    const rotated = { rotatedAt: "2030-01-02T00:00:00.000Z", formerUntil: "2030-01-03T00:00:00.000Z" };
    const strict = { ...key, id: "pk_2", require: "signature", messagesPerSecond: 5, ...rotated };
    const plain = {
      ...key,
      id: "pk_3",
      signing: false,
      messagesPerSecond: "unlimited",
      revokedAt: "2030-01-04T00:00:00.000Z",
    };
    bench.answers.set("GET /v1/keys?limit=1000", [
      { status: 200, body: { items: [key], nextCursor: "pk_1" } },
    ]);
    bench.answers.set("GET /v1/keys?limit=1000&cursor=pk_1", [
      { status: 200, body: { items: [strict, plain], nextCursor: null } },
    ]);
    const run = bench.run(["keys", "list"]);
    expect([await run.exitCode, run.out]).toEqual([
      0,
      [
        "pk_1 shop send,read may sign, created 2030-01-01T00:00:00.000Z: Shop",
        "pk_2 shop send,read must sign, 5 messages/s, created 2030-01-01T00:00:00.000Z, rotated 2030-01-02T00:00:00.000Z, " +
          "a former secret good until 2030-01-03T00:00:00.000Z: Shop",
        "pk_3 shop send,read no limit, created 2030-01-01T00:00:00.000Z, REVOKED 2030-01-04T00:00:00.000Z: Shop",
      ],
    ]);
  });

  it("rotates and revokes a key", async () => {
    bench.answers.set("POST /v1/keys/pk_1/rotate", [{ status: 200, body: { ...key, secret: "newer" } }]);
    bench.answers.set("DELETE /v1/keys/pk_1", [{ status: 204, body: undefined }]);
    const rotate = bench.run(["keys", "rotate", "pk_1", "--overlap-seconds", "60"]);
    expect([await rotate.exitCode, rotate.out]).toEqual([0, ["pk_1.newer"]]);
    expect(bench.asked[0]?.body).toBe('{"overlapSeconds":60}');
    const revoke = bench.run(["keys", "revoke", "pk_1"]);
    expect([await revoke.exitCode, revoke.out]).toEqual([0, ["pk_1 revoked"]]);
  });

  it.each([
    [
      ["suspend", "pk_1"],
      '{"suspended":true}',
      { suspendedAt: "2030-01-05T00:00:00.000Z" },
      /SUSPENDED 2030/,
    ],
    [["resume", "pk_1"], '{"suspended":false}', {}, /^pk_1 shop send,read may sign, created [^,]*: Shop$/],
    [["limit", "pk_1", "50"], '{"messagesPerSecond":50}', { messagesPerSecond: 50 }, /50 messages\/s/],
    [["limit", "pk_1", "0"], '{"messagesPerSecond":0}', { messagesPerSecond: 0 }, /may send nothing/],
    [["limit", "pk_1", "unlimited"], '{"messagesPerSecond":"unlimited"}', {}, /Shop/],
    [["limit", "pk_1", "default"], '{"messagesPerSecond":null}', {}, /Shop/],
  ])("%j", async (words, body, change, line) => {
    bench.answers.set("PATCH /v1/keys/pk_1", [{ status: 200, body: { ...key, ...change } }]);
    const run = bench.run(["keys", ...words]);
    expect([await run.exitCode, run.out]).toEqual([0, [expect.stringMatching(line)]]);
    expect(bench.asked[0]?.body).toBe(body);
  });

  it.each([
    [["keys"]],
    [["keys", "make"]],
    [["keys", "create", "--scopes", "send"]],
    [["keys", "create", "--name", "n"]],
    [["keys", "create", "--name", "n", "--scopes", "send", "--messages-per-second", "-1"]],
    [["keys", "create", "--name", "n", "--scopes", "send", "--messages-per-second", "none"]],
    [["keys", "rotate"]],
    [["keys", "suspend"]],
    [["keys", "limit", "pk_1"]],
    [["keys", "limit", "pk_1", "fast"]],
    [["keys", "rotate", "pk_1", "--signing"]],
    [["keys", "revoke", "pk_1", "--overlap-seconds", "1"]],
  ])("refuses the command line %j without calling auth", async (args) => {
    const run = bench.run(args);
    expect(await run.exitCode).toBe(2);
    expect(bench.asked).toEqual([]);
  });
});
