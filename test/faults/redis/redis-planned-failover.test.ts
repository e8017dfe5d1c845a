// A planned failover of a Redis that Sentinel watches, under load and with users away: by `petrel redis failover`, and
// by a bare SENTINEL FAILOVER.
// Guarantees: the command loses nothing that was answered with 202; the bare one loses little, and all of it shows. No
// message has a false state; no service ever reports that it is not ready.
import { PassThrough } from "node:stream";
import { afterEach, expect, test } from "vitest";
import { askService } from "@petrel/shared/testing/cluster/ask-service";
import { startCluster, type TestCluster } from "@petrel/shared/testing/cluster/start-cluster";
import {
  startRedisSentinels,
  type TestRedisSentinels,
} from "@petrel/shared/testing/redis/start-redis-sentinels";
import type { PostRecord } from "@petrel/shared/testing/peers/message-recorder";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { runPetrel } from "../../../clients/cli/src/run-petrel.js";
import {
  handledTwice,
  longestSilenceMs,
  openRedisLoad,
  untilReady,
  watchReadiness,
  type RedisLoad,
} from "../../support/faults/redis-load.js";

/** About a second's worth: a link notices a failover sooner, unless its process stalls. */
const MAY_BE_LOST = 100;

let group: TestRedisSentinels;
let cluster: TestCluster;
let load: RedisLoad | undefined;

afterEach(async () => {
  await load?.close();
  load = undefined;
  await cluster?.stop();
  await group?.stop();
});

/** Like an operator with the services' environment. */
async function failOverByCommand(): Promise<{ readonly to: string; readonly writesWaitedMs: number }> {
  const printed: string[] = [];
  const noted: string[] = [];
  const terminal = {
    print: (line: string) => void printed.push(line),
    deliver: async (line: string) => void printed.push(line),
    note: (line: string) => void noted.push(line),
    stdin: new PassThrough(),
    environment: group.environment,
    workingDirectory: ".",
    interrupted: new AbortController().signal,
  };
  const exitCode = await runPetrel(["redis", "failover", "--json"], terminal, "0");
  expect([exitCode, noted.join("\n")]).toEqual([0, expect.stringContaining("failing over")]);
  return JSON.parse(printed[0] ?? "") as { to: string; writesWaitedMs: number };
}

async function stateOf({ id = "" }: PostRecord): Promise<string> {
  const response = await askService(`${cluster.collect.url}/v1/messages/${id}`, {
    headers: { authorization: `Bearer ${cluster.apiKey}` },
  });
  return response.status === 404 ? "unknown" : (JSON.parse(await response.text()) as { state: string }).state;
}

test("planned failovers under load: the command loses nothing, and every service stays ready", async () => {
  group = await startRedisSentinels({ replicas: 2, downAfterMs: 3_000 });
  const [first] = group.servers;
  if (first === undefined) throw new Error("no server");
  cluster = await startCluster({
    together: true,
    redis: first,
    environment: { ACK_TIMEOUT_MS: "2000", DRAIN_WINDOW_MS: "2000", ...group.environment },
  });
  await untilReady(cluster, true);
  const watch = watchReadiness(cluster);
  load = openRedisLoad(cluster);
  const online = Array.from({ length: 8 }, (_, i) => `on-${i}`);
  const away = Array.from({ length: 8 }, (_, i) => `away-${i}`);
  const clients = await load.connect(online);
  load.start([...online, ...away]);
  await load.untilAccepted(80);

  const commandAtMs = performance.now();
  const { to, writesWaitedMs } = await failOverByCommand();
  const second = await group.master();
  expect(to).toBe(`127.0.0.1:${second.port}`);
  await load.untilAccepted(load.accepted().length + 80);
  const byCommand = load.accepted().length;
  const commandSilenceMs = longestSilenceMs(load.accepted(), commandAtMs);

  // All must see the old master as a replica before the next one.
  await untilTwoReplicas(second.port);
  const bareAtMs = performance.now();
  const [sentinel] = group.sentinels;
  if (sentinel === undefined) throw new Error("no sentinel");
  await (await group.connect(sentinel)).call("SENTINEL", "FAILOVER", "main");
  await waitFor(async () => (await group.master()) !== second, { what: "the failover", deadlineMs: 30_000 });
  await load.untilAccepted(load.accepted().length + 80);
  await load.stop();
  const bareSilenceMs = longestSilenceMs(load.accepted(), bareAtMs);
  await untilReady(cluster, true);
  const notReady = await watch.stop();

  const posts = load.accepted();
  const early = await Promise.all(posts.map(stateOf));
  await clients.allOnline(30_000);
  await load.connect(away);
  const lost = await load.lost();
  const late = await Promise.all(posts.map(stateOf));
  const { handledNumbers } = load.recorder;
  const lostByCommand = lost.filter(({ answeredAtMs }) => answeredAtMs < bareAtMs);
  process.stdout.write(
    `planned Sentinel failovers: by petrel redis failover ${byCommand} accepted, ${lostByCommand.length} lost, ` +
      `writes waited ${writesWaitedMs} ms, nothing accepted for ${Math.round(commandSilenceMs)} ms; ` +
      `by SENTINEL FAILOVER ${posts.length - byCommand} accepted, ${lost.length - lostByCommand.length} lost, ` +
      `nothing accepted for ${Math.round(bareSilenceMs)} ms\n`,
  );
  expect(lostByCommand).toEqual([]);
  expect(lost.length).toBeLessThanOrEqual(MAY_BE_LOST);
  const isFalse = (state: string, { n }: PostRecord): boolean =>
    state === "delivered" ? !handledNumbers.has(n) : state !== "queued" && !lost.some((one) => one.n === n);
  expect(posts.filter((post, i) => isFalse(early[i] ?? "", post) || isFalse(late[i] ?? "", post))).toEqual(
    [],
  );
  expect(posts.filter(({ user }, i) => user.startsWith("away-") && early[i] === "delivered")).toEqual([]);
  expect(notReady).toEqual([]);
  expect(handledTwice(load.recorder)).toEqual([]);
  expect(load.recorder.posts.filter(({ outcome }) => outcome !== "accepted")).toEqual([]);
}, 180_000);

async function untilTwoReplicas(masterPort: number): Promise<void> {
  const [sentinel] = group.sentinels;
  if (sentinel === undefined) throw new Error("no sentinel");
  const link = await group.connect(sentinel);
  await waitFor(
    async () => {
      const replicas = (await link.call("SENTINEL", "REPLICAS", "main")) as string[][];
      return (
        replicas.length === 2 &&
        replicas.every((words) => {
          const valueOf = (name: string): string | undefined => words[words.indexOf(name) + 1];
          return valueOf("master-link-status") === "ok" && valueOf("master-port") === String(masterPort);
        })
      );
    },
    { what: "both others to be replicas in step", deadlineMs: 60_000, everyMs: 100 },
  );
}
