// push-node/connect/register-connection, push-node/deliver/{deliver, receive-envelopes} -> here -> inbox/read-inbox:
// brings a connection up to date, whatever put it behind: backlog, resume, gap, nudge, resubscription, suspension, a
// slow reader.
// Guarantees: a page is read only when the socket has drained and the pace allows. Meanwhile what the user's other
// devices acknowledge is kept for it, within a bound; if that was too small, the client is told to reconnect, never
// left with a gap. An expired message is skipped only after its end is written. A fault of Redis costs only time.
import { backoffMs } from "@petrel/shared/kernel/backoff";
import { describeError } from "@petrel/shared/kernel/errors";
import type { Logger } from "@petrel/shared/kernel/logging/logging";
import { pause } from "@petrel/shared/kernel/pause";
import type { InboxMessage } from "@petrel/shared/protocol/messages/stored-message";
import { encodeMessageFrame } from "@petrel/shared/protocol/frames/server-frames";
import { expireMessages } from "@petrel/shared/redis/inbox/expire-messages";
import { keepRecords, YOUNG_MS } from "@petrel/shared/redis/inbox/keep-records";
import { holdHistory, type InboxHistory } from "@petrel/shared/redis/inbox/hold-history";
import { readInbox, type InboxPage } from "@petrel/shared/redis/inbox/read-inbox";
import type { ScriptRunner } from "@petrel/shared/redis/scripts/script-runner";
import type { CheckEpoch } from "./check-epoch.js";
import type { Connection } from "../connection/connection.js";
import { encodeTextFrame } from "../connection/encode-text-frame.js";
import type { Semaphore } from "@petrel/shared/kernel/semaphore";
import type { DeliveryAcks } from "./delivery-acks.js";
import type { DeliveryObserver } from "./delivery-observer.js";
import { isTakenBack, passOver } from "../recall/tell-recalls.js";
import type { ReceivePace } from "./pace-receiving.js";

export interface CatchUpDeps {
  readonly scripts: ScriptRunner;
  readonly acks: Pick<DeliveryAcks, "ackWhenTaken" | "ackSkipped">;
  readonly logger: Logger;
  readonly checkEpoch: CheckEpoch;
  readonly history: InboxHistory;
  /** See redis/keep-records. */
  readonly recordKeepMs?: number | undefined;
  /** Bounds how many pages are read at a time, so that a returning crowd leaves room for existing connections. */
  readonly semaphore: Semaphore;
  /** Limits how many messages a connection may be sent. */
  readonly pace: ReceivePace;
  readonly onSent: (count: number) => void;
  readonly observer: Pick<DeliveryObserver, "sent">;
}

export type CatchUp = (connection: Connection) => void;

/** How often a waiting connection renews its hold; Redis remembers it for a minute. */
const HOLD_AGAIN_MS = 20_000;
const PAGE = { maxEntries: 100, maxBytes: 64 * 1024 } as const;

export function createCatchUp(deps: CatchUpDeps): CatchUp {
  return (connection) => {
    if (connection.phase === "closing" || connection.phase === "registering") return;
    connection.phase = "catching-up";
    if (connection.isReading) return;
    connection.isReading = true;
    void readUntilLive(deps, connection);
  };
}

async function readUntilLive(deps: CatchUpDeps, connection: Connection): Promise<void> {
  let failures = 0;
  while (connection.isOpen && (connection.readToEnd || connection.lastSent < connection.targetSeq)) {
    try {
      if (connection.mustDrain || !deps.pace.isReady(connection)) await waitBehind(deps, connection);
      if (!connection.isOpen) break;
      await deps.semaphore.run(() => readPage(deps, connection));
      failures = 0;
    } catch (error) {
      deps.logger.warn(
        { connection: connection.id, reason: describeError(error) },
        "catch-up: inbox not read",
      );
      await pause(100 + backoffMs(failures++, { baseMs: 100, capMs: 5_000 }));
    }
  }
  connection.isReading = false;
  if (!connection.isOpen) return;
  // In the same turn as the last comparison, so nothing can have arrived in between.
  connection.phase = "live";
  if (connection.isHeld) {
    connection.isHeld = false;
    hold(deps, connection, undefined);
  }
}

/**
 * Waits until its socket has drained and its pace allows more; before the semaphore, so that it takes no slot from
 * others.
 */
async function waitBehind(deps: CatchUpDeps, connection: Connection): Promise<void> {
  const holdOn = (): void => {
    connection.isHeld = true;
    hold(deps, connection, connection.lastSent);
  };
  // A page that was just read has registered it already.
  if (!connection.isHeld) holdOn();
  const timer = setInterval(holdOn, HOLD_AGAIN_MS);
  try {
    await connection.drained();
    await deps.pace.ready(connection);
  } finally {
    clearInterval(timer);
  }
}

/** Fire and forget: if more is trimmed after a failure, the next page says so. */
function hold(
  { scripts, history, logger }: CatchUpDeps,
  { id, userId, epoch, keys }: Connection,
  lastSent: number | undefined,
): void {
  holdHistory(scripts, keys, { userId, connection: id, epoch, lastSent }, history).catch((error: unknown) =>
    logger.debug({ connection: id, reason: describeError(error) }, "history not held"),
  );
}

async function readPage(deps: CatchUpDeps, connection: Connection): Promise<void> {
  const { scripts, acks, checkEpoch, pace, onSent, observer } = deps;
  const { keys, userId, targetSeq, readToEnd } = connection;
  connection.readToEnd = false;
  const maxEntries = Math.min(PAGE.maxEntries, Math.max(1, pace.allowance(connection)));
  const reader = { connection: connection.id, epoch: connection.epoch };
  let page: InboxPage;
  let over: ReadonlySet<InboxMessage>;
  try {
    page = await readInbox(scripts, keys, userId, connection.lastSent, { ...PAGE, maxEntries, reader });
    await keepOld(deps, connection, page);
    over = await endExpired(scripts, connection, page);
  } catch (error) {
    connection.readToEnd ||= readToEnd;
    throw error;
  }
  connection.isHeld ||= page.isHeld;
  if (page.isTrimmed && connection.isOpen) {
    const { id, lastSent } = connection;
    deps.logger.info({ connection: id, lastSent }, "client is too far behind: asking it to reconnect");
    connection.reconnect(0, "PETREL_HISTORY_TRIMMED");
    return;
  }

  let sent = 0;
  for (const message of page.messages) {
    if (message.seq <= connection.lastSent) continue;
    if (message.epoch !== connection.epoch && message.epoch !== connection.pastEpoch) {
      connection.flush();
      if (!(await checkEpoch(connection, message.epoch)) || !connection.isOpen) return;
    }
    passOver(connection, connection.lastSent + 1, message.seq - 1);
    connection.lastSent = message.seq;
    if (over.has(message) || isTakenBack(connection, message.seq)) continue;
    const at = new Date(message.atMs).toISOString();
    connection.queue(encodeTextFrame(encodeMessageFrame(message.id, message.seq, at, message.data)));
    connection.lastDelivered = message.seq;
    observer.sent(connection, message);
    sent++;
  }
  if (connection.ackAuto) acks.ackWhenTaken(connection);
  else connection.flush();
  acks.ackSkipped(connection);
  pace.spend(connection, sent);
  onSent(sent);

  const last = page.messages.at(-1);
  if (last === undefined) {
    // Assigned but not in the inbox: it has ended.
    if (connection.lastSent < targetSeq) {
      passOver(connection, connection.lastSent + 1, targetSeq);
      connection.lastSent = targetSeq;
    }
  } else {
    connection.targetSeq = Math.max(connection.targetSeq, last.seq);
    // Only an empty page is the end: others may have been cut by their number or size.
    connection.readToEnd ||= readToEnd || page.messages.length >= maxEntries;
  }
}

/** An old message is about to be acknowledged: its record must outlive that, even if no dispatcher has prolonged it. */
async function keepOld(
  { scripts, recordKeepMs }: CatchUpDeps,
  { keys, userId }: Connection,
  { messages: [oldest], nowMs }: InboxPage,
): Promise<void> {
  if (oldest === undefined || nowMs - oldest.atMs < YOUNG_MS) return;
  await keepRecords(scripts, keys, [{ userId, minAgeMs: YOUNG_MS }], recordKeepMs);
}

/**
 * Writes the ends of a page's expired messages.
 * @returns those messages
 */
async function endExpired(
  scripts: ScriptRunner,
  { keys, userId }: Connection,
  { messages, nowMs }: InboxPage,
): Promise<ReadonlySet<InboxMessage>> {
  // By Redis's clock, like the script: what is skipped here must be exactly what ends there.
  const over = messages.filter(({ expiresAtMs }) => expiresAtMs <= nowMs);
  if (over.length > 0) await expireMessages(scripts, keys, userId, over);
  return new Set(over);
}
