// Tests the stop of services that will not.
// Guarantees: after the deadline they are killed, paused ones too, and the stop ends.
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { afterEach, beforeEach, expect, test } from "vitest";
import { launchService } from "./launch-service.js";
import { lastLogLines } from "./log-tail.js";
import { startServices, stopServices, type SupervisedService } from "./service-groups.js";
import { superviseProcess } from "./supervised-process.js";

let directory: string;
let lines: string[];
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "petrel-groups-"));
  lines = [];
});
afterEach(() => rm(directory, { recursive: true, force: true }));

async function service(source: string, ready = true): Promise<SupervisedService & { pid: () => number }> {
  const script = join(directory, "main.cjs");
  const logFile = join(directory, "log");
  await writeFile(script, source);
  let pid = 0;
  const process = superviseProcess({
    name: "auth",
    logFile,
    launch: () =>
      launchService({ name: "auth", script, environment: globalThis.process.env, logFile, prefix: [] }),
    untilReady: async (signal) => {
      await waitFor(async () => signal.aborted || (await lastLogLines(logFile, 1)).includes("up"), {
        what: "the script to run",
      });
      if (!ready) await waitFor(() => signal.aborted, { what: "the deadline" });
      signal.throwIfAborted();
    },
    restart: true,
    say: (line) => lines.push(line),
    onPid: (now) => (pid = now ?? 0),
  });
  return { kind: "auth", process, pid: () => pid };
}

const stubborn = `process.on("SIGTERM", () => undefined); setInterval(() => undefined, 1000); console.log("up");`;

test("kills a service that ignores SIGTERM at the deadline", async () => {
  const auth = await service(stubborn);
  await startServices([auth], { stopAsked: new AbortController().signal, say: (line) => lines.push(line) });
  expect(auth.pid()).toBeGreaterThan(0);
  await stopServices([auth], (line) => lines.push(line), 100);
  await waitFor(() => auth.pid() === 0, { what: "its end to be noticed" });
  expect(lines.at(-1)).toBe("1 of the services did not stop within 0.1 s: killing them");
});

test("names a service that never becomes ready as the failure", async () => {
  const auth = await service(stubborn, false);
  await expect(
    startServices([auth], {
      stopAsked: new AbortController().signal,
      say: () => undefined,
      deadlineMs: 5_000,
    }),
  ).rejects.toThrow(/auth was not ready in time; the end of .*:\n {2}up/);
  await stopServices([auth], () => undefined, 100);
});

test("restarts a service that keeps dying ever more slowly", async () => {
  // Not before it was seen to be ready: then its start would have failed.
  const dying = JSON.stringify(join(directory, "dying"));
  const auth = await service(
    `console.log("up"); setInterval(() => require("node:fs").existsSync(${dying}) && process.exit(1), 20)`,
  );
  await startServices([auth], { stopAsked: new AbortController().signal, say: () => undefined });
  await writeFile(join(directory, "dying"), "");
  await waitFor(() => lines.some((line) => line.includes("restarting in 1 s")), { what: "the third death" });
  const delays = lines.flatMap((line) => /restarting in ([\d.]+) s/.exec(line)?.[1] ?? []);
  expect(delays).toEqual(["0.25", "0.5", "1"]);
  await stopServices([auth], () => undefined);
});
