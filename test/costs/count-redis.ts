// Tests only: what Redis does for a step: which commands, how many bytes.
// Guarantees: counted by Redis itself, so neither the machine's speed nor its load changes a figure; what
// scripts call counts too.
import type { Redis } from "@petrel/shared/redis/connection/connect";

/** Of the connection itself. */
const LINK_COMMANDS = new Set(["ping"]);
const ROUNDS = 3;

export interface CountedStep<Prepared> {
  /** Before each run, not counted. */
  readonly prepare: () => Promise<Prepared>;
  readonly run: (prepared: Prepared) => Promise<unknown>;
  /** How many of what is counted a run does. */
  readonly times: number;
}

/**
 * Runs the step several times; the least counts, as whatever else happens only adds.
 * @returns commands by name, and bytes, of one
 */
export async function countRedis<Prepared>(
  redis: Redis,
  { prepare, run, times }: CountedStep<Prepared>,
): Promise<Record<string, number>> {
  const least = new Map<string, number>();
  for (let round = 0; round < ROUNDS; round++) {
    const prepared = await prepare();
    const before = await readCounts(redis);
    await run(prepared);
    const after = await readCounts(redis);
    for (const [name, count] of after.counts) {
      const grown = (count - (before.counts.get(name) ?? 0) - (before.own.get(name) ?? 0)) / times;
      least.set(name, Math.min(grown, least.get(name) ?? Number.POSITIVE_INFINITY));
    }
  }
  const named = [...least].filter(([, figure]) => figure > 0).sort(([a], [b]) => a.localeCompare(b));
  return Object.fromEntries(named.map(([name, figure]) => [name, Math.round(figure * 100) / 100]));
}

interface Counts {
  readonly counts: ReadonlyMap<string, number>;
  /** What reading them adds until they are read again. */
  readonly own: ReadonlyMap<string, number>;
}

const SECTIONS = ["commandstats", "persistence", "stats"] as const;
const REQUEST_BYTES = Buffer.byteLength(
  `*${SECTIONS.length + 1}\r\n${["info", ...SECTIONS].map((word) => `$${word.length}\r\n${word}\r\n`).join("")}`,
);

async function readCounts(redis: Redis): Promise<Counts> {
  const info = await redis.info(...SECTIONS);
  const value = (name: string): number => Number(new RegExp(`^${name}:(\\d+)`, "m").exec(info)?.[1]);
  const counts = new Map<string, number>();
  for (const [, name = "", calls] of info.matchAll(/^cmdstat_([^:]+):calls=(\d+)/gm))
    if (!LINK_COMMANDS.has(name)) counts.set(`command ${name}`, Number(calls));
  counts.set("bytes in the append-only file", value("aof_current_size"));
  counts.set("bytes received", value("total_net_input_bytes"));
  counts.set("bytes sent", value("total_net_output_bytes"));
  const length = Buffer.byteLength(info);
  const own = new Map([
    ["command info", 1],
    ["bytes received", REQUEST_BYTES],
    ["bytes sent", length + `$${length}\r\n\r\n`.length],
  ]);
  return { counts, own };
}
