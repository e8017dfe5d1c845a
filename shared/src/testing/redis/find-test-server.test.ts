// Tests that a test runs on the requested server, never silently on another.
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { probeRedis } from "../../embedded-redis/resp-probe.js";
import { findTestServer } from "./find-test-server.js";
import { furtherServerPath, furtherServers, isInstalled } from "./further-servers.js";
import { startRedis } from "./start-redis.js";

test("finds a server by its path", async () => {
  const directory = await mkdtemp(join(tmpdir(), "petrel-server-"));
  const path = join(directory, "any-name");
  await writeFile(path, `#!/bin/sh\necho "Redis server v=7.4.1 sha=0"\n`, { mode: 0o755 });
  const environment = { ...process.env, PETREL_TEST_REDIS_SERVER: path };
  expect(await findTestServer(environment)).toMatchObject({ path, version: "7.4.1" });
  await rm(directory, { recursive: true });
});

test.each(furtherServers)("finds $name by its name, if installed", async (server) => {
  const found = findTestServer({ ...process.env, PETREL_TEST_REDIS_SERVER: server.name });
  if (isInstalled(server)) expect(await found).toMatchObject({ path: furtherServerPath(server) });
  else await expect(found).rejects.toThrow(`${server.name} is not installed: npm run test:install-servers`);
});

test("refuses by name what is not a server", async () => {
  for (const asked of ["valkey-1.0", "/bin/true", "/nowhere"]) {
    await expect(findTestServer({ ...process.env, PETREL_TEST_REDIS_SERVER: asked })).rejects.toThrow(
      `PETREL_TEST_REDIS_SERVER=${asked} is no server that runs here; give one of redis-8.2, valkey-9.1`,
    );
  }
});

test("a test starts that server", async () => {
  const { version } = await findTestServer(process.env);
  const redis = await startRedis();
  const [info] = await probeRedis(redis.url, [["INFO", "server"]]);
  expect(info).toMatch(new RegExp(`^(redis|valkey)_version:${version}\r$`, "m"));
  await redis.stop();
});
