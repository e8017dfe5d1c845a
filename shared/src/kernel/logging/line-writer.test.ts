// Tests how a process' lines reach stdout, each in a process of its own: under load, at its end, at a crash, and where
// nobody reads.
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { closeSync, constants, mkdtempSync, openSync, readSync, rmSync } from "node:fs";
import { stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { waitFor } from "../../testing/wait-for.js";
import { LineWriter } from "./line-writer.js";

let child: ChildProcess | undefined;
afterEach(() => void child?.kill("SIGKILL"));

interface Started {
  readonly process: ChildProcess & { readonly stdout: NonNullable<ChildProcess["stdout"]> };
  readonly text: () => string;
  readonly exited: Promise<number | NodeJS.Signals | null>;
}

/** Logs hundreds of lines in each turn of its event loop, numbered. */
function start(more: string): Started {
  const script = `
    import { createLogger } from "@petrel/shared/kernel/logging/logging";
    import { runService } from "@petrel/shared/kernel/lifecycle/lifecycle";
    const logger = createLogger({ service: "test", level: "info" });
    let n = 0;
    const load = () => {
      for (let i = 0; i < 200; i++) logger.info({ n: n++ }, "line");
    };
    ${more}`;
  const process_ = spawn(process.execPath, ["--input-type=module", "-e", script], {
    cwd: new URL("../../..", import.meta.url),
    stdio: ["ignore", "pipe", "pipe"],
  });
  child = process_;
  const chunks: Buffer[] = [];
  process_.stdout.on("data", (chunk: Buffer) => void chunks.push(chunk));
  const exited = once(process_, "close").then(
    ([code, signal]) => (code ?? signal) as number | NodeJS.Signals | null,
  );
  return { process: process_, text: () => Buffer.concat(chunks).toString("utf8"), exited };
}

interface Line {
  readonly n?: number;
  readonly msg: string;
  readonly level: string;
  readonly lines?: number;
}
const read = (text: string): Line[] =>
  text
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as Line);

/** Without a hole, from the first on. */
function expectNumbered(lines: readonly Line[], atLeast: number): void {
  const numbers = lines.flatMap(({ n }) => n ?? []);
  expect(numbers.length).toBeGreaterThanOrEqual(atLeast);
  expect(numbers).toEqual(numbers.map((_, i) => i));
}

test("writes every line of a stop under load, the last saying that it has stopped", async () => {
  const {
    process: service,
    text,
    exited,
  } = start(`
    await runService({ logger, stopDeadlineMs: 20_000 }, async (lifecycle) => {
      const timer = setInterval(load, 1);
      lifecycle.onStop("load", () => clearInterval(timer));
    });`);
  await waitFor(() => text().includes('"n":2000,'), { what: "load", deadlineMs: 30_000 });
  service.kill("SIGTERM");
  expect(await exited).toBe(0);
  const lines = read(text());
  expectNumbered(lines, 2_000);
  expect(lines.slice(-1)).toMatchObject([{ msg: "stopped" }]);
});

test("writes every line before a crash under load, the last saying why", async () => {
  const { text, exited } = start(`
    await runService({ logger, stopDeadlineMs: 20_000 }, async () => {
      setInterval(() => {
        load();
        if (n < 4000) return;
        logger.warn({ reason: "away" }, "not stored");
        logger.warn({ reason: "away" }, "not stored");
        throw new Error("a defect");
      }, 1);
    });`);
  expect(await exited).toBe(1);
  const lines = read(text());
  expectNumbered(lines, 4_000);
  // What had been thinned out until then, too.
  expect(lines.filter(({ msg }) => msg === "not stored")).toHaveLength(2);
  expect(lines.filter(({ level }) => level === "fatal")).toMatchObject([
    { msg: "uncaught exception", err: { message: "a defect" } },
  ]);
});

test("writes every line on an exit in the middle of a turn", async () => {
  const { text, exited } = start("load(); setImmediate(() => { load(); process.exit(3); });");
  expect(await exited).toBe(3);
  expectNumbered(read(text()), 400);
});

test("without a reader: the process goes on, waiting lines are bounded, and dropped ones are counted", async () => {
  const {
    process: service,
    text,
    exited,
  } = start(`
    // Some 10 MiB: more than waits, and than pipes hold.
    for (let i = 0; i < 500; i++) load();
    setTimeout(() => {
      process.stderr.write("alive");
      process.once("SIGTERM", () => {
        const wait = setInterval(() => logger.flush(() => clearInterval(wait)), 10);
      });
    }, 50);
    setInterval(() => undefined, 1000).unref();
    const keep = setInterval(() => undefined, 1000);
    process.once("SIGTERM", () => clearInterval(keep));`);
  service.stdout.pause();
  await once(service.stderr ?? service, "data");
  service.stdout.resume();
  await waitFor(() => text().includes("log lines dropped"), { what: "the count", deadlineMs: 30_000 });
  service.kill("SIGTERM");
  expect(await exited).toBe(0);
  const lines = read(text());
  const numbers = lines.flatMap(({ n }) => n ?? []);
  expect(numbers.length).toBeGreaterThan(10_000);
  const [dropped] = lines.filter(({ msg }) => msg.startsWith("log lines dropped"));
  expect(numbers.length + (dropped?.lines ?? 0)).toBe(100_000);
});

test("without a reader ever: the process still ends when asked to", async () => {
  const directory = mkdtempSync(join(tmpdir(), "petrel-lines-"));
  const pipe = join(directory, "stdout");
  expect(spawnSync("mkfifo", [pipe]).status).toBe(0);
  const reader = openSync(pipe, constants.O_RDONLY | constants.O_NONBLOCK);
  const writer = openSync(pipe, constants.O_WRONLY);
  const script = `
    import { createLogger } from "@petrel/shared/kernel/logging/logging";
    import { runService } from "@petrel/shared/kernel/lifecycle/lifecycle";
    const logger = createLogger({ service: "test", level: "info" });
    await runService({ logger, stopDeadlineMs: 20_000 }, async () => {
      for (let i = 0; i < 5_000; i++) logger.info({ i }, "line");
      setInterval(() => undefined, 1_000);
      setTimeout(() => process.stderr.write("alive"), 100);
    });`;
  const service = spawn(process.execPath, ["--input-type=module", "-e", script], {
    cwd: new URL("../../..", import.meta.url),
    stdio: ["ignore", writer, "pipe"],
  });
  child = service;
  closeSync(writer);
  try {
    const exited = once(service, "exit");
    await once(service.stderr ?? service, "data");
    service.kill("SIGTERM");
    expect(await exited).toEqual([0, null]);
  } finally {
    closeSync(reader);
    rmSync(directory, { recursive: true });
  }
});

test("a reader that was blocked until the end gets all waiting lines, in order", async () => {
  const directory = mkdtempSync(join(tmpdir(), "petrel-lines-"));
  const pipe = join(directory, "stdout");
  expect(spawnSync("mkfifo", [pipe]).status).toBe(0);
  const reader = openSync(pipe, constants.O_RDONLY | constants.O_NONBLOCK);
  const fd = openSync(pipe, constants.O_WRONLY);
  const readAll = (): string => {
    const chunk = Buffer.alloc(1024 * 1024);
    let text = "";
    try {
      for (let read = 1; read > 0;) text += chunk.toString("utf8", 0, (read = readSync(reader, chunk)));
    } catch (error) {
      expect((error as NodeJS.ErrnoException).code).toBe("EAGAIN");
    }
    return text;
  };
  try {
    const writer = new LineWriter({ fd, onDropped: () => undefined });
    // More than a pipe holds, and less than two.
    const lines = Array.from({ length: 1_000 }, (_, n) => `${String(n).padStart(99, "0")}\n`);
    for (const line of lines) writer.write(line);
    // Turns in which the system takes what fits, and refuses the rest.
    for (let turn = 0; turn < 100; turn++) await stat(directory);
    const before = readAll();
    expect(before.length).toBeGreaterThan(0);
    expect(before.length).toBeLessThan(lines.join("").length);
    writer.write("the last\n");
    writer.flushSync();
    expect(before + readAll()).toBe(`${lines.join("")}the last\n`);
    // Nor is it written again.
    await new Promise<void>((resolve) => writer.flush(resolve));
    expect(readAll()).toBe("");
  } finally {
    closeSync(fd);
    closeSync(reader);
    rmSync(directory, { recursive: true });
  }
});
