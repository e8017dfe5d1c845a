// Tests what is said of ports that cannot be had.
import { createServer, type Server } from "node:net";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort } from "@petrel/shared/testing/free-port";
import { afterEach, expect, test } from "vitest";
import { checkPorts } from "./check-ports.js";
import { readEphemeralPorts } from "./ephemeral-ports.js";

let server: Server | undefined;

afterEach(() => {
  server?.close();
  server = undefined;
});

async function takenPort(): Promise<number> {
  const port = await freePort();
  await new Promise<void>((resolve) => {
    server = createServer().listen(port, "127.0.0.1", resolve);
  });
  return port;
}

test("says what to do about a port in use", async () => {
  const port = await takenPort();
  await expect(checkPorts([{ port, by: "auth" }], { first: port + 1, last: 65_535 })).rejects.toThrow(
    new RegExp(
      `^port ${port} \\(auth\\) is in use: stop what listens there, or set PETREL_PORT_BASE to another base$`,
    ),
  );
});

test("explains why a port in the range of outgoing connections may be taken again, though the run's others are not", async () => {
  const port = await takenPort();
  const free = await freePort();
  for (const range of [
    { first: port, last: port },
    { first: port - 10, last: port + 10 },
  ]) {
    await expect(
      checkPorts(
        [
          { port, by: "auth" },
          { port: free, by: "collect" },
        ],
        range,
      ),
    ).rejects.toThrow(
      `port ${port} (auth) is in use: from ${range.first} to ${range.last} the system gives ports to outgoing ` +
        "connections, so that one may be taken at any moment: set PETREL_PORT_BASE so that all ports lie outside",
    );
  }
});

test("says nothing about free ports", async () => {
  const port = await freePort();
  await checkPorts([{ port, by: "auth" }], { first: 1, last: 65_535 });
});

test("reads the kernel's range", async () => {
  const directory = await mkdtemp(join(tmpdir(), "petrel-ports-"));
  const file = join(directory, "range");
  await writeFile(file, "32768\t60999\n");
  expect(await readEphemeralPorts(file)).toEqual({ first: 32_768, last: 60_999 });
  await rm(directory, { recursive: true });
  expect(await readEphemeralPorts(file)).toBeUndefined();
});
