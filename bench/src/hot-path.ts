// Bench: CPU per message of all server processes together, beside a minimal `ws` + Redis pub/sub in the same run.
// Guarantees: Petrel's messages are stored (AOF on) and acknowledged; rounds of the two alternate, medians are shown.
import { parseArgs } from "node:util";
import { startCluster, type TestCluster } from "@petrel/shared/testing/cluster/start-cluster";
import { publishAll } from "./closed-loop-publisher.js";
import { cpuPerMessage, readCpu } from "./process-cpu.js";
import { openReceivers, type Receivers } from "./receivers.js";
import { startWsCluster, type WsCluster } from "./contenders/ws-cluster.js";

const { values } = parseArgs({
  options: {
    messages: { type: "string", default: "20000" },
    rounds: { type: "string", default: "3" },
    users: { type: "string", default: "200" },
    publishers: { type: "string", default: "256" },
    "hand-over": { type: "string", default: "accept" },
    profile: { type: "string" },
    partitions: { type: "string", default: "4" },
    help: { type: "boolean", default: false },
  },
});
if (values.help) {
  process.stdout.write(
    "npm run bench -- [--messages 20000] [--rounds 3] [--users 200] [--publishers 256] [--hand-over accept|dispatch] [--partitions 4] [--profile DIRECTORY]\n",
  );
  process.exit(0);
}
const messages = Number(values.messages);
const rounds = Number(values.rounds);
const userCount = Number(values.users);
const publishers = Number(values.publishers);
const BATCH = 100;
const NODES = 2;

interface Result {
  readonly perSecond: number;
  readonly cpu: ReadonlyMap<string, number>;
  readonly total: number;
}

interface Target {
  readonly pids: ReadonlyMap<string, number>;
  readonly receivers: Receivers;
  readonly post: (bodies: Iterator<string>, path: string) => Promise<void>;
}

const users = Array.from({ length: userCount }, (_, i) => `u${i}`);
const data = { text: "the storm petrel flies through storms", price: 12.5, tags: ["a", "b"] };

function* singleBodies(): Generator<string> {
  for (let i = 0; i < messages; i++) yield JSON.stringify({ to: { user: users[i % userCount] }, data });
}

function* batchBodies(): Generator<string> {
  for (let i = 0; i < messages; i += BATCH) {
    const batch = Array.from({ length: BATCH }, (_, j) => ({
      to: { user: users[(i + j) % userCount] },
      data,
    }));
    yield JSON.stringify({ messages: batch });
  }
}

async function measure(
  { pids, receivers, post }: Target,
  bodies: Iterator<string>,
  path: string,
): Promise<Result> {
  const expected = receivers.count() + messages;
  const before = readCpu(pids);
  const start = performance.now();
  await post(bodies, path);
  await receivers.until(expected, 60_000);
  const seconds = (performance.now() - start) / 1000;
  // The last acks are still on their way to Redis.
  await new Promise((resolve) => setTimeout(resolve, 200));
  const cpu = cpuPerMessage(before, readCpu(pids), messages);
  return { perSecond: messages / seconds, cpu, total: [...cpu.values()].reduce((sum, one) => sum + one, 0) };
}

async function petrelTarget(cluster: TestCluster): Promise<Target> {
  const options = await Promise.all(
    users.map(async (user, i) => ({
      url: cluster.nodeUrls[i % NODES] ?? "",
      protocols: ["petrel.v1", `bearer.${await cluster.tokenFor(user)}`],
      acks: true,
    })),
  );
  const pids = new Map(cluster.processes.map(({ name, pid }) => [name, pid]));
  pids.set("redis", cluster.redis.pid);
  return {
    pids,
    receivers: await openReceivers(options),
    post: (bodies, path) =>
      publishAll({
        port: cluster.collect.port,
        path,
        authorization: `Bearer ${cluster.apiKey}`,
        bodies,
        publishers,
      }),
  };
}

async function contenderTarget(contender: WsCluster): Promise<Target> {
  const receivers = await openReceivers(
    users.map((user, i) => ({
      url: `ws://127.0.0.1:${contender.nodePorts[i % NODES]}/?user=${user}`,
      acks: false,
    })),
  );
  return {
    pids: contender.pids,
    receivers,
    post: (bodies, path) =>
      publishAll({ port: contender.ingestPort, path, authorization: "none", bodies, publishers }),
  };
}

function median(results: readonly Result[]): Result {
  const sorted = results.toSorted((a, b) => a.total - b.total);
  const middle = sorted[Math.floor(sorted.length / 2)];
  if (middle === undefined) throw new Error("no results");
  return middle;
}

function show(title: string, { perSecond, cpu, total }: Result, base: number): void {
  const parts = [...cpu].map(([name, us]) => `${name} ${us.toFixed(1)}`).join(" · ");
  const ratio = (total / base).toFixed(2);
  process.stdout.write(
    `${title.padEnd(28)} ${total.toFixed(1).padStart(6)} µs CPU/message  ${ratio} ×  ${Math.round(perSecond)}/s\n    ${parts}\n`,
  );
}

const cluster = await startCluster({
  nodes: NODES,
  appendOnly: true,
  ...(values.profile === undefined
    ? {}
    : { nodeArguments: ["--cpu-prof", `--cpu-prof-dir=${values.profile}`, "--cpu-prof-interval=500"] }),
  environment: { HAND_OVER: values["hand-over"], PARTITIONS: values.partitions, LOG_LEVEL: "warn" },
});
const contender = await startWsCluster(NODES);
try {
  const petrel = await petrelTarget(cluster);
  const other = await contenderTarget(contender);
  const found = { contender: [] as Result[], single: [] as Result[], batch: [] as Result[] };
  process.stdout.write(
    `${messages} messages a round, ${rounds} rounds, ${userCount} users on ${NODES} nodes, ${publishers} publishers\n`,
  );
  for (let round = 0; round <= rounds; round++) {
    const contenderResult = await measure(other, singleBodies(), "/");
    const single = await measure(petrel, singleBodies(), "/v1/messages");
    const batch = await measure(petrel, batchBodies(), "/v1/messages/batch");
    process.stdout.write(
      `round ${round}${round === 0 ? " (warm-up)" : ""}: ${contenderResult.total.toFixed(1)} / ${single.total.toFixed(1)} / ${batch.total.toFixed(1)} µs\n`,
    );
    if (round === 0) continue;
    found.contender.push(contenderResult);
    found.single.push(single);
    found.batch.push(batch);
  }
  const base = median(found.contender).total;
  show("ws + Redis pub/sub, single", median(found.contender), base);
  show("Petrel, one a POST", median(found.single), base);
  show(`Petrel, batches of ${BATCH}`, median(found.batch), base);
  petrel.receivers.close();
  other.receivers.close();
} catch (error) {
  for (const service of cluster.processes) process.stderr.write((await service.log()).slice(-2_000));
  throw error;
} finally {
  await contender.stop();
  await cluster.stop();
}
