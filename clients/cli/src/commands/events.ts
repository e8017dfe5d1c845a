// `petrel events`.
// Guarantees: prints each event in order. Events that are gone are reported on standard error, and so is the cursor to
// continue from. With --follow it reconnects by itself and continues where it was.
import { setTimeout as sleep } from "node:timers/promises";
import { createAsk, type Answer } from "../ask-service.js";
import { CliError, usageError, type ExitCode } from "../cli-error.js";
import { addressOptions } from "../cluster-address.js";
import { readArguments, wholeNumber } from "../read-arguments.js";
import type { Terminal } from "../terminal.js";

export const eventsOptions = {
  ...addressOptions,
  after: { type: "string" },
  types: { type: "string" },
  follow: { type: "boolean" },
  count: { type: "string" },
  json: { type: "boolean" },
} as const;

interface Event {
  readonly id: string;
  readonly type: string;
  readonly at: string;
  readonly user?: string;
  readonly message?: string;
  readonly topic?: string;
  readonly data: unknown;
}

/** Shorter than the time after which a call is given up. */
const WAIT_SECONDS = 10;
const AGAIN_MS = 2_000;
const PAGE_SIZE = 1_000;

export async function runEvents(args: readonly string[], terminal: Terminal): Promise<ExitCode> {
  const { values } = readArguments(args, eventsOptions, []);
  const { after, types, follow = false, json = false } = values;
  if (after === "") throw usageError("--after must be a cursor, or now");
  const count = wholeNumber("--count", values.count, 1) ?? Number.POSITIVE_INFINITY;
  const ask = createAsk("collect", "key", values, terminal);
  const { deliver, note, interrupted } = terminal;

  let cursor = after;
  let shown = 0;
  let isThere = false;
  while (shown < count && !interrupted.aborted) {
    const query = new URLSearchParams({
      limit: String(Math.min(PAGE_SIZE, count - shown)),
      ...(cursor === undefined ? {} : { after: cursor }),
      ...(types === undefined ? {} : { types }),
      ...(follow ? { waitSeconds: String(WAIT_SECONDS) } : {}),
    });
    let page: Answer;
    try {
      page = await ask("GET", `/v1/events?${query.toString()}`);
    } catch (error) {
      if (interrupted.aborted) break;
      // A cluster that was never reached means a mistake in the command; one that goes away comes back.
      if (!follow || !isThere || !(error instanceof CliError)) throw error;
      note(`${error.message}; trying again`);
      await sleep(AGAIN_MS, undefined, { signal: interrupted }).catch(() => undefined);
      continue;
    }
    isThere = true;
    if (page["gap"] === true) note("events are missing here: there were too many, or they were too old");
    const items = (page["items"] ?? []) as readonly Event[];
    for (const event of items) {
      try {
        await deliver(json ? JSON.stringify(event) : describe(event));
      } catch {
        // The reader is gone: `head -1` has what it wants.
        return 0;
      }
    }
    cursor = String(page["nextAfter"]);
    shown += items.length;
    if (items.length === 0 && !follow) break;
  }
  if (cursor !== undefined) note(`continue with --after ${cursor}`);
  return 0;
}

function describe({ at, type, user, topic, message, data }: Event): string {
  const about = [user ?? (topic === undefined ? "" : `#${topic}`), message ?? ""].filter(
    (word) => word !== "",
  );
  return `${at} ${type} ${about.join(" ")} ${JSON.stringify(data)}`;
}
