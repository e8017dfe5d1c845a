// Tests TOPICS_FILE while it changes.
// Guarantees: a wrong file at the start ends it; later it changes nothing, and is said with its line.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { ConfigError } from "../config.js";
import { TopicsFile } from "./topics-file.js";

let directory: string;
let file: string;
let said: string[];
let stops: (() => unknown)[];
const logger = {
  info: (fields: { rules?: number } | string, text = "") =>
    void said.push(typeof fields === "string" ? fields : `${text} (${fields.rules})`),
  warn: ({ reason }: { reason: string }, text: string) => void said.push(`${text}: ${reason}`),
} as never;
const lifecycle = { onStop: (_name: string, stop: () => unknown) => void stops.push(stop) };

const put = (...rules: readonly object[]): void => writeFileSync(file, JSON.stringify({ rules }));
function open(): TopicsFile {
  const opened = new TopicsFile(file);
  opened.follow({ logger, lifecycle });
  return opened;
}

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "petrel-topics-"));
  file = join(directory, "topics.json");
  said = [];
  stops = [];
});
afterEach(() => {
  vi.useRealTimers();
  for (const stop of stops) stop();
  rmSync(directory, { recursive: true });
});

test("without a file every topic has the defaults, and nothing is watched", () => {
  const rules = new TopicsFile(undefined);
  rules.follow({ logger, lifecycle });
  expect(rules.ruleOf("news")).toMatchObject({ historySize: 100, historySeconds: 86_400, presence: "off" });
  expect(stops).toEqual([]);
});

test("the example in docs/operate/topic-rules.md is valid and means what the page says", () => {
  const page = readFileSync(new URL("../../../../docs/operate/topic-rules.md", import.meta.url), "utf8");
  const [, example = ""] = /<!-- runs in .*? -->\n```json\n([^]*?)```/.exec(page) ?? [];
  writeFileSync(file, example);
  const rules = new TopicsFile(file);
  expect(rules.ruleOf("room.lobby")).toMatchObject({
    historySize: 20,
    presence: "count",
    clientPublish: false,
  });
  expect(rules.ruleOf("room.7")).toMatchObject({
    historySize: 500,
    presence: "list",
    publishPerUserPerSecond: 5,
  });
  expect(rules.ruleOf("ticker.acme")).toMatchObject({ historySize: 0, historySeconds: 86_400 });
  // The defaults in its table.
  for (const [name, value] of Object.entries(rules.ruleOf("news"))) {
    const shown = typeof value === "number" ? value.toLocaleString("en") : `\`${value}\``;
    if (name !== "topics") expect(page).toMatch(new RegExp(`\\| \`${name}\` \\| .*? \\| ${shown} \\|`));
  }
});

test("a wrong or missing file ends the start with one line", () => {
  expect(() => new TopicsFile(file)).toThrow(ConfigError);
  expect(() => new TopicsFile(file)).toThrow(/^TOPICS_FILE cannot be used: .*ENOENT/);
  writeFileSync(file, '{ "rules": [\n{ "topics": "a",\n"historySize": "many" }] }');
  expect(() => new TopicsFile(file)).toThrow(
    'TOPICS_FILE cannot be used: line 3: "historySize" must be a whole number from 0 to 100000, not "many"',
  );
});

test("SIGHUP loads a new file, and a wrong one changes nothing, each time", () => {
  put({ topics: "news", historySize: 5 });
  const rules = open();
  expect(rules.ruleOf("news").historySize).toBe(5);

  put({ topics: "news", historySize: 6 });
  process.emit("SIGHUP");
  expect(rules.ruleOf("news").historySize).toBe(6);
  writeFileSync(file, '{ "rules": [\n{ "topics": "news", "historySize": 7, "size": 1 }] }');
  process.emit("SIGHUP");
  process.emit("SIGHUP");
  expect(rules.ruleOf("news").historySize).toBe(6);
  rmSync(file);
  process.emit("SIGHUP");
  expect(rules.ruleOf("news").historySize).toBe(6);
  put({ topics: "news", historySize: 6 });
  process.emit("SIGHUP");
  const refused = expect.stringMatching(
    /^topics file: cannot be used; the previous rules stay in force: line 2: unknown field "size"/,
  ) as string;
  expect(said).toEqual([
    "topics file: reloaded; its rules are in force (1)",
    refused,
    refused,
    expect.stringContaining("ENOENT"),
    "topics file: unchanged",
  ]);
});

test("finds a change without a signal too, and logs a wrong file once", () => {
  vi.useFakeTimers();
  put({ topics: "news", historySize: 5 });
  const rules = open();
  put({ topics: "news", historySize: 8 });
  vi.advanceTimersByTime(5_000);
  expect(rules.ruleOf("news").historySize).toBe(8);
  writeFileSync(file, "{");
  vi.advanceTimersByTime(30_000);
  expect(rules.ruleOf("news").historySize).toBe(8);
  put({ topics: "news", historySize: 9 });
  vi.advanceTimersByTime(5_000);
  expect(rules.ruleOf("news").historySize).toBe(9);
  expect(said).toHaveLength(3);
});

test("ignores signals after the stop", () => {
  put({ topics: "news", historySize: 5 });
  const rules = open();
  for (const stop of stops.splice(0)) stop();
  // Node ends a process that nobody answers a signal for.
  const answer = (): void => undefined;
  process.on("SIGHUP", answer);
  put({ topics: "news", historySize: 6 });
  process.emit("SIGHUP");
  process.off("SIGHUP", answer);
  expect(rules.ruleOf("news").historySize).toBe(5);
});
