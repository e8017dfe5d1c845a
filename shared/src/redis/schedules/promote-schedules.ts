// dispatch/promote-due -> here -> schedules/{find-due-schedules, promote-messages, promote-publications}.lua: stores or
// publishes messages whose time has come.
// Guarantees: fenced. One step takes a message out of the schedules and stores it, so none is lost or promoted twice,
// whoever dies. Never before its time by Redis's clock. A recipient's messages go in order of time; those of different
// recipients by priority too.
import { randomBytes } from "node:crypto";
import { idOfSchedule, recipientOfSchedule } from "../../protocol/messages/scheduled-message.js";
import { priorities } from "../../protocol/messages/stored-message.js";
import { topicOfRecipient } from "../../protocol/topics/topic-name.js";
import { RECEIVE_SUB_WINDOWS, RECEIVE_WINDOW_MS } from "../accept/accept-batch.js";
import { USER_KEEP_MS, type PartitionKeys } from "../keys.js";
import type { ScriptRunner } from "../scripts/script-runner.js";
import { TOPIC_KEEP_MS } from "../topics/topic-publisher.js";
import { chooseDue, type DueSchedule } from "./choose-due.js";

export interface DueSchedules {
  /** Members of the partition's schedules, see choose-due. */
  readonly members: readonly string[];
  /** How long until the next one is due; undefined if there is none. */
  readonly nextInMs: number | undefined;
  /** Redis' clock. */
  readonly nowMs: number;
}

/** How many of the earliest are considered; among these, priority decides. */
const LOOK_AT = 1_000;

/** @param limit of members */
export async function findDueSchedules(
  scripts: ScriptRunner,
  keys: PartitionKeys,
  limit: number,
): Promise<DueSchedules> {
  const [now = "", next = "", ...found] = await scripts.runForList(
    "find-due-schedules.v2",
    [keys.scheduled],
    [LOOK_AT],
  );
  const nowMs = Number(now);
  const due: DueSchedule[] = [];
  for (let i = 0; i + 1 < found.length; i += 2)
    due.push({ member: found[i] ?? "", atMs: Number(found[i + 1]) });
  return {
    members: chooseDue(due, limit, nowMs),
    nextInMs: next === "" ? undefined : Number(next) - nowMs,
    nowMs,
  };
}

/** The same limits as collect's, for what is accepted at its scheduled time. */
export interface PromoteRules {
  readonly ackTimeoutMs: number;
  readonly inboxCap: number;
  readonly readyCap: number;
  readonly fallbackCap: number;
  readonly recordKeepMs: number;
  /** The most messages that one user may get in RECEIVE_WINDOW_MS; 0 means no limit. */
  readonly receiveLimit: number;
  readonly deadLettersCap: number;
  /** The shortest time that a topic's hash outlives its last message; two days by default. */
  readonly topicKeepMs?: number;
}

const outcomeOfSign = {
  "+": "promoted",
  x: "expired",
  f: "failed",
  "~": "limited",
  "?": "held-up",
  "-": "dropped",
  ".": "left",
} as const;

export type PromotionOutcome = (typeof outcomeOfSign)[keyof typeof outcomeOfSign];
export const promotionOutcomes = [...new Set(Object.values(outcomeOfSign))];

export interface Promoted {
  readonly outcome: PromotionOutcome;
  /** For `promoted`: how long after its time, ms. */
  readonly latenessMs: number;
  /** For `promoted`: how many older messages its collapse key ended. */
  readonly collapsed: number;
  /**
   * Set if it is sampled: its context until then, and the id of the promotion's span, which the message then carries.
   */
  readonly trace?: { readonly parent: string; readonly spanId: string };
}

export interface Promotion {
  /** One for each member, in order. */
  readonly results: readonly Promoted[];
  /** Messages of the partition that wait to be handed over. */
  readonly ready: number;
}

/**
 * @param members of users, see `isOfTopic`
 * @returns busy: too many messages wait to be handed over (nothing was changed); stale: the token is not the owner's
 */
export async function promoteMessages(
  scripts: ScriptRunner,
  keys: PartitionKeys,
  token: string,
  rules: PromoteRules,
  members: readonly string[],
): Promise<Promotion | "busy" | "stale"> {
  const { ackTimeoutMs, recordKeepMs } = rules;
  const answer = await scripts.run(
    "promote-messages.v3",
    [
      keys.owner,
      keys.scheduled,
      keys.deadLetters("inbox-full"),
      keys.generation,
      keys.due,
      keys.ready,
      ...priorities.map((priority) => keys.fallback(priority)),
      keys.events,
      keys.eventLog,
      ...members.flatMap((member) => {
        const userId = recipientOfSchedule(member);
        return [
          keys.user(userId),
          keys.inbox(userId),
          keys.routes(userId),
          keys.record(idOfSchedule(member)),
          keys.schedulesOf(userId),
          keys.collapsed(userId),
        ];
      }),
    ],
    [
      token,
      newSeed(),
      ackTimeoutMs,
      rules.inboxCap,
      rules.readyCap,
      keys.channel,
      "accept",
      USER_KEEP_MS,
      recordKeepMs + ackTimeoutMs,
      rules.receiveLimit,
      RECEIVE_WINDOW_MS / RECEIVE_SUB_WINDOWS,
      RECEIVE_SUB_WINDOWS,
      rules.fallbackCap,
      rules.deadLettersCap,
      scripts.events.argument("message.expired", "message.failed"),
      ...members,
    ],
  );
  const promotion = decodePromotion(answer);
  if (typeof promotion === "object") {
    const collapsed = promotion.results.reduce((sum, one) => sum + one.collapsed, 0);
    scripts.ends.count("expired", countOf(promotion, "expired") + collapsed);
    scripts.ends.count("failed", countOf(promotion, "failed"));
  }
  return promotion;
}

/** @param members of topics, see `isOfTopic` */
export async function promotePublications(
  scripts: ScriptRunner,
  keys: PartitionKeys,
  token: string,
  { recordKeepMs, topicKeepMs = TOPIC_KEEP_MS }: Pick<PromoteRules, "recordKeepMs" | "topicKeepMs">,
  members: readonly string[],
): Promise<Promotion | "busy" | "stale"> {
  const answer = await scripts.run(
    "promote-publications.v2",
    [
      keys.owner,
      keys.scheduled,
      keys.generation,
      keys.events,
      keys.eventLog,
      ...members.flatMap((member) => {
        const recipient = recipientOfSchedule(member);
        const topic = topicOfRecipient(recipient) ?? "";
        return [
          keys.topic(topic),
          keys.topicLog(topic),
          keys.record(idOfSchedule(member)),
          keys.schedulesOf(recipient),
        ];
      }),
    ],
    [
      token,
      newSeed(),
      keys.topicChannel,
      recordKeepMs,
      topicKeepMs,
      scripts.events.argument("message.expired"),
      ...members,
    ],
  );
  const promotion = decodePromotion(answer);
  if (typeof promotion === "object") scripts.ends.count("expired", countOf(promotion, "expired"));
  return promotion;
}

/** Whether a member of the partition's schedules is a topic's. */
export function isOfTopic(member: string): boolean {
  return topicOfRecipient(recipientOfSchedule(member)) !== undefined;
}

/** Defers a message that could not be promoted because Redis refuses to work on its recipient's keys. */
export async function postponeSchedule(
  scripts: ScriptRunner,
  keys: PartitionKeys,
  member: string,
  untilMs: number,
): Promise<void> {
  // Only if it is still there.
  await scripts.redis.zadd(keys.scheduled, "XX", untilMs, member);
}

export function countOf({ results }: Promotion, wanted: PromotionOutcome): number {
  return results.reduce((sum, { outcome }) => sum + Number(outcome === wanted), 0);
}

function newSeed(): string {
  return randomBytes(6).toString("base64url");
}

function decodePromotion(answer: string): Promotion | "busy" | "stale" {
  if (answer === "busy" || answer === "stale") return answer;
  const [ready = "", ...lines] = answer.split("\n");
  return {
    ready: Number(ready),
    results: lines.map((line) => {
      const outcome = Object.hasOwn(outcomeOfSign, line.charAt(0))
        ? outcomeOfSign[line.charAt(0) as keyof typeof outcomeOfSign]
        : undefined;
      if (outcome === undefined) throw new Error(`a promotion answered ${JSON.stringify(line)}`);
      const [latenessMs = "", collapsed = "", traced] = line.slice(1).split("\t");
      const [parent = "", spanId = ""] = traced?.split(" ") ?? [];
      return {
        outcome,
        latenessMs: Number(latenessMs),
        collapsed: Number(collapsed),
        ...(traced === undefined ? {} : { trace: { parent, spanId } }),
      };
    }),
  };
}
