// Bench, drop test: one server of the Socket.IO cluster, with its Redis streams adapter and connection-state recovery.
// Set up as its documentation recommends, with limits that this test does not reach.
import { createServer } from "node:http";
import { createAdapter } from "@socket.io/redis-streams-adapter";
import { Redis } from "ioredis";
import { Server } from "socket.io";

const redis = new Redis(process.env["REDIS_URL"] ?? "");

const server = createServer((request, response) => {
  let body = "";
  request.setEncoding("utf8");
  request.on("data", (chunk: string) => (body += chunk));
  request.on("end", () => {
    const { messages } = JSON.parse(body) as { messages: { to: { user: string }; data: unknown }[] };
    for (const { to, data } of messages) io.to(to.user).emit("message", data);
    response.writeHead(202, { "content-type": "application/json" }).end("{}");
  });
});
const io = new Server(server, {
  transports: ["websocket"],
  serveClient: false,
  adapter: createAdapter(redis, { maxLen: 1_000_000, onlyPlaintext: true }),
  connectionStateRecovery: { maxDisconnectionDuration: 120_000, skipMiddlewares: true },
});
io.on("connection", (socket) => {
  // A recovered socket has its rooms already.
  if (!socket.recovered) void socket.join(String(socket.handshake.auth["user"]));
});
server.listen(Number(process.env["PORT"]), "127.0.0.1", () => process.stdout.write("ready\n"));
