// Tests the built program as it is typed: exit codes, and one line on standard error.
// Guarantees: no stack trace reaches the person at the terminal.
import { spawn } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const program = fileURLToPath(new URL("../dist/main.js", import.meta.url));

function type(args: readonly string[], environment: Record<string, string> = {}) {
  return new Promise<{ code: number | null; stdout: string; stderr: string }>((resolve) => {
    const child = spawn(process.execPath, [program, ...args], { env: { ...process.env, ...environment } });
    let stdout = "";
    let stderr = "";
    child.stdout.on("data", (chunk) => (stdout += String(chunk)));
    child.stderr.on("data", (chunk) => (stderr += String(chunk)));
    child.once("close", (code) => resolve({ code, stdout, stderr }));
  });
}

test("--help lists the options", async () => {
  const { code, stdout, stderr } = await type(["--help"]);
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  expect(stdout).toContain("--no-restart");
});

test("exits with 2 for an unknown option", async () => {
  expect(await type(["--nodez", "3"])).toEqual({
    code: 2,
    stdout: "",
    stderr: "petrel: Unknown option '--nodez' (npm start -- --help lists the options)\n",
  });
});

test("exits with 1 and one line if the data directory is not writable", async () => {
  const directory = await mkdtemp(join(tmpdir(), "petrel-main-"));
  await writeFile(join(directory, "data"), "");
  const { code, stdout, stderr } = await type([], { PETREL_DATA_DIR: join(directory, "data") });
  expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
  expect(stderr).toMatch(/^petrel: the data directory .* cannot be written to \(E[A-Z]+\): .*\n$/);
  await rm(directory, { recursive: true });
});
