// Bench: Petrel's topics and users, as a contender: everything stored with the append-only file on.
import {
  startCluster,
  type StartClusterOptions,
  type TestCluster,
} from "@petrel/shared/testing/cluster/start-cluster";
import { Petrel } from "@petrel/server";
import {
  JSON_HEADERS,
  type BatchedMessage,
  type Contender,
  type SenderLibrary,
  type Side,
} from "./contender.js";

export interface PetrelContender extends Contender {
  readonly cluster: TestCluster;
}

export interface OpenPetrelOptions extends Pick<
  StartClusterOptions,
  | "nodes"
  | "collects"
  | "nodeArguments"
  | "environmentOf"
  | "environment"
  | "releaseOf"
  | "nodeBinary"
  | "redis"
> {
  /** What tells it from another Petrel of the same run: "Petrel on Node 24". */
  readonly name?: string;
  /** Where a `redis` was given: stops it. */
  readonly onStopped?: () => Promise<void>;
}

const NODES = 2;
const BROADCAST_TOPIC = "$all";

export async function openPetrel(options: OpenPetrelOptions = {}): Promise<PetrelContender> {
  const { name = "Petrel", onStopped, environment, nodeArguments = [], ...others } = options;
  const cluster = await startCluster({
    ...others,
    // Where somebody asks for its inspector, it finds a port.
    nodeArguments: ["--inspect-port=0", ...nodeArguments],
    nodes: others.nodes ?? NODES,
    appendOnly: true,
    environment: { LOG_LEVEL: "warn", ...UNLIMITED, ...environment },
  });
  const pids = new Map(cluster.processes.map(({ name, pid }) => [name, pid]));
  pids.set("redis", cluster.redis.pid);
  const topics: Side = {
    entrance: (index, topics) => entranceOf(cluster, index, `fan-${index}`, topics),
    publication: (publisher, topic, data) => ({
      port: collectPort(cluster, publisher),
      path: "/v1/messages",
      headers: {
        ...JSON_HEADERS,
        Authorization: `Bearer ${topic === BROADCAST_TOPIC ? cluster.adminKey : cluster.apiKey}`,
      },
      body: `{"to":${topic === BROADCAST_TOPIC ? '{"all":true}' : JSON.stringify({ topic })},"data":${data}}`,
    }),
  };
  return {
    ...topics,
    users: usersOf(cluster),
    name,
    setUp:
      "every message stored, numbered and acknowledged, AOF on; each client a user with a token of its own",
    cluster,
    pids,
    redisUrl: cluster.redis.url,
    stop: async () => {
      await cluster.stop();
      await onStopped?.();
    },
  };
}

/** Two hundred users are sent what thousands would be, by one key. */
const UNLIMITED = {
  MESSAGES_PER_KEY_PER_SECOND: "0",
  REQUESTS_PER_KEY_PER_SECOND: "0",
  MAX_PENDING_SOCKETS: "20000",
  MAX_PENDING_SOCKETS_PER_ADDRESS: "20000",
  CONNECT_WAIT_MS: "30000",
};

/** Publishers spread themselves over them. */
function collectPort({ collects, collect }: TestCluster, publisher: number): number {
  return (collects[publisher % collects.length] ?? collect).port;
}

function usersOf(cluster: TestCluster): Side {
  const headers = { ...JSON_HEADERS, Authorization: `Bearer ${cluster.apiKey}` };
  const messageOf = ({ topic, data }: BatchedMessage): string => `{"to":{"user":"${topic}"},"data":${data}}`;
  return {
    entrance: async (index, [user = ""]) => ({
      ...(await entranceOf(cluster, index, user, [])),
      dialect: "petrel-user",
      topics: [user],
    }),
    publication: (publisher, topic, data) => ({
      port: collectPort(cluster, publisher),
      path: "/v1/messages",
      headers,
      body: messageOf({ topic, data }),
    }),
    batch: (publisher, messages) => ({
      port: collectPort(cluster, publisher),
      path: "/v1/messages/batch",
      headers,
      body: `{"messages":[${messages.map(messageOf).join(",")}]}`,
    }),
    openLibrary: () => openLibrary(cluster),
  };
}

function openLibrary({ collect, apiKey }: TestCluster): SenderLibrary {
  const petrel = new Petrel({ collect: collect.url, key: apiKey });
  return {
    send: async (user, data) => {
      await petrel.send({ to: { user }, data: JSON.parse(data) as unknown });
    },
    close: () => petrel.close(),
  };
}

async function entranceOf(cluster: TestCluster, index: number, userId: string, topics: readonly string[]) {
  const asked = topics.filter((topic) => topic !== BROADCAST_TOPIC);
  const token = await cluster.tokenFor(userId, asked.length === 0 ? undefined : asked);
  return {
    port: cluster.nodes[index % cluster.nodes.length]?.port ?? 0,
    path: "/v1/connect",
    headers: { "Sec-WebSocket-Protocol": `petrel.v1, bearer.${token}` },
    dialect: "petrel",
    topics,
  } as const;
}
