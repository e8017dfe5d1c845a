// Flow: `petrel channels pause apns` while messages fall back, a dispatcher restarts, and `resume`.
// Guarantees: a paused channel sends nothing, and nothing is lost; the pause outlasts the dispatchers; metrics, `petrel
// channels` and `petrel why` tell of it.
import {
  startApnsSimulator,
  type TestApnsSimulator,
} from "@petrel/shared/testing/cluster/start-apns-simulator";
import { startCluster, type TestCluster } from "@petrel/shared/testing/cluster/start-cluster";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { afterAll, beforeAll, expect, test } from "vitest";
import { metricOf, readState, registerPhone } from "../support/phones/cluster-with-phones.js";
import { runCli } from "../support/clients/run-cli.js";

const PHONE = "cd".repeat(32);
const notification = { title: "You have mail", body: "from Bob" };

let simulator: TestApnsSimulator;
let cluster: TestCluster;
beforeAll(async () => {
  simulator = await startApnsSimulator();
  cluster = await startCluster({
    together: true,
    nodes: 1,
    environment: { ...simulator.environment, OFFLINE_SETTLE_MS: "100", LEASE_MS: "1000" },
  });
  await registerPhone(cluster, "ann", PHONE);
}, 180_000);
afterAll(async () => {
  await cluster?.stop();
  await simulator?.stop();
});

async function send(): Promise<string> {
  const answer = await cluster.post("/v1/messages", { to: { user: "ann" }, data: 1, notification });
  return (answer as { id: string }).id;
}

const dispatch = () => cluster.newest("dispatch-1");
const pausedMetric = () => metricOf([dispatch().url], "petrel_fallback_channel_paused", { channel: "apns" });
const unsorted = async (): Promise<number> => {
  const answer = await fetch(`${dispatch().url}/v1/channels`, {
    headers: { authorization: `Bearer ${cluster.adminKey}` },
  });
  return ((await answer.json()) as { unsorted: number }).unsorted;
};

test("messages for a paused channel wait, over a restart, and are sent once it is resumed", async () => {
  const paused = await runCli(cluster, ["channels", "pause", "apns", "--reason", "Apple is down", "--json"]);
  expect([paused.code, paused.err]).toEqual([0, []]);
  expect(JSON.parse(paused.out[0] ?? "")).toMatchObject({
    channel: "apns",
    paused: { by: "pk_test_admin", reason: "Apple is down" },
  });
  expect(await pausedMetric()).toBe(1);

  const id = await send();
  await waitFor(async () => (await unsorted()) === 1, {
    what: "it to wait for the channel",
    deadlineMs: 60_000,
  });
  const { out: why } = await runCli(cluster, ["why", id]);
  expect(why.join("\n")).toContain("Paused by an operator: apns.");
  const { out: listed } = await runCli(cluster, ["channels", "list"]);
  expect(listed[0]).toMatch(/^apns PAUSED since \S+ by pk_test_admin \(Apple is down\), 0 waiting/);
  expect(listed.at(-1)).toBe("1 in the queue for all: with a single channel they are that one's");

  dispatch().signal("SIGTERM");
  await dispatch().exited;
  await cluster.startAgain(dispatch());
  // It has looked: then its workers would have sent, if they were to.
  await waitFor(async () => (await pausedMetric()) === 1, {
    what: "the pause to be known again",
    deadlineMs: 60_000,
  });
  const second = await send();
  await waitFor(async () => (await unsorted()) === 2, { what: "another one to wait", deadlineMs: 60_000 });
  expect(await simulator.notifications(PHONE)).toEqual([]);
  expect((await readState(cluster, id)).state).toBe("queued");

  const resumed = await runCli({ ...cluster, dispatchers: [dispatch()] }, ["channels", "resume", "apns"]);
  expect([resumed.code, resumed.out[0]]).toEqual([0, expect.stringMatching(/^apns sends, /)]);
  for (const one of [id, second]) {
    await waitFor(async () => (await readState(cluster, one)).state === "pushed", {
      what: "both to be pushed",
      deadlineMs: 60_000,
    });
  }
  expect(await simulator.notifications(PHONE)).toHaveLength(2);
  expect(await pausedMetric()).toBe(0);
  const acts = await runCli(cluster, ["audit", "--json", "--limit", "2"]);
  expect(acts.out.map((line) => (JSON.parse(line) as { action: string }).action)).toEqual([
    "channel.resume",
    "channel.pause",
  ]);
});

test("refuses an unknown channel", async () => {
  const { code, err } = await runCli({ ...cluster, dispatchers: [dispatch()] }, [
    "channels",
    "pause",
    "nothing",
  ]);
  expect(code).toBe(1);
  expect(err.join()).toContain("PETREL_INVALID_REQUEST");
});
