// Tests `petrel audit`.
// Guarantees: prints as many entries as requested, although pages may be short.
import { CommandBench } from "@petrel/shared/testing/peers/command-bench";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { runPetrel } from "../run-petrel.js";

let bench: CommandBench;
beforeEach(async () => void (bench = await CommandBench.open(runPetrel)));
afterEach(() => bench.close());

describe("petrel audit", () => {
  const act = { at: "2026-01-02T03:04:05.678Z", actor: "key:root", action: "key.revoke", target: "shop" };

  it("shows who did what, across short pages", async () => {
    bench.answers.set("GET /v1/audit?limit=50", [
      { status: 200, body: { items: [{ ...act, id: "2-0", details: { owner: "o" } }], nextCursor: "2-0" } },
    ]);
    bench.answers.set("GET /v1/audit?limit=49&cursor=2-0", [
      { status: 200, body: { items: [], nextCursor: "1-0" } },
    ]);
    bench.answers.set("GET /v1/audit?limit=49&cursor=1-0", [
      { status: 200, body: { items: [{ ...act, id: "0-1", details: {} }], nextCursor: null } },
    ]);
    const run = bench.run(["audit"]);
    expect(await run.exitCode).toBe(0);
    expect(run.out).toEqual([
      "2026-01-02T03:04:05.678Z key:root key.revoke shop owner=o",
      "2026-01-02T03:04:05.678Z key:root key.revoke shop",
    ]);
    expect(bench.asked[0]?.authorization).toBe("Bearer root.s3cret");
  });

  it("filters, and prints JSON", async () => {
    const line = "GET /v1/audit?limit=1&actor=key%3Aroot&action=key.revoke&target=shop";
    bench.answers.set(line, [{ status: 200, body: { items: [{ ...act, details: {} }], nextCursor: "x" } }]);
    const options = ["--actor", "key:root", "--action", "key.revoke", "--target", "shop"];
    const run = bench.run(["audit", ...options, "--limit", "1", "--json"]);
    expect(await run.exitCode).toBe(0);
    expect(run.out).toEqual([JSON.stringify({ ...act, details: {} })]);
  });
});
