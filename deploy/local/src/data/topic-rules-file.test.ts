// Tests the local run's rules for topics.
// Guarantees: services can read them; what a person changes, or says in the environment, stays.
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { TopicsFile } from "@petrel/shared/kernel/topics/topics-file";
import { afterEach, beforeEach, expect, test } from "vitest";
import { assignPorts } from "../ports/local-ports.js";
import { describeServices } from "../processes/service-specs.js";
import { writeTopicRules } from "./topic-rules-file.js";

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "petrel-local-"));
});
afterEach(() => rm(directory, { recursive: true }));

test("clients may publish in demo rooms and see each other; a person's change stays", async () => {
  const file = await writeTopicRules(directory);
  expect(new TopicsFile(file).ruleOf("demo.1")).toMatchObject({ presence: "list", clientPublish: true });
  expect(new TopicsFile(file).ruleOf("room.1")).toMatchObject({ presence: "off", clientPublish: false });
  await writeFile(file, '{"rules":[]}');
  expect(await writeTopicRules(directory)).toBe(file);
  expect(await readFile(file, "utf8")).toBe('{"rules":[]}');
});

test("services get the rules, unless the environment names others", () => {
  const describe = (environment: Readonly<Record<string, string>>) =>
    describeServices({
      repositoryRoot: "/petrel",
      ports: assignPorts(undefined, { nodes: 1, collects: 1, dispatchers: 1 }),
      redisEnvironment: {},
      secretFiles: {
        producerKeys: "a",
        keyEncryption: "b",
        redisPassword: "c",
        apiKey: "d",
        apnsKey: "e",
        apnsKnownKeys: "f",
        vapidKey: "g",
        wechatApps: "g",
        wechatSimulatedApps: "h",
      },
      apnsKey: { keyId: "k", teamId: "t" },
      topicRules: "/data/topics.json",
      environment,
    }).flatMap(({ kind, environment: its }) =>
      kind === "collect" || kind === "push-node" ? [its["TOPICS_FILE"]] : [],
    );
  expect(describe({})).toEqual(["/data/topics.json", "/data/topics.json"]);
  expect(describe({ TOPICS_FILE: "/mine.json" })).toEqual(["/mine.json", "/mine.json"]);
});
