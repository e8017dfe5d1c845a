// Tests what workers do with sends in progress while Redis is down for longer than entries may be held.
// Guarantees: a real Redis that is killed and returns on its append-only file; messages are not sent twice because of
// it.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "@petrel/shared/kernel/clock";
import { CommonTicks } from "@petrel/shared/kernel/common-tick";
import { createLogger } from "@petrel/shared/kernel/logging/logging";
import { createRegistry } from "@petrel/shared/kernel/metrics/metrics";
import { NO_TRACING } from "@petrel/shared/kernel/tracing/tracing";
import { DevicesStore } from "@petrel/shared/redis/devices/devices-store";
import { DEFAULT_RECORD_KEEP_MS } from "@petrel/shared/redis/inbox/keep-records";
import { connectRedis } from "@petrel/shared/redis/connection/connect";
import { ScriptRunner } from "@petrel/shared/redis/scripts/script-runner";
import { openStore } from "@petrel/shared/testing/redis/open-store";
import { startRedis } from "@petrel/shared/testing/redis/start-redis";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { expect, test } from "vitest";
import { createFallbackMetrics } from "./fallback-metrics.js";
import { FallbackChain } from "./fallback-chain.js";
import { enterFallback } from "../testing/enter-fallback.js";
import { RecordingChannel } from "../testing/recording-channel.js";

const CLAIM_MS = 1_500;
const ENTRIES = 24;
const logger = createLogger({ service: "test", level: "silent" });

test("a sender settles its entry before others take it as abandoned", async () => {
  const directory = await mkdtemp(join(tmpdir(), "petrel-outage-"));
  const options = { appendOnly: true, directory, extraArgs: ["--appendfsync", "always"] };
  const store = await openStore(options);
  const port = Number(new URL(store.server.url).port);
  const channel = new RecordingChannel({ longestSendMs: 700 });
  const started = await Promise.all(
    ["a", "b"].map(async (workerId) => {
      const redis = await connectRedis({
        url: store.server.url,
        role: workerId,
        logger,
        commandTimeoutMs: 500,
      });
      const scripts = new ScriptRunner(redis);
      const workers = new FallbackChain({
        ticks: new CommonTicks(),
        scripts,
        partitions: store.partitions,
        devices: new DevicesStore(scripts, store.partitions),
        channels: [channel],
        workerId,
        metrics: createFallbackMetrics(createRegistry("test"), [channel.name]),
        logger,
        clock: systemClock,
        concurrency: 16,
        claimMs: CLAIM_MS,
        stopDeadlineMs: 300,
        retry: { baseMs: 10, capMs: 50 },
        retriesCap: 100_000,
        maxAttempts: 4,
        deadLettersCap: 100,
        recordKeepMs: DEFAULT_RECORD_KEEP_MS,
        tracing: NO_TRACING,
        pollMs: 10,
      });
      workers.start();
      return { workers, redis };
    }),
  );
  channel.hold();
  await Promise.all(Array.from({ length: ENTRIES }, (_, i) => enterFallback(store, { userId: `u${i}` })));
  await waitFor(() => channel.jobs.length >= ENTRIES, { what: "all to be under way", everyMs: 5 });
  store.server.signal("SIGKILL");
  await store.server.exited;
  const begun = channel.jobs.length;
  channel.release();
  // Away for longer than an entry may be held without being settled.
  await new Promise((resolve) => setTimeout(resolve, CLAIM_MS + 500));
  const again = await startRedis({ ...options, port });
  const reader = await connectRedis({ url: again.url, role: "test", logger });
  await waitFor(async () => (await reader.xlen(store.keys.fallback("normal"))) === 0, {
    what: "all to be settled",
    deadlineMs: 20_000,
  });
  // At least once: on a busy machine a link may come back so late that its entries were taken over. Not as a rule.
  expect(channel.jobs.length).toBeLessThan(begun + ENTRIES / 2);
  for (const { workers, redis } of started) {
    await workers.stop();
    redis.disconnect();
  }
  reader.disconnect();
  await store.close();
  await again.stop();
  await rm(directory, { recursive: true, force: true });
}, 60_000);
