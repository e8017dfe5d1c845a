// Bench, the contender: takes a POST and publishes it to its user's node. Nothing is stored.
// Guarantees: none, which is the point of the comparison: at most once, no order across reconnects, no acknowledgement.
import { createServer } from "node:http";
import { Redis } from "ioredis";

const redis = new Redis(process.env["REDIS_URL"] ?? "", { enableAutoPipelining: true });
const nodeCount = Number(process.env["NODES"]);

createServer((request, response) => {
  let body = "";
  request.setEncoding("utf8");
  request.on("data", (chunk: string) => (body += chunk));
  request.on("end", () => {
    const { to, data } = JSON.parse(body) as { to: { user: string }; data: unknown };
    const node = Number(to.user.slice(1)) % nodeCount;
    void redis.publish(`contender:${node}`, JSON.stringify({ user: to.user, data })).then(() => {
      response.writeHead(202, { "content-type": "application/json" }).end('{"ok":true}');
    });
  });
}).listen(Number(process.env["PORT"]), "127.0.0.1", () => process.stdout.write("ready\n"));
