// Bench: one server process of a contender that is written here.
// Guarantees: as spawn-server; the built file runs, whether this one runs built or not.
import { fileURLToPath } from "node:url";
import { freePort } from "@petrel/shared/testing/free-port";
import { spawnServer, type SpawnedServer } from "./spawn-server.js";

export interface ScriptToSpawn {
  readonly name: string;
  /** Of the room `contenders`: "ws-node". */
  readonly script: string;
  /** `PORT` is added. */
  readonly environment: Readonly<Record<string, string>>;
  /** More arguments for node itself, such as `--cpu-prof`. */
  readonly nodeArguments?: readonly string[];
}

export async function spawnNodeScript({
  name,
  script,
  environment,
  nodeArguments = [],
}: ScriptToSpawn): Promise<SpawnedServer> {
  const port = await freePort();
  return spawnServer({
    name,
    command: process.execPath,
    args: [
      "--inspect-port=0",
      ...nodeArguments,
      fileURLToPath(new URL(`../../dist/contenders/${script}.js`, import.meta.url)),
    ],
    environment: { ...environment, PORT: String(port) },
    port,
  });
}
