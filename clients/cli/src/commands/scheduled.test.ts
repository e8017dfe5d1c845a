// Tests `petrel scheduled`, and `petrel send --at`.
import { CommandBench } from "@petrel/shared/testing/peers/command-bench";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { runPetrel } from "../run-petrel.js";

let bench: CommandBench;
beforeEach(async () => void (bench = await CommandBench.open(runPetrel)));
afterEach(() => bench.close());

const item = {
  id: "p1_m",
  deliverAt: "2030-01-01T09:00:00.000Z",
  expiresAt: "2030-01-02T09:00:00.000Z",
  data: { n: 1 },
};

describe("petrel scheduled", () => {
  it.each([
    [[], '2030-01-01T09:00:00.000Z p1_m {"n":1}'],
    [["--json"], JSON.stringify(item)],
  ])("lists scheduled messages page by page, %j", async (options, line) => {
    const path = "GET /v1/users/al%40x/messages?limit=1000&state=scheduled";
    bench.answers.set(path, [{ status: 200, body: { items: [item], nextCursor: "1-a" } }]);
    bench.answers.set(`${path}&cursor=1-a`, [{ status: 200, body: { items: [], nextCursor: null } }]);
    const run = bench.run(["scheduled", "al@x", ...options]);
    expect([await run.exitCode, run.out, run.err]).toEqual([0, [line], []]);
    expect(bench.asked.map(({ line: asked }) => asked)).toEqual([path, `${path}&cursor=1-a`]);
  });

  it("accepts exactly one user", async () => {
    expect(await bench.run(["scheduled"]).exitCode).toBe(2);
    expect(await bench.run(["scheduled", "a", "--limit", "0"]).exitCode).toBe(2);
  });
});

describe("petrel send --at", () => {
  const send = async (...options: string[]) => {
    bench.answers.set("POST /v1/messages", [{ status: 202, body: { id: "p1_m", duplicate: false } }]);
    const run = bench.run(["send", "alice", "1", ...options]);
    return {
      exitCode: await run.exitCode,
      err: run.err.join(),
      body: JSON.parse(bench.asked[0]?.body ?? "null") as unknown,
    };
  };

  it("sends the time as it was typed", async () => {
    const { exitCode, body } = await send("--at", "2030-01-01T09:00:00+02:00");
    expect([exitCode, body]).toEqual([
      0,
      { to: { user: "alice" }, deliverAt: "2030-01-01T09:00:00+02:00", data: 1 },
    ]);
  });

  it.each([
    ["+90s", 90],
    ["+10m", 600],
    ["+2h", 7_200],
    ["+1d", 86_400],
  ])("reads %s as a time from now", async (at, seconds) => {
    const beforeMs = Date.now();
    const { deliverAt } = (await send("--at", at)).body as { deliverAt: string };
    const afterMs = Date.parse(deliverAt) - seconds * 1_000;
    expect(afterMs).toBeGreaterThanOrEqual(beforeMs);
    expect(afterMs).toBeLessThanOrEqual(Date.now());
  });

  it.each(["tomorrow", "+10", "10m", ""])("refuses %j before it sends anything", async (at) => {
    const { exitCode, err } = await send("--at", at);
    expect([exitCode, bench.asked]).toEqual([2, []]);
    expect(err).toContain("--at");
  });
});
