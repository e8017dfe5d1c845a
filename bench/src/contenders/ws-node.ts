// Bench, `ws` by hand: holds sockets and sends what Redis publishes for their users and topics. No guarantees; see
// ws-ingest.
import { Redis } from "ioredis";
import { WebSocketServer, type WebSocket } from "ws";

const redis = new Redis(process.env["REDIS_URL"] ?? "");
const sockets = new Map<string, WebSocket>();
const members = new Map<string, Set<WebSocket>>();

const server = new WebSocketServer({
  port: Number(process.env["PORT"]),
  host: "127.0.0.1",
  perMessageDeflate: false,
});

async function join(socket: WebSocket, topic: string): Promise<void> {
  const joined = members.get(topic) ?? new Set();
  members.set(topic, joined.add(socket));
  socket.once("close", () => joined.delete(socket));
  await redis.subscribe(`topic:${topic}`);
}

server.on("connection", (socket, request) => {
  const { searchParams } = new URL(request.url ?? "", "http://contender");
  const user = searchParams.get("user");
  if (user !== null) {
    sockets.set(user, socket);
    socket.once("close", () => sockets.delete(user));
    socket.send("subscribed");
  }
  const topics = searchParams.getAll("topic");
  if (topics.length === 0) return;
  void Promise.all(topics.map((topic) => join(socket, topic))).then(() => socket.send("subscribed"));
});
server.on("listening", () => {
  void redis.subscribe(`contender:${process.env["NODE_INDEX"]}`).then(() => process.stdout.write("ready\n"));
});
redis.on("message", (_channel, text: string) => {
  const { user, topic, data } = JSON.parse(text) as { user?: string; topic?: string; data: unknown };
  if (user !== undefined) sockets.get(user)?.send(JSON.stringify({ type: "message", data }));
  if (topic === undefined) return;
  // Encoded once; `ws` puts it into a frame for each socket.
  const message = Buffer.from(JSON.stringify({ type: "message", topic, data }));
  for (const socket of members.get(topic) ?? []) socket.send(message, { binary: false });
});
