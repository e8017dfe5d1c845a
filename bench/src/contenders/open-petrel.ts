// Bench: Petrel's topics, as a contender: everything stored with the append-only file on.
import {
  startCluster,
  type StartClusterOptions,
  type TestCluster,
} from "@petrel/shared/testing/cluster/start-cluster";
import { JSON_HEADERS, type Contender } from "./contender.js";

export interface PetrelContender extends Contender {
  readonly cluster: TestCluster;
}

const NODES = 2;
const BROADCAST_TOPIC = "$all";

export async function openPetrel(
  options: Pick<StartClusterOptions, "nodeArguments" | "environmentOf"> = {},
): Promise<PetrelContender> {
  const cluster = await startCluster({
    ...options,
    nodes: NODES,
    appendOnly: true,
    environment: { LOG_LEVEL: "warn" },
  });
  const pids = new Map(cluster.processes.map(({ name, pid }) => [name, pid]));
  pids.set("redis", cluster.redis.pid);
  return {
    name: "Petrel",
    setUp: "every message stored and numbered, AOF on; each client a user with a token of its own",
    cluster,
    pids,
    entrance: async (index, topics) => ({
      port: cluster.nodes[index % NODES]?.port ?? 0,
      path: "/v1/connect",
      headers: {
        "Sec-WebSocket-Protocol": `petrel.v1, bearer.${await tokenFor(cluster, `fan-${index}`, topics)}`,
      },
      dialect: "petrel",
      topics,
    }),
    publication: (_publisher, topic, data) => ({
      port: cluster.collect.port,
      path: "/v1/messages",
      headers: {
        ...JSON_HEADERS,
        Authorization: `Bearer ${topic === BROADCAST_TOPIC ? cluster.adminKey : cluster.apiKey}`,
      },
      body: `{"to":${topic === BROADCAST_TOPIC ? '{"all":true}' : JSON.stringify({ topic })},"data":${data}}`,
    }),
    stop: () => cluster.stop(),
  };
}

async function tokenFor(cluster: TestCluster, userId: string, topics: readonly string[]): Promise<string> {
  const asked = topics.filter((topic) => topic !== BROADCAST_TOPIC);
  const answer = await fetch(`${cluster.auth.url}/v1/tokens`, {
    method: "POST",
    headers: { ...JSON_HEADERS, Authorization: `Bearer ${cluster.adminKey}` },
    body: JSON.stringify({ userId, ...(asked.length === 0 ? {} : { topics: asked }) }),
  });
  if (!answer.ok) throw new Error(`a token: ${answer.status} ${await answer.text()}`);
  return ((await answer.json()) as { accessToken: string }).accessToken;
}
