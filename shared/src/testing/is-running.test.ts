// Tests is-running.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { expect, onTestFinished, test } from "vitest";
import { isRunning } from "./is-running.js";
import { waitFor } from "./wait-for.js";

test("a process runs until it is killed", async () => {
  const child = spawn("sleep", ["600"], { stdio: "ignore" });
  await once(child, "spawn");
  const { pid = 0 } = child;
  expect(isRunning(pid)).toBe(true);
  child.kill("SIGKILL");
  await once(child, "exit");
  expect(isRunning(pid)).toBe(false);
});

test("one that has ended does not run, though its parent has not asked how it ended", async () => {
  // The shell becomes a program that never asks for its children.
  const parent = spawn("/bin/sh", ["-c", "sleep 600 & echo $!; exec sleep 601"], {
    stdio: ["ignore", "pipe", "ignore"],
  });
  onTestFinished(() => void parent.kill("SIGKILL"));
  const [text] = (await once(parent.stdout, "data")) as [Buffer];
  const pid = Number(text.toString());
  const program = (): string => readFileSync(`/proc/${parent.pid}/cmdline`, "utf8");
  await waitFor(() => program().startsWith("sleep"), { what: "the shell to become the other program" });
  expect(isRunning(pid)).toBe(true);
  process.kill(pid, "SIGKILL");
  await waitFor(() => !isRunning(pid), { what: "its end" });
  expect(readFileSync(`/proc/${pid}/stat`, "utf8")).toContain(") Z ");
});
