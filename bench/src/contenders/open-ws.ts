// Bench: `ws` with Redis pub/sub by hand, as a contender.
import { createRequire } from "node:module";
import { JSON_HEADERS, type OpenContender } from "./contender.js";
import { startWsCluster } from "./ws-cluster.js";

const NODES = 2;

export const openWs: OpenContender = async () => {
  const { version } = createRequire(import.meta.url)("ws/package.json") as { version: string };
  const { ingestPort, nodePorts, pids, stop } = await startWsCluster(NODES);
  return {
    name: `ws ${version} by hand`,
    setUp: "a Redis channel for each topic; stores nothing, no position",
    pids,
    entrance: (index, topics) => ({
      port: nodePorts[index % NODES] ?? 0,
      path: `/?${topics.map((topic) => `topic=${encodeURIComponent(topic)}`).join("&")}`,
      headers: {},
      dialect: "plain",
      topics,
    }),
    publication: (_publisher, topic, data) => ({
      port: ingestPort,
      path: "/",
      headers: JSON_HEADERS,
      body: `{"to":{"topic":${JSON.stringify(topic)}},"data":${data}}`,
    }),
    stop,
  };
};
