// Tests client publications to topics whose history is the archive, on a real server that speaks MongoDB's protocol.
// Guarantees: once answered, it is there with its place and its user; a required archive that is down refuses it; an
// optional one gets it later.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join as joinPath } from "node:path";
import type { ArchivedRow, MessageArchive, NewRow } from "@petrel/shared/archive/message-archive";
import { openArchive } from "@petrel/shared/archive/open-archive";
import type { Publication } from "@petrel/shared/archive/writing/archive-writer";
import { createLogger } from "@petrel/shared/kernel/logging/logging";
import type { PublishResult, TopicMessageToPublish } from "@petrel/shared/redis/topics/topic-publisher";
import { ArchiveSpool } from "@petrel/shared/redis/spool/archive-spool";
import { hasFerretDb, startFerretDb, type TestFerretDb } from "@petrel/shared/testing/archive/start-ferretdb";
import type { Frame, WsClient } from "@petrel/shared/testing/peers/ws-client";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { join, openNodeBench, type NodeBench } from "../testing/node-bench.js";
import type { PushNode } from "../testing/start-push-node.js";
import { openTopicBench, tokenFor, type TopicBench } from "../testing/topic-bench.js";
import { archivePublications } from "./archive-publications.js";

const logger = createLogger({ service: "test", level: "silent" });

describe.skipIf(!hasFerretDb())("what a client publishes, with an archive", () => {
  let directory: string;
  let server: TestFerretDb;
  let archive: MessageArchive;
  let bench: NodeBench;
  let topics: TopicBench;
  let required: PushNode;
  let later: PushNode;

  beforeAll(async () => {
    directory = mkdtempSync(joinPath(tmpdir(), "petrel-topics-"));
    const topicsFile = joinPath(directory, "topics.json");
    const rules = [
      { topics: "kept.*", clientPublish: true, archive: true },
      { topics: "talk.*", clientPublish: true },
    ];
    writeFileSync(topicsFile, JSON.stringify({ rules }));
    server = await startFerretDb();
    const url = { messageArchiveUrl: server.url(), archiveTimeoutMs: 10_000 };
    const opened = await openArchive({ ...url, archiveDays: 90 }, logger);
    if (opened === undefined) throw new Error("no archive");
    archive = opened;
    bench = await openNodeBench();
    topics = openTopicBench(bench);
    required = await bench.startNode({ ...url, topicsFile });
    later = await bench.startNode({ ...url, archiveTimeoutMs: 500, topicsFile, archiveRequired: false });
  });
  afterAll(async () => {
    await bench?.close();
    await archive?.close();
    await server?.stop();
    rmSync(directory, { recursive: true });
  });

  const talker = (node: PushNode, userId: string): Promise<WsClient> =>
    join(node, userId, { token: tokenFor(userId, { topic: "*", can: ["subscribe", "publish"] }) });
  let refs = 0;
  async function publish(client: WsClient, topic: string, data: unknown, more: object = {}): Promise<Frame> {
    const ref = `r${++refs}`;
    client.send({ type: "publish", ref, topic, data, ...more });
    return waitFor(() => client.frames.find((frame) => frame["ref"] === ref), { what: "the answer" });
  }
  const rowOf = ({ id }: Frame): Promise<ArchivedRow | undefined> => archive.find(String(id));

  test("is archived when it is answered, with its position and publisher", async () => {
    const client = await talker(required, "ann");
    const answer = await publish(client, "kept.a", { n: 1 });
    expect(answer).toMatchObject({ type: "published", offset: 1 });
    expect(await rowOf(answer)).toMatchObject({
      recipient: "#kept.a",
      from: "ann",
      data: `{"n":1}`,
      state: "published",
      seq: 1,
      epoch: answer["epoch"],
    });
    // Asked for by the owner of the partition, should this node die before it has said it.
    const record = topics.keysOf("kept.a").record(String(answer["id"]));
    expect(await bench.store.redis.exists(record)).toBe(1);
    expect(await rowOf(await publish(client, "talk.a", 1))).toBeUndefined();
  });

  test("with a key: archived once, and other data leave it as it is", async () => {
    const client = await talker(required, "ben");
    const key = { idempotencyKey: "k" };
    const first = await publish(client, "kept.b", 1, key);
    expect(await publish(client, "kept.b", 1, key)).toMatchObject({ duplicate: true, offset: 1 });
    expect(await publish(client, "kept.b", 2, key)).toMatchObject({ code: "PETREL_IDEMPOTENCY_MISMATCH" });
    expect(await rowOf(first)).toMatchObject({ data: "1", state: "published", seq: 1 });
  });

  test("while the archive is away: refused if it is required, else spooled", async () => {
    const [one, other] = [await talker(required, "cat"), await talker(later, "dan")];
    server.signal("SIGKILL");
    expect(await publish(one, "kept.c", 1)).toMatchObject({ type: "error", code: "PETREL_UNAVAILABLE" });
    expect(await publish(one, "talk.c", 1)).toMatchObject({ type: "published" });
    const answer = await publish(other, "kept.c", 2);
    expect(answer).toMatchObject({ type: "published", offset: 1 });
    const { redis, partitions } = bench.store;
    const spool = new ArchiveSpool<NewRow>({ redis, partitions, cap: 0 });
    const { partition } = topics.keysOf("kept.c");
    const waiting = async (): Promise<unknown[]> =>
      (await spool.read(partition, 10)).map(({ kind, row }) => [kind, row.id, row.from]);
    expect(await waiting()).toEqual([["write", answer["id"], "dan"]]);
    await spool.erase(partition, "dan");
    expect(await waiting()).toEqual([]);
  });
});

describe("the order of its steps", () => {
  const message: TopicMessageToPublish = {
    topic: "kept.a",
    partition: 0,
    id: "p0_a",
    ttlMs: 1_000,
    history: { size: 1, ageMs: 1_000, bytes: 1_000 },
    isArchived: true,
    from: "ann",
    data: "2",
    record: { fingerprint: "f2", attempt: "client" },
  };
  const published: PublishResult = { outcome: "published", offset: 7, epoch: "e.1", atMs: 5 };

  async function steps(written: "new" | "known", result: PublishResult): Promise<unknown[]> {
    const said: unknown[] = [];
    const { publish } = archivePublications(
      { publish: () => (said.push("publish"), Promise.resolve(result)) },
      {
        write: ({ id }) => (said.push(["write", id]), Promise.resolve(written)),
        replace: ({ data }) => (said.push(["replace", data]), Promise.resolve()),
        refuse: ({ id }) => (said.push(["refuse", id]), Promise.resolve()),
        published: async ({ offset }: Publication) => {
          await new Promise(setImmediate);
          said.push(["published", offset]);
        },
      },
      { wallMs: () => 1 },
    );
    await publish(message);
    return said;
  }

  test("is the archive first, the position before the answer; what an earlier attempt left is corrected", async () => {
    expect(await steps("new", published)).toEqual([["write", "p0_a"], "publish", ["published", 7]]);
    expect(await steps("known", published)).toEqual([
      ["write", "p0_a"],
      "publish",
      ["replace", "2"],
      ["published", 7],
    ]);
    const record = {
      seq: 3,
      epoch: "e.1",
      atMs: 4,
      expiresAtMs: 9,
      userId: "#kept.a",
      attempt: "client",
      end: undefined,
      deliverAtMs: undefined,
    };
    expect(await steps("known", { outcome: "exists", record: { ...record, fingerprint: "f2" } })).toEqual([
      ["write", "p0_a"],
      "publish",
      ["published", 3],
    ]);
    expect(await steps("new", { outcome: "exists", record: { ...record, fingerprint: "f1" } })).toEqual([
      ["write", "p0_a"],
      "publish",
      ["refuse", "p0_a"],
    ]);
  });
});
