// Tests what a log line holds.
// Guarantees: no credential reaches one, neither at the top nor a level down.
import { spawn, spawnSync } from "node:child_process";
import { expect, test } from "vitest";

/** pino writes to the process's own stdout: so each line is taken from a process of its own. */
function logged(fields: object): string {
  const script = `
    import { createLogger } from "@petrel/shared/kernel/logging";
    createLogger({ service: "test", level: "info" }).info(JSON.parse(process.argv[1]), "said");`;
  const { stdout, stderr } = spawnSync(
    process.execPath,
    ["--input-type=module", "-e", script, JSON.stringify(fields)],
    {
      encoding: "utf8",
      cwd: new URL("../..", import.meta.url),
    },
  );
  expect(stderr).toBe("");
  return stdout;
}

test("one JSON line with service, level by name, and an RFC 3339 time", () => {
  const line = JSON.parse(logged({ user: "u1" })) as Record<string, unknown>;
  expect(line).toMatchObject({ service: "test", level: "info", user: "u1", msg: "said" });
  expect(line["time"]).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
});

test("credentials are removed", () => {
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
  const text = logged({ ...fields, inner: fields, req: { headers: { authorization: "hush" } } });
  expect(text).toContain("[redacted]");
  expect(text).not.toContain("hush");
});

test("a service whose output nobody reads any more still ends when it is asked to", async () => {
  const script = `
    import { createLogger } from "@petrel/shared/kernel/logging";
    import { runService } from "@petrel/shared/kernel/lifecycle";
    const logger = createLogger({ service: "test", level: "info" });
    await runService({ logger, stopDeadlineMs: 2_000 }, async () => {
      logger.info("up");
      setInterval(() => undefined, 1_000);
    });`;
  const child = spawn(process.execPath, ["--input-type=module", "-e", script], {
    cwd: new URL("../..", import.meta.url),
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
