// Flow: docs/send/http-api.md: its commands pasted into a shell, its answers compared with the real ones.
// Guarantees: every command has its answer beside it; ids, times and epochs may differ, nothing else; every route,
// field and status of collect's OpenAPI document is on the page, and every error code of the page is in the catalogue.
import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { errorCatalogue } from "@petrel/shared/protocol/error-codes";
import { startCluster, type TestCluster } from "@petrel/shared/testing/cluster/start-cluster";

const run = promisify(execFile);
const page = "docs/send/http-api.md";
const text = readFileSync(new URL(`../../${page}`, import.meta.url), "utf8");
const examples = [
  ...text.matchAll(
    /<!-- runs in test\/rules\/http-api-doc\.test\.ts -->\n```sh\n([\s\S]*?)```\n\n<!-- answers in test\/rules\/http-api-doc\.test\.ts -->\n```json\n([\s\S]*?)```/g,
  ),
].map(([, command = "", answer = ""]) => ({ command, answer }));

let cluster: TestCluster;
beforeAll(async () => {
  cluster = await startCluster({ together: true, nodes: 1 });
}, 180_000);
afterAll(() => cluster?.stop());

/** Replaces what differs from run to run by its form. */
function withoutChance(json: string): unknown {
  return JSON.parse(
    json
      .replace(/"p\d+_[\w-]{22}"/g, '"ID"')
      .replace(/"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"/g, '"TIME"')
      .replace(/"nextAfter":\s*"[\w-]{20,}"/g, '"nextAfter":"CURSOR"')
      .replace(/"epoch":\s*"[\w-]+\.\d+"/g, '"epoch":"EPOCH"'),
  ) as unknown;
}

/** Several JSON texts in a row, as two commands print them. */
function eachAnswer(printed: string): unknown[] {
  return printed
    .trim()
    .split(/(?<=\})\s*(?=\{"id")|(?<=\})\n(?=\{)/)
    .map(withoutChance);
}

test("every command on the page is followed by its answer", () => {
  expect(examples.length).toBeGreaterThan(8);
  expect(text.match(/<!-- runs in /g)).toHaveLength(examples.length);
  expect(text.match(/<!-- answers in /g)).toHaveLength(examples.length);
});

// In the page's order: later commands read what earlier ones store.
test("each command answers what the page says", { timeout: 60_000 }, async () => {
  for (const { command, answer } of examples) {
    const { stdout } = await run("sh", ["-c", command], {
      timeout: 30_000,
      env: {
        PATH: process.env["PATH"],
        COLLECT: cluster.collect.url,
        KEY: cluster.apiKey,
        ADMIN_KEY: cluster.adminKey,
      },
    });
    expect(eachAnswer(stdout), command).toEqual(eachAnswer(answer));
  }
});

test("every error code of the page is in the catalogue", () => {
  const named = new Set(text.match(/PETREL_[A-Z_]+/g));
  expect([...named].filter((code) => !Object.keys(errorCatalogue).includes(code))).toEqual([]);
});

interface OpenApi {
  readonly paths: Record<string, Record<string, { readonly responses: Record<string, unknown> }>>;
  readonly components: {
    readonly schemas: Record<string, { readonly properties?: Record<string, unknown> }>;
  };
}

test("every route, status and field of collect is on the page", async () => {
  const answer = await fetch(`${cluster.collect.url}/openapi.json`);
  const { paths, components } = (await answer.json()) as OpenApi;
  const routes = Object.entries(paths).filter(([path]) => path.startsWith("/v1/"));
  expect(routes.length).toBeGreaterThan(6);
  // Collected, so that a failure does not print the page.
  const missing: string[] = [];
  for (const [path, methods] of routes) {
    const shown = path.replaceAll(/\{(\w+)\}/g, ":$1");
    for (const [method, { responses }] of Object.entries(methods)) {
      const route = `${method.toUpperCase()} ${shown}`;
      if (!text.includes(route)) missing.push(route);
      for (const status of Object.keys(responses)) {
        // A proxy may answer it; collect says 400 if the headers are too large.
        if (status === "431") continue;
        if (!new RegExp(`\\b${status}\\b`).test(text)) missing.push(`${route}: ${status}`);
      }
    }
  }
  const titles = ["Message", "Recipient", "Notification", "MessageState", "UserMessages", "Presence"];
  for (const title of [...titles, "Topic", "TopicMessages", "KeptTopics"]) {
    const names = Object.keys(components.schemas[title]?.properties ?? {});
    if (names.length === 0) missing.push(`${title}: no such schema`);
    for (const name of names)
      if (!new RegExp(`[\`".]${name}[\`"]`).test(text)) missing.push(`${title}.${name}`);
  }
  expect(missing).toEqual([]);
});
