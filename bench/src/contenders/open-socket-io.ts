// Bench: Socket.IO's rooms, as a contender.
import { createRequire } from "node:module";
import { JSON_HEADERS, type OpenContender } from "./contender.js";
import { startSocketIoCluster } from "./socket-io-cluster.js";

const SERVERS = 2;

export const openSocketIo: OpenContender = async () => {
  const { version } = createRequire(import.meta.url)("socket.io/package.json") as { version: string };
  const { ports, pids, stop } = await startSocketIoCluster(SERVERS);
  return {
    name: `Socket.IO ${version}`,
    setUp:
      "Redis streams adapter, connection-state recovery on, AOF on; WebSocket only; POSTs go to its servers",
    pids,
    entrance: (index, topics) => ({
      port: ports[index % SERVERS] ?? 0,
      path: "/socket.io/?EIO=4&transport=websocket",
      headers: {},
      dialect: "socket.io",
      topics,
    }),
    publication: (publisher, topic, data) => ({
      port: ports[publisher % SERVERS] ?? 0,
      path: "/",
      headers: JSON_HEADERS,
      body: `{"messages":[{"to":{"topic":${JSON.stringify(topic)}},"data":${data}}]}`,
    }),
    stop,
  };
};
