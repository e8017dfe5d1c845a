// Tests how a service's process starts and stops.
// Guarantees: signals, failed starts and hanging parts each end the process the way its supervisor expects.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { expect, test, vi } from "vitest";
import { createLogger } from "../logging/logging.js";
import { createLifecycle } from "./lifecycle.js";

const logger = createLogger({ service: "test", level: "silent" });

test("closes parts in reverse order, each once, even if one fails and stop is called twice", async () => {
  const exit = vi.fn();
  const lifecycle = createLifecycle({ logger, stopDeadlineMs: 5_000, exit });
  const closed: string[] = [];
  for (const name of ["redis", "loop", "http"]) {
    lifecycle.onStop(name, async () => {
      closed.push(name);
      if (name === "loop") throw new Error("would not");
      await Promise.resolve();
    });
  }
  expect(lifecycle.stopping.aborted).toBe(false);
  const first = lifecycle.stop("one");
  expect(lifecycle.stopping.aborted).toBe(true);
  await Promise.all([first, lifecycle.stop("two")]);
  expect(closed).toEqual(["http", "loop", "redis"]);
  expect(exit).not.toHaveBeenCalled();
});

test("a hanging part does not keep the process beyond the deadline", async () => {
  const exited = new Promise<number>((resolve) => {
    const lifecycle = createLifecycle({ logger, stopDeadlineMs: 20, exit: resolve });
    lifecycle.onStop("hanging", () => new Promise(() => {}));
    void lifecycle.stop("test");
  });
  expect(await exited).toBe(1);
});

/** A service in its own process, with the given body of `start`. */
function service(start: string) {
  const script = `
    import { runService, configOrExit } from "@petrel/shared/kernel/lifecycle/lifecycle";
    import { createLogger } from "@petrel/shared/kernel/logging/logging";
    import { PetrelError } from "@petrel/shared/kernel/errors";
    import { ConfigError } from "@petrel/shared/kernel/config";
    const logger = createLogger({ service: "test", level: "info" });
    await runService({ logger, stopDeadlineMs: 300 }, async (lifecycle) => { ${start} });`;
  const child = spawn(process.execPath, ["--input-type=module", "-e", script], {
    cwd: new URL("../../..", import.meta.url),
  });
  let output = "";
  for (const stream of [child.stdout, child.stderr])
    stream.on("data", (chunk: Buffer) => (output += chunk.toString()));
  const ended = once(child, "close").then(([code]) => ({ code: code as number | null, output }));
  const ready = new Promise<void>((resolve) =>
    child.stdout.on("data", () => output.includes("READY") && resolve()),
  );
  return { child, ended, ready };
}

const stayAlive = `setInterval(() => {}, 1000); console.log("READY");`;

test.each(["SIGTERM", "SIGINT"] as const)("%s closes the parts and exits with 0", async (signal) => {
  const { child, ended, ready } = service(
    `lifecycle.onStop("part", () => console.log("PART CLOSED")); ${stayAlive}`,
  );
  await ready;
  child.kill(signal);
  const { code, output } = await ended;
  expect(output).toContain("PART CLOSED");
  expect(code).toBe(0);
});

test("a stop that hangs exits with 1", async () => {
  const { child, ended, ready } = service(
    `lifecycle.onStop("part", () => new Promise(() => {})); ${stayAlive}`,
  );
  await ready;
  child.kill("SIGTERM");
  const { code, output } = await ended;
  expect(output).toContain("stop took too long");
  expect(code).toBe(1);
});

test("a failed start closes what was opened, prints one clear line, and exits with 1", async () => {
  const { ended } = service(`
    lifecycle.onStop("part", () => console.log("PART CLOSED"));
    throw new PetrelError("PETREL_UNAVAILABLE", "Redis does not answer.");`);
  const { code, output } = await ended;
  const fatal = output.split("\n").filter((line) => line.includes('"fatal"'));
  expect(fatal).toHaveLength(1);
  expect(fatal[0]).toContain("Redis does not answer.");
  expect(fatal[0]).not.toContain("stack");
  expect(output).toContain("PART CLOSED");
  expect(code).toBe(1);
});

test("an uncaught exception is logged and ends the process with 1", async () => {
  const { ended } = service(`setTimeout(() => { throw new Error("oops"); }, 1); ${stayAlive}`);
  const { code, output } = await ended;
  expect(output).toContain("oops");
  expect(code).toBe(1);
});

test("a Node warning is a line of JSON like any other, once", async () => {
  const { child, ended, ready } = service(`
    const target = new EventTarget();
    for (let i = 0; i < 12; i++) target.addEventListener("x", () => {});
    const { signal } = new AbortController();
    for (let i = 0; i < 12; i++) signal.addEventListener("abort", () => {});
    process.emitWarning("told twice?", { code: "PETREL_TEST" });
    setTimeout(() => console.log("{}\\nREADY"), 20); setInterval(() => {}, 1000);`);
  await ready;
  child.kill("SIGTERM");
  const { output } = await ended;
  const lines = output.split("\n").filter((line) => line !== "" && line !== "READY");
  const logged = lines.map((line) => JSON.parse(line) as Record<string, unknown>);
  const warnings = logged.filter(({ level }) => level === "warn");
  expect(warnings).toContainEqual(
    expect.objectContaining({ service: "test", code: "PETREL_TEST", reason: "told twice?" }),
  );
  expect(warnings).toContainEqual(expect.objectContaining({ warning: "MaxListenersExceededWarning" }));
  expect(warnings.filter(({ code }) => code === "PETREL_TEST")).toHaveLength(1);
});

test("a wrong configuration is one line on stderr, and exit code 1", async () => {
  const { ended } = service(
    `configOrExit("collect", () => { throw new ConfigError("PORT must be a whole number"); });`,
  );
  const { code, output } = await ended;
  expect(output).toBe("collect: configuration: PORT must be a whole number\n");
  expect(code).toBe(1);
});
