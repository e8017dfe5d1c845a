// Bench: builds Centrifugo out of its Go module, where there is a Go.
// Guarantees: the version that the figures were taken with; built once.
import { access } from "node:fs/promises";
import { join } from "node:path";
import { runCommand } from "@petrel/shared/embedded-redis/run-command";
import { peerDirectory } from "./peer-cache.js";

export const CENTRIFUGO_VERSION = "6.9.1";
const MODULE = "github.com/centrifugal/centrifugo/v6";
/** It takes both cores for some minutes. */
const BUILD_DEADLINE_MS = 15 * 60_000;

export async function installCentrifugo(): Promise<{ binary: string } | { leftOut: string }> {
  const directory = peerDirectory(`centrifugo-v${CENTRIFUGO_VERSION}`);
  const binary = join(directory, "centrifugo");
  if (await exists(binary)) return { binary };
  const go = await runCommand("go", ["version"], { environment: process.env });
  if (go.code !== 0) return { leftOut: "Centrifugo: this machine has no Go to build it with" };
  process.stderr.write(`building Centrifugo ${CENTRIFUGO_VERSION}, once; this takes some minutes\n`);
  const { code, stderr } = await runCommand("go", ["install", `${MODULE}@v${CENTRIFUGO_VERSION}`], {
    environment: { ...process.env, GOBIN: directory },
    deadlineMs: BUILD_DEADLINE_MS,
  });
  if (code === 0) return { binary };
  return { leftOut: `Centrifugo: go install failed: ${stderr.trim().split("\n").at(-1) ?? ""}` };
}

function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
