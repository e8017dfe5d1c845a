// Bench: the floor, as a contender: a single process that writes the same frame to each socket.
import { JSON_HEADERS, type OpenContender } from "./contender.js";
import { spawnNodeScript } from "../spawn/spawn-node-script.js";

export const openFloor: OpenContender = async () => {
  const { pid, port, stop } = await spawnNodeScript({ name: "floor", script: "floor-node", environment: {} });
  return {
    name: "floor: one write()",
    setUp: "a bare write() of the same frame to each socket by one process; no Redis, no second node",
    pids: new Map([["node", pid]]),
    entrance: (_index, topics) => ({
      port,
      path: `/${encodeURIComponent(topics[0] ?? "")}`,
      headers: {},
      dialect: "plain",
      topics,
    }),
    publication: (_publisher, topic, data) => ({
      port,
      path: `/${encodeURIComponent(topic)}`,
      headers: JSON_HEADERS,
      body: data,
    }),
    stop,
  };
};
