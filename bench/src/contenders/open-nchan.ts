// Bench: nchan's channels, kept in Redis, as a contender: two nginx with a worker each.
import { readFile, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort } from "@petrel/shared/testing/free-port";
import { startRedis } from "@petrel/shared/testing/redis/start-redis";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { JSON_HEADERS, type OpenContender, type Side } from "./contender.js";
import { installNchan, type InstalledNchan } from "../install-peers/install-nchan.js";
import { spawnServer } from "../spawn/spawn-server.js";
import { startOrStop, stopAll } from "../spawn/stop-all.js";

const NODES = 2;

export const openNchan: OpenContender = async () => {
  const installed = await installNchan();
  if ("leftOut" in installed) return installed;
  return startOrStop(async (stops) => {
    const redis = await startRedis();
    stops.push(() => redis.stop());
    const directory = await mkdtemp(join(tmpdir(), "petrel-nchan-"));
    stops.push(() => rm(directory, { recursive: true, force: true }));
    const pids = new Map([["redis", redis.pid]]);
    const ports: number[] = [];
    for (let i = 1; i <= NODES; i++) {
      const port = await freePort();
      const prefix = join(directory, `node-${i}`);
      await mkdir(prefix);
      const file = join(prefix, "nginx.conf");
      await writeFile(file, configOf(installed, prefix, port, redis.port));
      const { pid, stop } = await spawnServer({
        name: `nginx-${i}`,
        ...withScratch(installed, ["-p", prefix, "-e", "stderr", "-c", file]),
        port,
      });
      stops.push(stop);
      ports.push(port);
      pids.set(`master-${i}`, pid);
      pids.set(`node-${i}`, await workerOf(pid));
    }
    const side: Side = {
      entrance: (index, topics) => ({
        port: ports[index % NODES] ?? 0,
        path: `/subscribe?topic=${encodeURIComponent(topics[0] ?? "")}`,
        headers: {},
        dialect: "nchan",
        topics,
      }),
      publication: (publisher, topic, data) => ({
        port: ports[publisher % NODES] ?? 0,
        path: `/publish?topic=${encodeURIComponent(topic)}`,
        headers: JSON_HEADERS,
        body: data,
      }),
    };
    return {
      ...side,
      users: side,
      redisUrl: redis.url,
      name: `nchan ${installed.version}`,
      setUp: "nginx with one worker each, messages kept in Redis, no AOF; POSTs go to its nodes",
      pids,
      stop: () => stopAll(stops),
    };
  });
};

/**
 * nchan makes nginx want Debian's default scratch directories, whatever the configuration says. Root gives it an empty
 * `/var/lib` of its own.
 */
function withScratch({ nginx, isRoot }: InstalledNchan, args: readonly string[]) {
  if (!isRoot) return { command: nginx, args };
  const script = 'mount -t tmpfs tmpfs /var/lib && mkdir /var/lib/nginx && exec "$0" "$@"';
  return { command: "unshare", args: ["--mount", "sh", "-c", script, nginx, ...args] };
}

async function workerOf(master: number): Promise<number> {
  return waitFor(
    async () => Number((await readFile(`/proc/${master}/task/${master}/children`, "utf8")).split(" ")[0]),
    { what: "nginx to start its worker" },
  );
}

function configOf(
  { module, isRoot }: InstalledNchan,
  prefix: string,
  port: number,
  redisPort: number,
): string {
  const scratch = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
  return `load_module ${module};
${isRoot ? "user root;" : ""}
daemon off;
worker_processes 1;
worker_rlimit_nofile 20000;
pid ${prefix}/nginx.pid;
error_log stderr error;
events { worker_connections 19000; }
http {
  access_log off;
  ${scratch.map((name) => `${name}_temp_path ${prefix}/${name};`).join(" ")}
  keepalive_requests 1000000000;
  nchan_shared_memory_size 256M;
  upstream kept { nchan_redis_server redis://127.0.0.1:${redisPort}; }
  server {
    listen 127.0.0.1:${port} backlog=4096;
    location = /publish {
      nchan_publisher;
      nchan_channel_id $arg_topic;
      nchan_redis_pass kept;
      nchan_message_buffer_length 100;
      nchan_message_timeout 1d;
    }
    location = /subscribe {
      nchan_subscriber websocket;
      nchan_channel_id $arg_topic;
      nchan_redis_pass kept;
      nchan_subscriber_first_message newest;
    }
  }
}
`;
}
