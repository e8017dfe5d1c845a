// A client's topics against a model of the push node, with random cuts, changes of epoch, trims, handles and kept
// topics in between.
// Guarantees: what a handle gets is the topic without a hole, once and in order, but where it is told of a loss; in the end
// it has everything.
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { sized } from "../../../../test/support/sizes.js";
import { clientErrorCodes } from "../client-error.js";
import { defaultTiming } from "../client-timing.js";
import type { Connection } from "../connection/connection.js";
import { HandlerWatch } from "../delivery/handler-watch.js";
import type { ClientFrame, ServerFrame, SubscribeEntry, TopicPosition, WelcomeFrame } from "../frames.js";
import type { TopicHandle } from "./topic-options.js";
import { TopicSubscriptions } from "./topic-subscriptions.js";

const TOPIC = "room.1";
const HISTORY = 6;

interface Published {
  readonly id: string;
  readonly offset: number;
  readonly epoch: string;
  /** The one before it in the log that it was published to; "" for the first. */
  readonly before: string;
}

/** One topic on one node, as the contract has it, with a single connection. */
class ModelNode {
  log: Published[] = [];
  head = 0;
  headId = "";
  epoch = "e0";
  previous: TopicPosition | undefined;
  isKept = false;
  toClient: ServerFrame[] = [];
  toServer: ClientFrame[] = [];
  isConnected = false;
  /** The ids of all that were published and not lost, trimmed ones too. */
  readonly #all: string[] = [];
  #isOwn = false;
  #isSubscribed = false;
  #ids = 0;
  #epochs = 0;

  connect(): void {
    this.toClient = [];
    this.toServer = [];
    this.isConnected = true;
    this.#isOwn = false;
    this.#isSubscribed = this.isKept;
    if (this.isKept) this.#say(false);
  }

  publish(): void {
    const message = { id: `m${++this.#ids}`, offset: this.head + 1, epoch: this.epoch, before: this.headId };
    this.log.push(message);
    this.#all.push(message.id);
    this.log = this.log.slice(-HISTORY);
    this.head = message.offset;
    this.headId = message.id;
    this.#send(message);
  }

  trim(): void {
    this.log = this.log.slice(-1);
  }

  /** Redis has lost the newest ones, and goes on under another epoch. */
  lose(count: number): void {
    const lost = Math.min(count, this.log.length);
    this.log.splice(this.log.length - lost);
    this.head -= lost;
    this.previous = { epoch: this.epoch, offset: this.head };
    this.epoch = `e${++this.#epochs}`;
    this.#all.splice(this.head);
    this.headId = this.#all.at(-1) ?? "";
    // Where nothing was lost, the node may say so.
    if (this.isConnected && this.#isSubscribed) this.#say(lost === 0 && this.#epochs % 2 === 0);
  }

  keep(isKept: boolean): void {
    if (this.isKept === isKept) return;
    this.isKept = isKept;
    if (!this.isConnected) return;
    if (isKept && !this.#isSubscribed) {
      this.#isSubscribed = true;
      this.#say(false);
    } else if (!isKept && !this.#isOwn) {
      this.#isSubscribed = false;
      this.toClient.push({ type: "unsubscribed", topic: TOPIC, reason: "removed" });
    }
  }

  take(): void {
    const frame = this.toServer.shift();
    if (frame?.type === "subscribe") for (const entry of frame.topics) this.#subscribe(entry);
    if (frame?.type !== "unsubscribe") return;
    this.#isOwn = false;
    if (this.isKept) {
      const error = {
        code: "PETREL_CONFLICT",
        message: "kept",
        action: "none",
        ref: TOPIC,
        on: "unsubscribe",
      };
      this.toClient.push({ type: "error", ...error });
    } else {
      this.#isSubscribed = false;
      this.toClient.push({ type: "unsubscribed", topic: TOPIC });
    }
  }

  get oldest(): number {
    return this.log[0]?.offset ?? this.head + 1;
  }

  #subscribe({ epoch, offset }: SubscribeEntry): void {
    this.#isOwn = true;
    this.#isSubscribed = true;
    if (epoch === undefined || offset === undefined || !this.#has({ epoch, offset })) {
      this.#say(false);
      return;
    }
    this.#say(true);
    for (const message of this.log) if (message.offset > offset) this.#send(message);
  }

  #has({ epoch, offset }: TopicPosition): boolean {
    const isIn =
      epoch === this.epoch
        ? offset <= this.head
        : epoch === this.previous?.epoch && offset <= this.previous.offset;
    return isIn && offset >= this.oldest - 1;
  }

  #say(recovered: boolean): void {
    const { epoch, head: offset, oldest } = this;
    this.toClient.push({ type: "subscribed", topic: TOPIC, epoch, offset, oldest, recovered });
  }

  #send({ id, offset, before }: Published): void {
    if (!this.isConnected || !this.#isSubscribed) return;
    const at = "2030-01-01T00:00:00.000Z";
    this.toClient.push({ type: "topic_message", topic: TOPIC, id, offset, at, data: before });
  }
}

/** What one handle gets, checked as it comes. */
class Reader {
  readonly handle: TopicHandle;
  /** The id of the newest that it has, or the offset where it goes on; undefined before the first. */
  last: string | number | undefined;
  problem = "";
  losses = 0;
  readonly ids = new Set<string>();

  constructor(topics: TopicSubscriptions, from: TopicPosition | "oldest" | undefined) {
    this.handle = topics.subscribe<string, never>(TOPIC, {
      from,
      onSubscribed: ({ offset, oldest, recovered }) => {
        if (this.last === undefined) {
          // Its first: what follows is new, or what follows `from`.
          if (!recovered) this.last = offset;
          else if (from === "oldest") this.last = oldest - 1;
          else this.last = from?.offset;
        } else if (!recovered && this.last !== offset) this.#wrong(`told of no loss before ${offset}`);
      },
      onLost: ({ position }) => {
        this.losses++;
        this.last = position.offset;
      },
      onMessage: ({ id, offset, data: before }) => {
        if (this.ids.has(id)) this.#wrong(`${id} twice`);
        this.ids.add(id);
        const follows = typeof this.last === "number" ? offset === this.last + 1 : before === this.last;
        // Of the oldest that is kept, the first says where it begins.
        const begins = from === "oldest" && this.ids.size === 1 && this.losses === 0;
        if (!follows && !begins) this.#wrong(`${id} (${offset}, after ${before}) after ${this.last}`);
        this.last = id;
      },
    });
  }

  #wrong(what: string): void {
    this.problem ||= what;
  }
}

type Step =
  | { readonly do: "publish" | "trim" | "cut" | "take" | "remove" | "keep" | "unkeep" | "close" }
  | { readonly do: "lose"; readonly count: number }
  | { readonly do: "give"; readonly count: number }
  | { readonly do: "add"; readonly back: number };

const steps = fc.array(
  fc.oneof(
    { weight: 6, arbitrary: fc.constant<Step>({ do: "publish" }) },
    { weight: 4, arbitrary: fc.constant<Step>({ do: "take" }) },
    { weight: 6, arbitrary: fc.nat(4).map((count): Step => ({ do: "give", count })) },
    { weight: 2, arbitrary: fc.constant<Step>({ do: "cut" }) },
    { weight: 2, arbitrary: fc.nat(5).map((back): Step => ({ do: "add", back })) },
    {
      weight: 1,
      arbitrary: fc.constantFrom<Step>(
        { do: "trim" },
        { do: "remove" },
        { do: "keep" },
        { do: "unkeep" },
        { do: "close" },
        { do: "lose", count: 0 },
        { do: "lose", count: 2 },
      ),
    },
  ),
  { minLength: 10, maxLength: 80 },
);

const welcome = { features: ["topics"] } as unknown as WelcomeFrame;
/** Handlers run in microtasks. */
const settled = () => new Promise<void>((resolve) => setImmediate(resolve));

async function play(script: readonly Step[]): Promise<string> {
  const node = new ModelNode();
  const reported: string[] = [];
  const toListeners = new Set<string>();
  const topics = new TopicSubscriptions({
    timing: defaultTiming,
    watch: new HandlerWatch(60_000, (_event, error) => reported.push(error.message)),
    // Without a handle a loss can't be told otherwise.
    report: ({ code, message }) => {
      if (code !== clientErrorCodes.topicLost) reported.push(message);
    },
    complain: (problem) => reported.push(problem),
    hasListeners: () => true,
    deliver: async ({ id }) => {
      if (toListeners.has(id)) reported.push(`${id} twice to the listeners`);
      toListeners.add(id);
      return [];
    },
  });
  let connection: Connection;
  const connect = (): void => {
    node.connect();
    connection = {
      broadcast: undefined,
      send: (frame: ClientFrame) => node.toServer.push(frame) > 0,
    } as unknown as Connection;
    topics.adopt(connection, welcome);
  };
  const give = (count: number): void => {
    for (const frame of node.toClient.splice(0, count)) topics.receive(connection, frame);
  };
  const answerErrors = (frame: ServerFrame): boolean =>
    frame.type === "error" && topics.refused(connection, frame);
  const readers: Reader[] = [new Reader(topics, undefined)];
  topics.start();
  connect();
  for (const step of script) {
    switch (step.do) {
      case "publish":
        node.publish();
        break;
      case "trim":
        node.trim();
        break;
      case "cut":
        topics.leave();
        connect();
        break;
      case "close":
        topics.stop();
        topics.start();
        connect();
        break;
      case "take":
        node.take();
        break;
      case "give":
        for (let i = 0; i < step.count; i++) {
          const [next] = node.toClient;
          if (next !== undefined && answerErrors(next)) node.toClient.shift();
          else give(1);
        }
        break;
      case "add": {
        const from = { epoch: node.epoch, offset: Math.max(0, node.head - step.back) };
        readers.push(new Reader(topics, step.back === 0 ? undefined : step.back === 5 ? "oldest" : from));
        break;
      }
      case "remove":
        readers.shift()?.handle.unsubscribe();
        break;
      case "keep":
      case "unkeep":
        node.keep(step.do === "keep");
        break;
      case "lose":
        node.lose(step.count);
    }
    await settled();
  }
  // Everything that is under way arrives.
  for (let quiet = 0; quiet < 2; quiet++) {
    for (let i = 0; i < 500 && (node.toClient.length > 0 || node.toServer.length > 0); i++) {
      node.take();
      const [next] = node.toClient;
      if (next !== undefined && answerErrors(next)) node.toClient.shift();
      else give(1);
      await settled();
    }
    if (quiet === 0) node.publish();
    await settled();
  }
  topics.stop();
  for (const { problem } of readers) if (problem !== "") return problem;
  for (const { handle, last } of readers) {
    if (last !== node.headId) return `in the end ${last} and not ${node.headId} (${handle.state})`;
    if (handle.position?.offset !== node.head) return `its position is ${handle.position?.offset}`;
  }
  return reported.join("; ");
}

test("reports every hole, delivers nothing twice, and everything in the end", async () => {
  await fc.assert(
    fc.asyncProperty(steps, async (script) => {
      expect(await play(script)).toBe("");
    }),
    { numRuns: sized(1_500, 500) },
  );
}, 120_000);
