// Makes the secrets of docker-compose.yml.
// Guarantees: every named secret, in the form that the services take; nobody else may read them; nothing is
// overwritten.
import { execFileSync, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { runtimeEnvironment } from "@petrel/shared/embedded-redis/inspect-server";
import { probeRedis, RespError } from "@petrel/shared/embedded-redis/resp-probe";
import { freePort } from "@petrel/shared/testing/free-port";
import { findTestServer } from "@petrel/shared/testing/redis/find-test-server";
import { startRedis } from "@petrel/shared/testing/redis/start-redis";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { parseKnownKeys } from "../../deploy/local/src/apns-simulator/state/known-keys.js";
import { readProducerKeysFile } from "../../services/auth/src/keys/read-producer-keys-file.js";
import { readCompose } from "../support/containers/read-compose.js";

const root = fileURLToPath(new URL("../..", import.meta.url));
const read = (path: string): string => readFileSync(join(root, path), "utf8");
const compose = readCompose(read("docker-compose.yml"));

describe("make-secrets", () => {
  let parent: string;
  let directory: string;
  const makeSecrets = (...args: string[]) =>
    spawnSync(process.execPath, [join(root, "deploy/docker/make-secrets.mjs"), ...args], {
      encoding: "utf8",
    });

  beforeAll(() => {
    parent = mkdtempSync(join(tmpdir(), "petrel-secrets-"));
    directory = join(parent, "secrets");
    expect(makeSecrets("--host", "push.example.com", directory).stderr).toBe("");
  });
  afterAll(() => rmSync(parent, { recursive: true, force: true }));

  test("makes every file that docker-compose.yml names, readable by their owner and the containers", () => {
    const names = Object.values(compose.secrets).map(({ file }) =>
      file.replace("./deploy/docker/secrets/", ""),
    );
    // The administrator's own key is for no container.
    expect(readdirSync(directory).sort()).toEqual([...names, "admin-key"].sort());
    expect(statSync(directory).mode & 0o777).toBe(0o700);
    for (const name of names) expect(statSync(join(directory, name)).mode & 0o777, name).toBe(0o444);
  });

  test("makes files the services accept", () => {
    const keys = readProducerKeysFile(join(directory, "producer-keys.json"));
    expect(keys.map(({ scopes }) => scopes.includes("admin"))).toEqual([false, true]);
    for (const [i, name] of ["api-key", "admin-key"].entries()) {
      expect(readFileSync(join(directory, name), "utf8")).toMatch(
        new RegExp(`^${keys[i]?.id}\\.[A-Za-z0-9_-]{43}\\n$`),
      );
    }
    expect(Buffer.from(readFileSync(join(directory, "key-encryption"), "utf8"), "base64")).toHaveLength(32);
    const known = parseKnownKeys(readFileSync(join(directory, "apns-known-keys.json"), "utf8"));
    const environment = read("deploy/docker/simulators.env");
    for (const [keyId, { teamId }] of known) {
      expect(environment).toContain(`APNS_KEY_ID=${keyId}\nAPNS_TEAM_ID=${teamId}\n`);
    }
    const names = execFileSync(
      "openssl",
      ["x509", "-in", join(directory, "proxy-certificate.pem"), "-noout", "-ext", "subjectAltName"],
      { encoding: "utf8" },
    );
    expect(names).toContain("DNS:push.example.com");
  });

  test("makes Redis users that a server accepts: the services', the operator's, and two for monitoring", async () => {
    const redis = await startRedis();
    try {
      const users = readFileSync(join(directory, "redis-users"), "utf8").trimEnd().split("\n");
      const password = readFileSync(join(directory, "redis-password"), "utf8");
      // In one go: afterwards a client without a password may no longer do this.
      const commands = users.reverse().map((line) => ["ACL", "SETUSER", ...line.split(" ").slice(1)]);
      expect(await probeRedis(redis.url, commands)).toEqual(Array.from(users, () => "OK"));
      const asked0 = [["PING"], ["GET", "petrel:a"], ["INFO"], ["FLUSHALL"]];
      for (const refused of await probeRedis(redis.url, asked0)) expect(refused).toBeInstanceOf(RespError);
      // As the health checks of docker-compose.yml and of k8s/overlays/dev do it.
      const healthy = await probeRedis(redis.url.replace("redis://", "redis://health:none@"), asked0);
      expect(healthy[0]).toBe("PONG");
      for (const refused of healthy.slice(1)) expect(refused).toBeInstanceOf(RespError);
      const own = redis.url.replace("redis://", `redis://petrel:${password}@`);
      const known = await probeRedis(own, [
        ["SET", "petrel:a", "1"],
        ["GET", "other"],
        ["FLUSHALL"],
        ["CONFIG", "SET", "dir", "/"],
      ]);
      expect(known[0]).toBe("OK");
      for (const refused of known.slice(1)) expect(refused).toBeInstanceOf(RespError);
      const [monitor0] = Object.entries(
        JSON.parse(readFileSync(join(directory, "redis-monitor-password.json"), "utf8")) as Record<
          string,
          string
        >,
      );
      const [monitoredUrl, monitorPassword] = monitor0 ?? ["", ""];
      // redis-exporter looks its password up by the address with REDIS_USER in it.
      const { REDIS_ADDR: address = "", REDIS_USER: user = "" } =
        compose.services["redis-exporter"]?.environment ?? {};
      expect(monitoredUrl).toBe(address.replace("redis://", `redis://${user}@`));
      const monitor = await probeRedis(redis.url.replace("redis://", `redis://${user}:${monitorPassword}@`), [
        ["INFO", "memory"],
        ["SLOWLOG", "LEN"],
        ["GET", "petrel:a"],
        ["SET", "petrel:a", "2"],
      ]);
      expect(monitor.map((one) => one instanceof RespError)).toEqual([false, false, true, true]);
      const operatorPassword = readFileSync(join(directory, "redis-operator-password"), "utf8");
      // The words after the function's name, as in docs/operate/operations.md.
      const asked = [...read("docs/operate/operations.md").matchAll(/^(?:\d\. )?`?redis_cli ([^|`#\n]+)/gm)];
      expect(asked.length).toBeGreaterThanOrEqual(4);
      const answers = await probeRedis(
        redis.url.replace("redis://", `redis://operator:${operatorPassword}@`),
        asked.map(([, words = ""]) => words.trim().replaceAll("'", "").split(" ")),
      );
      expect(answers.filter((one) => one instanceof RespError)).toEqual([]);
    } finally {
      await redis.stop();
    }
  });

  test("a Redis with these users still has what scripts wrote after a restart", async () => {
    const binary = await findTestServer(process.env);
    const [port, data] = [await freePort(), join(parent, "data")];
    mkdirSync(data);
    const args = ["--port", String(port), "--bind", "127.0.0.1", "--dir", data, "--appendonly", "yes"];
    const start = async (): Promise<() => Promise<unknown>> => {
      const server = spawn(
        binary.path,
        [...args, "--save", "", "--aclfile", join(directory, "redis-users")],
        {
          env: { ...runtimeEnvironment(binary, process.env) },
          stdio: "ignore",
        },
      );
      const ended = once(server, "exit");
      const isUp = async () =>
        (await probeRedis(`redis://health:none@127.0.0.1:${port}`, [["PING"]]))[0] === "PONG";
      await waitFor(isUp, { what: "Redis to answer" });
      return () => (server.kill("SIGTERM"), ended);
    };
    const password = readFileSync(join(directory, "redis-password"), "utf8");
    const ask = (...words: string[]) => probeRedis(`redis://petrel:${password}@127.0.0.1:${port}`, [words]);
    const script = "redis.call('SET', KEYS[1], '1') redis.call('SET', KEYS[2], '2') return 'written'";
    let stop = await start();
    try {
      expect(await ask("EVAL", script, "2", "petrel:a", "petrel:b")).toEqual(["written"]);
      await stop();
      stop = await start();
      expect(await ask("MGET", "petrel:a", "petrel:b")).toEqual([["1", "2"]]);
    } finally {
      await stop();
      rmSync(data, { recursive: true });
    }
  });

  test("overwrites nothing, and leaves nothing behind if it fails", () => {
    const before = readFileSync(join(directory, "key-encryption"), "utf8");
    expect(makeSecrets(directory)).toMatchObject({
      status: 1,
      stderr: expect.stringContaining("is there already") as string,
    });
    expect(readFileSync(join(directory, "key-encryption"), "utf8")).toBe(before);
    expect(makeSecrets("--host", "a/b", join(parent, "other")).status).toBe(1);
    expect(readdirSync(parent)).toEqual(["secrets"]);
  });
});
