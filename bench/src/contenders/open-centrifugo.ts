// Bench: Centrifugo's channels with its Redis engine, history and recovery on, as a contender.
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort } from "@petrel/shared/testing/free-port";
import { startRedis } from "@petrel/shared/testing/redis/start-redis";
import type { PostRequest } from "../keep-alive-post.js";
import { JSON_HEADERS, type OpenContender, type Side } from "./contender.js";
import { CENTRIFUGO_VERSION, installCentrifugo } from "../install-peers/install-centrifugo.js";
import { spawnServer } from "../spawn/spawn-server.js";
import { startOrStop, stopAll } from "../spawn/stop-all.js";

const NODES = 2;
const API_KEY = "bench";

export const openCentrifugo: OpenContender = async () => {
  const installed = await installCentrifugo();
  if ("leftOut" in installed) return installed;
  return startOrStop(async (stops) => {
    const redis = await startRedis();
    stops.push(() => redis.stop());
    const directory = await mkdtemp(join(tmpdir(), "petrel-centrifugo-"));
    stops.push(() => rm(directory, { recursive: true, force: true }));
    const pids = new Map([["redis", redis.pid]]);
    const ports: number[] = [];
    for (let i = 1; i <= NODES; i++) {
      const port = await freePort();
      const file = join(directory, `node-${i}.json`);
      await writeFile(file, JSON.stringify(configOf(`node-${i}`, port, redis.url)));
      const { pid, stop } = await spawnServer({
        name: `centrifugo-${i}`,
        command: installed.binary,
        args: ["--config", file],
        port,
      });
      stops.push(stop);
      ports.push(port);
      pids.set(`node-${i}`, pid);
    }
    const post = (publisher: number, path: string, body: string): PostRequest => ({
      port: ports[publisher % NODES] ?? 0,
      path,
      headers: { ...JSON_HEADERS, "X-API-Key": API_KEY },
      body,
    });
    const side: Side = {
      entrance: (index, topics) => ({
        port: ports[index % NODES] ?? 0,
        path: "/connection/websocket",
        headers: {},
        dialect: "centrifugo",
        topics,
      }),
      publication: (publisher, topic, data) =>
        post(publisher, "/api/publish", `{"channel":${JSON.stringify(topic)},"data":${data}}`),
      batch: (publisher, messages) => {
        const commands = messages.map(
          ({ topic, data }) => `{"publish":{"channel":${JSON.stringify(topic)},"data":${data}}}`,
        );
        return post(publisher, "/api/batch", `{"commands":[${commands.join(",")}],"parallel":true}`);
      },
    };
    return {
      ...side,
      users: side,
      redisUrl: redis.url,
      name: `Centrifugo ${CENTRIFUGO_VERSION}`,
      setUp:
        "Redis engine, history of 100 and recovery on, no AOF; clients without tokens; POSTs go to its nodes",
      pids,
      stop: () => stopAll(stops),
    };
  });
};

/** What its documentation says of a Redis engine with history; everything else stays at its default. */
function configOf(name: string, port: number, redisUrl: string): unknown {
  return {
    node: { name },
    http_server: { address: "127.0.0.1", port },
    log: { level: "error" },
    http_api: { key: API_KEY },
    client: { insecure: true, allowed_origins: [] },
    engine: { type: "redis", redis: { address: [redisUrl] } },
    channel: {
      without_namespace: { history_size: 100, history_ttl: "24h", force_recovery: true },
    },
    usage_stats: { disabled: true },
  };
}
