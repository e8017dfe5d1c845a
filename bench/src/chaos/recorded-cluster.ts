// chaos: a cluster with recorded users, a recorded business system, and a channel that its fallback calls.
// Guarantees: everything that matters to the checker goes through one recorder; `stop` leaves nothing running.
import { checkHistory, type Verdict } from "@petrel/shared/testing/check-history";
import { startFallbackRecorder } from "@petrel/shared/testing/fallback-recorder";
import { MessageRecorder } from "@petrel/shared/testing/message-recorder";
import { RecordingProducer } from "@petrel/shared/testing/recording-producer";
import {
  startCluster,
  type StartClusterOptions,
  type TestCluster,
} from "@petrel/shared/testing/start-cluster";
import { connectRecordedUsers, type RecordedUsers } from "./recorded-users.js";
import { settleHistory } from "./settle-history.js";

export interface RecordedClusterOptions extends StartClusterOptions {
  readonly userCount: number;
  /** Where clients connect instead of to the nodes themselves, such as through proxies. */
  readonly connectUrls?: (cluster: TestCluster) => Promise<readonly string[]>;
}

export interface RecordedCluster {
  readonly cluster: TestCluster;
  readonly recorder: MessageRecorder;
  readonly producer: RecordingProducer;
  readonly userNames: readonly string[];
  readonly users: RecordedUsers;
  /**
   * After the load and the faults: waits until everybody is online and every message has ended, then judges.
   * @throws where clients do not come back
   */
  readonly judge: (deadlineMs: number) => Promise<Verdict>;
  readonly stop: () => Promise<void>;
}

export async function startRecordedCluster(options: RecordedClusterOptions): Promise<RecordedCluster> {
  const { userCount, connectUrls } = options;
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
      apiKey: cluster.apiKey,
    });
    undo.push(() => producer.stop());
    const userNames = Array.from({ length: userCount }, (_, i) => `user-${i}`);
    const users = await connectRecordedUsers({
      recorder,
      users: userNames,
      urls: (await connectUrls?.(cluster)) ?? cluster.nodeUrls,
      tokenFor: cluster.tokenFor,
    });
    undo.push(users.close);
    return {
      cluster,
      recorder,
      producer,
      userNames,
      users,
      judge: async (deadlineMs) => {
        await producer.settled();
        await users.allOnline(deadlineMs);
        const { collect, apiKey } = cluster;
        await settleHistory({ recorder, collectUrl: collect.url, apiKey, deadlineMs });
        return checkHistory(recorder);
      },
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}
