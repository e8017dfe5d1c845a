// Tests the archive in MongoDB on FerretDB: the suite of every archive, and what is its own.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { describeError } from "../kernel/errors.js";
import { createLogger } from "../kernel/logging/logging.js";
import { describeArchive } from "../testing/archive/describe-archive.js";
import { newRow } from "../testing/archive/new-row.js";
import { hasFerretDb, startFerretDb, type TestFerretDb } from "../testing/archive/start-ferretdb.js";
import { waitFor } from "../testing/wait-for.js";
import { openArchive } from "./open-archive.js";
import type { MessageArchive } from "./message-archive.js";

const logger = createLogger({ service: "test", level: "silent" });

async function openAt(url: string, timeoutMs = 10_000): Promise<MessageArchive> {
  const archive = await openArchive(
    { messageArchiveUrl: url, archiveDays: 90, archiveTimeoutMs: timeoutMs },
    logger,
  );
  if (archive === undefined) throw new Error("no archive");
  return archive;
}

test("without a URL there is no archive", async () => {
  expect(
    await openArchive({ messageArchiveUrl: undefined, archiveDays: 90, archiveTimeoutMs: 100 }, logger),
  ).toBeUndefined();
});

describe.skipIf(!hasFerretDb())("MongoArchive on FerretDB", () => {
  let server: TestFerretDb;
  beforeAll(async () => void (server = await startFerretDb()));
  afterAll(() => server.stop());

  describeArchive("MongoArchive", () => openAt(server.url("conformance")));

  test("a server that is down fails every call within the timeout; once it is back they succeed", async () => {
    const archive = await openAt(server.url("down"), 3_000);
    const row = newRow();
    await archive.write([row]);
    server.signal("SIGKILL");
    await expect(archive.write([newRow()])).rejects.toThrow("the message archive");
    await expect(archive.find(row.id)).rejects.toThrow("the message archive");
    await server.startAgain();
    await expect
      .poll(() => archive.find(row.id).catch(() => undefined), { timeout: 30_000 })
      .toMatchObject({
        id: row.id,
      });
    await archive.close();
  });

  test("a server that is paused fails a call within the timeout", async () => {
    // The driver's own looks at the server would end the call, too, though much later.
    const unwatched = "serverMonitoringMode=poll&heartbeatFrequencyMS=3600000";
    const archive = await openAt(`${server.url("paused")}?${unwatched}`, 3_000);
    await archive.write([newRow()]);
    server.signal("SIGSTOP");
    try {
      // The signal takes effect a moment later: a write may be answered before.
      await waitFor(
        () =>
          archive.write([newRow()]).then(
            () => false,
            (error: unknown) => describeError(error).includes("the message archive"),
          ),
        { what: "a write to fail" },
      );
    } finally {
      server.signal("SIGCONT");
      await archive.close();
    }
  });
});
