// Flow: under load each process of the release before is replaced by one of this tree, one at a time, and some of them
// back again: users with either release's client library, phones, and two business systems.
// Guarantees: nothing is lost and all is in order, whichever release stores, hands over, delivers and pushes; a phone
// rings once; nobody is finally refused; each release reads what the other has written.
import { randomBytes } from "node:crypto";
import { readlinkSync, realpathSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath, pathToFileURL } from "node:url";
import { PetrelClient } from "@petrel/client";
import { checkHistory, type Verdict } from "@petrel/shared/testing/checks/check-history";
import type { FallbackRecord } from "@petrel/shared/testing/peers/message-recorder";
import type { ServiceProcess } from "@petrel/shared/testing/cluster/service-process";
import { chooseSeed, seededRandom } from "@petrel/shared/testing/faults/seeded-random";
import {
  startApnsSimulator,
  type TestApnsSimulator,
} from "@petrel/shared/testing/cluster/start-apns-simulator";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { describeVerdict } from "../../bench/src/chaos/describe-verdict.js";
import { startBusyClients } from "../../bench/src/chaos/busy-clients.js";
import { offerLoad } from "../../bench/src/chaos/offer-load.js";
import { startRecordedCluster, type RecordedCluster } from "../../bench/src/chaos/recorded-cluster.js";
import { isCarriedUser, makeCarried, useCarried, type Stage } from "../support/release/carried-over.js";
import { readState, registerPhone } from "../support/phones/cluster-with-phones.js";
import {
  BUILD_DEADLINE_MS,
  buildReleaseBefore,
  hasReleaseBefore,
} from "../support/release/release-before.js";
import { sendSigned } from "../support/faults/signed-producer.js";
import { sized } from "../support/sizes.js";

const USERS = sized(150, 24);
const MESSAGES_PER_SECOND = sized(150, 10);
/** How long both releases run side by side after each step. */
const SIDE_BY_SIDE_MS = sized(3_000, 200);
/** Business systems that keep their connections to a collect in use while it is stopped. */
const BUSY_CLIENTS = sized(12, 4);
/** How often a user's devices lose their sockets, and an away user is sent something. */
const DISTURB_EVERY_MS = sized(250, 500);
const FALLBACK_SHARE = 0.25;
const TEST_DEADLINE_MS = sized(1_200_000, 600_000);

/** The order of docs/operate/operations.md. */
const upgrade = [
  "push-node-1",
  "push-node-2",
  "dispatch-1",
  "dispatch-2",
  "auth",
  "collect-1",
  "collect-2",
] as const;
/** At least one of each kind, in any order: the releases stay mixed to the end. */
const wayBack = sized(1, 0) === 1 ? upgrade : (["push-node-1", "dispatch-1", "auth", "collect-1"] as const);

const tree = fileURLToPath(new URL("../..", import.meta.url));
const random = seededRandom(chooseSeed("rolling-upgrade"));
const isThere = await hasReleaseBefore();

describe.runIf(isThere)("from the previous release to this one, and back", () => {
  let before: string;
  let simulator: TestApnsSimulator;
  let run: RecordedCluster;
  const phones = new Map<string, string>();
  /** The tree that a process runs from: the release before's until it is upgraded. */
  const treeOf = new Map<string, string>();

  beforeAll(async () => {
    before = await buildReleaseBefore();
  }, BUILD_DEADLINE_MS);
  beforeAll(async () => {
    simulator = await startApnsSimulator();
    const library = pathToFileURL(join(before, "clients/browser/dist/client.js")).href;
    const former = (await import(library)) as { readonly PetrelClient: typeof PetrelClient };
    expect(former.PetrelClient).not.toBe(PetrelClient);
    run = await startRecordedCluster({
      userCount: USERS,
      isMixed: true,
      topics: ["room.1", "room.2"],
      nodes: 2,
      dispatchers: 2,
      collects: 2,
      releaseOf: (name) => treeOf.get(name) ?? before,
      // Stopped, never killed: each release's share a process.
      together: true,
      libraryOf: (turn) => (turn % 2 === 0 ? PetrelClient : former.PetrelClient),
      environment: {
        ...simulator.environment,
        ACK_TIMEOUT_MS: "3000",
        LEASE_MS: "1500",
        NODE_TTL_MS: "2000",
        DRAIN_WINDOW_MS: "1000",
        FALLBACK_RETRY_BASE_MS: "100",
        // On a busy machine, a channel that is merely slow would be called again.
        FALLBACK_WEBHOOK_TIMEOUT_MS: "30000",
        APNS_TIMEOUT_MS: "30000",
        FALLBACK_CLAIM_MS: "150000",
      },
    });
    for (const user of run.awayUsers.slice(run.awayUsers.length / 2)) {
      const token = randomBytes(32).toString("hex");
      phones.set(user, token);
      await registerPhone(run.cluster, user, token);
    }
  });
  afterAll(async () => {
    await run?.stop();
    await simulator?.stop();
  });

  /** Business systems whose connections to a collect are in use when it is stopped. @returns ends them */
  async function keepBusy(collect: ServiceProcess): Promise<() => Promise<void>> {
    const { cluster, recorder, userNames } = run;
    const { signal } = new AbortController();
    const parts = { recorder, collect, apiKey: cluster.apiKey, user: userNames[0] ?? "", signal };
    const before = recorder.attempts.length;
    const end = startBusyClients({ ...parts, clients: BUSY_CLIENTS });
    // Not of a former stop, and of one client after the other: by then all have begun.
    const areKept = (): boolean =>
      recorder.attempts
        .slice(before)
        .filter(({ target, idleMs }) => target === collect.name && idleMs !== undefined).length >=
      5 * BUSY_CLIENTS;
    await waitFor(areKept, { what: `kept connections to ${collect.name}`, deadlineMs: 60_000 });
    return end;
  }

  /** A planned stop, then the same process from another tree. */
  async function move(name: string, to: string): Promise<void> {
    const { cluster, recorder } = run;
    const former = cluster.newest(name);
    const endBusy = name.startsWith("collect") ? await keepBusy(former) : undefined;
    const over = recorder.faultBegan("stop", name);
    treeOf.set(name, to);
    former.signal("SIGTERM");
    expect(await former.exited, await former.log()).toBe(0);
    await endBusy?.();
    const { pid } = await cluster.startAgain(former);
    over();
    if (process.platform === "linux") expect(readlinkSync(`/proc/${pid}/cwd`)).toBe(realpathSync(to));
    await sleep(SIDE_BY_SIDE_MS);
  }

  /** @returns ends it; resolves when everything that was begun has its outcome */
  function startLoad(): () => Promise<void> {
    const stopping = new AbortController();
    const { signal } = stopping;
    const { recorder, producer, userNames, awayUsers, users, cluster } = run;
    const disturb = async (): Promise<void> => {
      // From now on a message that was on its way may come again. One fault says so: more would excuse a stop's refusals.
      recorder.faultBegan("cut-clients", "users")();
      for (; !signal.aborted; await sleep(DISTURB_EVERY_MS)) {
        users.cutOff(random.pick(userNames));
        const phone = random.pick([...phones.keys()]);
        void producer.post({ user: phone, data: {}, insists: random.chance(0.5), fallback: "offline" });
      }
    };
    const loads = [
      offerLoad({
        producer,
        random,
        users: userNames,
        awayUsers,
        topics: run.topics,
        messagesPerSecond: MESSAGES_PER_SECOND,
        durationMs: Number.POSITIVE_INFINITY,
        fallbackShare: FALLBACK_SHARE,
        signal,
      }),
      sendSigned({
        recorder,
        random,
        urls: cluster.collects.map(({ url }) => url),
        apiKey: cluster.apiKey,
        users: userNames,
        signal,
      }),
      disturb(),
    ];
    return async () => {
      stopping.abort();
      await Promise.all(loads);
    };
  }

  /** What the phones were sent; to the checker they are a channel like the webhook. */
  async function readPushes(): Promise<FallbackRecord[]> {
    const pushes = await Promise.all(
      [...phones].map(async ([user, token]) =>
        (await simulator.notifications(token)).map(({ at, payload }): FallbackRecord => {
          const { aps, petrel } = payload as {
            readonly aps: { readonly alert: { readonly body: string } };
            readonly petrel: { readonly id: string };
          };
          const atMs = Date.parse(at) - performance.timeOrigin;
          return { id: petrel.id, user, n: Number(aps.alert.body), atMs };
        }),
      ),
    );
    return pushes.flat();
  }

  async function judge(): Promise<Verdict> {
    await run.judge(60_000);
    const { fallbacks } = run.recorder;
    const calls = fallbacks.filter(({ user }) => !isCarriedUser(user));
    fallbacks.splice(0, fallbacks.length, ...calls, ...(await readPushes()));
    const verdict = checkHistory(run.recorder);
    // How late a phone rang says more about the machine than about the releases; other kinds show that it rang, once.
    const violations = verdict.violations.filter(({ kind }) => kind !== "fallback-late");
    return { ...verdict, violations };
  }

  /** For a few messages that a violation names. */
  async function printTimelines({ violations }: Verdict): Promise<void> {
    const ids = violations.flatMap(({ detail }) => /\bp\d+_[\w-]+/.exec(detail)?.[0] ?? []);
    for (const id of new Set(ids.slice(0, 5))) {
      process.stdout.write(`${id}: ${JSON.stringify(await readState(run.cluster, id))}\n`);
    }
  }

  test(
    "nothing is lost, doubled, out of order or refused",
    async () => {
      const { recorder, producer, cluster, users } = run;
      const stage = (name: Stage["name"]): Stage => ({ cluster, simulator, name });
      await producer.warmUp();
      const stopLoad = startLoad();
      const fromBefore = await makeCarried(stage("before"));
      for (const name of upgrade) await move(name, tree);
      await useCarried(fromBefore);
      const fromThis = await makeCarried(stage("after"));
      for (const name of random.shuffled(wayBack)) await move(name, before);
      await useCarried(fromThis);
      await stopLoad();

      const verdict = await judge();
      process.stdout.write(`${describeVerdict(verdict)}\n`);
      await printTimelines(verdict);
      expect(verdict.violations.slice(0, 10)).toEqual([]);
      expect(users.stopped()).toEqual([]);
      const { counts } = verdict;
      expect(counts.refused).toBe(0);
      const answers = new Set(recorder.attempts.map(({ status }) => status ?? "none"));
      expect([...answers].filter((status) => !["none", 200, 202, 503].includes(status))).toEqual([]);
      // Dispatchers stopped as planned: they have recorded what they had begun.
      expect(counts.fallbackRepeats).toBe(0);
      expect((await simulator.apnsIds()).filter(({ times }) => times > 1)).toEqual([]);

      // The load was real, with everything in it.
      expect((await readPushes()).length).toBeGreaterThan(20);
      expect(counts.states).toMatchObject({
        delivered: expect.any(Number),
        published: expect.any(Number),
        pushed: expect.any(Number),
        expired: expect.any(Number),
      });
      expect(counts.connections).toBeGreaterThan(2 * USERS);
      expect(counts.keptDuringStops).toBeGreaterThan(0);
    },
    TEST_DEADLINE_MS,
  );
});
