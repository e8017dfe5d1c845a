// Tests only: the APNs channel as dispatch opens it, on real Redis, against the simulator's process.
// Guarantees: each test begins with an empty Redis, a reset simulator, and a channel with metrics of its own; `stop`
// leaves no process.
import { systemClock } from "@petrel/shared/kernel/clock";
import { createRegistry, type Registry } from "@petrel/shared/kernel/metrics/metrics";
import { NO_TRACING } from "@petrel/shared/kernel/tracing/tracing";
import type { NewDevice } from "@petrel/shared/protocol/fallback/device";
import { partitionOfUser } from "@petrel/shared/protocol/messages/partition";
import { DevicesStore } from "@petrel/shared/redis/devices/devices-store";
import {
  startApnsSimulator,
  type TestApnsSimulator,
} from "@petrel/shared/testing/cluster/start-apns-simulator";
import { openStore, type OpenStore } from "@petrel/shared/testing/redis/open-store";
import { pino } from "pino";
import type { ApnsChannel } from "../channels/apns/apns-channel.js";
import { openApns } from "../channels/apns/open-apns.js";
import type { ChannelAnswer, FallbackJob } from "../channels/fallback-channel.js";
import { readDispatchConfig } from "../config.js";
import { job as conformanceJob } from "./channel-conformance.js";

export const TOPIC = "com.example.app";
const never = new AbortController().signal;

/** A phone's token, by its number. */
export const phone = (n: number): string => n.toString(16).padStart(64, "0");

export class ApnsUnderTest {
  /** Lines at `warn` and above. */
  readonly logged: string[] = [];
  readonly logger = pino({ level: "warn" }, { write: (line) => void this.logged.push(line) });
  readonly devices: DevicesStore;
  #registry: Registry | undefined;
  #channel: ApnsChannel | undefined;
  #jobs = 0;

  private constructor(
    readonly store: OpenStore,
    readonly simulator: TestApnsSimulator,
  ) {
    this.devices = new DevicesStore(store.scripts, store.partitions);
  }

  static async start(): Promise<ApnsUnderTest> {
    const store = await openStore();
    const simulator = await startApnsSimulator();
    // Each test begins without a provider token in Redis.
    await simulator.setBehaviour({ minTokenUpdateSeconds: 0 });
    return new ApnsUnderTest(store, simulator);
  }

  async stop(): Promise<void> {
    await this.simulator.stop();
    await this.store.close();
  }

  /** For `beforeEach`. */
  async clear(): Promise<void> {
    await this.store.clear();
    await this.simulator.clear();
    await this.simulator.setBehaviour({ latencyMs: 0, answer: null, environment: null });
  }

  /** The one that `send` uses. */
  get channel(): ApnsChannel {
    if (this.#channel === undefined) throw new Error("no channel is open");
    return this.#channel;
  }

  /** Replaces `channel` by a new one, with metrics of its own. */
  async reopen(environment: Readonly<Record<string, string>> = {}): Promise<void> {
    await this.#channel?.close();
    this.#registry = createRegistry("test");
    this.#channel = this.open(environment, this.#registry);
  }

  /** One more channel, as in another process; the caller closes it. */
  open(
    environment: Readonly<Record<string, string>> = {},
    registry: Registry = createRegistry("test"),
  ): ApnsChannel {
    const settings = {
      ...this.simulator.environment,
      APNS_TIMEOUT_MS: "10000",
      APNS_SUSPICION_MS: "300",
      ...environment,
    };
    const { scripts, partitions } = this.store;
    const { logger } = this;
    const deps = { scripts, partitions, registry, clock: systemClock, logger, tracing: NO_TRACING };
    const channel = openApns(readDispatchConfig(settings), deps);
    if (channel === undefined) throw new Error("APNs is not configured");
    return channel;
  }

  async register(userId: string, n: number, parts: Partial<NewDevice> = {}): Promise<void> {
    const device = {
      platform: "ios",
      token: phone(n),
      topic: TOPIC,
      environment: "production",
      ...parts,
    } as NewDevice;
    await this.devices.register(userId, device, Date.now());
    await this.simulator.setAnswer(phone(n), null);
  }

  jobFor(userId: string, parts: Partial<FallbackJob> = {}): FallbackJob {
    return {
      ...conformanceJob,
      id: `p0_${String(++this.#jobs).padStart(22, "0")}`,
      userId,
      acceptedAtMs: Date.now(),
      expiresAtMs: Date.now() + 3_600_000,
      ...parts,
    };
  }

  /** Like a worker that has found the message's record. */
  async send(job: FallbackJob, signal: AbortSignal = never): Promise<ChannelAnswer> {
    const record = `${job.seq}\t${job.epoch}\t1\t${job.expiresAtMs}\t${job.userId}\t-\tfirst`;
    const { partitions, redis } = this.store;
    const keys = partitions[partitionOfUser(job.userId, partitions.length)];
    await redis.set(keys?.record(job.id) ?? "", record);
    return this.channel.send(job, signal);
  }

  /** How many notifications a phone has got. */
  async arrived(n: number): Promise<number> {
    return (await this.simulator.notifications(phone(n))).length;
  }

  async tokensOf(userId: string): Promise<string[]> {
    return (await this.devices.list(userId)).map((device) => (device.platform === "ios" ? device.token : ""));
  }

  /** The sum over the samples with these labels. */
  async metric(name: string, labels: Readonly<Record<string, string>> = {}): Promise<number> {
    const values = (await this.#registry?.getSingleMetric(name)?.get())?.values ?? [];
    return values
      .filter((value) => Object.entries(labels).every(([label, word]) => value.labels[label] === word))
      .reduce((sum, { value }) => sum + value, 0);
  }
}
