// chaos: a cluster with recorded users, a recorded business system, and a channel for its fallback.
// Guarantees: everything that matters to the checker goes through one recorder; `stop` leaves nothing running.
import { checkHistory, type Verdict } from "@petrel/shared/testing/checks/check-history";
import { startFallbackRecorder } from "@petrel/shared/testing/peers/fallback-recorder";
import { MessageRecorder } from "@petrel/shared/testing/peers/message-recorder";
import { RecordingProducer } from "@petrel/shared/testing/peers/recording-producer";
import {
  startCluster,
  type StartClusterOptions,
  type TestCluster,
} from "@petrel/shared/testing/cluster/start-cluster";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { connectRecordedUsers, type RecordedUsers, type RecordedUsersOptions } from "./recorded-users.js";
import { settleHistory } from "./settle-history.js";

export interface RecordedClusterOptions extends StartClusterOptions {
  readonly userCount: number;
  /**
   * Some users have a second device, some may be erased, some more are never connected, and each connected one is
   * subscribed to a topic.
   */
  readonly isMixed?: boolean;
  /** The users are spread over these topics, one each; by default three where they are mixed, else none. */
  readonly topics?: readonly string[];
  /** Where clients connect instead of to the nodes, such as through proxies. */
  readonly connectUrls?: (cluster: TestCluster) => Promise<readonly string[]>;
  readonly libraryOf?: NonNullable<RecordedUsersOptions["libraryOf"]>;
}

export interface RecordedCluster {
  readonly cluster: TestCluster;
  readonly recorder: MessageRecorder;
  readonly producer: RecordingProducer;
  readonly userNames: readonly string[];
  /** Users with a second device. */
  readonly phoneOwners: readonly string[];
  /** Users who may be erased. */
  readonly persons: readonly string[];
  /** Users who are not connected. */
  readonly awayUsers: readonly string[];
  /** Topics that somebody is subscribed to. */
  readonly topics: readonly string[];
  readonly users: RecordedUsers;
  /**
   * After the load and the faults: waits until everybody is online and every message has ended, then judges.
   * @throws if clients do not come back
   */
  readonly judge: (deadlineMs: number) => Promise<Verdict>;
  readonly stop: () => Promise<void>;
}

const NOBODY_SPECIAL = { phoneOwners: [], persons: [], awayUsers: [] } as const;
/** One user in this many has a second device, and another may be erased. None of them has a slow application. */
const SPECIAL_ONE_IN = 6;
const [PHONE_OWNER, PERSON] = [1, 4];
const AWAY_USERS = 6;
const TOPICS: readonly string[] = ["room.1", "room.2", "room.3"];
/** For a slower device to read what the faster one has acknowledged. */
const SHOWN_DEADLINE_MS = 20_000;

export async function startRecordedCluster(options: RecordedClusterOptions): Promise<RecordedCluster> {
  const { userCount, isMixed = false, connectUrls } = options;
  const { topics = isMixed ? TOPICS : [] } = options;
  const recorder = new MessageRecorder();
  const fallback = await startFallbackRecorder(recorder);
  const undo: (() => Promise<void>)[] = [fallback.stop];
  const stop = async (): Promise<void> => {
    for (const step of undo.reverse()) await step();
  };
  try {
    const environment = { FALLBACK_WEBHOOK_URL: fallback.url, ...options.environment };
    const cluster = await startCluster({ ...options, environment });
    undo.push(cluster.stop);
    const producer = new RecordingProducer({
      recorder,
      urls: cluster.collects.map(({ url }) => url),
      names: cluster.collects.map(({ name }) => name),
      apiKey: cluster.apiKey,
    });
    undo.push(() => producer.stop());
    const userNames = Array.from({ length: userCount }, (_, i) => `user-${i}`);
    const { phoneOwners, persons, awayUsers } = isMixed ? mixUsers(userNames) : NOBODY_SPECIAL;
    const users = await connectRecordedUsers({
      recorder,
      users: userNames,
      phoneOwners,
      urls: (await connectUrls?.(cluster)) ?? cluster.nodeUrls,
      tokenFor: (user) => cluster.tokenFor(user, topics.length > 0 ? ["*"] : undefined),
      // One who was away and comes back after an erasure listens to the last of them.
      topicsOf: (user) => {
        const topic = topics.at(userNames.indexOf(user) % topics.length);
        return topic === undefined ? [] : [topic];
      },
      ...(options.libraryOf === undefined ? {} : { libraryOf: options.libraryOf }),
    });
    undo.push(users.close);
    return {
      cluster,
      recorder,
      producer,
      userNames,
      phoneOwners,
      persons,
      awayUsers,
      topics,
      users,
      judge: async (deadlineMs) => {
        await producer.settled();
        await users.allOnline(deadlineMs);
        const { collect, apiKey } = cluster;
        await settleHistory({ recorder, collectUrl: collect.url, apiKey, deadlineMs });
        await untilShown(recorder);
        return checkHistory(recorder);
      },
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

function mixUsers(userNames: readonly string[]) {
  const awayUsers = Array.from({ length: AWAY_USERS }, (_, i) => `away-${i}`);
  const every = (remainder: number): string[] => userNames.filter((_, i) => i % SPECIAL_ONE_IN === remainder);
  // An away user has open messages when they are erased.
  return {
    phoneOwners: every(PHONE_OWNER),
    persons: [...every(PERSON), ...awayUsers.slice(0, 1)],
    awayUsers,
  };
}

/** What a device must still be shown comes, or is a violation after the deadline. */
async function untilShown(recorder: MessageRecorder): Promise<void> {
  const isShown = (): boolean =>
    checkHistory(recorder).violations.every(({ kind }) => !kind.endsWith("hole-untold"));
  await waitFor(isShown, {
    what: "every device to be shown everything",
    deadlineMs: SHOWN_DEADLINE_MS,
    everyMs: 500,
  }).catch(() => undefined);
}
