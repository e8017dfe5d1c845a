// dispatch/own-partitions -> here -> partitions/lease.lua: who owns a partition.
// Guarantees: one holder at a time by Redis's clock. Each new lease has a fencing token of its own, and the owner
// scripts refuse an older one.
import { randomBytes } from "node:crypto";
import type { Redis } from "../connection/connect.js";
import type { PartitionKeys } from "../keys.js";
import type { ScriptRunner } from "../scripts/script-runner.js";

/**
 * What owners of this release do and those of an earlier one do not. A script that stores work for such an owner first
 * checks the owner's hash, as schedules/schedule.lua does, and otherwise answers that the feature is off.
 */
const ownerFeatures = ["schedules"] as const;

export type LeaseResult =
  | { readonly outcome: "held"; readonly token: string; readonly untilMs: number }
  /** If nobody holds it, `holder` is "" and `untilMs` is over. Times are Redis's. */
  | { readonly outcome: "other"; readonly holder: string; readonly untilMs: number };

export interface PartitionOwnerState {
  /** "" if nobody holds it. */
  readonly holder: string;
  readonly untilMs: number;
}

/**
 * Takes a partition that is free or whose lease is over; a holder that takes it again gets a new token. A lease that
 * ends too far ahead, because the clock was set back, starts anew with this call.
 */
export async function takePartition(
  scripts: ScriptRunner,
  keys: PartitionKeys,
  holder: string,
  leaseMs: number,
): Promise<LeaseResult> {
  const nonce = randomBytes(6).toString("base64url");
  return decodeLease(
    await scripts.run("lease.v3", [keys.owner], ["take", holder, leaseMs, nonce, ownerFeatures.join(" ")]),
  );
}

/** Extends a lease that is not over yet. */
export async function renewPartition(
  scripts: ScriptRunner,
  keys: PartitionKeys,
  { holder, token }: { readonly holder: string; readonly token: string },
  leaseMs: number,
): Promise<LeaseResult> {
  return decodeLease(await scripts.run("lease.v3", [keys.owner], ["renew", holder, leaseMs, token]));
}

/** @returns whether it was still held with this token, and is now free */
export async function releasePartition(
  scripts: ScriptRunner,
  keys: PartitionKeys,
  { holder, token }: { readonly holder: string; readonly token: string },
): Promise<boolean> {
  return (await scripts.run("lease.v3", [keys.owner], ["release", holder, 0, token])) === "free";
}

/** The holder of each of these partitions, in order. */
export async function readPartitionOwners(
  redis: Redis,
  partitions: readonly PartitionKeys[],
): Promise<PartitionOwnerState[]> {
  return Promise.all(
    partitions.map(async ({ owner }) => {
      const [holder, until] = await redis.hmget(owner, "holder", "until");
      return { holder: holder ?? "", untilMs: Number(until ?? 0) };
    }),
  );
}

function decodeLease(answer: string): LeaseResult {
  const [outcome, second = "", until = ""] = answer.split("\t");
  if (outcome === "held") return { outcome, token: second, untilMs: Number(until) };
  if (outcome === "other") return { outcome, holder: second, untilMs: Number(until) };
  throw new Error(`lease answered ${JSON.stringify(answer)}`);
}
