// start-cluster -> here: what Node is started with for a service of any release.
// Guarantees: each release's services get what that release names, so that two of them compare as they would run.
import { existsSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { nodeArgumentsOf } from "../../kernel/node-arguments.js";
import { builtTree } from "./service-files.js";

/** @param release the root of a built tree */
export async function nodeArgumentsOfRelease(release: string, service: string): Promise<readonly string[]> {
  if (join(release, "/") === builtTree) return nodeArgumentsOf(service);
  const file = join(release, "shared/dist/kernel/node-arguments.js");
  // Older releases name none.
  if (!existsSync(file)) return [];
  const itsOwn = (await import(pathToFileURL(file).href)) as {
    readonly nodeArgumentsOf: typeof nodeArgumentsOf;
  };
  return itsOwn.nodeArgumentsOf(service);
}
