// Tests `--sign`.
// Guarantees: the signature covers body and query; no request carries the secret or repeats a nonce.
import { createHash } from "node:crypto";
import { signRequest } from "@petrel/shared/security/producers/request-signature";
import { CommandBench, type AskedRequest } from "@petrel/shared/testing/peers/command-bench";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { runPetrel } from "./run-petrel.js";

let bench: CommandBench;
beforeEach(async () => void (bench = await CommandBench.open(runPetrel)));
afterEach(() => bench.close());

describe("--sign", () => {
  it("signs requests and never sends the secret", async () => {
    const run = bench.run(["send", "bob", '"é"', "--sign"]);
    expect(await run.exitCode).toBe(0);
    const [{ headers, body }] = bench.asked as [AskedRequest];
    expect(headers.authorization).toBeUndefined();
    expect(JSON.stringify(headers)).not.toContain("s3cret");
    const content = {
      id: String(headers["petrel-id"]),
      timestamp: String(headers["petrel-timestamp"]),
      method: "POST",
      target: "/v1/messages",
      bodySha256: createHash("sha256").update(body).digest("hex"),
    };
    expect(headers["petrel-key"]).toBe("key1");
    expect(headers["petrel-signature"]).toBe(`v1,${signRequest(content, "s3cret")}`);
    expect(Math.abs(Number(content.timestamp) - Date.now() / 1_000)).toBeLessThan(300);
  });

  it("covers the query, and has a nonce for each request", async () => {
    bench.answers.set("GET /v1/keys?limit=1000", [{ status: 200, body: { items: [], nextCursor: null } }]);
    for (let i = 0; i < 2; i++) expect(await bench.run(["keys", "list", "--sign"]).exitCode).toBe(0);
    const [first, second] = bench.asked as [AskedRequest, AskedRequest];
    const content = {
      id: String(first.headers["petrel-id"]),
      timestamp: String(first.headers["petrel-timestamp"]),
      method: "GET",
      target: "/v1/keys?limit=1000",
      bodySha256: createHash("sha256").digest("hex"),
    };
    expect(first.headers["petrel-signature"]).toBe(`v1,${signRequest(content, "s3cret")}`);
    expect(second.headers["petrel-id"]).not.toBe(content.id);
  });
});
