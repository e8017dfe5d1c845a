// The message archive is killed, paused, or slower than ARCHIVE_TIMEOUT_MS, required and not, in a whole cluster.
// Guarantees: docs/operate/archive.md, "When the archive is away": a required one refuses and nothing is stored; one that
// is not gets everything later, and its spool is empty then. Either way what was answered 202 is in the archive with its
// end, and is delivered once; one that is slow within the timeout refuses nobody.
import { askService } from "@petrel/shared/testing/cluster/ask-service";
import type { MessageArchive } from "@petrel/shared/archive/message-archive";
import { hasFerretDb, startFerretDb, type TestFerretDb } from "@petrel/shared/testing/archive/start-ferretdb";
import { startCluster, type TestCluster } from "@petrel/shared/testing/cluster/start-cluster";
import { startFaultProxy, type FaultProxy } from "@petrel/shared/testing/faults/fault-proxy";
import { connectClient, type WsClient } from "@petrel/shared/testing/peers/ws-client";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { afterEach, describe, expect, test } from "vitest";
import { openClustersArchive } from "../support/faults/archive-search.js";
import { sized } from "../support/sizes.js";

/** Long enough for a machine that is busy with something else. */
const TIMEOUT_MS = 2_500;
/** One after the other: if each waited for the timeout, they would take this many times as long. */
const WHILE_AWAY = sized(60, 20);

let server: TestFerretDb | undefined;
let proxy: FaultProxy | undefined;
let archive: MessageArchive | undefined;
let cluster: TestCluster | undefined;
let client: WsClient | undefined;

afterEach(async () => {
  client?.close();
  await cluster?.stop();
  await proxy?.stop();
  await archive?.close();
  await server?.stop();
});

interface Posted {
  readonly n: number;
  readonly status: number;
  readonly id: string;
}

async function open(required: boolean): Promise<void> {
  server = await startFerretDb();
  proxy = await startFaultProxy({ targetPort: server.port });
  cluster = await startCluster({
    together: true,
    nodes: 1,
    environment: {
      PARTITIONS: "2",
      MESSAGE_ARCHIVE_URL: `mongodb://127.0.0.1:${proxy.port}/petrel`,
      ARCHIVE_TIMEOUT_MS: String(TIMEOUT_MS),
      ARCHIVE_REQUIRED: String(required),
    },
  });
  archive = await openClustersArchive(server);
  client = await connectClient({
    url: cluster.nodeUrls[0] ?? "",
    token: await cluster.tokenFor("ann"),
    ack: "turn",
  });
}

let count = 0;
async function post(): Promise<Posted> {
  const n = ++count;
  const response = await askService(`${cluster?.collect.url}/v1/messages`, {
    method: "POST",
    headers: { authorization: `Bearer ${cluster?.apiKey}`, "content-type": "application/json" },
    body: JSON.stringify({ to: { user: "ann" }, data: n }),
  });
  const { id = "" } = (await response.json()) as { id?: string };
  return { n, status: response.status, id };
}

async function postMany(many: number): Promise<Posted[]> {
  const posted: Posted[] = [];
  for (let i = 0; i < many; i++) posted.push(await post());
  return posted;
}

const numbersOf = (posted: readonly Posted[]): number[] =>
  posted.filter(({ status }) => status === 202).map(({ n }) => n);

/** Until one is accepted again. @returns all that were tried */
async function untilAccepted(): Promise<Posted[]> {
  const posted: Posted[] = [];
  await waitFor(
    async () => {
      posted.push(await post());
      return posted.at(-1)?.status === 202;
    },
    { what: "the archive to be used again", deadlineMs: 60_000, everyMs: 200 },
  );
  return posted;
}

/** What waits for the archive, as `petrel archive status` shows it. */
async function spooled(): Promise<number> {
  const response = await askService(`${cluster?.dispatchers[0]?.url}/v1/archive`, {
    headers: { authorization: `Bearer ${cluster?.adminKey}` },
  });
  if (!response.ok) return Number.NaN;
  const { items } = (await response.json()) as { items: { spooled: number }[] };
  return items.reduce((sum, one) => sum + one.spooled, 0);
}

/** All of them arrived, once, and the archive has how they ended. */
async function untilArchived(posted: readonly Posted[]): Promise<void> {
  const accepted = posted.filter(({ status }) => status === 202);
  const last = numbersOf(accepted).at(-1) ?? 0;
  const open = new Set(accepted.map(({ id }) => id));
  await waitFor(() => client?.messages.some(({ data }) => data === last), {
    what: "the last one to arrive",
    deadlineMs: 60_000,
  });
  await waitFor(
    async () => {
      // An end is the last word: who has it is not asked for again.
      for (const id of open) if ((await archive?.find(id))?.state === "delivered") open.delete(id);
      return open.size === 0;
    },
    { what: "the archive to have all ends", deadlineMs: 90_000, everyMs: 500 },
  );
  expect(await waitFor(async () => (await spooled()) === 0, { what: "an empty spool", everyMs: 200 })).toBe(
    true,
  );
  const got = new Set(client?.messages.map(({ data }) => data));
  expect([...got]).toEqual(numbersOf(posted));
}

const faults: readonly (readonly [string, () => void, () => Promise<void>])[] = [
  ["killed", () => server?.signal("SIGKILL"), async () => server?.startAgain()],
  ["paused", () => server?.signal("SIGSTOP"), async () => server?.signal("SIGCONT")],
  ["too slow", () => proxy?.slow({ latencyMs: 3 * TIMEOUT_MS }), async () => proxy?.heal()],
];

describe.skipIf(!hasFerretDb())("an archive that is away", () => {
  test.each([
    [true, 503],
    [false, 202],
  ])(
    "required: %s",
    async (required, statusAway) => {
      await open(required);
      const posted = await postMany(3);
      expect(numbersOf(posted)).toHaveLength(3);

      proxy?.slow({ latencyMs: TIMEOUT_MS / 10 });
      const slowed = await postMany(3);
      expect(slowed.map(({ status }) => status)).toEqual([202, 202, 202]);
      posted.push(...slowed);
      proxy?.heal();
      await untilArchived(posted);

      for (const [what, begin, end] of faults) {
        begin();
        // The first waits for the timeout; a paused server may still answer it.
        posted.push(await post());
        const startMs = performance.now();
        const away = await postMany(WHILE_AWAY);
        const tookMs = performance.now() - startMs;
        posted.push(...away);
        expect(new Set(away.slice(1).map(({ status }) => status)), what).toEqual(new Set([statusAway]));
        expect(tookMs, `${what}: no message waits for the timeout`).toBeLessThan(
          (WHILE_AWAY * TIMEOUT_MS) / 2,
        );
        if (!required) {
          // Delivered meanwhile, whatever the archive does.
          const last = numbersOf(away).at(-1);
          await waitFor(() => client?.messages.some(({ data }) => data === last), { what: "the last one" });
        }
        await end();
        posted.push(...(await untilAccepted()));
        await untilArchived(posted);
        process.stdout.write(
          `archive ${what}, ${required ? "required" : "not required"}: ${away.length} sent meanwhile, ` +
            `${numbersOf(away).length} accepted in ${Math.round(tookMs)} ms; all that was accepted is archived and delivered\n`,
        );
      }
    },
    180_000,
  );
});
