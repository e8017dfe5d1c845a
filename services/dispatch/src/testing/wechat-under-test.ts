// Tests only: the WeChat channel as dispatch opens it, on real Redis, against the simulator's process.
// Guarantees: each test begins with an empty Redis and a simulator that behaves; `stop` leaves no process.
import { randomBytes } from "node:crypto";
import { systemClock } from "@petrel/shared/kernel/clock";
import { createLogger } from "@petrel/shared/kernel/logging/logging";
import { createRegistry } from "@petrel/shared/kernel/metrics/metrics";
import { NO_TRACING } from "@petrel/shared/kernel/tracing/tracing";
import { connectRedis, type Redis } from "@petrel/shared/redis/connection/connect";
import { DevicesStore } from "@petrel/shared/redis/devices/devices-store";
import { ScriptRunner } from "@petrel/shared/redis/scripts/script-runner";
import {
  simulatedWechat,
  startWechatSimulator,
  type TestWechatSimulator,
} from "@petrel/shared/testing/cluster/start-wechat-simulator";
import { openStore, type OpenStore } from "@petrel/shared/testing/redis/open-store";
import type { FallbackJob } from "../channels/fallback-channel.js";
import { openWechat } from "../channels/wechat/open-wechat.js";
import type { WechatChannel } from "../channels/wechat/wechat-channel.js";
import { readDispatchConfig } from "../config.js";
import { job } from "./channel-conformance.js";

export interface OpenedWechat {
  readonly channel: WechatChannel;
  readonly metric: (name: string, labels: Readonly<Record<string, string>>) => Promise<number>;
}

const logger = createLogger({ service: "test", level: "silent" });

export class WechatUnderTest {
  readonly devices: DevicesStore;
  /** The middle of a minute: no limit of one ends meanwhile. */
  readonly wallMs = Math.floor(Date.now() / 60_000) * 60_000 + 30_000;
  readonly #clock = { ...systemClock, wallMs: () => this.wallMs };
  readonly #links: Redis[] = [];
  readonly #channels: WechatChannel[] = [];
  #jobs = 0;

  private constructor(
    readonly store: OpenStore,
    readonly simulator: TestWechatSimulator,
  ) {
    this.devices = new DevicesStore(store.scripts, store.partitions);
  }

  static async start(): Promise<WechatUnderTest> {
    const [store, simulator] = await Promise.all([openStore(), startWechatSimulator()]);
    return new WechatUnderTest(store, simulator);
  }

  /** For `beforeEach`. */
  async clear(): Promise<void> {
    await this.store.clear();
    await this.simulator.setBehaviour({
      latencyMs: 0,
      tokenLatencyMs: 0,
      blackhole: false,
      answer: null,
      tokenAnswer: null,
    });
  }

  /** For `afterEach`. */
  async closeChannels(): Promise<void> {
    await Promise.all(this.#channels.splice(0).map((channel) => channel.close()));
  }

  async stop(): Promise<void> {
    for (const link of this.#links) link.disconnect();
    await this.simulator.stop();
    await this.store.close();
  }

  open(environment: Readonly<Record<string, string>> = {}, scripts = this.store.scripts): OpenedWechat {
    const registry = createRegistry("test");
    const settings = readDispatchConfig({
      ...this.simulator.environment,
      WECHAT_TIMEOUT_MS: "60000",
      FALLBACK_CLAIM_MS: "600000",
      ...environment,
    });
    const channel = openWechat(settings, {
      scripts,
      partitions: this.store.partitions,
      registry,
      clock: this.#clock,
      logger,
      tracing: NO_TRACING,
    });
    if (channel === undefined) throw new Error("WeChat is not configured");
    this.#channels.push(channel);
    return {
      channel,
      metric: async (name, labels) => {
        const { values = [] } = (await registry.getSingleMetric(name)?.get()) ?? {};
        const isIts = (of: object): boolean =>
          Object.entries(labels).every(([label, value]) =>
            Object.entries(of).some(([l, v]) => l === label && v === value),
          );
        return values.filter((one) => isIts(one.labels)).reduce((sum, { value }) => sum + value, 0);
      },
    };
  }

  /** As a dispatcher of its own: another connection to Redis. */
  async openApart(environment: Readonly<Record<string, string>> = {}): Promise<OpenedWechat> {
    const redis = await connectRedis({ url: this.store.server.url, role: "commands", logger });
    this.#links.push(redis);
    return this.open(environment, new ScriptRunner(redis));
  }

  /** @returns the openid */
  async register(userId: string, appid: string = simulatedWechat.serviceAccount.appid): Promise<string> {
    const openid = `o${randomBytes(12).toString("hex")}`;
    await this.devices.register(userId, { platform: "wechat", openid, appid }, Date.now());
    return openid;
  }

  newJob(userId: string, more: Partial<FallbackJob> = {}): FallbackJob {
    return {
      ...job,
      id: `p0_${String(this.#jobs++).padStart(22, "0")}`,
      userId,
      expiresAtMs: Date.now() + 600_000,
      ...more,
    };
  }
}
