// auth, collect, dispatch -> here -> auth/append-audit.lua: who did what to whom, for operators.
// Guarantees: an act is recorded once. No actor can push out what others did, however active it is. If Redis refuses an
// entry after a few attempts, the service's own log has all of it, at error. The log is bounded by number and age, and
// holds no secret, token or message content.
import { randomBytes } from "node:crypto";
import { backoffMs } from "../../kernel/backoff.js";
import { describeError } from "../../kernel/errors.js";
import type { Logger } from "../../kernel/logging/logging.js";
import { pause } from "../../kernel/pause.js";
import { STREAM_POSITION_PATTERN } from "../../kernel/http/page-query.js";
import type { AuditAction } from "../../protocol/audit-actions.js";
import { awaitAnswer } from "../connection/await-answer.js";
import { clusterKeys } from "../keys.js";
import type { ScriptRunner } from "../scripts/script-runner.js";
import { NEWEST, olderThan, readBackwards } from "../streams/read-backwards.js";
import { fieldOf, type RawEntry } from "../streams/stream-entry.js";

export type AuditDetails = Readonly<Record<string, string | number | boolean>>;

export interface Act {
  /**
   * `key:ID` for a producer key, `user:ID` for a user with their own token, `file` for a file read at the start,
   * `system`.
   */
  readonly actor: `key:${string}` | `user:${string}` | "file" | "system";
  readonly action: AuditAction;
  /** The id of the object: a key's, a user's, a dead letter's, a token's `jti`, a signing key's `kid`. */
  readonly target: string;
  /** Facts for people, few and short. Never secrets, tokens or payloads. */
  readonly details?: AuditDetails;
}

export interface AuditEntry {
  /** Opaque; identifies the entry, and serves as a page's cursor. */
  readonly id: string;
  /** Ms by Redis's clock. */
  readonly atMs: number;
  readonly actor: string;
  readonly action: string;
  readonly target: string;
  readonly details: AuditDetails;
}

export interface AuditFilter {
  readonly actor?: string;
  readonly action?: string;
  /** Matches any of these. */
  readonly targets?: readonly string[];
}

export interface AuditQuery extends AuditFilter {
  /** The id after which the page begins. */
  readonly cursor?: string | undefined;
  readonly limit: number;
}

export interface AuditPage {
  /** Newest first. With a filter there may be fewer than requested, although more follow. */
  readonly items: readonly AuditEntry[];
  /** The cursor of the next page; undefined after the last one. */
  readonly nextCursor: string | undefined;
}

export interface AuditLogOptions {
  readonly scripts: ScriptRunner;
  readonly logger: Logger;
  /** Roughly how many entries are kept: AUDIT_MAX_ENTRIES. */
  readonly maxEntries: number;
  /** How long an entry is kept: AUDIT_KEEP_DAYS. It is removed when the next entry after that is written. */
  readonly keepDays: number;
}

export const AUDIT_ID_PATTERN = `^${STREAM_POSITION_PATTERN}$`;

/** One actor may hold this fraction of the entries: 1/n. */
const SHARES = 10;
const ATTEMPTS = 4;
const RETRY = { baseMs: 100, capMs: 1_000 } as const;
const NONCE_BYTES = 9;
const MAX_TEXT_LENGTH = 512;
const READ_AT_ONCE = 500;
/** Reads per filtered page: no request may read the whole log. */
const MAX_READS = 20;
const DAY_MS = 24 * 60 * 60 * 1000;

export class AuditLog {
  readonly #scripts: ScriptRunner;
  readonly #logger: Logger;
  readonly #maxEntries: number;
  readonly #keepMs: number;

  constructor({ scripts, logger, maxEntries, keepDays }: AuditLogOptions) {
    this.#scripts = scripts;
    this.#logger = logger;
    this.#maxEntries = maxEntries;
    this.#keepMs = keepDays * DAY_MS;
  }

  /**
   * Records an act: call it after the act, and await it before answering the request. Never rejects: the act has
   * happened, and an error would claim that it had not.
   */
  async record(act: Act): Promise<void> {
    const nonce = randomBytes(NONCE_BYTES).toString("base64url");
    for (let attempt = 0; ; attempt++) {
      try {
        await this.#append(act, nonce, attempt > 0);
        return;
      } catch (error) {
        if (attempt + 1 >= ATTEMPTS) {
          this.#logger.error(
            { audit: act, reason: describeError(error) },
            "audit: entry could not be written",
          );
          return;
        }
        await pause(RETRY.baseMs + backoffMs(attempt, RETRY));
      }
    }
  }

  /**
   * Records an act that must not happen without a record.
   * @throws PetrelError PETREL_UNAVAILABLE if Redis does not accept it; then the act must not begin
   */
  async recordBefore(act: Act): Promise<void> {
    await awaitAnswer(this.#append(act, randomBytes(NONCE_BYTES).toString("base64url"), false));
  }

  async #append(act: Act, nonce: string, isRepeated: boolean): Promise<void> {
    const { actor, action, target, details = {} } = act;
    await this.#scripts.run(
      "append-audit.v2",
      [clusterKeys.audit, clusterKeys.auditShare(shareOf(act))],
      [
        this.#maxEntries,
        this.#keepMs,
        nonce,
        isRepeated ? "1" : "0",
        actor.slice(0, MAX_TEXT_LENGTH),
        action,
        target.slice(0, MAX_TEXT_LENGTH),
        encodeDetails(details),
        Math.max(1, Math.floor(this.#maxEntries / SHARES)),
      ],
    );
  }

  /** @throws PetrelError PETREL_UNAVAILABLE if Redis does not answer */
  async list({ cursor, limit, ...filter }: AuditQuery): Promise<AuditPage> {
    const items: AuditEntry[] = [];
    const isFiltered = Object.values(filter).some((value) => value !== undefined);
    const count = isFiltered ? READ_AT_ONCE : limit + 1;
    let from = cursor === undefined ? NEWEST : olderThan(cursor);
    for (let reads = 0; ; reads++) {
      // An unfiltered page takes a single read.
      if (reads === MAX_READS) return { items, nextCursor: from.slice(1) };
      const { entries, next } = await awaitAnswer(
        readBackwards(this.#scripts.redis, clusterKeys.audit, from, count),
      );
      for (const entry of entries.map(decodeEntry)) {
        if (!matches(entry, filter)) continue;
        if (items.length === limit) return { items, nextCursor: items.at(-1)?.id };
        items.push(entry);
      }
      if (next === undefined) return { items, nextCursor: undefined };
      from = next;
    }
  }
}

/**
 * `system` does things of different weight, some on anybody's behalf, so each of its actions has a share of its own.
 */
function shareOf({ actor, action }: Act): string {
  return actor === "system" ? `system ${action}` : actor.slice(0, MAX_TEXT_LENGTH);
}

function decodeEntry([id, fields]: RawEntry): AuditEntry {
  const read = (name: string): string => fieldOf(fields, name);
  return {
    id,
    atMs: Number.parseInt(id, 10),
    actor: read("a"),
    action: read("c"),
    target: read("t"),
    details: decodeDetails(read("d")),
  };
}

function encodeDetails(details: AuditDetails): string {
  return JSON.stringify(
    Object.fromEntries(
      Object.entries(details).map(([name, value]) => [
        name,
        typeof value === "string" ? value.slice(0, MAX_TEXT_LENGTH) : value,
      ]),
    ),
  );
}

/** Unreadable details count as none: one such entry must not hide the others. */
function decodeDetails(text: string): AuditDetails {
  try {
    return JSON.parse(text) as AuditDetails;
  } catch {
    return {};
  }
}

function matches(entry: AuditEntry, { actor, action, targets }: AuditFilter): boolean {
  return (
    (actor === undefined || entry.actor === actor) &&
    (action === undefined || entry.action === action) &&
    (targets === undefined || targets.includes(entry.target))
  );
}
