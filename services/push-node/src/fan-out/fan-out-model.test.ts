// Tests fan-out against a model: messages, joins, leaves, stalls and restarts, in any order. Guarantees checked:
// between two `subscribed` a member sees every number once and in order, from where `subscribed` says on; members that
// stay have everything in the end; nothing comes after the end of a membership.
import type { TopicMessage } from "@petrel/shared/protocol/topics/topic-messages";
import { DEFAULT_TOPIC_RULE } from "@petrel/shared/protocol/topics/topic-rules";
import { partitionKeys } from "@petrel/shared/redis/keys";
import type { TopicPage } from "@petrel/shared/redis/topics/read-topic";
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { sized } from "../../../../test/support/sizes.js";
import type { Connection, Subscription } from "../connection/connection.js";
import { TopicSubscription } from "../connection/subscription.js";
import { FanOut } from "./fan-out.js";
import { NodeTopic, type TopicPosition } from "./node-topic.js";
import { RingBudget } from "./ring-budget.js";
import { TopicCatchUp } from "./topic-catch-up.js";

interface SeenFrame {
  readonly type: string;
  readonly offset: number;
  readonly oldest: number;
  readonly recovered: boolean;
}

/** A socket that may stop accepting bytes. */
class FakeConnection {
  readonly isOpen = true;
  waitingBytes = 0;
  readonly seen: (SeenFrame & { readonly given?: number })[] = [];
  #queued: Buffer[] = [];
  #isStalled = false;
  #drained: (() => void)[] = [];

  get mustDrain(): boolean {
    return this.#isStalled;
  }

  drained(): Promise<void> {
    if (!this.#isStalled) return Promise.resolve();
    return new Promise((resolve) => this.#drained.push(resolve));
  }

  stall(isStalled: boolean): void {
    this.#isStalled = isStalled;
    if (isStalled) return;
    this.waitingBytes = 0;
    for (const resolve of this.#drained.splice(0)) resolve();
  }

  queue(frame: Buffer): void {
    this.#queued.push(frame);
  }

  flush(): void {
    for (const frame of this.#queued.splice(0)) this.write(frame);
  }

  write(bytes: Buffer): void {
    if (this.#isStalled) this.waitingBytes += bytes.length;
    for (let at = 0; at < bytes.length;) {
      const short = (bytes[at + 1] ?? 0) & 0x7f;
      const head = short === 126 ? 4 : 2;
      const length = short === 126 ? bytes.readUInt16BE(at + 2) : short;
      const text = bytes.subarray(at + head, at + head + length).toString();
      this.seen.push(JSON.parse(text) as SeenFrame);
      at += head + length;
    }
  }
}

const HISTORY = 12;
const BOUND_BYTES = 600;
const rule = { ...DEFAULT_TOPIC_RULE, historySize: HISTORY };

class Model {
  readonly topic: NodeTopic;
  readonly fanOut: FanOut;
  readonly #catchUp: TopicCatchUp;
  readonly members: {
    readonly subscription: Subscription;
    readonly connection: FakeConnection;
    given: number[];
  }[] = [];
  readonly left: { readonly connection: FakeConnection; readonly count: number }[] = [];
  #log: TopicMessage[] = [];
  #epochs = 0;

  constructor(ringBytes: number) {
    this.topic = new NodeTopic("t", partitionKeys(0), { rule, budget: new RingBudget(ringBytes) });
    this.#catchUp = new TopicCatchUp({
      redisNowMs: () => undefined,
      outboundBoundBytes: BOUND_BYTES,
      topicOf: () => this.topic,
      readLog: async (topic) => {
        // Like repair-topics: the ring is kept while somebody waits for it.
        topic.logReaders++;
        await Promise.resolve();
        topic.takeOlder(this.page());
        topic.logReaders--;
      },
      onSent: () => undefined,
    });
    const observer = { passed: () => undefined };
    this.fanOut = new FanOut({ catchUp: this.#catchUp, outboundBoundBytes: BOUND_BYTES, observer });
    this.restart(false);
  }

  page(previous?: TopicPosition): TopicPage {
    const { offset } = this.topic;
    const messages = this.#log;
    return {
      epoch: `e${this.#epochs}`,
      offset,
      oldest: messages[0]?.offset ?? offset + 1,
      previous,
      length: messages.length,
      messages,
      isComplete: true,
      nowMs: 0,
    };
  }

  /** A new epoch. @param keeps whether everything that was numbered is still there; otherwise the log is gone */
  restart(keeps: boolean): void {
    const { offset } = this.topic;
    const previous = { epoch: `e${this.#epochs}`, offset: keeps ? offset : -1 };
    this.#epochs++;
    if (!keeps) this.#log = [];
    this.topic.restart(this.page(previous));
    this.topic.phase = "following";
    this.topic.isHeard = true;
    this.fanOut.due(this.topic);
  }

  publish(count: number): void {
    for (let i = 0; i < count; i++) {
      const message: TopicMessage = {
        offset: this.topic.offset + 1,
        epoch: `e${this.#epochs}`,
        atMs: 0,
        expiresAtMs: Number.MAX_SAFE_INTEGER,
        id: "m",
        from: "",
        data: "1",
      };
      this.#log.push(message);
      if (this.#log.length > HISTORY) this.#log.shift();
      this.topic.append(message);
    }
    this.fanOut.due(this.topic);
  }

  join(behind: number | undefined): void {
    const connection = new FakeConnection();
    const subscription = new TopicSubscription(connection as unknown as Connection, "t");
    const position =
      behind === undefined
        ? undefined
        : { epoch: this.topic.era.epoch, offset: Math.max(0, this.topic.offset - behind) };
    if (!this.#catchUp.hasAll(this.topic, position)) this.topic.takeOlder(this.page());
    this.#catchUp.begin(this.topic, subscription, position);
    connection.flush();
    this.topic.add(subscription);
    this.members.push({ subscription, connection, given: position === undefined ? [] : [position.offset] });
  }

  leave(pick: number): void {
    const [member] = this.members.splice(pick % Math.max(1, this.members.length), 1);
    if (member === undefined) return;
    this.topic.remove(member.subscription);
    this.left.push({ connection: member.connection, count: member.connection.seen.length });
  }
}

type Step =
  | { readonly do: "publish"; readonly count: number }
  | { readonly do: "join"; readonly behind: number | undefined }
  | { readonly do: "leave" | "stall" | "release"; readonly pick: number }
  | { readonly do: "restart"; readonly keeps: boolean }
  | { readonly do: "turn" };

const pick = fc.nat({ max: 600 });
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({ do: fc.constant("publish" as const), count: fc.integer({ min: 1, max: 6 }) }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant("join" as const),
      behind: fc.option(fc.integer({ min: 0, max: HISTORY + 3 }), { nil: undefined }),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constantFrom("leave" as const, "stall" as const, "release" as const),
      pick,
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("restart" as const), keeps: fc.boolean() }) },
  { weight: 6, arbitrary: fc.constant({ do: "turn" as const }) },
);

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test("members see what the model says, for any order of events", async () => {
  const met = { restarts: 0, recovered: 0, refused: 0, messages: 0 };
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { minLength: 10, maxLength: 60 }),
      fc.constantFrom(0, 400, 1_000_000),
      // Enough for several slices.
      fc.constantFrom(0, 0, 300),
      async (steps, ringBytes, crowd) => {
        const model = new Model(ringBytes);
        for (let i = 0; i < crowd; i++) model.join(undefined);
        for (const one of steps) {
          switch (one.do) {
            case "publish":
              model.publish(one.count);
              break;
            case "join":
              model.join(one.behind);
              break;
            case "leave":
              model.leave(one.pick);
              break;
            case "stall":
            case "release":
              model.members[one.pick % Math.max(1, model.members.length)]?.connection.stall(
                one.do === "stall",
              );
              break;
            case "restart":
              model.restart(one.keeps);
              break;
            case "turn":
              await turn();
          }
        }
        for (const { connection } of model.members) connection.stall(false);
        const { topic } = model;
        const isDone = (): boolean =>
          topic.pass === undefined &&
          model.members.every(
            ({ subscription }) =>
              !subscription.isBehind &&
              subscription.era === topic.era &&
              subscription.lastOffset === topic.offset,
          );
        for (let turns = 0; !isDone(); turns++) {
          expect(turns, "turns until all are up to date").toBeLessThan(2_000);
          await turn();
        }
        for (const { connection, given } of model.members) {
          let next: number | undefined;
          let isFirst = true;
          for (const frame of connection.seen) {
            if (frame.type === "subscribed") {
              met[frame.recovered ? "recovered" : "refused"]++;
              if (!isFirst) met.restarts++;
              // Recovered: it continues where the client was; otherwise after the newest.
              if (!frame.recovered) next = frame.offset + 1;
              else if (isFirst) next = (given[0] ?? Number.NaN) + 1;
              expect(next).toBeDefined();
              isFirst = false;
              continue;
            }
            met.messages++;
            expect(frame.offset).toBe(next);
            next = frame.offset + 1;
          }
          expect(next).toBe(topic.offset + 1);
        }
        for (const { connection, count } of model.left) expect(connection.seen.length).toBe(count);
      },
    ),
    { numRuns: sized(150, 50) },
  );
  // The steps reach the cases that they are meant for.
  for (const [what, count] of Object.entries(met)) expect(count, what).toBeGreaterThan(20);
}, 120_000);
