// Flow: the snippets of docs/send/producers.md, run as they stand, against real processes. A missing interpreter
// visibly skips its snippet.
import { execFile, spawnSync } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { startCluster, type TestCluster } from "@petrel/shared/testing/cluster/start-cluster";
import { readmeBlocks } from "../support/repository/readme-blocks.js";

const run = promisify(execFile);
const snippets = [
  { language: "js", file: "send.mjs", tools: [], command: process.execPath },
  { language: "python", file: "send.py", tools: ["python3"], command: "python3" },
  { language: "sh", file: "send.sh", tools: ["openssl", "curl"], command: "sh" },
] as const;

let cluster: TestCluster;
let directory: string;
let key: string;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "petrel-snippets-"));
  cluster = await startCluster({ together: true, nodes: 1 });
  const answer = await fetch(`${cluster.auth.url}/v1/keys`, {
    method: "POST",
    headers: { authorization: `Bearer ${cluster.adminKey}`, "content-type": "application/json" },
    body: JSON.stringify({ name: "snippets", scopes: ["send", "read"], require: "signature" }),
  });
  const { id, secret } = (await answer.json()) as { id: string; secret: string };
  key = `${id}.${secret}`;
});
afterAll(async () => {
  await cluster.stop();
  await rm(directory, { recursive: true });
});

function isThere(tool: string): boolean {
  // Whatever it answers: it could be started.
  return spawnSync(tool, ["--version"]).error === undefined;
}

describe("each snippet sends a message", () => {
  for (const { language, file, tools, command } of snippets) {
    const missing = tools.find((tool) => !isThere(tool));
    const title = missing === undefined ? language : `${language} (skipped: there is no ${missing} here)`;
    test.skipIf(missing !== undefined)(title, async () => {
      const blocks = readmeBlocks(language, "test/rules/producers-doc.test.ts", "docs/send/producers.md");
      expect(blocks).toHaveLength(1);
      await writeFile(join(directory, file), blocks[0] ?? "");
      const { stdout } = await run(command, [join(directory, file)], {
        timeout: 30_000,
        env: { PATH: process.env["PATH"], PETREL_KEY: key, PETREL_COLLECT_URL: cluster.collect.url },
      });
      const [id] = /p\d+_[\w-]+/.exec(stdout) ?? [];
      const shown = await fetch(`${cluster.collect.url}/v1/messages/${id}`, {
        headers: { authorization: `Bearer ${cluster.apiKey}` },
      });
      expect(await shown.json()).toMatchObject({ id, to: { user: "alice" }, state: "queued" });
    });
  }
});
