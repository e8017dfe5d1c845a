// Tests the collection of another process' garbage.
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { afterEach, expect, test } from "vitest";
import { openInspector } from "./collect-garbage.js";

let child: ChildProcess | undefined;
afterEach(() => child?.kill("SIGKILL"));

test("frees what nothing holds and keeps what is held", async () => {
  const program = `
    const registry = new FinalizationRegistry((name) => console.log("gone", name));
    let held = { big: new Array(100_000).fill(1) };
    registry.register(held, "held");
    registry.register({ big: new Array(100_000).fill(1) }, "loose");
    setInterval(() => held, 1_000);
    const server = require("node:http").createServer(() => process.exit(1));
    server.listen(0, "127.0.0.1", () => console.log("ready"));`;
  child = spawn(process.execPath, ["--inspect-port=0", "-e", program], {
    stdio: ["ignore", "pipe", "ignore"],
  });
  const { pid, stdout } = child;
  if (pid === undefined || stdout === null) throw new Error("not started");
  const lines = createInterface({ input: stdout });
  const said: string[] = [];
  lines.on("line", (line) => said.push(line));
  await once(lines, "line");
  const inspector = await openInspector(pid);
  await inspector?.collectGarbage();
  await expect.poll(() => said, { timeout: 20_000 }).toContain("gone loose");
  await inspector?.collectGarbage();
  // A request at its own port would have ended it.
  expect(child.exitCode).toBeNull();
  expect(said).not.toContain("gone held");
});

test("leaves a process alone that is not Node", async () => {
  child = spawn("sleep", ["60"]);
  await once(child, "spawn");
  expect(await openInspector(child.pid ?? 0)).toBeUndefined();
  expect(child.exitCode).toBeNull();
});
