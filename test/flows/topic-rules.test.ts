// Over a real collect: TOPICS_FILE at the start, and while it changes.
// Guarantees: a wrong file ends the start with one line that names the wrong one; later it changes nothing, and is said.
import { mkdtemp, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { askService } from "@petrel/shared/testing/cluster/ask-service";
import { startCluster, type TestCluster } from "@petrel/shared/testing/cluster/start-cluster";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { afterAll, beforeAll, expect, test } from "vitest";

let directory: string;
let file: string;
let cluster: TestCluster;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "petrel-topic-rules-"));
  file = join(directory, "topics.json");
  await put(rulesOf(2));
  cluster = await startCluster({
    together: (name) => name !== "collect",
    nodes: 0,
    environmentOf,
  });
}, 60_000);
afterAll(async () => {
  await cluster?.stop();
  await rm(directory, { recursive: true, force: true });
});

const environmentOf = (name: string): Record<string, string> =>
  name === "collect" ? { TOPICS_FILE: file } : {};

const rulesOf = (historySize: unknown): string => `{
  "rules": [
    {
      "topics": "match.*",
      "historySize": ${JSON.stringify(historySize)}
    }
  ]
}`;

/** As an editor does it: no reader sees half of a file. */
async function put(text: string): Promise<void> {
  await writeFile(`${file}.new`, text);
  await rename(`${file}.new`, file);
}

/** How many of a topic's messages are kept. */
async function keptOf(topic: string): Promise<number> {
  for (let i = 0; i < 10; i++) await cluster.post("/v1/messages", { to: { topic }, data: i });
  const answer = await askService(`${cluster.collect.url}/v1/topics/${topic}/messages`, {
    headers: { authorization: `Bearer ${cluster.apiKey}` },
  });
  return ((await answer.json()) as { items: unknown[] }).items.length;
}

test("SIGHUP loads a new file; a wrong one is logged, with its line, and changes nothing", async () => {
  expect(await keptOf("match.1")).toBe(2);
  expect(await keptOf("news")).toBe(10);

  await put(rulesOf(4));
  cluster.collect.signal("SIGHUP");
  await waitFor(async () => (await cluster.collect.log()).includes("its rules are in force"), {
    what: "the log line",
  });
  expect(await keptOf("match.2")).toBe(4);

  await put(rulesOf("many"));
  cluster.collect.signal("SIGHUP");
  const said = await waitFor(
    async () => (await cluster.collect.log()).split("\n").find((line) => line.includes("cannot be used")),
    { what: "the log line" },
  );
  expect((JSON.parse(said) as { reason: string }).reason).toBe(
    'line 5: "historySize" must be a whole number from 0 to 100000, not "many"',
  );
  expect(await keptOf("match.3")).toBe(4);
});

test("a wrong file ends the start, naming the line", async () => {
  await put(rulesOf(-1));
  const starting = startCluster({
    together: (name) => name !== "collect",
    nodes: 0,
    environmentOf,
  });
  await expect(starting).rejects.toThrow(
    'TOPICS_FILE cannot be used: line 5: "historySize" must be a whole number from 0 to 100000, not -1',
  );
});
