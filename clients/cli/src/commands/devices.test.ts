// Tests `petrel devices`.
// Guarantees: a device is registered as it was typed, and listed with what operators need.
import { CommandBench } from "@petrel/shared/testing/peers/command-bench";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { runPetrel } from "../run-petrel.js";

let bench: CommandBench;
beforeEach(async () => void (bench = await CommandBench.open(runPetrel)));
afterEach(() => bench.close());

describe("petrel devices", () => {
  const times = { registeredAt: "2030-01-01T00:00:00.000Z", lastSeenAt: "2030-01-02T00:00:00.000Z" };
  const iphone = {
    id: "d_1",
    platform: "ios",
    topic: "com.example.app",
    environment: "production",
    tokenEnd: "abcdef",
    ...times,
  };
  const wechat = { id: "d_2", platform: "wechat", appid: "wx1", openidEnd: "123456", ...times };

  it("lists a user's, page by page", async () => {
    bench.answers.set("GET /v1/users/a%40b/devices?limit=1000", [
      { status: 200, body: { items: [iphone], nextCursor: "d_1" } },
    ]);
    bench.answers.set("GET /v1/users/a%40b/devices?limit=1000&cursor=d_1", [
      { status: 200, body: { items: [{ ...wechat }], nextCursor: null } },
    ]);
    const run = bench.run(["devices", "list", "a@b"]);
    const when = "registered 2030-01-01T00:00:00.000Z, seen 2030-01-02T00:00:00.000Z";
    expect([await run.exitCode, run.out, run.err]).toEqual([
      0,
      [`d_1 ios com.example.app production …abcdef ${when}`, `d_2 wechat wx1 …123456 ${when}`],
      [],
    ]);
    expect(bench.asked[0]?.authorization).toBe("Bearer root.s3cret");
    const asJson = bench.run(["devices", "list", "a@b", "--json"]);
    expect([await asJson.exitCode, asJson.out]).toEqual([
      0,
      [iphone, wechat].map((one) => JSON.stringify(one)),
    ]);
  });

  it("says where one is in quarantine", async () => {
    const resting = { ...iphone, quarantinedUntil: "2030-01-03T00:00:00.000Z" };
    bench.answers.set("GET /v1/users/alice/devices?limit=1000", [
      { status: 200, body: { items: [resting], nextCursor: null } },
    ]);
    const run = bench.run(["devices", "list", "alice"]);
    await run.exitCode;
    expect(run.out[0]).toMatch(/, in quarantine until 2030-01-03T00:00:00.000Z$/);
  });

  it("registers one of each platform, as it was given", async () => {
    bench.answers.set("PUT /v1/users/alice/devices", [{ status: 204, body: undefined }]);
    const ios = ["--token", "abcdef", "--topic", "com.example.app", "--environment", "sandbox"];
    const first = bench.run(["devices", "register", "alice", ...ios]);
    expect([await first.exitCode, first.out]).toEqual([0, ["registered"]]);
    const second = ["--platform", "wechat", "--openid", "o1", "--appid", "wx1"];
    expect(await bench.run(["devices", "register", "alice", ...second]).exitCode).toBe(0);
    expect(bench.asked.map(({ body }) => JSON.parse(body) as unknown)).toEqual([
      { platform: "ios", token: "abcdef", topic: "com.example.app", environment: "sandbox" },
      { platform: "wechat", openid: "o1", appid: "wx1" },
    ]);
  });

  it("deletes one, and says what auth said where there is none", async () => {
    bench.answers.set("DELETE /v1/users/alice/devices/d_1", [{ status: 204, body: undefined }]);
    const run = bench.run(["devices", "delete", "alice", "d_1"]);
    expect([await run.exitCode, run.out]).toEqual([0, ["d_1 deleted"]]);
    const error = { code: "PETREL_NOT_FOUND", message: "There is none.", retryable: false };
    bench.answers.set("DELETE /v1/users/alice/devices/d_9", [{ status: 404, body: { error } }]);
    const other = bench.run(["devices", "delete", "alice", "d_9"]);
    expect([await other.exitCode, other.err]).toEqual([
      1,
      ["petrel: auth answered 404 PETREL_NOT_FOUND: There is none."],
    ]);
  });
});
