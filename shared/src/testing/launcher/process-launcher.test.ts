// Tests what every way to launch a process promises; and that the launcher leaves nothing running.
import { once } from "node:events";
import { fork } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { launchProcess, type LaunchOrder } from "../../embedded-redis/launch-process.js";
import { builtTree } from "../cluster/service-files.js";
import { isRunning } from "../is-running.js";
import { waitFor } from "../wait-for.js";
import { ProcessLauncher } from "./process-launcher.js";

let directory: string;
let launcher: ProcessLauncher;
let files = 0;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "petrel-launch-"));
  launcher = new ProcessLauncher();
});
afterAll(() => rm(directory, { recursive: true, force: true }));

function shell(script: string, more: Partial<LaunchOrder> = {}): LaunchOrder {
  const logFile = join(directory, `${++files}.log`);
  return { command: "/bin/sh", args: ["-c", script], environment: { SAID: "hello" }, logFile, ...more };
}

describe.each([
  ["as a child", () => launchProcess],
  ["by the launcher", () => launcher.launch],
])("%s", (_name, way) => {
  test("its output is added to its log file, and its exit code is told", async () => {
    const order = shell('echo "$SAID"; pwd; echo late >&2; exit 7', { cwd: directory });
    await writeFile(order.logFile, "before\n");
    const launched = await way()(order);
    expect(await launched?.exited).toEqual({ code: 7, signal: null });
    expect(await readFile(order.logFile, "utf8")).toBe(`before\nhello\n${directory}\nlate\n`);
    launched?.signal("SIGKILL");
  });

  test("it reads its input, and none where there is none", async () => {
    const given = shell("cat", { input: "a line\n" });
    await (
      await way()(given)
    )?.exited;
    expect(await readFile(given.logFile, "utf8")).toBe("a line\n");
    const none = shell("cat");
    expect(await (await way()(none))?.exited).toEqual({ code: 0, signal: null });
  });

  test("a signal reaches it, and is told as what ended it", async () => {
    const launched = await way()(shell("exec sleep 600"));
    expect(isRunning(launched?.pid ?? 0)).toBe(true);
    launched?.signal("SIGTERM");
    expect(await launched?.exited).toEqual({ code: null, signal: "SIGTERM" });
  });

  test("a command that does not run is told as such", async () => {
    expect(await way()(shell("", { command: join(directory, "missing") }))).toBeUndefined();
  });

  test("a log file that cannot be opened is an error", async () => {
    await expect(way()(shell("true", { logFile: join(directory, "no", "folder") }))).rejects.toThrow(
      "ENOENT",
    );
  });
});

test("what the launcher has launched ends with whoever asked, however that ends", async () => {
  const url = pathToFileURL(join(builtTree, "shared/dist/testing/launcher/process-launcher.js")).href;
  const script = join(directory, "owner.mjs");
  await writeFile(
    script,
    `import { ProcessLauncher } from ${JSON.stringify(url)};
const launched = await new ProcessLauncher().launch(${JSON.stringify(shell("exec sleep 600"))});
process.send(launched.pid);
setInterval(() => undefined, 60_000);
`,
  );
  const owner = fork(script, { execArgv: [] });
  onTestFinished(() => void owner.kill("SIGKILL"));
  const [pid] = (await once(owner, "message")) as [number];
  onTestFinished(() => void (isRunning(pid) && process.kill(pid, "SIGKILL")));
  expect(isRunning(pid)).toBe(true);
  owner.kill("SIGKILL");
  await waitFor(() => !isRunning(pid), { what: "the launched process to end" });
});
