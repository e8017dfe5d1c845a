// Tests how connections behave when Redis fails.
// Guarantees: a fault fails the call soon instead of stalling it; the connection recovers by itself.
import { afterEach, beforeEach, expect, test } from "vitest";
import { createLogger } from "../../kernel/logging/logging.js";
import { freePort } from "../../testing/free-port.js";
import { startRedis, type TestRedis } from "../../testing/redis/start-redis.js";
import { waitFor } from "../../testing/wait-for.js";
import { connectRedis, isConnectionError, type Redis } from "./connect.js";

const logger = createLogger({ service: "test", level: "silent" });
let server: TestRedis;
const open: Redis[] = [];

beforeEach(async () => void (server = await startRedis()));
afterEach(async () => {
  for (const redis of open.splice(0)) redis.disconnect();
  await server.stop();
});

/** Longer than a busy machine keeps an answer waiting. */
async function connect(commandTimeoutMs = 1_500): Promise<Redis> {
  const redis = await connectRedis({
    url: server.url,
    role: "test",
    logger,
    commandTimeoutMs,
    silenceTimeoutMs: 3_000,
  });
  open.push(redis);
  return redis;
}

const failure = (call: Promise<unknown>) =>
  call.then(
    () => undefined,
    (error: unknown) => error,
  );

test("a failed first connection says where, without the password", async () => {
  const port = await freePort();
  const error = await failure(
    connectRedis({ url: `redis://user:hush@127.0.0.1:${port}`, role: "test", logger }),
  );
  expect(error).toMatchObject({
    code: "PETREL_UNAVAILABLE",
    retryable: true,
    message: `Redis does not answer at redis://127.0.0.1:${port}`,
  });
});

test("shows the role in CLIENT LIST", async () => {
  expect(String(await (await connect()).client("LIST"))).toContain("name=petrel-test");
});

test("with a paused Redis a command fails after its deadline as unanswered", async () => {
  const redis = await connect();
  server.signal("SIGSTOP");
  const error = await failure(redis.get("k"));
  server.signal("SIGCONT");
  expect(error).toBeInstanceOf(Error);
  expect(isConnectionError(error)).toBe(true);
  await waitFor(async () => (await redis.ping()) === "PONG", { what: "Redis to be back" });
});

test("while Redis is gone commands fail at once, and nothing is sent later; then the connection comes back", async () => {
  // A command that waited for its own timeout would outlast the test.
  const redis = await connect(120_000);
  const { port } = server;
  await server.stop();
  await waitFor(() => redis.status !== "ready", { what: "the loss" });
  const error = await failure(redis.set("late", "1"));
  expect(isConnectionError(error)).toBe(true);
  server = await startRedis({ port });
  await waitFor(() => redis.status === "ready", { what: "the connection" });
  expect(await redis.get("late")).toBeNull();
});

test("a server busy with a long script counts as unable to answer: the call may be repeated", async () => {
  const [redis, other] = await Promise.all([connect(10_000), connect(10_000)]);
  await other.config("SET", "busy-reply-threshold", "50");
  const script = `local function ms() local t = redis.call('TIME') return t[1] * 1000 + t[2] / 1000 end
    local till = ms() + 60000 repeat until ms() > till return 1`;
  const long = other.eval(script, 0).catch(() => undefined);
  let error: unknown;
  await waitFor(
    async () => {
      error = await redis.get("k").then(
        () => undefined,
        (reason: unknown) => reason,
      );
      return error !== undefined;
    },
    { what: "BUSY" },
  );
  expect(error).toMatchObject({ message: expect.stringMatching(/^BUSY/) });
  expect(isConnectionError(error)).toBe(true);
  await redis.script("KILL");
  await long;
});

test("leaves a server that has become a replica and looks for the master again", async () => {
  const redis = await connect();
  const before = await redis.client("ID");
  await redis.call("REPLICAOF", "127.0.0.1", String(await freePort()));
  const error = await failure(redis.set("k", "1"));
  expect(error).toMatchObject({ message: expect.stringMatching(/^READONLY/) });
  expect(isConnectionError(error)).toBe(true);
  await waitFor(async () => (await redis.client("ID")) !== before, { what: "another connection" });
  // On a busy machine it may be left once more meanwhile.
  const found = await waitFor(async () => [await redis.get("k")], { what: "an answer" });
  expect(found).toEqual([null]);
});

test.each([
  ["OOM command not allowed when used memory > 'maxmemory'.", true],
  ["LOADING Redis is loading the dataset in memory", true],
  ["READONLY You can't write against a read only replica.", true],
  ["MISCONF Redis is configured to save RDB snapshots", true],
  ["CLUSTERDOWN The cluster is down", true],
  ["MOVED 3999 127.0.0.1:6381", true],
  ["NOSCRIPT No matching script.", true],
  ["WRONGTYPE Operation against a key holding the wrong kind of value", false],
  ["ERR user_script:1: oops", false],
])("an answer %j: temporary? %s", (text, isTemporary) => {
  const error = new Error(text);
  error.name = "ReplyError";
  expect(isConnectionError(error)).toBe(isTemporary);
});

test("ignores what is not an error", () => {
  expect(isConnectionError("OOM")).toBe(false);
  expect(isConnectionError(undefined)).toBe(false);
});

test("logs an outage again when its reason changes, and when it is over", async () => {
  const port = await freePort();
  const start = (password: string) =>
    startRedis({ port, extraArgs: ["--user", "petrel", "on", `>${password}`, "~*", "&*", "+@all"] });
  let guarded = await start("right");
  const lines: string[] = [];
  const note = (fields: { readonly reason?: string }, text: string): void =>
    void lines.push(`${text} ${fields.reason ?? ""}`);
  const noting = Object.assign(createLogger({ service: "test", level: "silent" }), {
    warn: note,
    info: note,
  });
  try {
    const redis = await connectRedis({
      url: `redis://petrel:right@127.0.0.1:${port}`,
      role: "test",
      logger: noting,
    });
    open.push(redis);
    const told = (what: string): Promise<unknown> =>
      waitFor(() => lines.some((line) => line.includes(what)), { what, deadlineMs: 15_000 });
    await guarded.stop();
    await told("connection failed connect ECONNREFUSED");
    guarded = await start("wrong");
    await told("connection failed WRONGPASS");
    await guarded.stop();
    guarded = await start("right");
    await told("connection is back");
    expect(lines.filter((line) => line.includes("WRONGPASS"))).toHaveLength(1);
  } finally {
    await guarded.stop();
  }
}, 60_000);
