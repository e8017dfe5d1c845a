// Bench, `ws` by hand: takes a POST and publishes it to its user's node, or to the nodes that listen to its topic.
// Nothing is stored.
// Guarantees: none, which is the point of the comparison: at most once, no order across reconnects, no acknowledgement.
import { createServer } from "node:http";
import { Redis } from "ioredis";

const redis = new Redis(process.env["REDIS_URL"] ?? "", { enableAutoPipelining: true });
const nodeCount = Number(process.env["NODES"]);

interface Body {
  readonly to: { readonly user: string } | { readonly topic: string };
  readonly data: unknown;
}

function publish({ to, data }: Body): Promise<number> {
  if ("topic" in to) return redis.publish(`topic:${to.topic}`, JSON.stringify({ topic: to.topic, data }));
  const node = Number(to.user.slice(1)) % nodeCount;
  return redis.publish(`contender:${node}`, JSON.stringify({ user: to.user, data }));
}

createServer((request, response) => {
  let body = "";
  request.setEncoding("utf8");
  request.on("data", (chunk: string) => (body += chunk));
  request.on("end", () => {
    void publish(JSON.parse(body) as Body).then(() => {
      response.writeHead(202, { "content-type": "application/json" }).end('{"ok":true}');
    });
  });
}).listen(Number(process.env["PORT"]), "127.0.0.1", () => process.stdout.write("ready\n"));
