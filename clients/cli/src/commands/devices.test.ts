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

  it("lists a user's devices, page by page", async () => {
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

  it("shows a device in quarantine", async () => {
    const resting = { ...iphone, quarantinedUntil: "2030-01-03T00:00:00.000Z" };
    bench.answers.set("GET /v1/users/alice/devices?limit=1000", [
      { status: 200, body: { items: [resting], nextCursor: null } },
    ]);
    const run = bench.run(["devices", "list", "alice"]);
    await run.exitCode;
    expect(run.out[0]).toMatch(/, in quarantine until 2030-01-03T00:00:00.000Z$/);
  });

  it("registers a device of each platform as given", async () => {
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

  it("adds an openid, and a browser by its subscription", async () => {
    bench.answers.set("PUT /v1/users/alice/devices", [{ status: 204, body: undefined }]);
    const wechatRun = bench.run(["devices", "add-wechat", "alice", "--openid", "o1", "--appid", "wx1"]);
    expect([await wechatRun.exitCode, wechatRun.out]).toEqual([0, ["registered"]]);
    const subscription = {
      endpoint: "https://push.example/1",
      keys: { p256dh: "k", auth: "a" },
      expirationTime: null,
    };
    const asSimulated = JSON.stringify({ id: "s1", ...subscription });
    expect(await bench.run(["devices", "add-web", "alice", asSimulated]).exitCode).toBe(0);
    expect(bench.asked.map(({ body }) => JSON.parse(body) as unknown)).toEqual([
      { platform: "wechat", openid: "o1", appid: "wx1" },
      { platform: "web", subscription },
    ]);
  });

  it.each([
    [["add-wechat", "alice", "--openid", "o1"], "--appid is missing"],
    [
      ["add-wechat", "alice", "--openid", "o1", "--appid", "wx1", "--token", "ab"],
      "--token is not for wechat",
    ],
    [["add-web", "alice", "nonsense"], "SUBSCRIPTION must be the JSON of a browser's subscription"],
    [["add-web", "alice", "{}", "--openid", "o1"], "--openid is not for devices add-web"],
  ])("refuses the command line %j", async (args, what) => {
    const run = bench.run(["devices", ...args]);
    expect(await run.exitCode).toBe(2);
    expect(run.err.join("\n")).toContain(what);
    expect(bench.asked).toEqual([]);
  });

  it("lists a browser by its push service", async () => {
    const web = { id: "d_3", platform: "web", host: "push.example", endpointEnd: "abc123", ...times };
    bench.answers.set("GET /v1/users/alice/devices?limit=1000", [
      { status: 200, body: { items: [web], nextCursor: null } },
    ]);
    const run = bench.run(["devices", "list", "alice"]);
    await run.exitCode;
    expect(run.out[0]).toMatch(/^d_3 web push\.example …abc123 registered /);
  });

  it("deletes a device, and prints auth's answer if there is none", async () => {
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
