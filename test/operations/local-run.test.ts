// Flow: what the README says, on a cluster that `npm start` runs.
// Guarantees: its commands work as pasted: sent by curl, seen by `petrel listen` and by a plain WebSocket client,
// reported as delivered; the key in dev.json can sign.
import { execFile, spawn, type ChildProcess } from "node:child_process";
import { randomUUID } from "node:crypto";
import { existsSync, readFileSync, statSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { probeRedis, RespError } from "@petrel/shared/embedded-redis/resp-probe";
import { nodeArgumentsOf } from "@petrel/shared/kernel/node-arguments";
import { EMPTY_BODY_SHA256, signRequest } from "@petrel/shared/security/producers/request-signature";
import { serviceFile } from "@petrel/shared/testing/cluster/service-files";
import { freePortRange } from "@petrel/shared/testing/free-port";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { connectClient } from "@petrel/shared/testing/peers/ws-client";
import { readmeBlocks } from "../support/repository/readme-blocks.js";

const root = fileURLToPath(new URL("../..", import.meta.url));
const run = promisify(execFile);
const MAIN = "deploy/local/dist/main.js";

interface DevFile {
  readonly auth: string;
  readonly collect: string;
  readonly dispatch: string;
  readonly console: string;
  readonly nodes: readonly string[];
  readonly redis: string;
  readonly apiKey: string;
  readonly apiSecret: string;
  readonly adminToken: string;
}

let directory: string;
let local: ChildProcess;
let output = "";
let portBase: number;

const devFile = (): string => join(directory, "dev.json");
const readDevFile = (): DevFile => JSON.parse(readFileSync(devFile(), "utf8")) as DevFile;

async function startLocalRun(script: string, ...options: string[]): Promise<void> {
  output = "";
  local = spawn(process.execPath, [script, ...options], {
    cwd: root,
    env: { ...process.env, PETREL_DATA_DIR: directory, PETREL_PORT_BASE: String(portBase) },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const keep = (chunk: Buffer): void => void (output += chunk.toString("utf8"));
  local.stdout?.on("data", keep);
  local.stderr?.on("data", keep);
  await waitFor(() => existsSync(devFile()) || local.exitCode !== null, {
    what: "the cluster to be up",
    deadlineMs: 60_000,
  });
  if (local.exitCode !== null) throw new Error(output);
}

async function stopLocalRun(): Promise<number | null> {
  const exited = new Promise<number | null>((resolve) => local.once("exit", resolve));
  local.kill("SIGINT");
  return exited;
}

/** A block of a page, adapted to this cluster instead of one on the default ports in the default place. */
function adapted(block: string): string {
  const ports = block.replaceAll(
    /127\.0\.0\.1:71(\d\d)/g,
    (_, digits) => `127.0.0.1:${portBase + Number(digits)}`,
  );
  // `npx`, which takes as long as what it runs, is tried by the tutorial.
  return ports.replaceAll(".data/dev.json", devFile()).replaceAll("npx petrel ", "node_modules/.bin/petrel ");
}

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "petrel-local-"));
  portBase = await freePortRange(40);
  await startLocalRun(serviceFile(MAIN));
});
afterAll(async () => {
  if (local.exitCode === null) await stopLocalRun();
  await rm(directory, { recursive: true, force: true });
});

test("dev.json has the contract's shape, and only its owner can read it", () => {
  expect(statSync(devFile()).mode & 0o777).toBe(0o600);
  const dev = readDevFile();
  expect(dev).toEqual({
    console: `http://127.0.0.1:${portBase}`,
    auth: `http://127.0.0.1:${portBase + 1}`,
    collect: `http://127.0.0.1:${portBase + 2}`,
    collects: [`http://127.0.0.1:${portBase + 2}`],
    dispatch: `http://127.0.0.1:${portBase + 3}`,
    nodes: [10, 11].map((offset) => `ws://127.0.0.1:${portBase + offset}/v1/connect`),
    apnsSimulator: `http://127.0.0.1:${portBase + 4}`,
    wechatSimulator: `http://127.0.0.1:${portBase + 5}`,
    webPushSimulator: `http://127.0.0.1:${portBase + 29}`,
    wechatAppid: "wxdemoaccount",
    redis: expect.stringMatching(`^redis://:[\\w-]{43}@127\\.0\\.0\\.1:${portBase + 9}$`) as string,
    apiKey: expect.stringMatching(/^[\w-]+$/) as string,
    apiSecret: expect.stringMatching(/^[\w-]{43,}$/) as string,
    adminToken: expect.stringMatching(/^[\w-]+\.[\w-]{43,}$/) as string,
  });
});

test("Redis answers only those who have dev.json", async () => {
  const { redis } = readDevFile();
  const { host, password } = new URL(redis);
  const stranger = await probeRedis(`redis://${host}`, [["PING"], ["KEYS", "*"]]);
  expect(stranger).toEqual([expect.any(RespError), expect.any(RespError)]);
  expect(await probeRedis(redis, [["PING"]])).toEqual(["PONG"]);
  expect(output).not.toContain(password);
});

test("dispatch serves /metrics on its own port, with every service's process metrics", async () => {
  const text = await (await fetch(`${readDevFile().dispatch}/metrics`)).text();
  for (const name of ["petrel_build_info", "petrel_redis_link_up", "process_cpu_seconds_total"])
    expect(text, name).toMatch(new RegExp(`^${name}\\{.*component="dispatch"`, "m"));
});

test("dev.json's key and secret can sign, at each service that accepts keys", async () => {
  const { apiKey, apiSecret, adminToken, collect, auth, dispatch } = readDevFile();
  const [adminKey = "", adminSecret = ""] = adminToken.split(".");
  const sign = (key: string, secret: string, base: string, target: string): Promise<Response> => {
    const id = randomUUID();
    const timestamp = String(Math.floor(Date.now() / 1_000));
    const content = { id, timestamp, method: "GET", target, bodySha256: EMPTY_BODY_SHA256 };
    return fetch(base + target, {
      headers: {
        "petrel-key": key,
        "petrel-id": id,
        "petrel-timestamp": timestamp,
        "petrel-signature": `v1,${signRequest(content, secret)}`,
      },
    });
  };
  expect((await sign(apiKey, apiSecret, collect, "/v1/users/ada/messages?after=0&limit=1")).status).toBe(200);
  expect((await sign(adminKey, adminSecret, auth, "/v1/keys?limit=1")).status).toBe(200);
  expect((await sign(adminKey, adminSecret, dispatch, "/v1/dead-letters")).status).toBe(200);
  expect((await sign(adminKey, apiSecret, auth, "/v1/keys?limit=1")).status).toBe(401);
});

test("petrel listen and a plain client receive the README's curl; the state reads delivered", async () => {
  const dev = readDevFile();
  const tokenAnswer = await fetch(`${dev.auth}/v1/tokens`, {
    method: "POST",
    headers: { authorization: `Bearer ${dev.adminToken}`, "content-type": "application/json" },
    body: JSON.stringify({ userId: "ada" }),
  });
  expect(tokenAnswer.status).toBe(201);
  const { accessToken } = (await tokenAnswer.json()) as { accessToken: string };
  const plain = await connectClient({ url: dev.nodes[1] ?? "", token: accessToken, ack: "turn" });
  const listening = run(
    process.execPath,
    ["clients/cli/bin/petrel.js", "listen", "ada", "--count", "1", "--json", "--config", devFile()],
    { cwd: root, timeout: 30_000 },
  );
  await waitFor(
    async () => {
      const response = await fetch(`${dev.collect}/v1/users/ada/presence`, {
        headers: { authorization: `Bearer ${dev.apiKey}.${dev.apiSecret}` },
      });
      return ((await response.json()) as { connections: unknown[] }).connections.length === 2;
    },
    { what: "both to be connected" },
  );

  const [send = "", look = ""] = readmeBlocks("sh", "test/operations/local-run.test.ts").map(adapted);
  const { stdout } = await run("bash", ["-ec", send], { cwd: root });
  const { id, duplicate } = JSON.parse(stdout) as { id: string; duplicate: boolean };
  expect(duplicate).toBe(false);
  const [message] = await plain.untilMessages(1);
  expect(message).toMatchObject({ type: "message", id, seq: 1, data: { text: "hello" } });
  expect(JSON.parse((await listening).stdout)).toMatchObject({ id, data: { text: "hello" } });

  const state = async (): Promise<string> => {
    const keyLine = send.split("\n")[0] ?? "";
    const answer = await run("bash", ["-ec", `${keyLine}\nID=${id}\n${look}`], { cwd: root });
    return (JSON.parse(answer.stdout) as { state: string }).state;
  };
  await waitFor(async () => (await state()) === "delivered", { what: "the state to read delivered" });
  plain.close();
});

test("the steps of the local run's page reach a simulated browser and a WeChat user", async () => {
  const blocks = readmeBlocks("sh", "test/operations/local-run.test.ts", "docs/start/local-run.md").map(
    adapted,
  );
  expect(blocks).toHaveLength(2);
  const before: string[] = [];
  for (const block of blocks) {
    const lines = block.trimEnd().split("\n");
    const [pause, look = ""] = lines.splice(-2);
    expect(pause).toBe("sleep 1");
    // What was set stays set; what was sent is not sent again.
    const env = { ...process.env, PETREL_DEV_JSON: devFile() };
    const { stdout } = await run("bash", ["-ec", [...before, ...lines, "echo", 'echo "$ID"'].join("\n")], {
      cwd: root,
      env,
    });
    const id = stdout.trimEnd().split("\n").at(-1);
    await waitFor(async () => (await run("bash", ["-ec", `ID=${id}\n${look}`])).stdout.includes("Order 7"), {
      what: look,
    });
    before.push(...lines.filter((line) => line.startsWith("KEY=")));
  }
});

test.runIf(process.platform === "linux")("collect runs on Node with its own arguments", () => {
  const pids = JSON.parse(readFileSync(join(directory, "pids.json"), "utf8")) as Record<string, number>;
  const words = readFileSync(`/proc/${pids["collect"]}/cmdline`, "utf8").split("\0");
  expect(words).toEqual(expect.arrayContaining([...nodeArgumentsOf("collect")]));
});

test("restarts a service that dies, and says so in a line", async () => {
  const pids = JSON.parse(readFileSync(join(directory, "pids.json"), "utf8")) as Record<string, number>;
  process.kill(pids["push-node-1"] ?? 0, "SIGKILL");
  await waitFor(() => /push-node-1 .*restart/.test(output), { what: "a line about the restart" });
  const port = portBase + 10;
  await waitFor(async () => (await fetch(`http://127.0.0.1:${port}/health/ready`)).ok, {
    what: "the node to be back",
    deadlineMs: 20_000,
  });
});

test("a stop leaves nothing behind, and the next start has the former data and keys", async () => {
  const before = readDevFile();
  const post = (): Promise<Response> =>
    fetch(`${before.collect}/v1/messages`, {
      method: "POST",
      headers: {
        authorization: `Bearer ${before.apiKey}.${before.apiSecret}`,
        "content-type": "application/json",
      },
      body: JSON.stringify({ to: { user: "sleeper" }, data: "kept", idempotencyKey: "once" }),
    });
  const { id } = (await (await post()).json()) as { id: string };
  const pids = Object.values(
    JSON.parse(readFileSync(join(directory, "pids.json"), "utf8")) as Record<string, number>,
  );
  expect(await stopLocalRun()).toBe(0);
  expect(existsSync(devFile())).toBe(false);
  for (const pid of pids) expect(() => process.kill(pid, 0)).toThrow("ESRCH");

  // What `npm start` runs: each service from the files that were built.
  await startLocalRun(MAIN, "--nodes", "1");
  expect(readDevFile()).toEqual({ ...before, nodes: before.nodes.slice(0, 1) });
  expect(await (await post()).json()).toEqual({ id, duplicate: true });
});
