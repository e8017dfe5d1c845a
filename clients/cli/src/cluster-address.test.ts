// Tests where commands find the cluster and its keys.
// Guarantees: options override the environment, which overrides the file; an error names what is missing or away.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort } from "@petrel/shared/testing/free-port";
import { CommandBench } from "@petrel/shared/testing/peers/command-bench";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { runPetrel } from "./run-petrel.js";

let bench: CommandBench;
beforeEach(async () => void (bench = await CommandBench.open(runPetrel)));
afterEach(() => bench.close());

describe("the cluster's address", () => {
  it("is found from a subdirectory", async () => {
    const below = join(bench.directory, "a", "b");
    mkdirSync(below, { recursive: true });
    const run = bench.run(["token", "alice"], { workingDirectory: below });
    expect([await run.exitCode, run.out]).toEqual([0, ["jwt"]]);
  });

  it("comes from options, then the environment, then the file", async () => {
    const nowhere = `http://127.0.0.1:${await freePort()}`;
    bench.writeDevFile({ auth: nowhere, collect: nowhere, nodes: [], apiKey: "file", apiSecret: "x" });
    const environment = { PETREL_AUTH_URL: bench.httpUrl, PETREL_KEY: "environment.x" };
    expect(await bench.run(["token", "alice"], { environment }).exitCode).toBe(0);
    expect(await bench.run(["token", "alice", "--key", "option.x"], { environment }).exitCode).toBe(0);
    expect(await bench.run(["token", "alice", "--auth", bench.httpUrl]).exitCode).toBe(0);
    expect(bench.asked.map(({ authorization }) => authorization)).toEqual([
      "Bearer environment.x",
      "Bearer option.x",
      "Bearer file.x",
    ]);
  });

  it("is not what an empty variable says", async () => {
    bench.writeDevFile({
      auth: bench.httpUrl,
      collect: bench.httpUrl,
      nodes: [],
      apiKey: "file",
      apiSecret: "x",
    });
    const names = ["AUTH_URL", "COLLECT_URL", "DISPATCH_URL", "NODE_URL", "KEY", "DEV_JSON"];
    const environment = Object.fromEntries(names.map((name) => [`PETREL_${name}`, ""]));
    expect(await bench.run(["token", "alice"], { environment }).exitCode).toBe(0);
  });

  it("may come from a named file", async () => {
    const elsewhere = mkdtempSync(join(tmpdir(), "petrel-cli-"));
    const file = join(bench.directory, ".data", "dev.json");
    try {
      for (const options of [
        { args: ["--config", file], environment: {} },
        { args: [], environment: { PETREL_DEV_JSON: file } },
      ]) {
        const { environment } = options;
        const run = bench.run(["token", "a", ...options.args], { environment, workingDirectory: elsewhere });
        expect(await run.exitCode).toBe(0);
      }
      const none = bench.run(["listen", "a"], { workingDirectory: elsewhere });
      expect(await none.exitCode).toBe(1);
      expect(none.err[0]).toContain("no running cluster found");
      expect(none.err[0]).toContain("--auth, --node, --key");
    } finally {
      rmSync(elsewhere, { recursive: true });
    }
  });

  it("that does not answer is reported as unreachable", async () => {
    const url = `http://127.0.0.1:${await freePort()}`;
    const environment = { PETREL_AUTH_URL: url };
    for (const command of ["token", "listen"]) {
      const run = bench.run([command, "alice"], { environment });
      expect([await run.exitCode, run.err]).toEqual([
        1,
        [`petrel: auth at ${url} does not answer (ECONNREFUSED): is the cluster running?`],
      ]);
    }
  });

  it("that is something else is reported as such", async () => {
    const run = bench.run(["send", "bob", "1", "--collect", `${bench.httpUrl}/elsewhere/`]);
    bench.answers.delete("POST /v1/messages");
    expect(await run.exitCode).toBe(1);
    expect(run.err[0]).toContain("collect answered 404, which is not an answer of Petrel");
  });

  it("with a broken file is an error that names it", async () => {
    writeFileSync(join(bench.directory, ".data", "dev.json"), "{");
    const run = bench.run(["token", "alice"]);
    expect(await run.exitCode).toBe(1);
    expect(run.err[0]).toContain(join(bench.directory, ".data", "dev.json"));
  });
});
