// Tests only: which Redis server a test runs on.
// Guarantees: the one that PETREL_TEST_REDIS_SERVER names, or an error that says why not; without it the one that `npm
// start` embeds.
import { findRedisServer } from "../../embedded-redis/install/find-redis-server.js";
import { inspectServer, type RedisBinary } from "../../embedded-redis/inspect-server.js";
import type { Environment } from "../../embedded-redis/run-command.js";
import { furtherServerPath, furtherServers } from "./further-servers.js";

/**
 * @param environment `PETREL_TEST_REDIS_SERVER`: the name of a further server (see further-servers) or the path of a
 * binary
 * @throws Error if it names none that runs here
 */
export async function findTestServer(
  environment: Environment,
  onProgress?: (line: string) => void,
): Promise<RedisBinary> {
  const asked = environment["PETREL_TEST_REDIS_SERVER"];
  if (asked === undefined || asked === "") {
    return findRedisServer({ environment, ...(onProgress === undefined ? {} : { onProgress }) });
  }
  const further = furtherServers.find(({ name }) => name === asked);
  const binary = await inspectServer(
    further === undefined ? asked : furtherServerPath(further),
    [],
    environment,
  );
  if (binary !== undefined) return binary;
  const names = furtherServers.map(({ name }) => name).join(", ");
  throw new Error(
    further === undefined
      ? `PETREL_TEST_REDIS_SERVER=${asked} is no server that runs here; give one of ${names}, or the path of a binary`
      : `PETREL_TEST_REDIS_SERVER=${asked} is not installed: npm run test:install-servers`,
  );
}
