// Tests the command as a process. `npm run build` has made its dist.
// Guarantees: what only a process can show: signals, pipes, exit codes, and the message if it was not built.
import { spawn, type ChildProcessWithoutNullStreams } from "node:child_process";
import { once } from "node:events";
import { cpSync, mkdtempSync, rmSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { WsPeer } from "@petrel/shared/testing/peers/ws-peer";
import { afterEach, beforeEach, expect, it } from "vitest";

const bin = fileURLToPath(new URL("../bin/", import.meta.url));

let auth: Server;
let node: WsPeer;
let children: ChildProcessWithoutNullStreams[];

beforeEach(async () => {
  children = [];
  auth = createServer((_request, response) => response.end('{"accessToken":"jwt"}')).listen(0, "127.0.0.1");
  await once(auth, "listening");
  node = await WsPeer.start();
});

afterEach(async () => {
  for (const child of children) child.kill("SIGKILL");
  auth.close();
  auth.closeAllConnections();
  await node.close();
});

function petrel(args: readonly string[], script = join(bin, "petrel.js")) {
  const authUrl = `http://127.0.0.1:${(auth.address() as AddressInfo).port}`;
  const child = spawn(process.execPath, [script, ...args], {
    env: { PATH: "", PETREL_AUTH_URL: authUrl, PETREL_NODE_URL: node.url, PETREL_KEY: "k.s" },
  });
  children.push(child);
  let err = "";
  child.stderr.on("data", (chunk: Buffer) => (err += chunk.toString()));
  const exit = once(child, "close").then(([code]) => ({ code: code as number | null, err }));
  return { child, exit };
}

it.each(["SIGINT", "SIGTERM"] as const)("listen exits with 0 and a clean close on %s", async (signal) => {
  const { child, exit } = petrel(["listen", "alice"]);
  const socket = await node.accept(10_000);
  socket.welcome();
  socket.message(1);
  await once(child.stdout, "data");
  child.kill(signal);
  expect((await exit).code).toBe(0);
  expect(await socket.closed).toMatchObject({ code: 1000 });
  expect(socket.frames).toContainEqual({ type: "ack", seq: 1 });
});

it("listen exits with 0 when its reader has gone", async () => {
  const { child, exit } = petrel(["listen", "alice"]);
  const socket = await node.accept(10_000);
  socket.welcome();
  child.stdout.destroy();
  socket.message(1);
  expect(await exit).toMatchObject({ code: 0 });
});

it("listen acknowledges nothing that its reader did not read", async () => {
  const { child, exit } = petrel(["listen", "alice", "--json"]);
  const socket = await node.accept(10_000);
  socket.welcome();
  socket.message(1);
  expect(await socket.next("ack")).toEqual({ type: "ack", seq: 1 });
  // As `head -1` does once it has its line.
  child.stdout.destroy();
  await once(child.stdout, "close");
  for (const seq of [2, 3]) socket.message(seq);
  expect(await exit).toMatchObject({ code: 0 });
  await socket.closed;
  expect(socket.frames).toEqual([{ type: "ack", seq: 1 }]);
});

it("passes on the exit code", async () => {
  expect(await petrel(["nothing"]).exit).toMatchObject({ code: 2 });
  expect(await petrel(["--version"]).exit).toMatchObject({ code: 0, err: "" });
});

it("reports a missing build", async () => {
  const directory = mkdtempSync(join(tmpdir(), "petrel-bin-"));
  try {
    cpSync(bin, join(directory, "bin"), { recursive: true });
    const { exit } = petrel(["--version"], join(directory, "bin", "petrel.js"));
    expect(await exit).toEqual({
      code: 1,
      err: "petrel: not built yet. Run `npm ci && npm run build` in Petrel's directory first.\n",
    });
  } finally {
    rmSync(directory, { recursive: true });
  }
});
