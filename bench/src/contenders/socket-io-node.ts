// Bench: one server of the Socket.IO cluster: with its Redis streams adapter and connection-state recovery, or with its
// Redis adapter, which has none.
// Set up as its documentation recommends, with limits that no bench reaches. A user and a topic are a room each.
import { createServer } from "node:http";
import { createAdapter as createPubSubAdapter } from "@socket.io/redis-adapter";
import { createAdapter as createStreamsAdapter } from "@socket.io/redis-streams-adapter";
import { Redis } from "ioredis";
import { Server } from "socket.io";

const redis = new Redis(process.env["REDIS_URL"] ?? "");

const server = createServer((request, response) => {
  let body = "";
  request.setEncoding("utf8");
  request.on("data", (chunk: string) => (body += chunk));
  request.on("end", () => {
    const { messages } = JSON.parse(body) as {
      messages: { to: { user: string } | { topic: string }; data: unknown }[];
    };
    for (const { to, data } of messages) io.to("topic" in to ? to.topic : to.user).emit("message", data);
    response.writeHead(202, { "content-type": "application/json" }).end("{}");
  });
});
const io = new Server(server, {
  transports: ["websocket"],
  serveClient: false,
  ...(process.env["ADAPTER"] === "pub-sub"
    ? { adapter: createPubSubAdapter(redis, redis.duplicate()) }
    : {
        adapter: createStreamsAdapter(redis, { maxLen: 1_000_000, onlyPlaintext: true }),
        connectionStateRecovery: { maxDisconnectionDuration: 120_000, skipMiddlewares: true },
      }),
});
io.on("connection", (socket) => {
  // A recovered socket has its rooms already.
  if (socket.recovered) return;
  const { user, topics } = socket.handshake.auth as { user?: string; topics?: string[] };
  if (user !== undefined) void socket.join(user);
  if (topics === undefined) return;
  void Promise.resolve(socket.join(topics)).then(() => socket.emit("joined"));
});
server.listen(Number(process.env["PORT"]), "127.0.0.1", () => process.stdout.write("ready\n"));
