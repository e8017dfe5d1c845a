// Flow: examples/python-client, written from docs/receive/protocol.md alone, against real processes.
// Guarantees: the page suffices for a client in another language: backlog, live messages, acks, resume, a fresh token,
// a drain, and the meaning of each close code. Without the Python package (`.ci/run` installs it) the test is visibly
// skipped; PETREL_REQUIRE_PYTHON_CLIENT=1 makes that a failure.
import { execFileSync, spawn, spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { closeCodes } from "@petrel/shared/protocol/frames/close-codes";
import { startCluster, type TestCluster } from "@petrel/shared/testing/cluster/start-cluster";
import type { ServiceProcess } from "@petrel/shared/testing/cluster/service-process";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { openClient } from "@petrel/shared/testing/peers/ws-client";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { nextStep } from "../../clients/browser/src/connection/close-policy.js";

const directory = fileURLToPath(new URL("../../examples/python-client", import.meta.url));
/** In its own environment, or wherever the path leads. */
const installed = fileURLToPath(new URL("../../.cache/python-client/bin/python", import.meta.url));
const python = existsSync(installed) ? installed : "python3";
const isInstalled = spawnSync(python, ["-c", "import petrel_client"], { cwd: directory }).status === 0;
const isRequired = process.env["PETREL_REQUIRE_PYTHON_CLIENT"] === "1";
if (!isInstalled && !isRequired) {
  process.stdout.write(
    "Python's websockets is not installed: the Python client is not tried (.ci/run installs it)\n",
  );
}

interface Shown {
  readonly event: string;
  readonly [field: string]: unknown;
}

interface PythonClient {
  readonly events: readonly Shown[];
  readonly named: (event: string) => readonly Shown[];
  readonly handled: () => readonly unknown[];
  /** Resolves when the process has ended. */
  readonly ended: Promise<number | null>;
  readonly kill: () => void;
}

const DEADLINE = { deadlineMs: 90_000 };

describe.runIf(isInstalled || isRequired)("the Python client", { timeout: 300_000 }, () => {
  let cluster: TestCluster;
  const running = new Set<PythonClient>();
  beforeAll(async () => {
    cluster = await startCluster({
      together: (name) => !name.startsWith("push-node"),
      nodes: 2,
      environment: { DRAIN_WINDOW_MS: "2000" },
    });
  }, 180_000);
  afterAll(async () => {
    for (const client of running) client.kill();
    await cluster?.stop();
  });

  async function signIn(
    userId: string,
    ttlSeconds = 3_600,
  ): Promise<{ accessToken: string; refreshToken: string }> {
    const answer = await fetch(`${cluster.auth.url}/v1/tokens`, {
      method: "POST",
      headers: { authorization: `Bearer ${cluster.apiKey}`, "content-type": "application/json" },
      body: JSON.stringify({ userId, ttlSeconds }),
    });
    return (await answer.json()) as { accessToken: string; refreshToken: string };
  }

  function listen(
    token: string,
    refreshToken: string,
    urls: readonly string[] = cluster.nodeUrls,
  ): PythonClient {
    const child = spawn(python, ["listen.py"], {
      cwd: directory,
      env: {
        PATH: process.env["PATH"],
        PYTHONDONTWRITEBYTECODE: "1",
        PETREL_URLS: urls.join(","),
        PETREL_AUTH_URL: cluster.auth.url,
        PETREL_TOKEN: token,
        PETREL_REFRESH_TOKEN: refreshToken,
      },
      stdio: ["ignore", "pipe", "inherit"],
    });
    const events: Shown[] = [];
    createInterface({ input: child.stdout }).on("line", (line) => events.push(JSON.parse(line) as Shown));
    const named = (event: string): Shown[] => events.filter((one) => one.event === event);
    const client: PythonClient = {
      events,
      named,
      handled: () => named("handled").map(({ data }) => data),
      ended: new Promise((resolve) => child.once("close", resolve)),
      kill: () => child.kill("SIGKILL"),
    };
    running.add(client);
    void client.ended.then(() => running.delete(client));
    return client;
  }

  const send = async (user: string, data: unknown): Promise<string> =>
    ((await cluster.post("/v1/messages", { to: { user }, data })) as { id: string }).id;

  async function stateOf(id: string): Promise<unknown> {
    const answer = await fetch(`${cluster.collect.url}/v1/messages/${id}`, {
      headers: { authorization: `Bearer ${cluster.apiKey}` },
    });
    return ((await answer.json()) as { state: unknown }).state;
  }

  /** The process that sent the newest `welcome`. */
  function nodeOf(client: PythonClient): ServiceProcess {
    const node = String(client.named("welcome").at(-1)?.["node"]);
    const found = cluster.nodes.find(({ name }) => node.startsWith(`${name}.`));
    if (found === undefined) throw new Error(`no node ${node}`);
    return cluster.newest(found.name);
  }

  test("gets its backlog and live messages, in order, and acknowledges both", async () => {
    const ids = [await send("py-live", 1), await send("py-live", 2)];
    const { accessToken, refreshToken } = await signIn("py-live");
    const client = listen(accessToken, refreshToken);
    await waitFor(() => client.handled().length === 2, { what: "the backlog", ...DEADLINE });
    ids.push(await send("py-live", 3));
    await waitFor(() => client.handled().length === 3, { what: "the live message", ...DEADLINE });
    expect(client.handled()).toEqual([1, 2, 3]);
    for (const id of ids) {
      await waitFor(async () => (await stateOf(id)) === "delivered", { what: "the ack", ...DEADLINE });
    }
    client.kill();
  });

  test("comes back after its node died, resumes, and hands over nothing twice", async () => {
    const { accessToken, refreshToken } = await signIn("py-crash");
    const client = listen(accessToken, refreshToken);
    await send("py-crash", 1);
    await waitFor(() => client.handled().length === 1, { what: "the first message", ...DEADLINE });
    const node = nodeOf(client);
    node.signal("SIGKILL");
    await node.exited;
    await send("py-crash", 2);
    await waitFor(() => client.handled().length === 2, { what: "the message sent meanwhile", ...DEADLINE });
    await cluster.startAgain(node);
    expect(client.handled()).toEqual([1, 2]);
    expect(client.named("closed")[0]).toMatchObject({ code: 1006 });
    expect(client.named("welcome").at(-1)).toMatchObject({ resumed: true, after: 1 });
    client.kill();
  });

  test("renews its token over the open connection", async () => {
    const { accessToken, refreshToken } = await signIn("py-token", 20);
    const client = listen(accessToken, refreshToken);
    await waitFor(() => client.named("token_accepted").length > 0, { what: "a fresh token", ...DEADLINE });
    expect(client.named("welcome")).toHaveLength(1);
    expect(client.named("closed")).toEqual([]);
    client.kill();
  });

  test("moves when its node stops, and loses nothing", async () => {
    const { accessToken, refreshToken } = await signIn("py-drain");
    const client = listen(accessToken, refreshToken);
    await waitFor(() => client.named("welcome").length === 1, { what: "the welcome", ...DEADLINE });
    const node = nodeOf(client);
    node.signal("SIGTERM");
    const sent: number[] = [];
    for (let i = 0; client.named("welcome").length < 2; i++) {
      expect(i).toBeLessThan(5_000);
      await send("py-drain", i);
      sent.push(i);
      await sleep(10);
    }
    await waitFor(() => client.handled().length === sent.length, { what: "all that was sent", ...DEADLINE });
    expect(client.handled()).toEqual(sent);
    expect(client.named("reconnect")).toMatchObject([{ reason: "PETREL_SHUTTING_DOWN" }]);
    expect(client.named("welcome").at(-1)).toMatchObject({ resumed: true });
    // On a machine too busy for the overlap, the old socket ends first; that costs no message either.
    for (const closed of client.named("closed")) expect(closed).toMatchObject({ code: 1012 });
    await node.exited;
    await cluster.startAgain(node);
    client.kill();
  });

  test("4401: gets a fresh token and is welcomed", async () => {
    const { accessToken, refreshToken } = await signIn("py-expired");
    const bad = `${accessToken.slice(0, -4)}AAAA`;
    const client = listen(bad, refreshToken);
    await waitFor(() => client.named("welcome").length === 1, { what: "the welcome", ...DEADLINE });
    expect(client.named("closed")).toMatchObject([{ code: 4401, error: { code: "PETREL_TOKEN_INVALID" } }]);
    client.kill();
  });

  test("4403 and 4409: stops", async () => {
    const one = await signIn("py-revoked");
    const revoked = listen(one.accessToken, one.refreshToken);
    await waitFor(() => revoked.named("welcome").length === 1, { what: "the welcome", ...DEADLINE });
    await fetch(`${cluster.auth.url}/v1/tokens/revoke`, {
      method: "POST",
      headers: { authorization: `Bearer ${one.accessToken}` },
    });
    expect(await revoked.ended).toBe(0);
    expect(revoked.named("closed")).toMatchObject([{ code: 4403, error: { code: "PETREL_TOKEN_REVOKED" } }]);

    const two = await signIn("py-replaced");
    const replaced = listen(two.accessToken, two.refreshToken);
    await waitFor(() => replaced.named("welcome").length === 1, { what: "the welcome", ...DEADLINE });
    const others = Array.from({ length: 5 }, () =>
      openClient({ url: cluster.nodeUrls[0] ?? "", token: two.accessToken }),
    );
    expect(await replaced.ended).toBe(0);
    expect(replaced.named("closed")).toMatchObject([{ code: 4409 }]);
    for (const other of others) other.close();
  });

  test("treats each close code as the JavaScript client does", () => {
    const steps = JSON.parse(
      execFileSync(python, ["-c", "import json, petrel_client as p; print(json.dumps(p.STEPS))"], {
        cwd: directory,
        encoding: "utf8",
      }),
    ) as Record<string, string>;
    for (const code of [...Object.values(closeCodes), 4999]) {
      expect([code, steps[code] ?? "backoff"]).toEqual([code, nextStep(code)]);
    }
  });
});
