// Flow: a running cluster as Prometheus sees it, compared with docs/operate/metrics.md, the alerts and the dashboards.
// Guarantees: every metric is documented and every documented one exists; whatever a rule or a dashboard queries
// exists, with its labels and their values; a killed dispatcher raises an alert; users' ports have no /metrics.
import { randomBytes } from "node:crypto";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { encodeVapidKey, makeVapidKey, readVapidPublicKey } from "@petrel/shared/security/web-push/vapid-key";
import { hasFerretDb, startFerretDb, type TestFerretDb } from "@petrel/shared/testing/archive/start-ferretdb";
import {
  startApnsSimulator,
  type TestApnsSimulator,
} from "@petrel/shared/testing/cluster/start-apns-simulator";
import { freePort } from "@petrel/shared/testing/free-port";
import { startCluster, type TestCluster } from "@petrel/shared/testing/cluster/start-cluster";
import type { ServiceProcess } from "@petrel/shared/testing/cluster/service-process";
import { tlsAuthority } from "@petrel/shared/testing/tls/tls-identities";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { connectClient } from "@petrel/shared/testing/peers/ws-client";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Subscriptions } from "../../deploy/local/src/web-push-simulator/subscriptions.js";
import {
  startWebhookReceiver,
  type WebhookReceiver,
} from "../../services/dispatch/src/testing/webhook-receiver.js";
import { callCluster, registerPhone } from "../support/phones/cluster-with-phones.js";
import { documented, familiesOf } from "../support/prometheus/exposed-metrics.js";
import {
  promtool,
  runsPrometheus,
  startPrometheus,
  type Prometheus,
} from "../support/prometheus/start-prometheus.js";

const names = ["auth", "collect", "dispatch-1", "push-node-1", "push-node-2"] as const;
const metricsPorts = new Map<string, number>();
const notification = { title: "You have mail", body: "from Bob" };
/** More than the breaker accepts as phones that have gone; rung before, since otherwise they might be made up. */
const BAD_PHONES = 30;
/** More failures in a row than a push service of browsers may have before it is left alone. */
const LOST_BROWSERS = 30;
/** A look costs a service the text of all its metrics, and Prometheus evaluates once a second. */
const EVERY_MS = 250;
/** Without a server for it there is no archive to measure. */
const archives = hasFerretDb();
const isOfArchive = (text: string): boolean => /petrel_archiver?_/.test(text);

let simulator: TestApnsSimulator;
let archive: TestFerretDb | undefined;
let subscriptions: Subscriptions;
let gone: WebhookReceiver;
/** Of browsers. */
let pushService: WebhookReceiver;
/** Nobody listens there. */
let nowhere: string;
let cluster: TestCluster;
let directory: string;

const readMetrics = async (name: string): Promise<string> =>
  (await fetch(`http://127.0.0.1:${metricsPorts.get(name)}/metrics`)).text();
/** On a busy machine the archive, a process beside all others, may answer too late for one try. */
const send = async (user: string, more: object = {}): Promise<void> => {
  await waitFor(
    () =>
      cluster.post("/v1/messages", { to: { user }, data: { n: 1 }, ...more }).then(
        () => true,
        (error: unknown) => {
          if (!String(error).includes("PETREL_UNAVAILABLE")) throw error;
          return false;
        },
      ),
    { what: "a message to be taken" },
  );
};

beforeAll(async () => {
  // A certificate with a visible expiry.
  directory = mkdtempSync(join(tmpdir(), "petrel-prometheus-"));
  const authorityFile = join(directory, "ca.pem");
  writeFileSync(authorityFile, tlsAuthority);
  // One app that is never sent to: its series are there from the start.
  const wechatAppsFile = join(directory, "wechat-apps.json");
  writeFileSync(wechatAppsFile, JSON.stringify({ wx1: { kind: "service-account", secret: "s3cr3t" } }));
  const vapidKeyFile = join(directory, "vapid.pem");
  writeFileSync(vapidKeyFile, makeVapidKey());
  nowhere = `http://127.0.0.1:${await freePort()}`;
  pushService = await startWebhookReceiver();
  pushService.answerWith((_request, response) => void response.writeHead(503).end());
  subscriptions = new Subscriptions({
    origin: new URL(pushService.url).origin,
    applicationServerKey: encodeVapidKey(readVapidPublicKey(vapidKeyFile)),
  });
  gone = await startWebhookReceiver();
  gone.answerWith((_request, response) => void response.writeHead(410).end());
  if (archives) archive = await startFerretDb();
  simulator = await startApnsSimulator();
  for (const name of names) metricsPorts.set(name, await freePort());
  cluster = await startCluster({
    // The others are killed, or stop, in a process of their own.
    together: (name) => name !== "dispatch-1" && name !== "push-node-2",
    environment: {
      ...simulator.environment,
      ACK_TIMEOUT_MS: "1000",
      LEASE_MS: "1000",
      OFFLINE_SETTLE_MS: "100",
      APNS_BREAKER_OPEN_MS: "600000",
      DRAIN_WINDOW_MS: "1500",
      FALLBACK_RETRY_BASE_MS: "50",
      AUTH_CA_FILE: authorityFile,
      WECHAT_APPS_FILE: wechatAppsFile,
      VAPID_KEY_FILE: vapidKeyFile,
      VAPID_SUBJECT: "mailto:ops@shop.example",
      WEB_PUSH_HOSTS: new URL(pushService.url).origin,
      WEBHOOK_ALLOW_PRIVATE: "true",
      ...(archive === undefined ? {} : { MESSAGE_ARCHIVE_URL: archive.url(), ARCHIVE_TIMEOUT_MS: "30000" }),
    },
    environmentOf: (name) => ({ METRICS_PORT: String(metricsPorts.get(name)) }),
  });
  await makeTraffic();
});
afterAll(async () => {
  await cluster?.stop();
  await simulator?.stop();
  await archive?.stop();
  await gone?.close();
  await pushService?.close();
  rmSync(directory, { recursive: true, force: true });
});

/** A connected user, a user with a phone, and an app with only bad tokens, so that there is something to see. */
async function makeTraffic(): Promise<void> {
  const [url = ""] = cluster.nodeUrls;
  const client = await connectClient({ url, token: await cluster.tokenFor("ada"), ack: "turn" });
  for (const priority of ["high", "normal", "low"]) await send("ada", { priority });
  await client.untilMessages(3);
  client.close();
  const bad = Array.from({ length: BAD_PHONES }, (_, i) => `bad${i}`);
  const phones = ["bob", ...bad];
  await Promise.all(phones.map((user) => registerPhone(cluster, user, randomBytes(32).toString("hex"))));
  await Promise.all(phones.map((user) => send(user, { notification })));
  const taken = `result="taken",reason="",component="dispatch"} ${phones.length}`;
  await waitFor(async () => (await readMetrics("dispatch-1")).includes(taken), {
    what: "the pushes",
    deadlineMs: 20_000,
    everyMs: EVERY_MS,
  });
  await makeWebhooks();
  await loseBrowsers();
  await simulator.setBehaviour({ environment: "sandbox" });
  await Promise.all(bad.map((user) => send(user, { notification })));
  await waitFor(async () => /^petrel_apns_breaker_open\{.*\} 1$/m.test(await readMetrics("dispatch-1")), {
    what: "the breaker to open",
    deadlineMs: 20_000,
    everyMs: EVERY_MS,
  });
}

/** One that does not answer, one that is paused, and one that has gone; and somebody who reads events. */
async function makeWebhooks(): Promise<void> {
  const [dispatcher] = cluster.dispatchers;
  if (dispatcher === undefined) throw new Error("no dispatcher");
  const url = `${dispatcher.url}/v1/webhooks`;
  await callCluster(cluster, "POST", url, { url: nowhere });
  const { body } = await callCluster(cluster, "POST", url, { url: nowhere });
  await callCluster(cluster, "PATCH", `${url}/${(body as { readonly id: string }).id}`, { paused: true });
  await callCluster(cluster, "POST", url, { url: gone.url });
  await callCluster(cluster, "GET", `${cluster.collect.url}/v1/events`);
  // Which of the phones' pushes come after it was named is not known.
  await send("bob", { notification });
  await waitFor(
    async () => /^petrel_webhook_paused\{.*reason="gone".*\} 1$/m.test(await readMetrics("dispatch-1")),
    {
      what: "the webhook that has gone to be paused",
      deadlineMs: 60_000,
      everyMs: EVERY_MS,
    },
  );
}

/** Browsers with a push service that takes nothing. */
async function loseBrowsers(): Promise<void> {
  const users = Array.from({ length: LOST_BROWSERS }, (_, i) => `lost${i}`);
  for (const user of users) {
    const { id: _id, ...subscription } = subscriptions.create().json;
    const url = `${cluster.auth.url}/v1/users/${user}/devices`;
    await callCluster(cluster, "PUT", url, { platform: "web", subscription });
    await send(user, { notification });
  }
  await waitFor(async () => /^petrel_web_push_breaker_open\{.*\} 1$/m.test(await readMetrics("dispatch-1")), {
    what: "the push service to be left alone",
    deadlineMs: 60_000,
    everyMs: EVERY_MS,
  });
}

describe("what services expose", () => {
  test("docs/operate/metrics.md has every metric, with its type and labels, and no other", async () => {
    const texts = await Promise.all(names.map(readMetrics));
    const exposed = familiesOf(texts);
    const page = new Map([...documented()].filter(([name]) => archives || !isOfArchive(name)));
    expect([...page.keys()].sort()).toEqual([...exposed.keys()].sort());
    for (const [name, { type, labels }] of exposed) {
      const row = page.get(name);
      expect(row?.type, name).toBe(type);
      expect([...(row?.labels ?? [])].sort(), name).toEqual([...labels].sort());
      expect(row?.unit === "seconds", name).toBe(name.endsWith("_seconds"));
      const where = names
        .filter((_, i) => texts[i]?.includes(`# TYPE ${name} `))
        .map((service) => service.replace(/-\d$/, ""));
      expect([...(row?.where ?? [])].sort(), name).toEqual([...new Set(where)].sort());
    }
  });

  test("no label grows with users, keys, devices or messages", async () => {
    for (const name of names) {
      const series = (await readMetrics(name)).split("\n").filter((line) => line.startsWith("petrel_"));
      expect(series.join("\n")).not.toMatch(/"(ada|bob|bad\d+|pk_[^"]*|m_[^"]*|[0-9a-f]{32,})"/);
      expect(series.length, name).toBeLessThan(600);
    }
  });

  test("there is no /metrics on a port that faces users", async () => {
    const facing: readonly ServiceProcess[] = [cluster.auth, ...cluster.collects, ...cluster.nodes];
    for (const { url } of facing) expect((await fetch(`${url}/metrics`)).status).toBe(404);
  });
});

describe.runIf(runsPrometheus)("Prometheus", () => {
  let prometheus: Prometheus;
  beforeAll(async () => {
    const here = (name: string): string => `127.0.0.1:${metricsPorts.get(name)}`;
    prometheus = await startPrometheus(
      new Map(names.map((name) => [`${name === "dispatch-1" ? "dispatch" : name}:9464`, here(name)])),
    );
  });
  afterAll(() => prometheus?.stop());

  const firing = async (alertname: string) =>
    (await prometheus.alerts()).filter(
      ({ labels, state }) => labels["alertname"] === alertname && state === "firing",
    );

  test("promtool accepts what is exposed", async () => {
    for (const name of names) expect(promtool(["check", "metrics"], await readMetrics(name))).toBe("");
  });

  test("all targets are up", async () => {
    const upNow = async () =>
      ((await prometheus.ask("query", { query: "up" })) as { result: { value: [number, string] }[] }).result;
    await waitFor(
      async () => (await upNow()).filter(({ value }) => value[1] === "1").length === names.length,
      {
        what: "all targets to be up",
        deadlineMs: 20_000,
        everyMs: EVERY_MS,
      },
    );
  });

  test("every series and label that an alert or a dashboard selects exists", async () => {
    const rules = await prometheus.rules();
    expect(rules.length).toBeGreaterThan(25);
    const recorded = rules.filter(({ type }) => type === "recording").map(({ name }) => name);
    // The last of a chain: recorded from metrics that were scraped twice.
    await waitFor(
      async () => (await Promise.all(recorded.map(prometheus.series))).every((found) => found.length > 0),
      { what: "every rule to have recorded something", deadlineMs: 30_000, everyMs: EVERY_MS },
    );
    const asked = [
      ...rules.map(({ name, query }) => ({ by: name, expr: query, legend: "" })),
      ...dashboardQueries(),
    ];
    expect(asked.length).toBeGreaterThan(80);
    // Many ask for the same: each is looked for once.
    const labelsOf = new Map<string, readonly string[]>();
    const valid = new Set<string>();
    for (const { by, expr, legend } of asked.filter((one) => archives || !isOfArchive(one.expr))) {
      if (!valid.has(expr)) await expect(prometheus.ask("query", { query: expr }), by).resolves.toBeDefined();
      valid.add(expr);
      const labels = new Set<string>();
      for (const selector of selectorsOf(expr)) {
        let ofSelector = labelsOf.get(selector);
        if (ofSelector === undefined) {
          let found: Awaited<ReturnType<typeof prometheus.series>> = [];
          // A recent event shows at the next scrape; the first garbage collection may take a while.
          await waitFor(async () => (found = await prometheus.series(selector)).length > 0, {
            what: `a series for ${by}: ${selector}`,
            deadlineMs: 60_000,
            everyMs: EVERY_MS,
          });
          ofSelector = found.flatMap(Object.keys);
          labelsOf.set(selector, ofSelector);
        }
        for (const label of ofSelector) labels.add(label);
      }
      const kept = [...expr.matchAll(/\b(?:by|on) \(([^)]*)\)/g)].flatMap(([, list = ""]) =>
        list.split(/,\s*/),
      );
      for (const label of kept) expect([...labels], `${by}: ${expr}`).toContain(label);
      for (const [, label = ""] of legend.matchAll(/\{\{(\w+)\}\}/g)) {
        expect(expr.includes(" by (") ? kept : [...labels], `${by}: ${expr}`).toContain(label);
      }
    }
    for (const { name, health } of await prometheus.rules()) expect(health, name).toBe("ok");
  });

  test("the alert pages' queries work", async () => {
    const page = readFileSync(new URL("../../docs/operate/alerts.md", import.meta.url), "utf8");
    for (const [, query = ""] of page.matchAll(/^q '(.*)'$/gm))
      await expect(prometheus.ask("query", { query }), query).resolves.toBeDefined();
  });

  test("alerts for an app whose tokens are all bad", async () => {
    await waitFor(async () => (await firing("PetrelApnsBreakerOpen")).length === 1, {
      what: "the alert",
      deadlineMs: 20_000,
      everyMs: EVERY_MS,
    });
  });

  test("alerts for a killed dispatcher: nobody owns its partitions; another one ends it", async () => {
    // On a busy machine, a slow scrape may have looked like it for a moment.
    await waitFor(async () => (await firing("PetrelPartitionUnowned")).length === 0, {
      what: "every partition to have an owner",
      deadlineMs: 20_000,
      everyMs: EVERY_MS,
    });
    const [dispatcher] = cluster.dispatchers;
    if (dispatcher === undefined) throw new Error("no dispatcher");
    dispatcher.signal("SIGKILL");
    await dispatcher.exited;
    await waitFor(async () => (await firing("PetrelPartitionUnowned")).length === 1, {
      what: "PetrelPartitionUnowned to fire",
      deadlineMs: 30_000,
      everyMs: EVERY_MS,
    });
    await waitFor(
      async () => (await firing("PetrelTargetDown")).some(({ labels }) => labels["job"] === "dispatch"),
      { what: "PetrelTargetDown to fire", deadlineMs: 30_000, everyMs: EVERY_MS },
    );
    await cluster.startAgain(dispatcher);
    await waitFor(
      async () =>
        (await firing("PetrelPartitionUnowned")).length + (await firing("PetrelTargetDown")).length === 0,
      { what: "both to end", deadlineMs: 30_000, everyMs: EVERY_MS },
    );
  });
});

test("a node's stop is visible while it lasts", async () => {
  const [, node] = cluster.nodes;
  if (node === undefined) throw new Error("no node");
  const url = `ws://127.0.0.1:${node.port}/v1/connect`;
  const clients = await Promise.all(
    ["eve", "fay", "gil", "hal", "ida"].map(async (user) =>
      connectClient({ url, token: await cluster.tokenFor(user) }),
    ),
  );
  expect(await readMetrics(node.name)).toMatch(/^petrel_node_draining\{.*\} 0$/m);
  node.signal("SIGTERM");
  clients[0]?.close();
  // Its main port may be closed already; the internal one stays until the last client has left.
  await waitFor(
    async () => {
      const text = await readMetrics(node.name);
      expect(text).toMatch(/^petrel_connections_open\{/m);
      if (!/^petrel_node_draining\{.*\} 1$/m.test(text)) return false;
      // Not the last one's outcome: the process may be gone before it is scraped.
      return /^petrel_drained_connections_total\{outcome="\w+".*\} [1-9]/m.test(text);
    },
    { what: "one that had left, or was closed", deadlineMs: 20_000, everyMs: 20 },
  );
  expect(await node.exited).toBe(0);
});

interface Asked {
  readonly by: string;
  readonly expr: string;
  readonly legend: string;
}

/** With Grafana's variables filled in. */
function dashboardQueries(): Asked[] {
  const folder = new URL("../../deploy/grafana/dashboards/", import.meta.url);
  return readdirSync(folder).flatMap((file) => {
    const { panels } = JSON.parse(readFileSync(new URL(file, folder), "utf8")) as {
      panels: { title: string; targets?: { expr: string; legendFormat: string }[] }[];
    };
    return panels.flatMap(({ title, targets = [] }) =>
      targets.map(({ expr, legendFormat }) => ({
        by: `${file}: ${title}`,
        expr: expr.replaceAll("$__rate_interval", "1m").replaceAll(/\$(?:instance|namespace)/g, ".*"),
        legend: legendFormat,
      })),
    );
  });
}

/** The vector selectors of an expression, without their ranges. */
function selectorsOf(expr: string): string[] {
  return [...expr.matchAll(/\b(?:petrel[_:]|nodejs_|process_|up\b)[\w:]*(?:\{[^}]*\})?/g)].map(
    ([all]) => all,
  );
}
