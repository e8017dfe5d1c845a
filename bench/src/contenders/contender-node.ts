// Bench, the contender: holds sockets and sends what Redis publishes for their users. No guarantees; see
// contender-ingest.
import { Redis } from "ioredis";
import { WebSocketServer, type WebSocket } from "ws";

const redis = new Redis(process.env["REDIS_URL"] ?? "");
const sockets = new Map<string, WebSocket>();

const server = new WebSocketServer({
  port: Number(process.env["PORT"]),
  host: "127.0.0.1",
  perMessageDeflate: false,
});
server.on("connection", (socket, request) => {
  sockets.set(new URL(request.url ?? "", "http://contender").searchParams.get("user") ?? "", socket);
});
server.on("listening", () => {
  void redis.subscribe(`contender:${process.env["NODE_INDEX"]}`).then(() => process.stdout.write("ready\n"));
});
redis.on("message", (_channel, text: string) => {
  const { user, data } = JSON.parse(text) as { user: string; data: unknown };
  sockets.get(user)?.send(JSON.stringify({ type: "message", data }));
});
