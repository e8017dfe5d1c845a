// Flow: the examples of senders, as their READMEs run them, against real services.
// Guarantees: what each says it sends is stored; what it must refuse is refused.
import { execFile, spawn } from "node:child_process";
import { createHmac } from "node:crypto";
import { fileURLToPath } from "node:url";
import { createInterface } from "node:readline";
import { promisify } from "node:util";
import { freePort } from "@petrel/shared/testing/free-port";
import { startCluster, type TestCluster } from "@petrel/shared/testing/cluster/start-cluster";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { afterAll, beforeAll, expect, test } from "vitest";

const at = (path: string): string => fileURLToPath(new URL(`../../examples/${path}`, import.meta.url));
const WEBHOOK_KEY = Buffer.from("a secret of an example, 32 bytes");
let cluster: TestCluster;

beforeAll(async () => {
  cluster = await startCluster({
    together: true,
    nodes: 1,
    environment: { WEBHOOK_ALLOW_PRIVATE: "true" },
  });
});
afterAll(() => cluster?.stop());

const environment = (more: Readonly<Record<string, string>> = {}): NodeJS.ProcessEnv => ({
  PATH: process.env["PATH"],
  PETREL_COLLECT: cluster.collect.url,
  PETREL_KEY: cluster.apiKey,
  ...more,
});

async function storedFor(user: string): Promise<readonly { readonly id: string; readonly data: unknown }[]> {
  const headers = { authorization: `Bearer ${cluster.apiKey}` };
  const response = await fetch(`${cluster.collect.url}/v1/users/${user}/messages`, { headers });
  return ((await response.json()) as { items: { id: string; data: unknown }[] }).items;
}

test("the Python producer signs its requests", async () => {
  const args = [at("python-producer/send.py"), "hello, ä", "py-1", "py-2"];
  const { stdout } = await promisify(execFile)("python3", args, { env: environment() });
  const [one] = await storedFor("py-1");
  const [two] = await storedFor("py-2");
  expect(stdout).toBe(`py-1 ${one?.id} queued\npy-2 ${two?.id} queued\n`);
  expect(one?.data).toEqual({ text: "hello, ä" });
  const wrong = { PETREL_KEY: `${cluster.apiKey}x` };
  await expect(promisify(execFile)("python3", args, { env: environment(wrong) })).rejects.toThrow(
    "PETREL_SIGNATURE_INVALID",
  );
});

test("the webhook receiver gets what Petrel posts, once, and nobody else's posts", async () => {
  const port = await freePort();
  const url = `http://127.0.0.1:${port}/`;
  const webhooks = `${cluster.dispatchers[0]?.url}/v1/webhooks`;
  const asked = {
    method: "POST",
    headers: { authorization: `Bearer ${cluster.adminKey}`, "content-type": "application/json" },
  };
  const created = await fetch(webhooks, { ...asked, body: JSON.stringify({ url }) });
  const { id: webhook, secret } = (await created.json()) as { id: string; secret: string };
  const receiver = spawn(process.execPath, [at("webhook-receiver/receive.mjs")], {
    env: environment({ PORT: String(port), PETREL_WEBHOOK_SECRET: secret }),
    stdio: ["ignore", "pipe", "inherit"],
  });
  const lines: string[] = [];
  createInterface({ input: receiver.stdout }).on("line", (line) => void lines.push(line));
  try {
    await waitFor(() => lines.some((line) => line.startsWith("listening")), { what: "the receiver" });
    expect((await fetch(url, { method: "POST", body: "{}" })).status).toBe(401);
    const { id } = (await cluster.post("/v1/messages", {
      to: { user: "taken-back" },
      data: 1,
      fallback: "never",
    })) as { id: string };
    const headers = { authorization: `Bearer ${cluster.apiKey}` };
    expect(
      (await fetch(`${cluster.collect.url}/v1/messages/${id}`, { method: "DELETE", headers })).status,
    ).toBe(204);
    await waitFor(() => lines.some((line) => line.includes(id)), { what: "the event", deadlineMs: 60_000 });
    // Delivered again, as after a crash of ours.
    const attempts = async (): Promise<number> => {
      const answer = await fetch(`${webhooks}/${webhook}/attempts`, { headers: asked.headers });
      const { items } = (await answer.json()) as { items: readonly { status?: number }[] };
      return items.filter(({ status }) => status === 204).length;
    };
    const before = await waitFor(attempts, { what: "its delivery to be noted" });
    const after = new Date(Date.now() - 60_000).toISOString();
    await fetch(`${webhooks}/${webhook}/replay`, { ...asked, body: JSON.stringify({ after }) });
    await waitFor(async () => (await attempts()) > before, { what: "the replay", deadlineMs: 60_000 });
    expect(lines.filter((line) => line.includes(id))).toEqual([
      expect.stringMatching(new RegExp(`^\\S+Z message.cancelled taken-back ${id}$`)),
    ]);
  } finally {
    receiver.kill();
  }
});

test("the order-status backend sends each status once, and accepts only what Petrel has signed", async () => {
  const port = await freePort();
  const backend = spawn(process.execPath, [at("order-status/orders.mjs")], {
    env: environment({
      PORT: String(port),
      PETREL_WEBHOOK_SECRET: `whsec_${WEBHOOK_KEY.toString("base64")}`,
    }),
    stdio: ["ignore", "pipe", "inherit"],
  });
  const lines: string[] = [];
  createInterface({ input: backend.stdout }).on("line", (line) => void lines.push(line));
  try {
    await waitFor(() => lines.some((line) => line.startsWith("listening")), { what: "the backend" });
    const tell = async (status: string): Promise<number> => {
      const body = JSON.stringify({ user: "buyer", status });
      return (await fetch(`http://127.0.0.1:${port}/orders/4711/status`, { method: "POST", body })).status;
    };
    expect([await tell("packed"), await tell("packed"), await tell("on its way")]).toEqual([202, 202, 202]);
    // Collapsed: the customer was away.
    expect((await storedFor("buyer")).map(({ data }) => data)).toEqual([
      { order: "4711", status: "on its way" },
    ]);

    const items = [{ id: "e1", type: "message.expired", user: "buyer", message: "m1" }];
    const event = JSON.stringify({ type: "events", data: { items } });
    const hear = async (body: string): Promise<number> => {
      const timestamp = String(Math.floor(Date.now() / 1_000));
      const signature = createHmac("sha256", WEBHOOK_KEY)
        .update(`msg_1.${timestamp}.${event}`)
        .digest("base64");
      const headers = {
        "webhook-id": "msg_1",
        "webhook-timestamp": timestamp,
        "webhook-signature": `v1,${signature}`,
      };
      return (await fetch(`http://127.0.0.1:${port}/petrel`, { method: "POST", headers, body })).status;
    };
    expect([await hear(event), await hear(event), await hear(event.replace("m1", "m2"))]).toEqual([
      204, 204, 401,
    ]);
    await waitFor(() => lines.some((line) => line.startsWith("heard")), { what: "the event" });
    expect(lines.filter((line) => line.startsWith("heard"))).toEqual(["heard message.expired buyer m1"]);
  } finally {
    backend.kill();
  }
});
