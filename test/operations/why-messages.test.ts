// Flow: ten messages, each on another way, and what `petrel why` says of them.
// Guarantees: each sentence is compared with what was done and seen outside: the phone, the socket, the clock.
import {
  startApnsSimulator,
  type TestApnsSimulator,
} from "@petrel/shared/testing/cluster/start-apns-simulator";
import { startCluster, type TestCluster } from "@petrel/shared/testing/cluster/start-cluster";
import { connectClient, type WsClient } from "@petrel/shared/testing/peers/ws-client";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { callCluster, readState, registerPhone } from "../support/phones/cluster-with-phones.js";
import { runCli } from "../support/clients/run-cli.js";

const notification = { title: "You have mail", body: "from Bob" };
const LIMIT_PER_WINDOW = 10;

let simulator: TestApnsSimulator;
let cluster: TestCluster;
const clients: WsClient[] = [];
beforeAll(async () => {
  simulator = await startApnsSimulator();
  cluster = await startCluster({
    together: true,
    nodes: 1,
    environment: {
      ...simulator.environment,
      ACK_TIMEOUT_MS: "1000",
      OFFLINE_SETTLE_MS: "100",
      FALLBACK_RETRY_BASE_MS: "3000",
      FALLBACK_RETRY_CAP_MS: "3000",
      MESSAGES_PER_USER_PER_SECOND: String(LIMIT_PER_WINDOW / 10),
    },
  });
}, 180_000);
afterAll(async () => {
  for (const client of clients) client.close();
  await cluster?.stop();
  await simulator?.stop();
});

async function send(user: string, more: object = {}): Promise<string> {
  const answer = await cluster.post("/v1/messages", { to: { user }, data: 1, ...more });
  return (answer as { id: string }).id;
}

async function connect(user: string): Promise<WsClient> {
  const [url = ""] = cluster.nodeUrls;
  const client = await connectClient({ url, token: await cluster.tokenFor(user) });
  clients.push(client);
  return client;
}

interface Why {
  readonly why: readonly string[];
  readonly state: string;
  readonly acceptedAt: string;
  readonly timeline: readonly { readonly at: string; readonly event: string; readonly outcome?: string }[];
}

async function why(id: string): Promise<Why> {
  const { code, out } = await runCli(cluster, ["why", id, "--json"]);
  expect([code, out.length]).toEqual([0, 1]);
  return JSON.parse(out[0] ?? "") as Why;
}

const until = (id: string, state: string) =>
  waitFor(async () => (await readState(cluster, id)).state === state, {
    what: `${id} to be ${state}`,
    deadlineMs: 60_000,
  });
const untilAttempt = (id: string, outcome: string) =>
  waitFor(async () => (await readState(cluster, id)).timeline.some((event) => event.outcome === outcome), {
    what: `an attempt: ${outcome}`,
    deadlineMs: 60_000,
  });
const tokenOf = (n: number) => n.toString(16).padStart(64, "0");

describe("petrel why", () => {
  test("1. delivered late: says how late, and since when its user has been connected", async () => {
    const id = await send("late");
    const client = await connect("late");
    await client.untilMessages(1);
    client.ack(1);
    await until(id, "delivered");
    const { why: said, acceptedAt, timeline } = await why(id);
    const deliveredAt = timeline.find(({ event }) => event === "delivered")?.at ?? "";
    const lateMs = Date.parse(deliveredAt) - Date.parse(acceptedAt);
    expect(said[0]).toMatch(/^Delivered: a client acknowledged it \S+ (ms|s|min) after it was accepted\.$/);
    expect(msOf(said[0] ?? "")).toBeCloseTo(lateMs, -2);
    expect(said.join(" ")).toMatch(
      /The oldest connection that late has now began .* after it was accepted\./,
    );
    expect(said.at(-1)).toBe("Not pushed: it has no notification to push.");
  });

  test("… not pushed: acknowledged before the channel was to be asked again", async () => {
    await registerPhone(cluster, "quick", tokenOf(1));
    await simulator.setAnswer(tokenOf(1), { status: 503, reason: "ServiceUnavailable" });
    const id = await send("quick", { notification });
    await untilAttempt(id, "retry");
    const open = await why(id);
    expect(open.state).toBe("queued");
    expect(open.why.join(" ")).toMatch(
      /Not pushed by apns yet: \d+ attempts?, .*ServiceUnavailable.* tried again/,
    );
    const client = await connect("quick");
    await client.untilMessages(1);
    client.ack(1);
    const seen = await waitFor(
      async () => {
        const { why: said } = await why(id);
        return said.some((sentence) => sentence.startsWith("Not pushed: acknowledged")) ? said : undefined;
      },
      { what: "the look that finds it acknowledged", deadlineMs: 60_000 },
    );
    expect(seen.join(" ")).toMatch(/Not pushed: acknowledged \S+ (ms|s|min) before apns was to be asked\./);
    // A retry waits for a random part of its time: there may have been another one before the acknowledgement.
    expect(seen.join(" ")).toMatch(/Not pushed by apns: \d+ attempts?,/);
    expect(await simulator.notifications(tokenOf(1))).toEqual([]);
  });

  test("2. pushed: names the channel; the phone has it", async () => {
    await registerPhone(cluster, "phone", tokenOf(2));
    const id = await send("phone", { notification });
    await until(id, "pushed");
    expect(await simulator.notifications(tokenOf(2))).toHaveLength(1);
    const { why: said } = await why(id);
    expect(said[0]).toBe("Pushed, and not acknowledged by a client since.");
    expect(said).toContain("phone is not connected.");
    expect(said.at(-1)).toMatch(
      /^Pushed: apns took it \S+ \S+ after it was accepted; nobody had acknowledged it/,
    );
  });

  test("3. no device", async () => {
    const id = await send("deviceless", { notification });
    await untilAttempt(id, "no-device");
    const { why: said, state } = await why(id);
    expect(state).toBe("queued");
    expect(said.join(" ")).toMatch(/^Open: .*Not pushed by apns: deviceless had no device for it at /);
  });

  test("4. never: says that it was sent with that policy", async () => {
    await registerPhone(cluster, "quiet", tokenOf(4));
    const id = await send("quiet", { notification, fallback: "never" });
    const { why: said } = await why(id);
    expect(said.at(-1)).toBe('It will not be pushed: it was sent with fallback "never".');
  });

  test("5. expired: nobody acknowledged it; says what can no longer be told apart", async () => {
    const id = await send("gone", { notification, fallback: "never", ttlSeconds: 1 });
    await until(id, "expired");
    const { why: said } = await why(id);
    expect(said[0]).toMatch(/^Expired: nobody acknowledged it before its TTL was over, at /);
    expect(said.at(-1)).toMatch(/fallback "never", or without a notification, .* no longer stored\.$/);
  });

  test("6. superseded by a newer message with its collapse key", async () => {
    const older = await send("scores", { collapseKey: "score" });
    const newer = await send("scores", { collapseKey: "score" });
    expect((await why(older)).why[0]).toMatch(/^Superseded .*: A newer message with the same collapse key/);
    expect((await why(newer)).why[0]).toMatch(/^Open: /);
  });

  test("7. dead letter: says why", async () => {
    await registerPhone(cluster, "refused", tokenOf(7));
    await simulator.setAnswer(tokenOf(7), { status: 413, reason: "PayloadTooLarge" });
    const id = await send("refused", { notification });
    await until(id, "failed");
    const { why: said } = await why(id);
    expect(said[0]).toMatch(/^Failed .* after it was accepted: rejected\. .*PayloadTooLarge/);
  });

  test("8. limited: it is due, and its user's limit holds it back", async () => {
    for (let i = 0; i < LIMIT_PER_WINDOW; i++) await send("eager");
    const refused = await callCluster(cluster, "POST", `${cluster.collect.url}/v1/messages`, {
      to: { user: "eager" },
      data: 1,
    });
    expect(refused.status).toBe(429);
    const id = await send("eager", { deliverAt: new Date(Date.now() + 500).toISOString() });
    const said = await waitFor(
      async () => {
        const { why: now } = await why(id);
        return now[0]?.startsWith("Limited: ") === true ? now[0] : undefined;
      },
      { what: "it to be put off", deadlineMs: 60_000 },
    );
    expect(said).toMatch(
      /its user got as many messages as MESSAGES_PER_USER_PER_SECOND allows\. It is tried again/,
    );
    const againAt = /tried again at (\S+Z)\.$/.exec(said)?.[1] ?? "";
    expect(Date.parse(againAt) - Date.now()).toBeLessThanOrEqual(11_000);
  });

  test("9. recalled", async () => {
    const id = await send("regret");
    const url = `${cluster.collect.url}/v1/messages/${id}`;
    expect((await callCluster(cluster, "DELETE", url)).status).toBe(204);
    const { why: said } = await why(id);
    expect(said[0]).toMatch(/^Recalled: a producer cancelled it \S+ (ms|s) after it was accepted\.$/);
    expect(said.at(-1)).toBe("Not pushed: no channel was asked before it was cancelled.");
  });

  test("10. still open: sent to a client that does not acknowledge", async () => {
    const client = await connect("silent");
    const id = await send("silent");
    await client.untilMessages(1);
    const { why: said } = await why(id);
    expect(said[0]).toMatch(/^Open: stored for /);
    expect(said[1]).toMatch(
      /^silent has 1 connection, on push-node-1\S*, and has acknowledged up to 0 of 1; this is 1\./,
    );
    const nudged = await waitFor(async () => (await why(id)).why[1]?.includes("send it again"), {
      what: "the nudge",
      deadlineMs: 60_000,
    });
    expect(nudged).toBe(true);
  });

  test("petrel user: connections, devices, cursors, and each of the newest messages with its end", async () => {
    await registerPhone(cluster, "uma", tokenOf(20));
    const client = await connect("uma");
    const read = await send("uma");
    await client.untilMessages(1);
    client.ack(1);
    await until(read, "delivered");
    const recalled = await send("uma");
    const url = `${cluster.collect.url}/v1/messages/${recalled}`;
    expect((await callCluster(cluster, "DELETE", url)).status).toBe(204);
    await send("uma", { deliverAt: new Date(Date.now() + 3_600_000).toISOString() });
    const open = await send("uma");
    const { code, out } = await runCli(cluster, ["user", "uma"]);
    expect(code).toBe(0);
    const welcome = client.frames[0];
    expect(out[0]).toBe("uma is connected:");
    expect(out[1]).toMatch(
      new RegExp(`^  ${String(welcome?.["connection"])} on ${String(welcome?.["node"])}, web, since `),
    );
    expect(out.join("\n")).toMatch(/devices:\n {2}\S+ ios, seen /);
    expect(out.join("\n")).toMatch(/inbox: acknowledged up to [12] of 3, last at /);
    expect(out).toContain("1 scheduled, 0 kept topics");
    const messages = out.slice(out.indexOf("the newest messages:") + 1);
    expect(messages.map((line) => line.trim().split(" ").slice(0, 2))).toEqual([
      ["3", open],
      ["2", recalled],
      ["1", read],
    ]);
    expect(messages[0]).toContain("Open: ");
    expect(messages[1]).toContain("Recalled: ");
    expect(messages[2]).toContain("Delivered: ");
    const asJson = await runCli(cluster, ["user", "uma", "--json"]);
    expect(asJson.out.map((line) => (JSON.parse(line) as { state?: string }).state)).toEqual([
      undefined,
      "queued",
      "cancelled",
      "delivered",
    ]);
    const stranger = await runCli(cluster, ["user", "stranger"]);
    expect(stranger.out).toContain("there was never a message or a connection");
  });

  test("as text: who, the sentences, the timeline in lines; and an unknown id", async () => {
    const id = await send("reader");
    const { out } = await runCli(cluster, ["why", id]);
    expect(out[0]).toBe(`${id} to reader, number 1`);
    expect(out.at(-1)).toMatch(/^ {2}\S+Z {2}accepted$/);
    const unknown = await runCli(cluster, ["why", "p0_nothing"]);
    expect([unknown.code, unknown.out]).toEqual([1, []]);
    expect(unknown.err.join()).toContain(
      "there is no message p0_nothing: it was never accepted (a send that was",
    );
  });
});

function msOf(sentence: string): number {
  const [, number = "", unit = ""] = /it (\S+) (ms|s|min) after/.exec(sentence) ?? [];
  return Number(number) * ({ ms: 1, s: 1_000, min: 60_000 }[unit] ?? NaN);
}
