// Tests only: a dispatcher in the test's process that delivers events to webhooks, and their receivers.
// Guarantees: each test begins with an empty Redis; after it every receiver is closed and every dispatcher stopped.
import type { EventItem } from "@petrel/shared/protocol/events/event-item";
import type { EventType } from "@petrel/shared/protocol/events/event-types";
import { encodeStoredEvent } from "@petrel/shared/protocol/events/stored-event";
import { partitionOfUser } from "@petrel/shared/protocol/messages/partition";
import type { WebhookRecord } from "@petrel/shared/redis/webhooks/webhook-record";
import { openStore, type OpenStore } from "@petrel/shared/testing/redis/open-store";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { afterAll, afterEach, beforeAll, beforeEach } from "vitest";
import { startDispatcher, type StartDispatcherOptions, type TestDispatcher } from "./start-dispatcher.js";
import {
  type AnswerRequest,
  type ReceivedRequest,
  startWebhookReceiver,
  type WebhookReceiver,
} from "./webhook-receiver.js";

export const webhookKey = Buffer.alloc(32, 3);
export const quickRetry = { baseMs: 10, capMs: 50, giveUpAfterMs: 3_600_000 };

export interface WebhooksUnderTest {
  readonly store: OpenStore;
  readonly start: (more?: Partial<StartDispatcherOptions>) => Promise<TestDispatcher>;
  readonly receive: (answer?: AnswerRequest) => Promise<WebhookReceiver>;
  readonly create: (
    dispatcher: TestDispatcher,
    id: string,
    receiver: WebhookReceiver,
    more?: Partial<WebhookRecord>,
  ) => Promise<void>;
  /** Writes events of messages. @returns the messages' ids */
  readonly happen: (user: string, count: number, type?: EventType) => Promise<string[]>;
}

/** Call it at the top of a test file. */
export function useWebhooks(): WebhooksUnderTest {
  let store: OpenStore;
  let written = 0;
  const dispatchers: TestDispatcher[] = [];
  const receivers: WebhookReceiver[] = [];
  beforeAll(async () => void (store = await openStore()));
  beforeEach(() => store.clear());
  afterEach(async () => {
    // A request that hangs ends with its receiver.
    await Promise.all(receivers.splice(0).map((one) => one.close()));
    await Promise.all(dispatchers.splice(0).map((one) => one.stop()));
  });
  afterAll(() => store.close());
  return {
    get store() {
      return store;
    },
    start: async (more = {}) => {
      const { partitions, server } = store;
      const options = { url: server.url, dispatcherId: "a", partitions, webhookRetry: quickRetry, ...more };
      const dispatcher = await startDispatcher(options);
      dispatchers.push(dispatcher);
      return dispatcher;
    },
    receive: async (answer) => {
      const receiver = await startWebhookReceiver();
      if (answer !== undefined) receiver.answerWith(answer);
      receivers.push(receiver);
      return receiver;
    },
    create: async ({ webhooks }, id, receiver, more = {}) => {
      await webhooks.store.create({
        id,
        url: receiver.url,
        types: null,
        description: null,
        paused: false,
        pausedReason: null,
        createdAtMs: await store.nowMs(),
        sealedSecret: webhooks.secrets.seal(id, `whsec_${webhookKey.toString("base64")}`),
        former: [],
        era: 0,
        replay: null,
        ...more,
      });
    },
    happen: async (user, count, type = "message.pushed") => {
      const keys = store.partitions[partitionOfUser(user, 2)]!;
      const ids = Array.from({ length: count }, () => `m${++written}`);
      for (const id of ids) {
        const event = {
          who: user,
          seq: "1",
          epoch: "e.1",
          type,
          atMs: Date.now(),
          trace: undefined,
        } as const;
        await store.redis.xadd(
          keys.events,
          "*",
          "m",
          encodeStoredEvent({ ...event, words: [id, "500", "c", ""] }),
        );
      }
      return ids;
    },
  };
}

interface Body {
  readonly data: { readonly items: readonly EventItem[]; readonly gap?: boolean };
}

export const bodyOf = ({ body }: ReceivedRequest): Body => JSON.parse(body) as Body;
export const idOf = ({ headers }: ReceivedRequest): string => String(headers["webhook-id"]);
export const messagesOf = (requests: readonly ReceivedRequest[]): (string | undefined)[] =>
  requests.flatMap((request) => bodyOf(request).data.items.map(({ message }) => message));

/**
 * A request that was sent again (its partition changed hands while it was on its way, say) counts once, as a receiver
 * is to tell by its id.
 * @returns the messages of all items, once so many different ones have arrived
 */
export async function settled(receiver: WebhookReceiver, count: number): Promise<(string | undefined)[]> {
  await waitFor(() => new Set(messagesOf(receiver.requests)).size >= count, { what: "the events" });
  const firsts = new Map<string, ReceivedRequest>();
  for (const request of receiver.requests) if (!firsts.has(idOf(request))) firsts.set(idOf(request), request);
  return messagesOf([...firsts.values()]);
}
