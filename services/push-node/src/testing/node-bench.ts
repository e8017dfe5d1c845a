// Tests only: a dedicated Redis, push nodes on it, and messages to send through them.
// Guarantees: `close()` stops every node that was started here, then the Redis.
import { partitionOfUser } from "@petrel/shared/protocol/messages/partition";
import type { AcceptResult } from "@petrel/shared/redis/accept/accept-answers";
import type { AcceptOptions, MessageToAccept } from "@petrel/shared/redis/accept/accept-batch";
import type { PartitionKeys } from "@petrel/shared/redis/keys";
import { message, openStore, type OpenStore } from "@petrel/shared/testing/redis/open-store";
import type { StartRedisOptions } from "@petrel/shared/testing/redis/start-redis";
import {
  connectClient,
  openClient,
  type Frame,
  type WsClient,
  type WsClientOptions,
} from "@petrel/shared/testing/peers/ws-client";
import { startPushNode, type PushNode, type StartPushNodeOptions } from "./start-push-node.js";

export type HandOver = AcceptOptions["handOver"];

export interface NodeBench {
  readonly store: OpenStore;
  readonly startNode: (options?: Partial<StartPushNodeOptions>) => Promise<PushNode>;
  readonly keysOf: (userId: string) => PartitionKeys;
  /** Stores one message; "accept" also publishes it to the user's nodes, "dispatch" leaves that to a dispatcher. */
  readonly accept: (
    userId: string,
    data: unknown,
    handOver?: HandOver,
    parts?: Partial<MessageToAccept>,
  ) => Promise<AcceptResult>;
  /** Stores `count` messages whose data are 1, 2, … */
  readonly acceptMany: (userId: string, count: number, handOver?: HandOver) => Promise<void>;
  /** A user's fields: seq, acked, epoch. */
  readonly user: (userId: string) => Promise<Readonly<Record<string, string>>>;
  readonly routes: (userId: string) => Promise<string[]>;
  readonly isDue: (userId: string) => Promise<boolean>;
  readonly close: () => Promise<void>;
}

export async function openNodeBench(options: StartRedisOptions = {}): Promise<NodeBench> {
  const store = await openStore(options);
  const nodes: PushNode[] = [];
  const accepters = {
    accept: store.accepter({ handOver: "accept" }),
    dispatch: store.accepter({ handOver: "dispatch" }),
  };
  const partition = (userId: string): number => partitionOfUser(userId, store.partitions.length);
  const keysOf = (userId: string): PartitionKeys => {
    const keys = store.partitions[partition(userId)];
    if (keys === undefined) throw new Error("no such partition");
    return keys;
  };
  const accept: NodeBench["accept"] = (userId, data, handOver = "accept", parts = {}) =>
    accepters[handOver].accept(
      message({ userId, partition: partition(userId), data: JSON.stringify(data), ...parts }),
    );
  return {
    store,
    startNode: async (more = {}) => {
      const node = await startPushNode({
        redisUrl: store.server.url,
        partitions: store.partitions.length,
        ...more,
      });
      nodes.push(node);
      return node;
    },
    keysOf,
    accept,
    acceptMany: async (userId, count, handOver) => {
      await Promise.all(Array.from({ length: count }, (_, i) => accept(userId, i + 1, handOver)));
    },
    user: (userId) => store.redis.hgetall(keysOf(userId).user(userId)),
    routes: (userId) => store.redis.zrange(keysOf(userId).routes(userId), "0", "-1"),
    isDue: async (userId) => (await store.redis.zscore(keysOf(userId).due, userId)) !== null,
    close: async () => {
      await Promise.all(nodes.map((node) => node.stop()));
      await store.close();
    },
  };
}

/** A client of that user, after its welcome. */
export function join(node: PushNode, userId: string, more: Partial<WsClientOptions> = {}): Promise<WsClient> {
  return connectClient({ url: node.url, token: `user.${userId}`, ...more });
}

/** The same, without waiting for the welcome. */
export function approach(node: PushNode, more: Partial<WsClientOptions> = {}): WsClient {
  return openClient({ url: node.url, ...more });
}

export function seqsOf(client: WsClient): number[] {
  return client.messages.map(({ seq }) => seq);
}

/** The types of its frames, without `$all`, to which every connection is subscribed. */
export function typesOf(frames: readonly Frame[]): string[] {
  return frames
    .filter(({ type, topic }) => type !== "subscribed" || topic !== "$all")
    .map(({ type }) => type);
}

/** from, from + 1, … to */
export function range(from: number, to: number): number[] {
  return Array.from({ length: Math.max(0, to - from + 1) }, (_, i) => from + i);
}
