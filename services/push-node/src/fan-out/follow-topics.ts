// redis/topics/topic-publisher -> here -> push-node/fan-out/{repair-topics, fan-out}: the topics that clients of this
// node want, and what arrives on their channels.
// Guarantees: a node subscribes to a topic while a client wants it, and some seconds longer. After a lost link, only
// its topics are checked. If the last message was lost, that shows within ten seconds, at the cost of one call for all
// quiet topics of a partition.
import { CommonTicks } from "@petrel/shared/kernel/common-tick";
import { describeError } from "@petrel/shared/kernel/errors";
import { groupBy } from "@petrel/shared/kernel/group-by";
import { inSlices } from "@petrel/shared/kernel/in-slices";
import type { Logger } from "@petrel/shared/kernel/logging/logging";
import { decodeTopicText } from "@petrel/shared/protocol/topics/topic-messages";
import { partitionOfTopic } from "@petrel/shared/protocol/topics/topic-name";
import type { TopicRule } from "@petrel/shared/protocol/topics/topic-rules";
import type { Redis } from "@petrel/shared/redis/connection/connect";
import type { PartitionKeys } from "@petrel/shared/redis/keys";
import { ChannelLinks } from "@petrel/shared/redis/nodes/channel-links";
import type { ScriptRunner } from "@petrel/shared/redis/scripts/script-runner";
import { lookAtTopics } from "@petrel/shared/redis/topics/look-at-topics";
import { NodeTopic, type TopicWaiter } from "./node-topic.js";
import { RepairTopics, type RepairObserver } from "./repair-topics.js";
import type { RingBudget } from "./ring-budget.js";

export interface FollowTopicsOptions {
  /** A connection for this alone. */
  readonly redis: Redis;
  readonly scripts: ScriptRunner;
  readonly partitions: readonly PartitionKeys[];
  readonly ruleOf: (topic: string) => TopicRule;
  readonly budget: RingBudget;
  readonly observer: RepairObserver;
  /** It has messages to send, or can be joined. */
  readonly onDue: (topic: NodeTopic) => void;
  /** Who is present has changed, or such news may have been missed. */
  readonly onPresence: (topic: NodeTopic) => void;
  /** At its own moments by default. */
  readonly ticks?: Pick<CommonTicks, "every"> | undefined;
  readonly logger: Logger;
}

const TICK_MS = 2_000;
/** After this many quiet ticks a topic is checked: six to eight seconds. */
const LOOK_AFTER_TICKS = 4;
/** After this many ticks without a member, it is dropped. */
const LINGER_TICKS = 3;
const MAX_PER_LOOK = 200;

export class FollowTopics {
  readonly #options: FollowTopicsOptions;
  readonly #links: ChannelLinks;
  readonly #repair: RepairTopics;
  readonly #topics = new Map<string, NodeTopic>();
  readonly #byChannel = new Map<string, NodeTopic>();
  readonly #pinned = new Set<NodeTopic>();
  /** To check in the next turn: their subscriptions are restored. */
  #toLook: NodeTopic[] = [];
  readonly #ticks: Pick<CommonTicks, "every">;
  #stopTicks: (() => void) | undefined;
  #tick = 0;

  constructor(options: FollowTopicsOptions) {
    const { redis, scripts, logger, observer, onDue, ticks = new CommonTicks() } = options;
    this.#options = options;
    this.#ticks = ticks;
    this.#links = new ChannelLinks({
      redis,
      logger,
      ticks,
      onText: (text, channel) => this.#hear(text, channel),
      onSubscribed: (channels) => this.#listenAgain(channels),
      onLost: (channel) => {
        const topic = this.#byChannel.get(channel);
        if (topic !== undefined) topic.isHeard = false;
      },
    });
    this.#repair = new RepairTopics({
      scripts,
      logger,
      observer,
      isActive: ({ channel }) => this.#links.isActive(channel),
      onReady: onDue,
    });
  }

  start(): void {
    this.#stopTicks ??= this.#ticks.every(TICK_MS, () => this.tick());
  }

  async stop(): Promise<void> {
    this.#stopTicks?.();
    for (const topic of this.#topics.values()) topic.close();
    await this.#links.stop();
  }

  get size(): number {
    return this.#topics.size;
  }

  all(): Iterable<NodeTopic> {
    return this.#topics.values();
  }

  topicOf(name: string): NodeTopic | undefined {
    return this.#topics.get(name);
  }

  /** From here on this node subscribes to it, as long as it has members or waiters. */
  open(name: string): NodeTopic {
    const known = this.#topics.get(name);
    if (known !== undefined) return known;
    const { partitions, ruleOf, budget } = this.#options;
    const keys = partitions[partitionOfTopic(name, partitions.length)];
    if (keys === undefined) throw new Error("partition out of range");
    const topic = new NodeTopic(name, keys, { rule: ruleOf(name), budget });
    topic.emptySinceTick = this.#tick;
    topic.confirmedTick = this.#tick;
    this.#topics.set(name, topic);
    this.#byChannel.set(topic.channel, topic);
    this.#links.listen(topic.channel);
    return topic;
  }

  /** From here on this node subscribes to it permanently. */
  pin(name: string): void {
    this.#pinned.add(this.open(name));
  }

  /** Its last member has left; it stays for some seconds. */
  rest(topic: NodeTopic): void {
    if (topic.members.length === 0) topic.emptySinceTick ??= this.#tick;
  }

  /** Asks Redis where the topic stands, because a client's position differs from what this node knows. */
  refresh(topic: NodeTopic): void {
    this.#repair.begin(topic);
  }

  /** See RepairTopics. */
  readLog(topic: NodeTopic): Promise<void> {
    return this.#repair.readLog(topic);
  }

  /** The same, for one that is not a member yet. */
  awaitLog(topic: NodeTopic, waiter: TopicWaiter): void {
    this.#repair.awaitLog(topic, waiter);
  }

  /** One round: checks topics that were quiet, drops those that nobody wants. */
  tick(): void {
    this.#tick++;
    const quiet: NodeTopic[] = [];
    for (const topic of this.#topics.values()) {
      if (topic.emptySinceTick !== undefined && this.#isUnwanted(topic, topic.emptySinceTick)) {
        this.#letGo(topic);
      } else if (topic.isReady && this.#tick - topic.confirmedTick >= LOOK_AFTER_TICKS) quiet.push(topic);
    }
    this.#look(quiet);
  }

  #isUnwanted(topic: NodeTopic, sinceTick: number): boolean {
    if (topic.members.length > 0 || topic.isAwaited || this.#pinned.has(topic)) return false;
    return this.#tick - sinceTick >= LINGER_TICKS;
  }

  #letGo(topic: NodeTopic): void {
    topic.close();
    this.#topics.delete(topic.name);
    this.#byChannel.delete(topic.channel);
    this.#links.ignore(topic.channel);
  }

  #hear(text: string, channel: string): void {
    const topic = this.#byChannel.get(channel);
    if (topic === undefined) return;
    const heard = decodeTopicText(text);
    if (heard?.kind === "presence") this.#options.onPresence(topic);
    if (heard?.kind !== "messages") return;
    if (topic.confirmedTick !== this.#tick) this.#confirm(topic);
    this.#repair.hear(topic, heard.messages);
  }

  /** At most once a tick. */
  #confirm(topic: NodeTopic): void {
    topic.confirmedTick = this.#tick;
    topic.rule = this.#options.ruleOf(topic.name);
  }

  #listenAgain(channels: readonly string[]): void {
    for (const channel of channels) {
      const topic = this.#byChannel.get(channel);
      if (topic === undefined) continue;
      this.#options.onPresence(topic);
      // Most have missed nothing, so a check is enough. A check that is already in progress may have come too early.
      if (topic.phase === "following" && !topic.isReading && !topic.isLooking) this.#toLook.push(topic);
      else this.#repair.begin(topic);
    }
    if (this.#toLook.length === 0) return;
    const topics = this.#toLook;
    this.#toLook = [];
    this.#look(topics);
  }

  #look(topics: readonly NodeTopic[]): void {
    const idle = topics.filter(({ isLooking }) => !isLooking);
    for (const ofPartition of groupBy(idle, ({ keys }) => keys.partition).values()) {
      for (const some of inSlices(ofPartition, MAX_PER_LOOK)) void this.#lookAt(some);
    }
  }

  /** @param topics of one partition */
  async #lookAt(topics: readonly NodeTopic[]): Promise<void> {
    const { scripts, onDue, logger } = this.#options;
    const [first] = topics;
    if (first === undefined) return;
    for (const topic of topics) topic.isLooking = true;
    let heads: Awaited<ReturnType<typeof lookAtTopics>> = [];
    try {
      heads = await lookAtTopics(
        scripts,
        first.keys,
        topics.map(({ name }) => name),
      );
    } catch (error) {
      logger.debug({ topics: topics.length, reason: describeError(error) }, "topics not checked");
    }
    for (const [i, topic] of topics.entries()) {
      topic.isLooking = false;
      if (topic.phase !== "following") continue;
      if (i >= heads.length) {
        // Not answered. If it is heard, the next round checks it again; if not, it must be read now.
        if (!topic.isHeard && this.#links.isActive(topic.channel)) this.#repair.begin(topic);
        continue;
      }
      const head = heads[i];
      this.#confirm(topic);
      if (head === undefined || head.epoch !== topic.era.epoch || head.offset > topic.offset) {
        this.#repair.begin(topic);
        continue;
      }
      if (!topic.isHeard) {
        topic.isHeard = this.#links.isActive(topic.channel);
        onDue(topic);
      }
    }
  }
}
