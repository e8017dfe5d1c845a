// Bench: what the subscribers of one process were delivered in a round.
// Guarantees: a few operations a delivery; two subscribers with equal sums got the same messages, with equal marks in
// the same order too.
import { LatencyHistogram, type SparseHistogram } from "./latency-histogram.js";

/** Subscribers of one topic that got the same messages in the same order. */
export interface SeenAlike {
  readonly topic: string;
  readonly received: number;
  /** Of the numbers of the messages, whatever their order. */
  readonly sum: number;
  /** Of the numbers in their order. */
  readonly order: number;
  readonly subscribers: number;
}

export interface LedgerReport {
  readonly seen: readonly SeenAlike[];
  readonly deliveries: number;
  /** Positions that did not follow the one before; of numbered messages only. */
  readonly brokenOffsets: number;
  readonly latencies: SparseHistogram;
  /** Connections that ended during the round. */
  readonly ended: readonly string[];
}

export interface Round {
  /** The number of the first message. */
  readonly first: number;
  readonly messages: number;
  /** How many deliveries this process waits for. */
  readonly deliveries: number;
  /** Tell of each message that so many subscribers have; 0: of none. */
  readonly tellAt: number;
}

export interface LedgerEvents {
  /** `tellAt` subscribers have message `n`. */
  readonly onSeen: (n: number) => void;
  /** Everything that was waited for has come. */
  readonly onAll: () => void;
}

export class DeliveryLedger {
  private readonly received: Uint32Array;
  private readonly sums: Int32Array;
  private readonly orders: Int32Array;
  private readonly lastOffsets: Float64Array;
  private counts = new Uint32Array(0);
  private round: Round = { first: 0, messages: 0, deliveries: 0, tellAt: 0 };
  private latencies = new LatencyHistogram();
  private deliveries = 0;
  private brokenOffsets = 0;
  private ended: string[] = [];

  /** @param topics of each subscriber, by its index */
  constructor(
    private readonly topics: readonly string[],
    private readonly events: LedgerEvents,
  ) {
    this.received = new Uint32Array(topics.length);
    this.sums = new Int32Array(topics.length);
    this.orders = new Int32Array(topics.length);
    this.lastOffsets = new Float64Array(topics.length).fill(-1);
  }

  begin(round: Round): void {
    this.round = round;
    this.counts = new Uint32Array(round.messages);
    this.received.fill(0);
    this.sums.fill(0);
    this.orders.fill(0);
    this.latencies = new LatencyHistogram();
    this.deliveries = 0;
    this.brokenOffsets = 0;
    this.ended = [];
  }

  deliver(subscriber: number, n: number, latencyUs: number, offset: number): void {
    const { first, messages, tellAt, deliveries } = this.round;
    const i = n - first;
    // Of an earlier round: late, and told then.
    if (i < 0 || i >= messages) return;
    this.received[subscriber]!++;
    this.sums[subscriber] = (this.sums[subscriber]! + mixed(n)) | 0;
    this.orders[subscriber] = (Math.imul(this.orders[subscriber]!, 31) + mixed(n)) | 0;
    if (offset !== -1) {
      const last = this.lastOffsets[subscriber]!;
      if (last !== -1 && offset !== last + 1) this.brokenOffsets++;
      this.lastOffsets[subscriber] = offset;
    }
    this.latencies.record(latencyUs);
    this.deliveries++;
    if (++this.counts[i]! === tellAt) this.events.onSeen(n);
    if (this.deliveries === deliveries) this.events.onAll();
  }

  connectionEnded(why: string): void {
    this.ended.push(why);
  }

  report(): LedgerReport {
    const alike = new Map<string, { -readonly [K in keyof SeenAlike]: SeenAlike[K] }>();
    for (const [i, topic] of this.topics.entries()) {
      const one = { topic, received: this.received[i]!, sum: this.sums[i]!, order: this.orders[i]! };
      const key = `${topic} ${one.received} ${one.sum} ${one.order}`;
      const group = alike.get(key);
      if (group === undefined) alike.set(key, { ...one, subscribers: 1 });
      else group.subscribers++;
    }
    return {
      seen: [...alike.values()],
      deliveries: this.deliveries,
      brokenOffsets: this.brokenOffsets,
      latencies: this.latencies.sparse(),
      ended: this.ended,
    };
  }
}

/** What `sum` is for someone who got exactly these. */
export function sumOf(numbers: Iterable<number>): number {
  let sum = 0;
  for (const n of numbers) sum = (sum + mixed(n)) | 0;
  return sum;
}

/** Spreads a number over 32 bits, so that sums of different sets differ. */
function mixed(n: number): number {
  let x = Math.imul(n + 0x9e37_79b9, 0x85eb_ca6b);
  x ^= x >>> 13;
  return Math.imul(x, 0xc2b2_ae35) ^ (x >>> 16);
}
