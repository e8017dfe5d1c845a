// Bench: Petrel once more: of another build, on another Node, on another Redis, with other events.
// Guarantees: each differs from Petrel in that alone; what can't be had on this machine is told.
import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import { startRedis } from "@petrel/shared/testing/redis/start-redis";
import type { Contender, LeftOut } from "../contenders/contender.js";
import { openPetrel } from "../contenders/open-petrel.js";
import { installNode } from "../install-peers/install-node.js";
import { FURTHER_REDIS, type CompareOptions, type RedisName } from "./compare-options.js";

type Variant = () => Promise<Contender | LeftOut>;

export function petrelVariants({ baseline, nodes, redis, events, environment }: CompareOptions): Variant[] {
  return [
    ...events.map(
      (EVENTS) => () =>
        openPetrel({ name: `Petrel, events: ${EVENTS}`, environment: { ...environment, EVENTS } }),
    ),
    ...(baseline === undefined ? [] : [() => openBaseline(resolve(baseline), environment)]),
    ...nodes.map((version) => () => openOnNode(version, environment)),
    ...redis.map((name) => () => openOnRedis(name, environment)),
  ];
}

async function openBaseline(
  root: string,
  environment: CompareOptions["environment"],
): Promise<Contender | LeftOut> {
  if (!existsSync(join(root, "services", "collect", "dist", "main.js")))
    return { leftOut: `Petrel, baseline: ${root} is no built tree` };
  return openPetrel({ name: "Petrel, baseline", environment, releaseOf: () => root });
}

async function openOnNode(
  version: string,
  environment: CompareOptions["environment"],
): Promise<Contender | LeftOut> {
  const installed = await installNode(version);
  if ("leftOut" in installed) return installed;
  return openPetrel({
    name: `Petrel, Node ${installed.version}`,
    environment,
    nodeBinary: installed.binary,
  });
}

async function openOnRedis(
  name: RedisName,
  environment: CompareOptions["environment"],
): Promise<Contender | LeftOut> {
  const server = FURTHER_REDIS[name];
  try {
    const redis = await startRedis({ appendOnly: true, server });
    return await openPetrel({ name: `Petrel, ${server}`, environment, redis, onStopped: () => redis.stop() });
  } catch (error) {
    return { leftOut: `Petrel, ${server}: ${error instanceof Error ? error.message : String(error)}` };
  }
}
