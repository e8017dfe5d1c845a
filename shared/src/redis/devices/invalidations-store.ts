// dispatch/routes/list-invalidations -> here -> streams/list-newest-first: what devices/invalidate-devices.lua
// recorded.
// Guarantees: newest first over all partitions; across pages, no note is repeated, and none that stays is missed.
import { STREAM_POSITION_PATTERN } from "../../kernel/http/page-query.js";
import type { ApnsEnvironment } from "../../protocol/fallback/device.js";
import type {
  InvalidationOutcome,
  InvalidationReason,
} from "../../protocol/fallback/invalidation-reasons.js";
import type { Redis } from "../connection/connect.js";
import type { PartitionKeys } from "../keys.js";
import { listNewestFirst, type ListPlace } from "../streams/list-newest-first.js";
import { fieldOf } from "../streams/stream-entry.js";

export interface NotedInvalidation {
  /** Opaque; identifies the note, and serves as a page's cursor. */
  readonly id: string;
  /** When it was recorded, ms by Redis's clock. */
  readonly atMs: number;
  readonly outcome: InvalidationOutcome;
  readonly reason: InvalidationReason;
  readonly userId: string;
  readonly deviceId: string;
  /** The last six characters of the token, or of the openid. */
  readonly tokenEnd: string;
  /** A bundle id, or an appid. */
  readonly topic: string;
  /** For an iOS device. */
  readonly environment: ApnsEnvironment | undefined;
  readonly providerTimestampMs: number | undefined;
  readonly registeredAtMs: number;
}

export interface InvalidationPage {
  readonly items: readonly NotedInvalidation[];
  /** The id after which to continue; undefined after the last page. */
  readonly nextAfter: string | undefined;
}

export const INVALIDATION_ID_PATTERN = `^p\\d{1,5}_${STREAM_POSITION_PATTERN}$`;

const idExpression = /^p(\d{1,5})_(.+)$/;
const READ_AT_ONCE = { least: 20, most: 500 } as const;

export class InvalidationsStore {
  readonly #redis: Redis;
  readonly #partitions: readonly PartitionKeys[];

  constructor(redis: Redis, partitions: readonly PartitionKeys[]) {
    this.#redis = redis;
    this.#partitions = partitions;
  }

  /**
   * @param reason all reasons if absent
   * @param after the id at the end of the last page
   */
  async list(
    reason: InvalidationReason | undefined,
    after: string | undefined,
    limit: number,
  ): Promise<InvalidationPage> {
    const streams = this.#partitions.map(({ partition, invalidations }) => ({
      key: invalidations,
      number: partition,
      decode: (entryId: string, fields: readonly string[]) => {
        const note = decodeNote(partition, entryId, fields);
        return reason === undefined || note.reason === reason ? note : undefined;
      },
    }));
    const { items, next } = await listNewestFirst<NotedInvalidation>(this.#redis, streams, {
      after: after === undefined ? undefined : placeOf(after),
      limit,
      readAtOnce: Math.min(READ_AT_ONCE.most, Math.max(READ_AT_ONCE.least, limit + 1)),
    });
    return { items, nextAfter: next?.id };
  }
}

function placeOf(id: string): ListPlace {
  const [, partition = "0", entryId = ""] = idExpression.exec(id) ?? [];
  return { entryId, stream: Number(partition) };
}

function decodeNote(partition: number, entryId: string, fields: readonly string[]): NotedInvalidation {
  const read = (name: string): string => fieldOf(fields, name);
  const [environment, providerTimestamp] = [read("v"), read("p")];
  return {
    id: `p${partition}_${entryId}`,
    atMs: Number.parseInt(entryId, 10),
    outcome: read("w") as InvalidationOutcome,
    reason: read("r") as InvalidationReason,
    userId: read("u"),
    deviceId: read("d"),
    tokenEnd: read("e"),
    topic: read("t"),
    environment: environment === "" ? undefined : (environment as ApnsEnvironment),
    providerTimestampMs: providerTimestamp === "" ? undefined : Number(providerTimestamp),
    registeredAtMs: Number(read("g")),
  };
}
