// Tests only -> open-collect: one collect for a file's tests, with rules for topics, and what tests ask it about them.
// Guarantees: a topic's name decides how much of its log is kept; after the tests of the file nothing is left running.
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect } from "vitest";
import { type Answer, type OpenCollect, openCollect } from "./open-collect.js";

/** A message in a topic's log. */
export interface TopicItem {
  readonly id: string;
  readonly offset: number;
  readonly at: string;
  readonly data: unknown;
  readonly from?: string;
}

/** A page of a topic's log. */
export interface TopicPage {
  readonly items: readonly TopicItem[];
  readonly epoch: string | null;
  readonly oldest: number;
  readonly nextAfter: number | null;
}

/** Of `short.*` two messages are kept for a minute, of `none` none. */
const rules = [
  { topics: "short.*", historySize: 2, historySeconds: 60 },
  { topics: "none", historySize: 0 },
];

/** Call it once in a test file. */
export function useCollectWithTopics() {
  let directory: string;
  let collect: OpenCollect;

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), "petrel-topics-"));
    const file = join(directory, "topics.json");
    await writeFile(file, JSON.stringify({ rules }));
    collect = await openCollect({ environment: { TOPICS_FILE: file } });
  });
  afterAll(async () => {
    await collect?.close();
    await rm(directory, { recursive: true, force: true });
  });

  const read = async (url: string): Promise<unknown> => {
    const { status, body } = await collect.ask("GET", url);
    expect(status, JSON.stringify(body)).toBe(200);
    return body;
  };

  return {
    /** Open from the first test on. */
    collect: (): OpenCollect => collect,
    send: (body: unknown, as?: string): Promise<Answer> =>
      collect.ask("POST", "/v1/messages", { body, ...(as === undefined ? {} : { as }) }),
    /** What is there for sure. */
    read,
    logOf: async (topic: string, query = ""): Promise<TopicPage> =>
      (await read(`/v1/topics/${encodeURIComponent(topic)}/messages${query}`)) as TopicPage,
  };
}
