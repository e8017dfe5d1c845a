// Tests `petrel webhooks`.
// Guarantees: each action asks what it says; a test that is not delivered shows in the exit code.
import { CommandBench } from "@petrel/shared/testing/peers/command-bench";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { runPetrel } from "../run-petrel.js";

let bench: CommandBench;
beforeEach(async () => void (bench = await CommandBench.open(runPetrel)));
afterEach(() => bench.close());

const bodyOf = (request: number): unknown => JSON.parse(bench.asked[request]?.body ?? "null");

const webhook = {
  id: "wh_a",
  url: "https://shop.example/",
  types: ["message.failed"],
  description: null,
  paused: true,
  pausedReason: "gone",
  createdAt: "2030-01-01T00:00:00.000Z",
};

describe("petrel webhooks", () => {
  it("lists them with an admin's key", async () => {
    const other = { ...webhook, id: "wh_b", types: null, paused: false, pausedReason: null };
    bench.answers.set("GET /v1/webhooks?limit=1000", [
      { status: 200, body: { items: [webhook, other], nextCursor: null } },
    ]);
    const run = bench.run(["webhooks", "list"]);
    expect([await run.exitCode, run.out]).toEqual([
      0,
      ["wh_a paused (gone) https://shop.example/ message.failed", "wh_b on https://shop.example/ all types"],
    ]);
    expect(bench.asked[0]?.authorization).toBe("Bearer root.s3cret");
  });

  it("creates one and shows its secret", async () => {
    bench.answers.set("POST /v1/webhooks", [{ status: 201, body: { id: "wh_a", secret: "whsec_x" } }]);
    const run = bench.run(["webhooks", "create", webhook.url, "--types", "message.failed,message.expired"]);
    expect([await run.exitCode, run.out]).toEqual([0, ["wh_a whsec_x"]]);
    expect(bodyOf(0)).toEqual({ url: webhook.url, types: ["message.failed", "message.expired"] });
  });

  it.each([
    [["pause", "wh_a"], { paused: true }],
    [["resume", "wh_a"], { paused: false }],
    [
      ["update", "wh_a", "--types", "all", "--url", "https://x.example/"],
      { types: null, url: "https://x.example/" },
    ],
  ])("%j changes it", async (words, body) => {
    bench.answers.set("PATCH /v1/webhooks/wh_a", [{ status: 200, body: webhook }]);
    const run = bench.run(["webhooks", ...words]);
    expect([await run.exitCode, run.out]).toEqual([
      0,
      ["wh_a paused (gone) https://shop.example/ message.failed"],
    ]);
    expect(bodyOf(0)).toEqual(body);
  });

  it("rotates, replays and deletes", async () => {
    bench.answers.set("POST /v1/webhooks/wh_a/rotate", [{ status: 200, body: { secret: "whsec_y" } }]);
    bench.answers.set("POST /v1/webhooks/wh_a/replay", [{ status: 202, body: { id: "wh_a" } }]);
    bench.answers.set("DELETE /v1/webhooks/wh_a", [{ status: 204, body: undefined }]);
    const rotate = bench.run(["webhooks", "rotate", "wh_a"]);
    expect([await rotate.exitCode, rotate.out]).toEqual([0, ["whsec_y"]]);
    const after = "2030-01-01T00:00:00Z";
    const replay = bench.run(["webhooks", "replay", "wh_a", "--after", after]);
    expect([await replay.exitCode, replay.out]).toEqual([0, [`wh_a begins again after ${after}`]]);
    expect(bodyOf(1)).toEqual({ after });
    const gone = bench.run(["webhooks", "delete", "wh_a"]);
    expect([await gone.exitCode, gone.out]).toEqual([0, ["wh_a deleted"]]);
  });

  it("tests one: an undelivered test is a failure", async () => {
    bench.answers.set("POST /v1/webhooks/wh_a/test", [
      { status: 200, body: { delivered: true, status: 204, durationMs: 12 } },
      { status: 200, body: { delivered: false, durationMs: 15_000, error: "no answer within 15000 ms" } },
    ]);
    const good = bench.run(["webhooks", "test", "wh_a"]);
    expect([await good.exitCode, good.out]).toEqual([0, ["delivered: HTTP 204, 12 ms"]]);
    const bad = bench.run(["webhooks", "test", "wh_a"]);
    expect([await bad.exitCode, bad.out]).toEqual([
      1,
      ["not delivered: no answer within 15000 ms, 15000 ms"],
    ]);
  });

  it("lists attempts", async () => {
    const attempt = { at: "2030-01-01T00:00:00.000Z", webhookId: "msg_1", durationMs: 5 };
    const items = [
      { ...attempt, status: 200 },
      { ...attempt, status: 500, error: "HTTP 500" },
    ];
    bench.answers.set("GET /v1/webhooks/wh_a/attempts?limit=2", [
      { status: 200, body: { items, nextCursor: "x" } },
    ]);
    const run = bench.run(["webhooks", "attempts", "wh_a", "--limit", "2"]);
    expect([await run.exitCode, run.out]).toEqual([
      0,
      ["2030-01-01T00:00:00.000Z msg_1 HTTP 200, 5 ms", "2030-01-01T00:00:00.000Z msg_1 HTTP 500, 5 ms"],
    ]);
  });

  it.each([
    [["update", "wh_a"], "what should change?"],
    [["replay", "wh_a"], "from where?"],
    [["pause", "wh_a", "--url", "x"], "--url is not for webhooks pause"],
    [["create"], "URL is missing"],
  ])("refuses the command line %j", async (words, problem) => {
    const run = bench.run(["webhooks", ...words]);
    expect(await run.exitCode).toBe(2);
    expect(run.err.join("\n")).toContain(problem);
  });
});
