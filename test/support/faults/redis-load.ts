// What the tests of Redis' faults share: users with the client library, and a producer that retries until each message
// has an answer.
// Guarantees: a message counts as accepted only if its 202 came; what no application got is named.
import { askService } from "@petrel/shared/testing/cluster/ask-service";
import type { TestCluster } from "@petrel/shared/testing/cluster/start-cluster";
import { MessageRecorder, type PostRecord } from "@petrel/shared/testing/peers/message-recorder";
import { RecordingProducer } from "@petrel/shared/testing/peers/recording-producer";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { connectRecordedUsers, type RecordedUsers } from "../../../bench/src/chaos/recorded-users.js";
import { sized } from "../sizes.js";

export interface RedisLoad {
  readonly recorder: MessageRecorder;
  /** Posts to these users in turn, a message every few milliseconds, until it is stopped. */
  start(users: readonly string[]): void;
  /** Stops posting; resolves when every message has its answer. */
  stop(): Promise<void>;
  accepted(): readonly PostRecord[];
  untilAccepted(count: number): Promise<void>;
  /** @param topics that each of them subscribes to */
  connect(users: readonly string[], topics?: readonly string[]): Promise<RecordedUsers>;
  /** Accepted messages that no application got, once no more of them have come for a while. */
  lost(): Promise<readonly PostRecord[]>;
  close(): Promise<void>;
}

const EVERY_MS = sized(10, 30);
/** Each look asks every service, and each of them Redis. */
const READINESS_EVERY_MS = sized(100, 250);
const READY_LOOK_EVERY_MS = sized(50, 150);
/** Longer than the client's backoff and two rounds of the tests' ACK_TIMEOUT_MS. */
const QUIET_MS = 6_000;

export function openRedisLoad(cluster: TestCluster): RedisLoad {
  const recorder = new MessageRecorder();
  const producer = new RecordingProducer({
    recorder,
    urls: cluster.collects.map(({ url }) => url),
    apiKey: cluster.apiKey,
    insistMs: 90_000,
  });
  const connected: RecordedUsers[] = [];
  let timer: NodeJS.Timeout | undefined;
  const accepted = (): PostRecord[] => recorder.posts.filter(({ outcome }) => outcome === "accepted");
  const missing = (): PostRecord[] => accepted().filter(({ n }) => !recorder.handledNumbers.has(n));
  const stop = async (): Promise<void> => {
    clearInterval(timer);
    await producer.settled();
  };
  return {
    recorder,
    start: (users) => {
      let turn = 0;
      clearInterval(timer);
      timer = setInterval(() => {
        void producer.post({ user: users[turn++ % users.length] ?? "", data: {}, insists: true });
      }, EVERY_MS);
    },
    stop,
    accepted,
    untilAccepted: async (count) => {
      await waitFor(() => accepted().length >= count, { what: `${count} accepted`, deadlineMs: 60_000 });
    },
    connect: async (users, topics = []) => {
      const clients = await connectRecordedUsers({
        recorder,
        users,
        urls: cluster.nodeUrls,
        tokenFor: (user) => cluster.tokenFor(user, topics.length > 0 ? topics : undefined),
        topicsOf: () => topics,
      });
      connected.push(clients);
      return clients;
    },
    lost: async () => {
      let count = missing().length;
      let sinceMs = performance.now();
      await waitFor(
        () => {
          const now = missing().length;
          if (now !== count) sinceMs = performance.now();
          count = now;
          return now === 0 || performance.now() - sinceMs > QUIET_MS;
        },
        { what: "what is on its way to arrive", deadlineMs: 90_000, everyMs: 100 },
      );
      return missing();
    },
    close: async () => {
      clearInterval(timer);
      await producer.stop();
      await Promise.all(connected.map((clients) => clients.close()));
    },
  };
}

/** Numbers that some application got twice. */
export function handledTwice({ handled }: MessageRecorder): number[] {
  const seen = new Set<number | undefined>();
  return handled.flatMap(({ n }) => {
    const isRepeat = seen.has(n);
    seen.add(n);
    return isRepeat ? [n ?? -1] : [];
  });
}

/** The longest time without an accepted message, among posts from then on. */
export function longestSilenceMs(posts: readonly PostRecord[], fromMs: number): number {
  const times = posts.map(({ answeredAtMs }) => answeredAtMs).filter((ms) => ms >= fromMs);
  const sorted = [fromMs, ...times.toSorted((a, b) => a - b)];
  return Math.max(...sorted.slice(1).map((ms, i) => ms - (sorted[i] ?? ms)));
}

export interface Readiness {
  readonly name: string;
  readonly status: number;
  readonly checks: Readonly<Record<string, string>>;
}

export interface ReadinessWatch {
  /** The services that said they were not ready, and why. */
  stop(): Promise<readonly string[]>;
}

/** Asks each running service several times a second, like an impatient load balancer. */
export function watchReadiness(cluster: TestCluster): ReadinessWatch {
  const refusals = new Set<string>();
  let watching = true;
  const watch = async (): Promise<void> => {
    while (watching) {
      try {
        for (const { name, status, checks } of await readReadiness(cluster)) {
          if (status !== 200) refusals.add(`${name} ${JSON.stringify(checks)}`);
        }
      } catch (error) {
        refusals.add(`no answer: ${String(error)}`);
      }
      await new Promise((resolve) => setTimeout(resolve, READINESS_EVERY_MS));
    }
  };
  const watched = watch();
  return {
    stop: async () => {
      watching = false;
      await watched;
      return [...refusals];
    },
  };
}

/** What each running service reports of itself. */
export async function readReadiness(cluster: TestCluster): Promise<Readiness[]> {
  const running = cluster.processes.filter((service) => service.isRunning());
  return Promise.all(
    running.map(async ({ name, url }) => {
      const response = await askService(`${url}/health/ready`);
      const { checks = {} } = JSON.parse(await response.text()) as { checks?: Record<string, string> };
      return { name, status: response.status, checks };
    }),
  );
}

/** Ready is not enough: without Redis a service stays ready for a while. */
export async function untilReady(
  cluster: TestCluster,
  isReady: boolean,
  deadlineMs = 30_000,
): Promise<Readiness[]> {
  return waitFor(
    async () => {
      const states = await readReadiness(cluster);
      const isWell = ({ status, checks }: Readiness): boolean =>
        status === 200 && Object.values(checks).every((check) => check === "ok");
      return states.every((state) => isWell(state) === isReady) && states;
    },
    { what: `all services to have ${isReady ? "" : "no "}Redis`, deadlineMs, everyMs: READY_LOOK_EVERY_MS },
  );
}
