// Tests what a log line holds.
// Guarantees: no credential reaches one, at the top or a level down.
import { type ChildProcessWithoutNullStreams, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { afterAll, beforeAll, expect, test } from "vitest";

const inShared = new URL("../../..", import.meta.url);

/** pino writes to the process's own stdout: this process logs whatever it is told. */
let teller: ChildProcessWithoutNullStreams;
let said: NodeJS.AsyncIterator<string>;
let complaints = "";

beforeAll(() => {
  const script = `
    import { createInterface } from "node:readline";
    import { createLogger } from "@petrel/shared/kernel/logging/logging";
    const logger = createLogger({ service: "test", level: "info" });
    for await (const line of createInterface({ input: process.stdin })) logger.info(JSON.parse(line), "said");`;
  teller = spawn(process.execPath, ["--input-type=module", "-e", script], { cwd: inShared });
  teller.stderr.on("data", (chunk: Buffer) => (complaints += chunk.toString()));
  said = createInterface({ input: teller.stdout })[Symbol.asyncIterator]();
});
afterAll(async () => {
  const closed = once(teller, "close");
  teller.stdin.end();
  await closed;
  expect(complaints).toBe("");
});

async function logged(fields: object): Promise<string> {
  teller.stdin.write(`${JSON.stringify(fields)}\n`);
  const { value, done } = await said.next();
  if (done === true) throw new Error(`it has ended: ${complaints}`);
  return value;
}

test("writes one JSON line with service, level by name, and an RFC 3339 time", async () => {
  const line = JSON.parse(await logged({ user: "u1" })) as Record<string, unknown>;
  expect(line).toMatchObject({ service: "test", level: "info", user: "u1", msg: "said" });
  expect(line["time"]).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
});

test("removes credentials", async () => {
  const names = [
    "authorization",
    "token",
    "accessToken",
    "refreshToken",
    "secret",
    "apiSecret",
    "ticket",
    "password",
  ];
  const fields = Object.fromEntries(names.map((name) => [name, "hush"]));
  const text = await logged({ ...fields, inner: fields, req: { headers: { authorization: "hush" } } });
  expect(text).toContain("[redacted]");
  expect(text).not.toContain("hush");
});

test("a line holds nothing that a terminal obeys, and keeps its meaning", async () => {
  const text = "\u009b2J\u009d0;title\u009c\u007f\u202e";
  const line = await logged({ text });
  expect(line).toMatch(/^[\x20-\x7e]+$/);
  expect(JSON.parse(line)).toMatchObject({ text });
});

test("an error says what happened, not the data it was about", () => {
  const script = `
    import { createLogger } from "@petrel/shared/kernel/logging/logging";
    const reply = Object.assign(new Error("OOM command not allowed"), { command: { name: "evalsha", args: ["hush"] } });
    const outer = Object.assign(new Error("not stored", { cause: reply }), { code: "PETREL_UNAVAILABLE", details: "hush" });
    createLogger({ service: "test", level: "info" }).error({ err: outer }, "said");
    createLogger({ service: "test", level: "info" }).error(reply);`;
  const { stdout } = spawnSync(process.execPath, ["--input-type=module", "-e", script], {
    encoding: "utf8",
    cwd: inShared,
  });
  const [line = "", bare = ""] = stdout.split("\n");
  expect(JSON.parse(line)).toMatchObject({
    err: {
      type: "Error",
      code: "PETREL_UNAVAILABLE",
      message: "not stored",
      stack: expect.stringContaining("at ") as unknown,
      cause: { type: "Error", message: "OOM command not allowed" },
    },
  });
  expect(JSON.parse(bare)).toMatchObject({ err: { message: "OOM command not allowed" } });
  expect(stdout).not.toContain("hush");
});

test("replaces what looks like a credential wherever it is", async () => {
  const secret = "A".repeat(43);
  expect(
    await logged({ reason: `refused pk_1.${secret}`, deep: { er: { still: `pk_2.${secret}` } } }),
  ).not.toContain(secret);
});

test("a service whose output nobody reads any more still ends when asked to", async () => {
  const script = `
    import { createLogger } from "@petrel/shared/kernel/logging/logging";
    import { runService } from "@petrel/shared/kernel/lifecycle/lifecycle";
    const logger = createLogger({ service: "test", level: "info" });
    await runService({ logger, stopDeadlineMs: 2_000 }, async () => {
      logger.info("up");
      setInterval(() => undefined, 1_000);
    });`;
  const child = spawn(process.execPath, ["--input-type=module", "-e", script], {
    cwd: inShared,
    stdio: ["ignore", "pipe", "ignore"],
  });
  const ended = new Promise((resolve) => child.once("exit", (code, signal) => resolve(code ?? signal)));
  const insist = setTimeout(() => child.kill("SIGKILL"), 15_000);
  await new Promise((resolve) => child.stdout.once("data", resolve));
  child.stdout.destroy();
  await new Promise((resolve) => child.stdout.once("close", resolve));
  child.kill("SIGTERM");
  expect(await ended).toBe(0);
  clearTimeout(insist);
});

test("logs a common fault of an outage once, with a count at the end of the process", () => {
  const script = `
    import { createLogger } from "@petrel/shared/kernel/logging/logging";
    const logger = createLogger({ service: "test", level: "info" }).child({ node: "n" });
    const fault = new Error("Redis does not answer");
    for (let i = 0; i < 1000; i++) {
      logger.warn({ connection: i, reason: "away" }, "not registered");
      logger.error({ err: fault, path: "/" + i }, "not stored");
      logger.info({ reason: "told" }, "always");
    }
    logger.flush();`;
  const { stdout } = spawnSync(process.execPath, ["--input-type=module", "-e", script], {
    encoding: "utf8",
    cwd: inShared,
    maxBuffer: 64 * 1024 * 1024,
  });
  const lines = stdout
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as { level: string; msg: string; times?: number });
  const count = (level: string): number => lines.filter((line) => line.level === level).length;
  expect(count("info")).toBe(1_000);
  expect(lines.filter(({ level }) => level === "warn")).toMatchObject([
    { node: "n", connection: 0 },
    { node: "n", connection: 999, times: 999 },
  ]);
  expect(lines.filter(({ level }) => level === "error")).toMatchObject([
    { path: "/0", err: { message: "Redis does not answer" } },
    { path: "/999", times: 999 },
  ]);
});
