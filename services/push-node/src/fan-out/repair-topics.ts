// push-node/fan-out/follow-topics -> here -> push-node/fan-out/read-topic-log: finds where a topic stands, and what
// this node is missing.
// Guarantees: one read per topic at a time, shared by all who need it. What arrived meanwhile is merged in the turn in
// which the answer is processed. What the log cannot fill begins a new era, and nothing later is sent before that. A
// fault of Redis costs only time.
import { backoffMs } from "@petrel/shared/kernel/backoff";
import { describeError } from "@petrel/shared/kernel/errors";
import type { Logger } from "@petrel/shared/kernel/logging/logging";
import { pause } from "@petrel/shared/kernel/pause";
import type { TopicMessage } from "@petrel/shared/protocol/topics/topic-messages";
import type { ScriptRunner } from "@petrel/shared/redis/scripts/script-runner";
import type { TopicPage } from "@petrel/shared/redis/topics/read-topic";
import type { NodeTopic, TopicWaiter } from "./node-topic.js";
import { readTopicLog } from "./read-topic-log.js";

export interface RepairTopicsDeps {
  readonly scripts: ScriptRunner;
  readonly logger: Logger;
  /** Whether texts of its channel arrive now. */
  readonly isActive: (topic: NodeTopic) => boolean;
  /** It can be joined, or has messages to send. */
  readonly onReady: (topic: NodeTopic) => void;
  readonly observer: RepairObserver;
}

export interface RepairObserver {
  /** The log itself was read; reading only a topic's head is not counted. */
  readonly logRead: () => void;
  /** Messages that this node had missed were found in the log, or not. */
  readonly repaired: (outcome: "filled" | "lost") => void;
}

/** How much may wait for a read. What exceeds it becomes another gap, which the next read fills. */
const MAX_HEARD_BYTES = 4 * 1024 * 1024;
const RETRY = { baseMs: 50, capMs: 1_000 } as const;
const RETRY_LEAST_MS = 20;

export class RepairTopics {
  readonly #deps: RepairTopicsDeps;
  readonly #logReads = new Map<NodeTopic, (() => void)[]>();

  constructor(deps: RepairTopicsDeps) {
    this.#deps = deps;
  }

  /** Starts its first read, or another one because something is missing. */
  begin(topic: NodeTopic): void {
    if (topic.phase === "following") topic.phase = "repairing";
    if (topic.isReading) topic.mustReadAgain = true;
    else void this.#read(topic);
  }

  /** Reads the whole log into the topic's ring; then the waiter is called in its turn. */
  awaitLog(topic: NodeTopic, waiter: TopicWaiter): void {
    topic.logWaiters.push(waiter);
    topic.wantLog();
    if (!topic.isReading) void this.#read(topic);
  }

  /** Reads the whole log into the topic's ring. Resolves when that is done, or the topic is closed. */
  readLog(topic: NodeTopic): Promise<void> {
    topic.wantLog();
    topic.logReaders++;
    const done = new Promise<void>((resolve) => {
      const waiting = this.#logReads.get(topic);
      if (waiting === undefined) this.#logReads.set(topic, [resolve]);
      else waiting.push(resolve);
    });
    if (!topic.isReading) void this.#read(topic);
    return done.finally(() => topic.logReaders--);
  }

  /** Messages from its channel, in the order they arrived. */
  hear(topic: NodeTopic, messages: readonly TopicMessage[]): void {
    if (topic.phase !== "following") {
      this.#keep(topic, messages);
      return;
    }
    for (const [i, message] of messages.entries()) {
      if (message.epoch === topic.era.epoch) {
        // It came from the log already.
        if (message.offset <= topic.offset) continue;
        if (message.offset === topic.offset + 1) {
          if (topic.passed === topic.offset) topic.dueSinceMs = performance.now();
          topic.append(message);
          continue;
        }
      } else if (message.epoch === topic.pastEpoch) continue;
      this.begin(topic);
      // The read comes later: if its epoch is not the topic's by then, it is past.
      if (message.epoch !== topic.era.epoch) topic.pastEpoch = message.epoch;
      this.#keep(topic, messages.slice(i));
      break;
    }
    this.#deps.onReady(topic);
  }

  #keep(topic: NodeTopic, messages: readonly TopicMessage[]): void {
    for (const message of messages) {
      if (topic.heardBytes > MAX_HEARD_BYTES) return;
      topic.heard.push(message);
      topic.heardBytes += message.data.length;
    }
  }

  async #read(topic: NodeTopic): Promise<void> {
    const { scripts, logger, isActive, onReady, observer } = this.#deps;
    topic.isReading = true;
    for (let failures = 0; topic.phase !== "closed";) {
      if (topic.phase === "following" && !topic.wantsLog && !topic.mustReadAgain) break;
      const isWhole = topic.wantsLog;
      topic.wantsLog = false;
      topic.isReadingLog = isWhole;
      topic.mustReadAgain = false;
      const isKnown = topic.era.epoch !== "";
      try {
        if (isWhole || isKnown) observer.logRead();
        const page = await readTopicLog(
          scripts,
          topic.keys,
          topic.name,
          isWhole ? 0 : isKnown ? topic.offset : undefined,
        );
        failures = 0;
        if (!this.#take(topic, page, isWhole)) {
          topic.isReadingLog = false;
          topic.wantsLog = true;
          continue;
        }
      } catch (error) {
        logger.debug({ topic: topic.name, reason: describeError(error) }, "topic not read");
        topic.isReadingLog = false;
        topic.wantsLog ||= isWhole;
        await pause(RETRY_LEAST_MS + backoffMs(failures++, RETRY));
        continue;
      }
      topic.isReadingLog = false;
      topic.phase = "following";
      topic.isHeard = isActive(topic);
      const { heard } = topic;
      topic.heard = [];
      topic.heardBytes = 0;
      if (isWhole) this.#resolveLogReads(topic);
      this.hear(topic, heard);
    }
    topic.isReading = false;
    topic.isReadingLog = false;
    this.#resolveLogReads(topic);
    onReady(topic);
  }

  #resolveLogReads(topic: NodeTopic): void {
    const waiting = this.#logReads.get(topic) ?? [];
    this.#logReads.delete(topic);
    for (const resolve of waiting) resolve();
    topic.waiters.push(...topic.logWaiters.splice(0));
  }

  /** @returns whether the page was enough */
  #take(topic: NodeTopic, page: TopicPage, isWhole: boolean): boolean {
    const { observer, logger } = this.#deps;
    if (topic.era.epoch === "") {
      topic.restart(page);
      return true;
    }
    if (page.epoch !== topic.era.epoch) {
      // Its members' positions need the whole log.
      if (!isWhole) return false;
      logger.info({ topic: topic.name, offset: page.offset }, "topic: new epoch");
      topic.restart(page);
      return true;
    }
    if (page.offset > topic.offset) {
      const missing = page.messages.filter(({ offset }) => offset > topic.offset);
      const isFilled = missing.length === page.offset - topic.offset;
      if (!isFilled && !isWhole) return false;
      if (topic.phase === "repairing") observer.repaired(isFilled ? "filled" : "lost");
      if (!isFilled) {
        logger.warn(
          { topic: topic.name, from: topic.offset + 1, oldest: page.oldest },
          "topic: messages lost",
        );
        topic.restart(page);
        return true;
      }
      if (topic.passed === topic.offset) topic.dueSinceMs = performance.now();
      for (const message of missing) topic.append(message);
    }
    if (isWhole) topic.takeOlder(page);
    topic.learn(page);
    return true;
  }
}
