// Bench: `ws` with Redis pub/sub by hand, as a contender.
import { createRequire } from "node:module";
import { JSON_HEADERS, type OpenContender, type Side } from "./contender.js";
import { startWsCluster } from "./ws-cluster.js";

const NODES = 2;

export const openWs: OpenContender = async () => {
  const { version } = createRequire(import.meta.url)("ws/package.json") as { version: string };
  const { redisUrl, ingestPort, nodePorts, pids, stop } = await startWsCluster(NODES);
  return {
    name: `ws ${version} by hand`,
    setUp: "a Redis channel for each topic, and one a node for users; stores nothing, no position",
    pids,
    ...sideOf("topic", ingestPort, nodePorts),
    users: sideOf("user", ingestPort, nodePorts),
    redisUrl,
    stop,
  };
};

function sideOf(kind: "topic" | "user", ingestPort: number, nodePorts: readonly number[]): Side {
  return {
    entrance: (index, topics) => ({
      port: nodePorts[index % NODES] ?? 0,
      path: `/?${topics.map((topic) => `${kind}=${encodeURIComponent(topic)}`).join("&")}`,
      headers: {},
      dialect: "plain",
      topics,
    }),
    publication: (_publisher, topic, data) => ({
      port: ingestPort,
      path: "/",
      headers: JSON_HEADERS,
      body: `{"to":{"${kind}":${JSON.stringify(topic)}},"data":${data}}`,
    }),
  };
}
