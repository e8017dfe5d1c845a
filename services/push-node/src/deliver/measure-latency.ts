// push-node/deliver/{deliver, catch-up}, push-node/frames/collect-acks -> here: how long messages take from acceptance
// to acknowledgement.
// Guarantees: both ends are read from Redis's clock. For each connection, its 64 oldest unacknowledged messages are
// measured individually. A connection without any keeps nothing.
import { DurationHistogram, type DurationSeries } from "@petrel/shared/kernel/metrics/duration-histogram";
import type { Registry } from "@petrel/shared/kernel/metrics/metrics";
import { priorities } from "@petrel/shared/protocol/messages/stored-message";
import type { RedisClocks } from "../node/redis-clocks.js";
import type { DeliveryObserver } from "./delivery-observer.js";

const BOUNDS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];
const MAX_WAITING = 64;
/** Two numbers per message: its seq; its time, with the priority in the last two bits. */
const STRIDE = 2;
const PRIORITY_STEPS = 4;

/** `connected`: the connection existed when the message was accepted · `away`: it came later, for what it had missed */
const presences = ["connected", "away"] as const;

export function createMeasureLatency(
  registry: Registry,
  clocks: Pick<RedisClocks, "nowMs">,
): DeliveryObserver {
  const histogram = new DurationHistogram<"priority" | "presence">(registry, {
    name: "petrel_delivery_duration_seconds",
    help: "From a message's acceptance to its acknowledgement on a connection, by priority and by whether the connection existed when it was accepted",
    bounds: BOUNDS,
  });
  const seriesOf = (presence: (typeof presences)[number]): DurationSeries[] =>
    priorities.map((priority) => histogram.series({ priority, presence }));
  const [connected, away] = [seriesOf("connected"), seriesOf("away")];
  /** Empty lists for reuse. */
  const spare: number[][] = [];

  return {
    sent: (connection, { seq, atMs, priority }) => {
      connection.unmeasured ??= spare.pop() ?? [];
      const waiting = connection.unmeasured;
      if (waiting.length >= MAX_WAITING * STRIDE) return;
      waiting.push(seq, atMs * PRIORITY_STEPS + priorities.indexOf(priority));
    },
    acked: (connection, seq) => {
      const waiting = connection.unmeasured;
      if (waiting === undefined) return;
      const nowMs = clocks.nowMs(connection.keys);
      let i = 0;
      for (; i < waiting.length && (waiting[i] ?? 0) <= seq; i += STRIDE) {
        if (nowMs === undefined) continue;
        const packed = waiting[i + 1] ?? 0;
        const atMs = Math.floor(packed / PRIORITY_STEPS);
        const ofPresence = atMs >= connection.connectTimeMs ? connected : away;
        ofPresence[packed % PRIORITY_STEPS]?.observe(Math.max(0, nowMs - atMs) / 1000);
      }
      if (i < waiting.length) {
        waiting.splice(0, i);
        return;
      }
      waiting.length = 0;
      connection.unmeasured = undefined;
      if (spare.length < MAX_WAITING) spare.push(waiting);
    },
    closed: () => undefined,
  };
}
