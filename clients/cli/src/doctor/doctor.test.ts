// Tests that `petrel doctor` asks every process that is named, and says which dispatchers were not.
import { freePort } from "@petrel/shared/testing/free-port";
import { CommandBench } from "@petrel/shared/testing/peers/command-bench";
import { afterEach, beforeEach, expect, test } from "vitest";
import { runPetrel } from "../run-petrel.js";
import type { Finding } from "./finding.js";

let bench: CommandBench;
beforeEach(async () => {
  bench = await CommandBench.open(runPetrel);
  const url = bench.httpUrl;
  // No node: one that stays silent would be waited for.
  bench.writeDevFile({ auth: url, collect: url, dispatch: url, nodes: [], adminToken: "root.s3cret" });
});
afterEach(() => bench.close());

const diagnosis = (dispatcher: string, verdict: string) => ({
  at: "2030-01-01T00:00:00.000Z",
  dispatcher,
  version: "1",
  redis: [],
  dispatchers: ["d1", "d2"],
  partitions: { configured: 4, stored: 4, owned: 4 },
  backlog: {
    ready: 0,
    readyOldestSeconds: 0,
    wakeLagSeconds: 0,
    scheduleLagSeconds: 0,
    lateUsers: 0,
    sampledUsers: 0,
    deadLetters: {},
  },
  ackTimeoutSeconds: 10,
  channels: [
    {
      channel: "wechat",
      probes: [{ credential: "wx1", verdict, answer: "40164: not in whitelist", halted: false }],
    },
  ],
});

async function findings(...more: string[]): Promise<Finding[]> {
  const run = bench.run(["doctor", "--json", ...more]);
  await run.exitCode;
  expect(run.err).toEqual([]);
  return run.out.map((line) => JSON.parse(line) as Finding);
}

const linesOf = (check: string, found: readonly Finding[]) =>
  found.filter((one) => one.check === check).map(({ level, says }) => `${level} ${says}`);

test("asks each named collect and dispatcher, and reports what is wrong with the second", async () => {
  bench.answers.set("GET /health/ready", [{ status: 200, body: {} }]);
  bench.answers.set("GET /v1/diagnosis", [
    { status: 200, body: diagnosis("d1", "good") },
    { status: 200, body: diagnosis("d2", "refused") },
  ]);
  const again = bench.httpUrl.replace("127.0.0.1", "localhost");
  const both = (option: string) => [option, bench.httpUrl, option, again];
  const found = await findings(...both("--collect"), ...both("--dispatch"), ...both("--auth"));
  for (const service of ["collect", "dispatch", "auth"])
    expect(linesOf(service, found)).toEqual([bench.httpUrl, again].map((url) => `ok ${url} is ready`));
  expect(linesOf("wechat", found)).toEqual([
    "ok wx1 is accepted (40164: not in whitelist)",
    "error wx1: the provider refuses the secret or the token: 40164: not in whitelist",
  ]);
  expect(linesOf("dispatchers", found)).toEqual(["ok all 2 that are alive were asked"]);
  // What is the cluster's is told once.
  expect(linesOf("owners", found)).toHaveLength(1);
});

test("if the first dispatcher and auth are down, reports the cluster's state from the second", async () => {
  bench.answers.set("GET /v1/channels", [{ status: 200, body: { items: [], unconfirmed: [] } }]);
  bench.answers.set("GET /v1/keys", [{ status: 200, body: { items: [], nextAfter: null } }]);
  const down = `http://127.0.0.1:${await freePort()}`;
  const both = (option: string) => [option, down, option, bench.httpUrl];
  const found = await findings(...both("--dispatch"), ...both("--auth"));
  expect(linesOf("dispatch", found)[0]).toContain(`error ${down} does not answer`);
  expect(linesOf("paused channels", found)).toEqual(["ok none"]);
  expect(linesOf("producer keys", found).join()).not.toContain("error");
});

test("names a live dispatcher that was not asked", async () => {
  bench.answers.set("GET /v1/diagnosis", [{ status: 200, body: diagnosis("d1", "good") }]);
  expect(linesOf("dispatchers", await findings())).toEqual([
    "skipped d2 not asked: name each with a --dispatch of its own",
  ]);
});

test("treats a malformed second address as a usage error", async () => {
  const run = bench.run(["doctor", "--dispatch", bench.httpUrl, "--dispatch", "nowhere"]);
  expect(await run.exitCode).toBe(2);
  expect(run.err.join("\n")).toContain('--dispatch must be a URL with http:// or https://, not "nowhere"');
});
