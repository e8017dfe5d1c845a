// dispatch/routes/channel-routes, dispatch/fallback/paused-channels, collect/explain-message -> here: which fallback
// channels an operator has paused, for the whole cluster, and which dispatchers have taken note.
// Guarantees: a pause lasts until it is taken back, whoever restarts; to pause or resume twice is once.
import type { Redis } from "../connection/connect.js";
import { clusterKeys } from "../keys.js";

export interface ChannelPause {
  /** ms since 1970. */
  readonly atMs: number;
  /** The key by which it was paused. */
  readonly by: string;
  readonly reason: string;
}

/** @returns false where it was paused already: that pause stays */
export async function pauseChannel(redis: Redis, channel: string, pause: ChannelPause): Promise<boolean> {
  return (await redis.hsetnx(clusterKeys.pausedChannels, channel, JSON.stringify(pause))) === 1;
}

/** @returns false where it was not paused */
export async function resumeChannel(redis: Redis, channel: string): Promise<boolean> {
  return (await redis.hdel(clusterKeys.pausedChannels, channel)) === 1;
}

/** By name. */
export async function readPausedChannels(redis: Redis): Promise<ReadonlyMap<string, ChannelPause>> {
  const all = await redis.hgetall(clusterKeys.pausedChannels);
  return new Map(Object.entries(all).map(([channel, text]) => [channel, decodePause(text)]));
}

/** What cannot be read still pauses. */
function decodePause(text: string): ChannelPause {
  let value: Partial<Record<keyof ChannelPause, unknown>> = {};
  try {
    value = JSON.parse(text) as typeof value;
  } catch {
    // (Somebody wrote it by hand.)
  }
  const { atMs, by, reason } = value;
  return {
    atMs: typeof atMs === "number" ? atMs : 0,
    by: typeof by === "string" ? by : "",
    reason: typeof reason === "string" ? reason : "",
  };
}

/** A dispatcher has taken note: from now on it begins no send by these channels. */
export async function noteHeeded(
  redis: Redis,
  dispatcherId: string,
  paused: readonly string[],
): Promise<void> {
  await redis.hset(clusterKeys.pausesHeeded, dispatcherId, paused.toSorted().join(" "));
}

export async function forgetHeeded(redis: Redis, dispatcherId: string): Promise<void> {
  await redis.hdel(clusterKeys.pausesHeeded, dispatcherId);
}

/**
 * @param dispatchers those that live
 * @returns those of them that go by another state, or are of a release that knows no pauses
 */
export async function findUnheeding(redis: Redis, dispatchers: readonly string[]): Promise<string[]> {
  const [heeded, paused] = await Promise.all([
    redis.hgetall(clusterKeys.pausesHeeded),
    readPausedChannels(redis),
  ]);
  const now = [...paused.keys()].toSorted().join(" ");
  return dispatchers.filter((id) => heeded[id] !== now && !(now === "" && heeded[id] === undefined)).sort();
}
