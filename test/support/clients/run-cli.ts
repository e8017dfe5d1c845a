// Tests only: `petrel` in this process, asking a cluster with its operator's key.
// Guarantees: what it prints and its exit code, as a shell would see them.
import { PassThrough } from "node:stream";
import type { TestCluster } from "@petrel/shared/testing/cluster/start-cluster";
import { runPetrel } from "../../../clients/cli/src/run-petrel.js";

export interface CliRun {
  readonly code: number;
  readonly out: readonly string[];
  readonly err: readonly string[];
}

export async function runCli(
  cluster: Pick<TestCluster, "auth" | "collect" | "dispatchers" | "nodeUrls" | "adminKey">,
  args: readonly string[],
  environment: Readonly<Record<string, string>> = {},
): Promise<CliRun> {
  const out: string[] = [];
  const err: string[] = [];
  const code = await runPetrel(
    args,
    {
      print: (line) => void out.push(line),
      deliver: (line) => Promise.resolve(void out.push(line)),
      note: (line) => void err.push(line),
      stdin: new PassThrough(),
      environment: {
        PETREL_AUTH_URL: cluster.auth.url,
        PETREL_COLLECT_URL: cluster.collect.url,
        PETREL_DISPATCH_URL: cluster.dispatchers[0]?.url ?? "",
        PETREL_NODE_URL: cluster.nodeUrls.join(","),
        PETREL_KEY: cluster.adminKey,
        ...environment,
      },
      workingDirectory: "/",
      interrupted: new AbortController().signal,
    },
    "1.2.3",
  );
  return { code, out, err };
}
