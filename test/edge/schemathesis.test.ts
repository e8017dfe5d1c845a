// Checks the services against their own OpenAPI documents: schemathesis generates requests, good and bad, and checks
// the answers. test/edge/schemathesis-runs.py runs it.
// Guarantees: no 5xx, no answer but the documented ones, nothing accepted that the document forbids; at most two minutes
// in all. If the tool is not installed (`.ci/run` does it) a line says so, and PETREL_REQUIRE_SCHEMATHESIS=1 makes it a
// failure.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { chooseSeed } from "@petrel/shared/testing/faults/seeded-random";
import { startCluster, type TestCluster } from "@petrel/shared/testing/cluster/start-cluster";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { sized } from "../support/sizes.js";

const at = (path: string): string => fileURLToPath(new URL(path, import.meta.url));
const interpreter = findInterpreter();
const isInstalled = interpreter !== undefined;
const isRequired = process.env["PETREL_REQUIRE_SCHEMATHESIS"] === "1";
if (!isInstalled && !isRequired) {
  process.stdout.write(
    "schemathesis is not installed: the OpenAPI documents are not tried (.ci/run installs it)\n",
  );
}

/** Six runs: the whole takes less than two minutes. All of that time is spent computing. */
const RUN_SECONDS = sized(18, 2);
/** Of two operations: a third of a second covers them. */
const SHORT_RUN_SECONDS = sized(18, 1);
const MOST_SECONDS = 72;
const GENERATED = /\d+ generated/;
/** It starts slowly on a busy machine. */
const RUN_TIMEOUT_MS = 240_000;
const seed = chooseSeed("schemathesis");

/**
 * What is not built yet is part of the contract, answers 501, and says so. The headers of a signature are not tried:
 * beside the credential that is sent, each request would be refused for them, whatever else is wrong with it. A wrong
 * entry of a batch fails alone.
 */
const settings = `
[generation]
with-security-parameters = false
database = "none"

[checks]
enabled = false
not_a_server_error.enabled = true
not_a_server_error.expected-statuses = ["2xx", "3xx", "4xx", 501]
status_code_conformance.enabled = true
content_type_conformance.enabled = true
response_schema_conformance.enabled = true
negative_data_rejection.enabled = true
negative_data_rejection.expected-statuses = ["4xx", 501, 503]

[[operations]]
include-operation-id = "postMessagesBatch"
checks.negative_data_rejection.enabled = false
`;

describe.runIf(isInstalled || isRequired)("schemathesis", () => {
  let cluster: TestCluster;
  let directory: string;
  let runs: Runs;
  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), "petrel-schemathesis-"));
    await writeFile(join(directory, "schemathesis.toml"), settings);
    runs = startRuns(directory);
    const limits = [
      "FAILED_AUTHS_PER_ADDRESS_PER_MINUTE",
      "REQUESTS_PER_ADDRESS_PER_SECOND",
      "REQUESTS_PER_KEY_PER_SECOND",
      "REVOCATIONS_PER_KEY_PER_HOUR",
      "MESSAGES_PER_KEY_PER_SECOND",
    ];
    cluster = await startCluster({
      together: true,
      nodes: 1,
      environment: Object.fromEntries(limits.map((name) => [name, "0"])),
    });
  });
  afterAll(async () => {
    await runs?.stop();
    await cluster?.stop();
    await rm(directory, { recursive: true, force: true });
  });

  /** On a busy machine the time may be over before anything was tried: then it gets more. */
  async function tryOut(
    url: string,
    credential: string,
    more: readonly string[] = [],
    firstSeconds = RUN_SECONDS,
  ): Promise<void> {
    let answer = await tryFor(firstSeconds, url, credential, more);
    for (let seconds = 4 * firstSeconds; seconds <= MOST_SECONDS; seconds *= 4) {
      if (!answer.output.includes("Time limit reached") || GENERATED.test(answer.output)) break;
      answer = await tryFor(seconds, url, credential, more);
    }
    expect(answer.output, "it must have tried something").toMatch(GENERATED);
    expect(answer.code, answer.output).toBe(0);
  }

  function tryFor(seconds: number, url: string, credential: string, more: readonly string[]): Promise<Ended> {
    const options = [
      ["--phases", "examples,coverage,fuzzing", "--max-time", String(seconds)],
      ["--suppress-health-check", "all", "--warnings", "off", "--request-timeout", "40"],
      ["--header", `Authorization: Bearer ${credential}`, "--seed", String(seed), ...more],
    ];
    const settingsFile = join(directory, "schemathesis.toml");
    return runs.run(["--config-file", settingsFile, "run", `${url}/openapi.json`, ...options.flat()]);
  }

  test(
    "auth, as a user",
    async () => {
      const own = ["--include-path-regex", "^/v1/(devices|tickets)"];
      await tryOut(cluster.auth.url, await cluster.tokenFor("schemathesis"), own);
    },
    RUN_TIMEOUT_MS,
  );
  // Its bodies would take all of a short run's time.
  const reads = ["--include-method", "GET"];
  test("collect, what is read", () => tryOut(cluster.collect.url, cluster.adminKey, reads), RUN_TIMEOUT_MS);
  const writes = ["--exclude-method", "GET"];
  test("collect, what is sent", () => tryOut(cluster.collect.url, cluster.adminKey, writes), RUN_TIMEOUT_MS);
  test("dispatch", () => tryOut(cluster.dispatchers[0]?.url ?? "", cluster.adminKey), RUN_TIMEOUT_MS);
  // It takes ids from answers, its own key's too.
  const changesKeys = "^(deleteKeysById|postKeysByIdRotate)$";
  test(
    "auth, as an operator",
    async () => {
      await tryOut(cluster.auth.url, cluster.adminKey, ["--exclude-operation-id-regex", changesKeys]);
      const headers = { authorization: `Bearer ${cluster.adminKey}` };
      const { status } = await fetch(`${cluster.auth.url}/v1/audit`, { headers });
      expect(status, "the key must have been good all the time").toBe(200);
    },
    RUN_TIMEOUT_MS,
  );
  test(
    "auth, as an operator who changes keys",
    async () => {
      const only = ["--include-operation-id-regex", changesKeys];
      await tryOut(cluster.auth.url, cluster.adminKey, only, SHORT_RUN_SECONDS);
    },
    RUN_TIMEOUT_MS,
  );
});

interface Ended {
  readonly code: number;
  readonly output: string;
}

interface Runs {
  readonly run: (args: readonly string[]) => Promise<Ended>;
  readonly stop: () => Promise<void>;
}

/** Of the command in its own environment, or wherever the path leads: what its first line names. */
function findInterpreter(): readonly string[] | undefined {
  const folders = [at("../../.cache/schemathesis/bin"), ...(process.env["PATH"] ?? "").split(":")];
  const command = folders.map((folder) => join(folder, "schemathesis")).find((file) => existsSync(file));
  if (command === undefined) return undefined;
  const [, words] = /^#!(.*python.*)/.exec(readFileSync(command, "utf8")) ?? [];
  return words?.trim().split(" ");
}

/** Without a shell, and without colours. One run after the other. */
function startRuns(cwd: string): Runs {
  const [program = "", ...before] = interpreter ?? [];
  const child = spawn(program, [...before, at("schemathesis-runs.py")], {
    cwd,
    env: {
      PATH: process.env["PATH"],
      NO_COLOR: "1",
      HOME: cwd,
      // Its table of characters, which takes more than a second to make, is kept; nothing else is.
      HYPOTHESIS_STORAGE_DIRECTORY: at("../../.cache/hypothesis"),
    },
    stdio: ["pipe", "pipe", "inherit"],
  });
  const answers = createInterface(child.stdout)[Symbol.asyncIterator]();
  const ended = once(child, "close");
  return {
    run: async (args) => {
      child.stdin.write(`${JSON.stringify(args)}\n`);
      const { value, done } = await answers.next();
      if (done === true) throw new Error("schemathesis does not start");
      return JSON.parse(value) as Ended;
    },
    stop: async () => {
      child.stdin.end();
      await ended;
    },
  };
}
