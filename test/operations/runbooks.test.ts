// Follows docs/operate/runbooks.md with a running cluster: its own blocks, by bash, as an operator pastes them.
// Guarantees: Redis' password changes while messages flow, and the former one is good no more, nor after a restart; what a
// copy has comes back from it, what came later is unknown, and nobody takes a new message for one they have seen.
import { execFile, execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { runtimeEnvironment } from "@petrel/shared/embedded-redis/inspect-server";
import { probeRedis } from "@petrel/shared/embedded-redis/resp-probe";
import { startCluster, type TestCluster } from "@petrel/shared/testing/cluster/start-cluster";
import { freePort } from "@petrel/shared/testing/free-port";
import { connectClient, type WsClient } from "@petrel/shared/testing/peers/ws-client";
import { findTestServer } from "@petrel/shared/testing/redis/find-test-server";
import { startRedis, type TestRedis } from "@petrel/shared/testing/redis/start-redis";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { afterAll, beforeAll, expect, test } from "vitest";
import { settingsOf } from "../support/containers/service-settings.js";
import { readmeBlocks } from "../support/repository/readme-blocks.js";
import { untilReady } from "../support/faults/redis-load.js";

const root = fileURLToPath(new URL("../..", import.meta.url));
const page = "docs/operate/runbooks.md";
const [password = "", restore = "", ...others] = readmeBlocks("sh", "test/operations/runbooks.test.ts", page);
const run = promisify(execFile);
const sha256 = (text: string): string => createHash("sha256").update(text).digest("hex");

const starter = "starts-redis-here";

let parent: string;
let secrets: string;
let data: string;
let port: number;
let redis: TestRedis;
let cluster: TestCluster;
let environment: Record<string, string | undefined>;
const read = (name: string): string => readFileSync(join(secrets, name), "utf8");
const start = (): Promise<TestRedis> =>
  startRedis({
    appendOnly: true,
    port,
    directory: data,
    password: starter,
    extraArgs: ["--aclfile", join(secrets, "redis-users")],
  });
/** A block, with the operator's redis-cli as operations.md has it in Compose. */
const runBlock = (block: string, more: Record<string, string>) => {
  const redisCli = `redis_cli() { REDISCLI_AUTH=$(cat "${secrets}/redis-operator-password") redis-cli -e -p ${port} --user operator "$@"; }`;
  return run("bash", ["-euo", "pipefail", "-c", `${redisCli}\n${block}`], {
    env: { ...environment, ...more },
  });
};
const asPetrel = (secret: string, ...words: string[]) =>
  probeRedis(`redis://petrel:${secret}@127.0.0.1:${port}`, [words]).then(([answer]) => answer);

beforeAll(async () => {
  parent = mkdtempSync(join(tmpdir(), "petrel-runbooks-"));
  [secrets, data] = [join(parent, "secrets"), join(parent, "data")];
  mkdirSync(data);
  execFileSync(process.execPath, [join(root, "deploy/docker/make-secrets.mjs"), secrets]);
  // Whoever starts Redis here asks it who it is, as the user `default`.
  const users = read("redis-users").replace("user default off resetpass", `user default on >${starter}`);
  expect(users).toContain(starter);
  rmSync(join(secrets, "redis-users"));
  writeFileSync(join(secrets, "redis-users"), users, { mode: 0o444 });
  port = await freePort();
  const binary = await findTestServer(process.env);
  const path = `${dirname(binary.path)}${delimiter}${process.env["PATH"] ?? ""}`;
  environment = { ...runtimeEnvironment(binary, process.env), PATH: path };
  redis = await start();
  cluster = await startCluster({
    together: true,
    redis,
    nodes: 1,
    environment: {
      REDIS_URL: `redis://petrel@127.0.0.1:${port}`,
      REDIS_PASSWORD_FILE: join(secrets, "redis-password"),
    },
  });
});
afterAll(async () => {
  await cluster?.stop();
  await redis?.stop();
  rmSync(parent, { recursive: true, force: true });
});

const connect = async (user: string): Promise<WsClient> =>
  connectClient({ url: cluster.nodeUrls[0] ?? "", token: await cluster.tokenFor(user) });
const epochOf = async (client: WsClient): Promise<unknown> => (await client.frame("welcome"))["epoch"];

interface Accepted {
  readonly id: string;
}
const send = async (user: string, n: number): Promise<string> =>
  ((await cluster.post("/v1/messages", { to: { user }, data: { n } })) as Accepted).id;
const stateOf = async (id: string): Promise<unknown> => {
  const headers = { authorization: `Bearer ${cluster.apiKey}` };
  const answer = await fetch(`${cluster.collect.url}/v1/messages/${id}`, { headers });
  return answer.status === 200 ? ((await answer.json()) as { state: string }).state : answer.status;
};

test("the page has exactly those two blocks", () => {
  expect([password.includes("ACL SETUSER"), restore.includes("tar -xzf"), others]).toEqual([true, true, []]);
});

test("changes Redis' password under a running cluster", async () => {
  const client = await connect("ada");
  const former = read("redis-password");
  await runBlock(password, { secrets });
  const now = read("redis-password");
  expect(now).not.toBe(former);
  // One password, as before.
  expect(read("redis-users")).toContain(`user petrel on #${sha256(now)} resetkeys `);
  expect(await asPetrel(now, "GET", "petrel:x")).toBeNull();
  expect(await asPetrel(former, "PING").catch((error: unknown) => error)).toBeInstanceOf(Error);
  await untilReady(cluster, true);
  await waitFor(() => send("ada", 1), { what: "a message to be accepted with the new password" });
  await waitFor(() => client.messages.length > 0, { what: "it to arrive on the socket that stayed" });
  client.close();
});

test("restores a copy: its content is there, later data is not, and numbers are never reused", async () => {
  const target = join(parent, "copies");
  mkdirSync(target);
  const before = await send("bob", 1);
  await run("bash", [join(root, "deploy/docker/back-up-redis.sh"), "once"], {
    env: {
      ...environment,
      REDIS_PORT: String(port),
      REDIS_USER: "operator",
      REDIS_PASSWORD_FILE: join(secrets, "redis-operator-password"),
      REDIS_DATA: data,
      BACKUP_TARGET: target,
    },
  });
  const after = await send("bob", 2);
  expect([await stateOf(before), await stateOf(after)]).toEqual(["queued", "queued"]);
  const seen = await connect("bob");
  await waitFor(() => seen.messages.length === 2, { what: "both to arrive" });
  const epoch = await epochOf(seen);
  seen.socket.terminate();

  // 1 and 2: every service stops, then Redis.
  const running = cluster.processes.filter((one) => one.isRunning());
  for (const one of running) one.signal("SIGTERM");
  await Promise.all(running.map(({ exited }) => exited));
  redis.signal("SIGKILL");
  await redis.exited;
  const [copy = ""] = readdirSync(target);
  await runBlock(restore, { data, copy: join(target, copy) });
  expect(existsSync(join(data, "appendonlydir.damaged"))).toBe(true);
  // 3 and 4. It starts with the users of the file that the first runbook changed.
  redis = await start();
  expect(await asPetrel(read("redis-password"), "PING")).toBe("PONG");
  for (const one of running) await cluster.startAgain(one);

  expect([await stateOf(before), await stateOf(after)]).toEqual(["queued", 404]);
  const again = await connect("bob");
  await send("bob", 3);
  await waitFor(() => again.messages.length === 2, { what: "the old message and a new one" });
  expect(again.messages.map(({ data: content }) => content)).toEqual([{ n: 1 }, { n: 3 }]);
  // The lost message had the number that the new one has: another epoch tells them apart.
  expect(await epochOf(again)).not.toBe(epoch);
  again.close();
});

test("every file that a variable names is in the table of changed Secrets, once", () => {
  const text = readFileSync(join(root, page), "utf8");
  const [, row = ""] = /^\|---\|---\|\n(.*)$/m.exec(text) ?? [];
  const listed = [...row.matchAll(/`(\w+_FILE)`/g)].map(([, name = ""]) => name).toSorted();
  const known = (["auth", "collect", "dispatch", "push-node"] as const).flatMap((service) =>
    Object.values(settingsOf[service]).map(({ env }) => env),
  );
  const files = [
    ...new Set(known.filter((name) => name.endsWith("_FILE") && name !== "TRACE_FILE")),
  ].toSorted();
  expect(listed).toEqual(files);
});
