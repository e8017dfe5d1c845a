// Flow: a running cluster, real outages, and Prometheus with the project's rules, five times faster than they are.
// Guarantees: a failover of Redis pages nobody, then or later; a cluster whose push nodes are all gone pages, at once and
// for that alone.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { startCluster, type TestCluster } from "@petrel/shared/testing/cluster/start-cluster";
import { freePort } from "@petrel/shared/testing/free-port";
import { startRedis, type TestRedis } from "@petrel/shared/testing/redis/start-redis";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  runsPrometheus,
  startPrometheus,
  type Alert,
  type Prometheus,
} from "../support/prometheus/start-prometheus.js";
import { sized } from "../support/sizes.js";

/** A minute is twelve seconds, and a scrape each second comes more often than in truth. */
const FASTER = 5;
/** With the new start and the reconnects more than a second: that is six of the rules' own, or more. */
const AWAY_MS = 700;
const SEND_EVERY_MS = 50;
const names = ["auth", "collect", "dispatch-1", "push-node-1", "push-node-2"] as const;

/** In the full suite: the rules' times pass five times faster here, and a machine that works on others' tests does not. */
describe.runIf(runsPrometheus && sized(1, 0) === 1)("paging", () => {
  let directory: string;
  let redis: TestRedis;
  let cluster: TestCluster;
  let prometheus: Prometheus;
  const ended = new AbortController();
  let producer: Promise<void>;

  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), "petrel-outage-"));
    redis = await startRedis({ appendOnly: true, directory });
    const ports = new Map<string, number>();
    for (const name of names) ports.set(name, await freePort());
    cluster = await startCluster({
      redis,
      together: (name) => !name.startsWith("push-node"),
      // As much shorter as everything: collect does not ride it out.
      environment: { ACCEPT_DEADLINE_MS: "250" },
      environmentOf: (name) => ({ METRICS_PORT: String(ports.get(name)) }),
    });
    prometheus = await startPrometheus(
      new Map(
        names.map((name) => [
          `${name === "dispatch-1" ? "dispatch" : name}:9464`,
          `127.0.0.1:${ports.get(name)}`,
        ]),
      ),
      { faster: FASTER },
    );
    producer = sendOn();
  });
  afterAll(async () => {
    ended.abort();
    await producer;
    await prometheus?.stop();
    await cluster?.stop();
    await redis?.stop();
    rmSync(directory, { recursive: true, force: true });
  });

  /** A business system whose requests do not wait for one another, whatever they are answered. */
  async function sendOn(): Promise<void> {
    const underWay = new Set<Promise<unknown>>();
    for (let i = 0; !ended.signal.aborted; i++) {
      const request = cluster
        .post("/v1/messages", { to: { user: `u${i % 50}` }, data: {} })
        .catch(() => undefined)
        .finally(() => underWay.delete(request));
      underWay.add(request);
      await sleep(SEND_EVERY_MS);
    }
    await Promise.all(underWay);
  }

  const pages = async (): Promise<readonly Alert[]> =>
    (await prometheus.alerts()).filter(({ labels }) => labels["severity"] === "page");
  const namesOf = (alerts: readonly Alert[]): (string | undefined)[] =>
    alerts.map(({ labels }) => labels["alertname"]);
  const valueOf = async (query: string): Promise<number> => {
    const { result } = (await prometheus.ask("query", { query })) as {
      result: { value: [number, string] }[];
    };
    return Number(result[0]?.value[1] ?? 0);
  };

  test("a failover pages nobody, neither during it nor minutes later", async () => {
    const counted = (outcome: string): Promise<number> =>
      valueOf(`sum(petrel_collect_messages_total{outcome="${outcome}"})`);
    await waitFor(async () => (await counted("stored")) > 50 && (await pages()).length === 0, {
      what: "messages to be stored, and quiet",
      deadlineMs: 60_000,
    });
    const killedAtMs = Date.now();
    redis.signal("SIGKILL");
    await redis.exited;
    await sleep(AWAY_MS);
    redis = await startRedis({ appendOnly: true, directory, port: redis.port });
    // It was felt: rules that do not ask whether it goes on wait for their time now.
    await waitFor(async () => (await counted("unavailable")) > 5 && (await pages()).length > 0, {
      what: "refused messages, and pages that would be due if it went on",
      deadlineMs: 30_000,
    });
    await waitFor(
      async () => {
        const now = await pages();
        expect(namesOf(now.filter(({ state }) => state === "firing"))).toEqual([]);
        return now.length === 0;
      },
      { what: "all of them to be let go", deadlineMs: 60_000 },
    );
    // Between two looks, too. Not before the kill: on a busy machine the services may take long to start.
    const seconds = Math.ceil((Date.now() - killedAtMs) / 1000);
    const { result } = (await prometheus.ask("query", {
      query: `last_over_time(ALERTS{severity="page",alertstate="firing"}[${seconds}s])`,
    })) as { result: { metric: Record<string, string> }[] };
    expect(result.map(({ metric }) => metric["alertname"])).toEqual([]);
  });

  test("the loss of all push nodes pages, and only that alert", async () => {
    for (const node of cluster.nodes) node.signal("SIGKILL");
    await Promise.all(cluster.nodes.map((node) => node.exited));
    let firing: readonly Alert[] = [];
    await waitFor(
      async () => (firing = (await pages()).filter(({ state }) => state === "firing")).length > 0,
      { what: "a page", deadlineMs: 60_000 },
    );
    expect(firing.map(({ labels }) => labels)).toEqual([
      { alertname: "PetrelServiceDown", namespace: "petrel", job: "push-node", severity: "page" },
    ]);
  });
});
