// Bench: messages in batches to connected users, with an archive or without.
// Guarantees: a mode is over when the archive has every end, so that the owners' looks are part of it; what the cluster
// uses while it does nothing is taken off, for a slow database makes the run long.
import { openArchive } from "@petrel/shared/archive/open-archive";
import type { MessageArchive } from "@petrel/shared/archive/message-archive";
import { createLogger } from "@petrel/shared/kernel/logging/logging";
import { hasFerretDb, startFerretDb, type TestFerretDb } from "@petrel/shared/testing/archive/start-ferretdb";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { connectUsers } from "../compare/measure-messages.js";
import { openPetrel } from "../contenders/open-petrel.js";
import { type CpuByName, readCpu } from "../process-cpu.js";
import { inClosedLoop } from "../rounds/publish-plans.js";

export const ARCHIVE_MODES = ["off", "on", "required"] as const;
export type ArchiveMode = (typeof ARCHIVE_MODES)[number];

export interface ArchiveOptions {
  readonly messages: number;
  readonly batch: number;
  readonly users: number;
  readonly idleSeconds: number;
}

export interface ArchiveCost {
  readonly mode: ArchiveMode;
  /** µs of CPU a message, by kind of process. */
  readonly parts: ReadonlyMap<string, number>;
  readonly databaseUs: number | undefined;
  readonly seconds: number;
}

const PARTITIONS = 4;
const PUBLISHERS = 4;
/** FerretDB on SQLite writes some tens of messages a second. */
const PATIENT_MS = 30_000;
const DEADLINE_MS = 180_000;
const ACK_DELAY_MS = 50;
const DATABASE = "database";

export async function measureArchive(mode: ArchiveMode, options: ArchiveOptions): Promise<ArchiveCost> {
  if (mode !== "off" && !hasFerretDb())
    throw new Error("there is no FerretDB: npm run test:install-ferretdb");
  const database = mode === "off" ? undefined : await startFerretDb();
  try {
    return await measureWith(mode, database, options);
  } finally {
    await database?.stop();
  }
}

async function measureWith(
  mode: ArchiveMode,
  database: TestFerretDb | undefined,
  { messages, batch, users, idleSeconds }: ArchiveOptions,
): Promise<ArchiveCost> {
  const petrel = await openPetrel({
    environment: {
      PARTITIONS: String(PARTITIONS),
      ACCEPT_DEADLINE_MS: String(2 * PATIENT_MS),
      ...(database === undefined
        ? {}
        : {
            MESSAGE_ARCHIVE_URL: database.url(),
            ARCHIVE_TIMEOUT_MS: String(PATIENT_MS),
            ARCHIVE_REQUIRED: String(mode === "required"),
          }),
    },
  });
  const archive =
    database === undefined
      ? undefined
      : await openArchive(
          { messageArchiveUrl: database.url(), archiveDays: 90, archiveTimeoutMs: PATIENT_MS },
          createLogger({ service: "bench", level: "silent" }),
        );
  try {
    const pids = new Map([
      ...petrel.pids,
      ...(database === undefined ? [] : [[DATABASE, database.pid] as const]),
    ]);
    const connected = await connectUsers(petrel, users, ACK_DELAY_MS);
    try {
      const send = async (first: number, count: number): Promise<void> => {
        const { faults = [] } = await connected.measure({
          first,
          topics: Array.from({ length: count }, (_, i) => connected.names[i % users] ?? ""),
          run: (publish) => inClosedLoop(publish, first, count, { publishers: PUBLISHERS, together: batch }),
        });
        if (faults.length > 0) throw new Error(faults.join("; "));
        if (archive !== undefined) await untilEnded(archive);
      };
      // Compiled, connected, and looked at once.
      await send(1, batch);
      const idle = await usedBy(
        pids,
        () => new Promise((resolve) => setTimeout(resolve, idleSeconds * 1_000)),
      );
      const busy = await usedBy(pids, () => send(1 + batch, messages));
      const perMessage = new Map<string, number>();
      for (const [name, us] of busy.us) {
        const own = us - ((idle.us.get(name) ?? 0) / idle.seconds) * busy.seconds;
        const kind = name.replace(/-\d+$/, "");
        perMessage.set(kind, (perMessage.get(kind) ?? 0) + own / messages);
      }
      const databaseUs = perMessage.get(DATABASE);
      perMessage.delete(DATABASE);
      return { mode, parts: perMessage, databaseUs, seconds: busy.seconds };
    } finally {
      await connected.close();
    }
  } finally {
    await archive?.close();
    await petrel.stop();
  }
}

/** The archive has how each message ended. */
async function untilEnded(archive: MessageArchive): Promise<void> {
  await waitFor(
    async () => {
      const open = [];
      for (let partition = 0; partition < PARTITIONS; partition++)
        open.push(await archive.countOpen(partition));
      return open.every((count) => count === 0);
    },
    { what: "the archive to have all ends", deadlineMs: DEADLINE_MS, everyMs: 500 },
  );
}

async function usedBy(
  pids: ReadonlyMap<string, number>,
  work: () => Promise<void>,
): Promise<{ readonly us: CpuByName; readonly seconds: number }> {
  const before = readCpu(pids);
  const startMs = performance.now();
  await work();
  const seconds = (performance.now() - startMs) / 1_000;
  const us = new Map([...readCpu(pids)].map(([name, ns]) => [name, (ns - (before.get(name) ?? 0)) / 1_000]));
  return { us, seconds };
}
