// Bench: Socket.IO's rooms, as a contender, with either of its Redis adapters.
import { createRequire } from "node:module";
import type { PostRequest } from "../keep-alive-post.js";
import { JSON_HEADERS, type BatchedMessage, type Contender, type Side } from "./contender.js";
import { startSocketIoCluster, type SocketIoAdapter } from "./socket-io-cluster.js";

const SERVERS = 2;

const setUps: Readonly<Record<SocketIoAdapter, string>> = {
  streams:
    "Redis streams adapter, connection-state recovery on, AOF on; WebSocket only; POSTs go to its servers",
  "pub-sub":
    "Redis adapter (pub/sub): stores nothing, no recovery, no AOF; WebSocket only; POSTs go to its servers",
};

export async function openSocketIo(adapter: SocketIoAdapter): Promise<Contender> {
  const { version } = createRequire(import.meta.url)("socket.io/package.json") as { version: string };
  const { ports, pids, redisUrl, stop } = await startSocketIoCluster(SERVERS, adapter);
  const post = (publisher: number, messages: readonly BatchedMessage[]): PostRequest => {
    const texts = messages.map(
      ({ topic, data }) => `{"to":{"topic":${JSON.stringify(topic)}},"data":${data}}`,
    );
    return {
      port: ports[publisher % SERVERS] ?? 0,
      path: "/",
      headers: JSON_HEADERS,
      body: `{"messages":[${texts.join(",")}]}`,
    };
  };
  const side: Side = {
    entrance: (index, topics) => ({
      port: ports[index % SERVERS] ?? 0,
      path: "/socket.io/?EIO=4&transport=websocket",
      headers: {},
      dialect: "socket.io",
      topics,
    }),
    publication: (publisher, topic, data) => post(publisher, [{ topic, data }]),
    batch: post,
  };
  return {
    ...side,
    users: side,
    name: `Socket.IO ${version}${adapter === "streams" ? ", streams" : ""}`,
    setUp: setUps[adapter],
    pids,
    redisUrl,
    stop,
  };
}
