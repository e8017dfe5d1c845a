// dispatch/routes/channel-routes, dispatch/fallback/paused-channels, collect/explain-message -> here: which fallback
// channels an operator has paused, for the whole cluster, and which dispatchers have confirmed it.
// Guarantees: a pause lasts until it is withdrawn, even across restarts. Pausing and resuming are idempotent.
import type { Redis } from "../connection/connect.js";
import { clusterKeys } from "../keys.js";

export interface ChannelPause {
  /** ms since 1970. */
  readonly atMs: number;
  /** The key that paused it. */
  readonly by: string;
  readonly reason: string;
}

/** @returns false if it was paused already; that pause stays */
export async function pauseChannel(redis: Redis, channel: string, pause: ChannelPause): Promise<boolean> {
  return (await redis.hsetnx(clusterKeys.pausedChannels, channel, JSON.stringify(pause))) === 1;
}

/** @returns false if it was not paused */
export async function resumeChannel(redis: Redis, channel: string): Promise<boolean> {
  return (await redis.hdel(clusterKeys.pausedChannels, channel)) === 1;
}

/** By name. */
export async function readPausedChannels(redis: Redis): Promise<ReadonlyMap<string, ChannelPause>> {
  const all = await redis.hgetall(clusterKeys.pausedChannels);
  return new Map(Object.entries(all).map(([channel, text]) => [channel, decodePause(text)]));
}

/** An unreadable entry still pauses. */
function decodePause(text: string): ChannelPause {
  let value: Partial<Record<keyof ChannelPause, unknown>> = {};
  try {
    value = JSON.parse(text) as typeof value;
  } catch {
    // (Probably written by hand.)
  }
  const { atMs, by, reason } = value;
  return {
    atMs: typeof atMs === "number" ? atMs : 0,
    by: typeof by === "string" ? by : "",
    reason: typeof reason === "string" ? reason : "",
  };
}

/** Confirms that this dispatcher begins no more sends by these channels. */
export async function confirmPauses(
  redis: Redis,
  dispatcherId: string,
  paused: readonly string[],
): Promise<void> {
  await redis.hset(clusterKeys.confirmedPauses, dispatcherId, paused.toSorted().join(" "));
}

export async function forgetConfirmation(redis: Redis, dispatcherId: string): Promise<void> {
  await redis.hdel(clusterKeys.confirmedPauses, dispatcherId);
}

/**
 * @param dispatchers the live ones
 * @returns those that have not confirmed the present state, or belong to a release without pauses
 */
export async function findUnconfirmed(redis: Redis, dispatchers: readonly string[]): Promise<string[]> {
  const [confirmed, paused] = await Promise.all([
    redis.hgetall(clusterKeys.confirmedPauses),
    readPausedChannels(redis),
  ]);
  const now = [...paused.keys()].toSorted().join(" ");
  return dispatchers
    .filter((id) => confirmed[id] !== now && !(now === "" && confirmed[id] === undefined))
    .sort();
}
