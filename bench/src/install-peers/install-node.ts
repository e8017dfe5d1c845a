// Bench: a Node of another version, out of the npm package that brings Node's binaries.
// Guarantees: fetched once; the version that runs is told.
import { existsSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { runCommand } from "@petrel/shared/embedded-redis/run-command";
import { peerDirectory } from "./peer-cache.js";

const FETCH_DEADLINE_MS = 5 * 60_000;

/** @param version such as "24" or "22.12.0" */
export async function installNode(
  version: string,
): Promise<{ readonly binary: string; readonly version: string } | { readonly leftOut: string }> {
  const directory = peerDirectory(`node-${version}`);
  const binary = join(directory, "node_modules", "node", "bin", "node");
  if (!existsSync(binary)) {
    await mkdir(directory, { recursive: true });
    await writeFile(join(directory, "package.json"), '{ "private": true }\n');
    const { code, stderr } = await runCommand(
      "npm",
      ["install", "--no-audit", "--no-fund", "--prefix", directory, `node@${version}`],
      { environment: process.env, deadlineMs: FETCH_DEADLINE_MS },
    );
    if (code !== 0) return { leftOut: `Node ${version}: ${stderr.trim().split("\n").at(-1) ?? ""}` };
  }
  const { code, stdout } = await runCommand(binary, ["--version"], { environment: process.env });
  if (code !== 0) return { leftOut: `Node ${version}: its binary does not run here` };
  return { binary, version: stdout.trim().replace(/^v/, "") };
}
