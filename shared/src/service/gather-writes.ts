// open-service-redis -> here -> redis/connection/connect: one write to Redis for all calls of a turn of the event loop.
// Guarantees: calls keep their order. A call waits for the end of its turn, not longer. Meant for links of few, unhurried
// calls that several loops make at once; those that answer somebody have batches of their own.
import { isCluster, masterOf } from "../redis/connection/cluster-nodes.js";
import type { Redis } from "../redis/connection/connect.js";

/** On a cluster nothing changes: each master has a link of its own. */
export function gatherWrites(redis: Redis): void {
  if (isCluster(redis)) return;
  const server = masterOf(redis, "");
  const send = server.sendCommand.bind(server);
  let isCorked = false;
  server.sendCommand = (...call: Parameters<typeof send>) => {
    if (!isCorked && server.status === "ready") {
      isCorked = true;
      const { stream } = server;
      stream.cork();
      setImmediate(() => {
        isCorked = false;
        stream.uncork();
      });
    }
    return send(...call);
  };
}
