// push-node/fan-out/{follow-topics, fan-out, topic-catch-up} -> here: a topic as this node knows it.
// Guarantees: from the first number of an era to the newest, nothing is missing. Members, ring and newest number change
// in one turn of the event loop.
import type { TopicMessage } from "@petrel/shared/protocol/topics/topic-messages";
import type { TopicRule } from "@petrel/shared/protocol/topics/topic-rules";
import type { PartitionKeys } from "@petrel/shared/redis/keys";
import type { TopicPage } from "@petrel/shared/redis/topics/read-topic";
import type { Subscription } from "../connection/connection.js";
import type { TopicEra } from "../connection/subscription.js";
import type { RingBudget } from "./ring-budget.js";
import { ringEntryOf, TopicRing } from "./topic-ring.js";

/**
 * opening: its position is not known yet · following: arriving messages are sent · repairing: something is missing;
 * arriving messages wait for the log · closed: nobody here wants it any more
 */
export type TopicPhase = "opening" | "following" | "repairing" | "closed";

/** Called, in slices, when a topic can be joined. */
export interface TopicWaiter {
  readonly onReady: () => void;
}

/** Messages on their way to the members, in one piece. */
export interface FanOutPass {
  readonly from: number;
  readonly to: number;
  /** undefined: members of a former era are told about this one. */
  readonly bytes: Buffer | undefined;
  /** The next member; counts down. */
  cursor: number;
  readonly begunMs: number;
  readonly sinceMs: number;
  sent: number;
  readonly traces: readonly string[];
}

export interface TopicPosition {
  readonly epoch: string;
  readonly offset: number;
}

export class NodeTopic {
  readonly name: string;
  readonly keys: PartitionKeys;
  readonly channel: string;
  readonly members: Subscription[] = [];
  readonly waiters: TopicWaiter[] = [];
  /** The same, for what only the log has. */
  readonly logWaiters: TopicWaiter[] = [];
  readonly #budget: RingBudget;

  /** Looked up again occasionally, because the file of rules may change. */
  rule: TopicRule;
  phase: TopicPhase = "opening";
  /** Its channel is subscribed, and what was missed before is known. */
  isHeard = false;
  era: TopicEra = { epoch: "" };
  /** Positions of this epoch are valid up to that number. */
  previous: TopicPosition | undefined;
  /** The newest number. */
  offset = 0;
  /** The smallest number that the log keeps, as far as this node knows. */
  oldest = 1;
  /** The total size of the log from `oldest` on; exact only if the ring has all of it. */
  #keptBytes = 0;
  #isCounted = true;
  ring = new TopicRing(1);
  /** Everything up to here was sent, or is being sent with `pass`. */
  passed = 0;
  pass: FanOutPass | undefined;
  /** A long pass has just ended: what comes now waits a little for more. */
  isResting = false;
  /** When the oldest message without a pass arrived, monotonic ms. */
  dueSinceMs = 0;
  traces: string[] = [];
  /** Arrived while the topic was being repaired. */
  heard: TopicMessage[] = [];
  heardBytes = 0;
  /** An epoch that was checked and is past. */
  pastEpoch = "";
  /** Epochs of clients' positions that were checked and are not the topic's. */
  readonly foreignEpochs = new Set<string>();
  /** A read is in progress, or will be retried. */
  isReading = false;
  /** The next read takes the whole log, see `wantLog`. */
  wantsLog = false;
  /** The current read takes the whole log. */
  isReadingLog = false;
  /** Members that wait for such a read. */
  logReaders = 0;
  /** How many requests of clients will be answered with it, whatever they wait for until then. */
  requests = 0;
  /** The subscription was lost during a read, whose answer may therefore be out of date. */
  mustReadAgain = false;
  isLooking = false;
  /** The tick in which it last changed or was checked. */
  confirmedTick = 0;
  /** Since which tick it has had no members; undefined while it has some. */
  emptySinceTick: number | undefined;

  constructor(
    name: string,
    keys: PartitionKeys,
    options: { readonly rule: TopicRule; readonly budget: RingBudget },
  ) {
    this.name = name;
    this.keys = keys;
    this.channel = keys.topicChannel + name;
    this.rule = options.rule;
    this.#budget = options.budget;
  }

  get isReady(): boolean {
    return this.phase === "following" && this.isHeard;
  }

  get isAwaited(): boolean {
    return this.requests > 0 || this.waiters.length > 0 || this.logWaiters.length > 0 || this.logReaders > 0;
  }

  get ringBytes(): number {
    return this.ring.bytes;
  }

  /** Frees memory for the budget, except for what is still to be sent. */
  shrinkTo(bytes: number): void {
    if (this.isAwaited) return;
    while (this.ring.bytes > bytes && this.ring.length > 0 && this.ring.first <= this.passed) {
      this.ring.dropBelow(this.ring.first + 1);
    }
    if (this.ring.first > this.oldest) this.#isCounted = false;
  }

  /** Adds a member that was sent everything up to the newest number, or is behind. */
  add(subscription: Subscription): void {
    subscription.index = this.members.length;
    this.members.push(subscription);
    this.emptySinceTick = undefined;
  }

  /** The last member takes its place: a pass counts down, and so meets each member at least once. */
  remove(subscription: Subscription): void {
    const { index } = subscription;
    if (index === -1) return;
    const last = this.members.pop();
    if (last !== undefined && last !== subscription) {
      this.members[index] = last;
      last.index = index;
    }
    subscription.index = -1;
  }

  /** One read serves all who come before its answer. */
  wantLog(): void {
    if (!this.isReadingLog) this.wantsLog = true;
  }

  /** The next message. */
  append(message: TopicMessage): void {
    const entry = ringEntryOf(this.name, message);
    this.ring.append(entry);
    this.offset++;
    this.#keptBytes += entry.logBytes;
    if (message.trace !== undefined && this.traces.length < 16) this.traces.push(message.trace);
    this.#trim();
    this.#budget.note(this);
  }

  /**
   * The smallest number that the log keeps now; `offset + 1` if there is none.
   * @param nowMs Redis's clock; undefined if unknown
   */
  oldestNow(nowMs: number | undefined): number {
    if (nowMs !== undefined) {
      const ageMs = this.rule.historySeconds * 1_000;
      for (let entry = this.ring.at(this.oldest); entry !== undefined; entry = this.ring.at(this.oldest)) {
        if (entry.atMs + ageMs > nowMs) break;
        this.#dropOldest();
      }
      this.#letGo();
    }
    return this.oldest;
  }

  /** Adds older messages from the log while the topic keeps following. */
  takeOlder(page: TopicPage): void {
    this.#learnOldest(page.oldest);
    const missing = page.messages.filter(({ offset }) => offset < this.ring.first && offset >= this.oldest);
    const older = tailOf(missing, this.ring.first - 1);
    this.ring.prepend(older.map((message) => ringEntryOf(this.name, message)));
    // If the log has a gap, what lies before it is unavailable.
    this.oldest = Math.max(this.oldest, this.ring.first);
    this.#countKept();
    this.#budget.note(this);
  }

  /** Another epoch, or a gap that the log cannot fill: begins a new era, from what the log has. */
  restart(page: TopicPage): void {
    this.era = { epoch: page.epoch };
    this.previous = page.previous;
    this.offset = page.offset;
    this.passed = page.offset;
    this.pass = {
      from: page.offset,
      to: page.offset,
      bytes: undefined,
      cursor: this.members.length - 1,
      begunMs: performance.now(),
      sinceMs: 0,
      sent: 0,
      traces: [],
    };
    const messages = tailOf(page.messages, page.offset);
    this.ring = new TopicRing(messages[0]?.offset ?? page.offset + 1);
    for (const message of messages) this.ring.append(ringEntryOf(this.name, message));
    this.oldest = messages.length < page.messages.length ? this.ring.first : page.oldest;
    this.#countKept();
    this.#budget.note(this);
  }

  /** Takes over what a page says about the log's old end. */
  learn({ oldest, previous }: TopicPage): void {
    this.previous = previous;
    this.#learnOldest(oldest);
    this.#letGo();
  }

  close(): void {
    this.phase = "closed";
    this.#budget.forget(this);
  }

  #learnOldest(oldest: number): void {
    while (this.oldest < oldest && this.oldest <= this.offset) this.#dropOldest();
  }

  #trim(): void {
    const { historySize, historyBytes } = this.rule;
    while (this.offset - this.oldest + 1 > historySize) this.#dropOldest();
    if (this.ring.first <= this.oldest) {
      if (!this.#isCounted) this.#countKept();
      while (this.#keptBytes > historyBytes && this.oldest <= this.offset) this.#dropOldest();
    }
    this.#letGo();
  }

  #dropOldest(): void {
    this.#keptBytes -= this.ring.at(this.oldest)?.logBytes ?? 0;
    this.oldest++;
  }

  #countKept(): void {
    this.#isCounted = this.ring.first <= this.oldest;
    this.#keptBytes = 0;
    for (let offset = Math.max(this.oldest, this.ring.first); offset <= this.offset; offset++) {
      this.#keptBytes += this.ring.at(offset)?.logBytes ?? 0;
    }
  }

  /** Keeps what the log no longer has only until it is sent. */
  #letGo(): void {
    this.ring.dropBelow(Math.min(this.oldest, this.passed + 1));
  }

  /** Call it after a pass. */
  letGo(): void {
    this.#letGo();
    this.#budget.note(this);
  }
}

/** The messages up to a number without a gap: the history may have been off for a while. */
function tailOf(messages: readonly TopicMessage[], upTo: number): readonly TopicMessage[] {
  let next = upTo;
  let i = messages.length;
  while (i > 0 && messages[i - 1]?.offset === next) {
    i--;
    next--;
  }
  return messages.slice(i);
}
