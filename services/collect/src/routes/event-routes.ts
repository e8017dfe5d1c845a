// A producer's request -> here -> events/read-event-page, events/event-stream: events from a cursor on.
// Guarantees: `nextAfter` always makes progress. A waiting request ends at the first event, at its time limit, or at a
// stop. A stream ends at a stop and after a quarter of an hour; its reader reconnects by itself, if its key is still
// valid.
import type { FastifyReply } from "fastify";
import { PetrelError } from "@petrel/shared/kernel/errors";
import { producerErrors } from "@petrel/shared/kernel/http/error-schema";
import type { HttpApp, HttpRequest } from "@petrel/shared/kernel/http/http-app";
import { timeSchema } from "@petrel/shared/kernel/http/answer-time";
import { DEFAULT_LIMIT } from "@petrel/shared/kernel/http/page-query";
import type { Logger } from "@petrel/shared/kernel/logging/logging";
import { Type } from "@petrel/shared/kernel/schemas/json-schema";
import { decodeEventCursor, encodeEventCursor } from "@petrel/shared/protocol/events/event-cursor";
import { eventTypes, isEventType, type EventType } from "@petrel/shared/protocol/events/event-types";
import { awaitAnswer } from "@petrel/shared/redis/connection/await-answer";
import type { EventStart } from "@petrel/shared/redis/events/read-partition-events";
import type { PartitionKeys } from "@petrel/shared/redis/keys";
import type { ScriptRunner } from "@petrel/shared/redis/scripts/script-runner";
import type { ProducerAuthenticator } from "@petrel/shared/security/producers/authenticate-producer";
import { authorize } from "@petrel/shared/security/producers/authorize-producer";
import { producerSecurity } from "@petrel/shared/security/producers/producer-security";
import type { EventCounts } from "../events/event-counts.js";
import { EventHeads } from "../events/event-heads.js";
import { openEventStream, STREAM_PAGE } from "../events/event-stream.js";
import { WaitingRequests, type WaitingRequest } from "../events/waiting-requests.js";
import { readEventPage, type EventPage } from "../events/read-event-page.js";

export interface EventRoutesDeps {
  readonly authenticator: ProducerAuthenticator;
  readonly scripts: ScriptRunner;
  readonly partitions: readonly PartitionKeys[];
  readonly counts: EventCounts;
  readonly logger: Logger;
  /** Aborted when the process stops. */
  readonly stopping: AbortSignal;
}

const MAX_READERS = 1_000;
const STREAM_MS = 15 * 60 * 1_000;

const querySchema = Type.Object(
  {
    after: Type.Optional(
      Type.String({
        minLength: 1,
        description:
          "A `nextAfter`; `now`: only what happens from now on; by default from the oldest event kept.",
      }),
    ),
    types: Type.Optional(
      Type.String({ description: "Types, separated by commas; by default all that `EVENTS` writes." }),
    ),
    limit: Type.Optional(
      Type.String({ pattern: "^([1-9][0-9]{0,2}|1000)$", description: "1 to 1000; 50 by default." }),
    ),
    waitSeconds: Type.Optional(
      Type.String({
        pattern: "^([12]?[0-9]|30)$",
        description: "How long to wait for the first event if there is none, 0 to 30; 0 by default.",
      }),
    ),
  },
  { additionalProperties: false },
);

const headersSchema = Type.Object({
  "last-event-id": Type.Optional(
    Type.String({ description: "For a stream: the last `id` that was read. Wins over `after`." }),
  ),
});

const reasonSchema = Type.Union([
  Type.String(),
  Type.Object({ code: Type.String(), message: Type.String() }),
]);

const itemSchema = Type.Object(
  {
    id: Type.String({ description: "The same whenever this event is read." }),
    type: Type.Enum([...eventTypes]),
    at: timeSchema,
    user: Type.Optional(Type.String()),
    message: Type.Optional(Type.String({ description: "The message's id." })),
    topic: Type.Optional(Type.String()),
    data: Type.Object({
      seq: Type.Optional(Type.Integer()),
      epoch: Type.Optional(Type.String()),
      acceptedAt: Type.Optional(timeSchema),
      channel: Type.Optional(Type.String({ description: "The channel that took a pushed message." })),
      reason: Type.Optional(reasonSchema),
      version: Type.Optional(
        Type.Integer({ description: "Of presence: a version lower than the last one is stale." }),
      ),
      device: Type.Optional(Type.String()),
      platform: Type.Optional(Type.String()),
      outcome: Type.Optional(Type.String()),
    }),
    traceId: Type.Optional(Type.String()),
  },
  { title: "Event" },
);

const pageSchema = Type.Object(
  {
    items: Type.Array(itemSchema),
    nextAfter: Type.String(),
    gap: Type.Boolean({
      description: "Events between `after` and this page are gone: too many, or too old.",
    }),
  },
  { title: "Events" },
);

const eventsSchema = {
  description: "A page; or a stream, if `Accept` asks for one.",
  content: {
    "application/json": { schema: pageSchema },
    "text/event-stream": {
      schema: Type.String({ description: "Blocks of `id: CURSOR` and `data: EVENT`, and comments." }),
    },
  },
} as const;

export function addEventRoutes(app: HttpApp, deps: EventRoutesDeps): void {
  const { authenticator, scripts, partitions, counts, logger, stopping } = deps;
  const heads = new EventHeads({ scripts, partitions, logger });
  const waiting = new WaitingRequests(stopping);

  async function read(
    starts: readonly EventStart[],
    types: ReadonlySet<EventType> | undefined,
    limit: number,
    hasWaited: boolean,
  ): Promise<EventPage> {
    const page = await awaitAnswer(readEventPage(scripts, partitions, starts, { limit, types }));
    counts.given(
      page.events.map(({ item }) => item),
      page.gap,
      hasWaited,
    );
    return page;
  }

  function takePlace(request: HttpRequest, kind: "poll" | "stream", longestMs?: number): WaitingRequest {
    if (waiting.count >= MAX_READERS) {
      throw new PetrelError("PETREL_UNAVAILABLE", "Too many requests are waiting for events here.", {
        retryAfterSeconds: 5,
      });
    }
    const { signal, release } = waiting.begin(request.raw.socket, longestMs);
    const uncount = counts.reads(kind);
    return {
      signal,
      release: () => {
        release();
        uncount();
      },
    };
  }

  /** Waits for the first event, starting with an empty page. */
  async function poll(
    request: HttpRequest,
    from: EventPage,
    types: ReadonlySet<EventType> | undefined,
    limit: number,
    waitMs: number,
  ): Promise<EventPage> {
    const { signal, release } = takePlace(request, "poll");
    const endsAtMs = performance.now() + waitMs;
    let page = from;
    try {
      while (page.events.length === 0 && !page.gap && !signal.aborted) {
        const leftMs = endsAtMs - performance.now();
        if (leftMs <= 0) break;
        await heads.wait(page.next, leftMs, signal);
        page = await read(page.next, types, limit, true);
      }
    } finally {
      release();
    }
    return page;
  }

  app.get(
    "/v1/events",
    {
      onRequest: authorize(authenticator, "read"),
      config: { waits: true },
      schema: {
        tags: ["events"],
        summary: "Read events from a cursor on",
        description:
          "A page, or with `waitSeconds` a long poll. With `Accept: text/event-stream`, the same as server-sent events: " +
          "`id` is the cursor, `data` an event; `event: gap` if events are gone; `Last-Event-ID` wins over `after`. " +
          "Scope: `read`.",
        security: producerSecurity,
        querystring: querySchema,
        headers: headersSchema,
        response: { 200: eventsSchema, ...producerErrors },
      },
    },
    async (request, reply) => {
      const { query } = request;
      const types = readTypes(query.types, scripts);
      if (!wantsStream(request)) {
        const starts = readStarts(query.after, partitions.length);
        const limit = Number(query.limit ?? DEFAULT_LIMIT);
        let page = await read(starts, types, limit, false);
        const waitMs = Number(query.waitSeconds ?? 0) * 1_000;
        if (waitMs > 0 && !isHead(request)) page = await poll(request, page, types, limit, waitMs);
        const { events, next, gap } = page;
        return { items: events.map(({ item }) => item), nextAfter: encodeEventCursor(next), gap };
      }
      for (const name of ["limit", "waitSeconds"] as const) {
        if (query[name] !== undefined) throw wrong(`\`${name}\` has no meaning for a stream.`);
      }
      const last = request.headers["last-event-id"];
      const starts = readStarts(last === undefined || last === "" ? query.after : last, partitions.length);
      const { signal, release } = takePlace(request, "stream", STREAM_MS);
      const stream = openEventStream(starts, {
        read: (from, hasWaited) => read(from, types, STREAM_PAGE, hasWaited),
        wait: (positions, ms, until) => heads.wait(positions, ms, until),
        signal,
      });
      stream.once("close", release);
      // The schema describes only a page.
      const untyped: FastifyReply = reply;
      return untyped
        .header("cache-control", "no-store")
        .header("x-accel-buffering", "no")
        .type("text/event-stream; charset=utf-8")
        .send(stream);
    },
  );
}

function wantsStream(request: HttpRequest): boolean {
  return !isHead(request) && request.headers.accept?.toLowerCase().includes("text/event-stream") === true;
}

/** Such a request asks what a `GET` would answer, and must not wait. */
function isHead(request: HttpRequest): boolean {
  return request.method === "HEAD";
}

/** @throws PetrelError PETREL_INVALID_REQUEST for an unknown type, or one that is not enabled */
function readTypes(text: string | undefined, { events }: ScriptRunner): ReadonlySet<EventType> | undefined {
  if (text === undefined) return undefined;
  const types = new Set<EventType>();
  for (const word of text.split(",")) {
    if (!isEventType(word)) throw wrong(`\`types\`: ${JSON.stringify(word)} is not a type of event.`);
    if (!events.writes(word)) throw wrong(`\`types\`: ${word} is not written: \`EVENTS\` does not list it.`);
    types.add(word);
  }
  return types;
}

/** @throws PetrelError PETREL_INVALID_REQUEST for anything but `now` or a cursor of this cluster */
function readStarts(after: string | undefined, partitionCount: number): readonly EventStart[] {
  if (after === undefined) return Array.from({ length: partitionCount }, () => "oldest");
  if (after === "now") return Array.from({ length: partitionCount }, () => "now");
  const positions = decodeEventCursor(after, partitionCount);
  if (positions === undefined) throw wrong("`after` is not a cursor of this cluster.");
  return positions;
}

function wrong(message: string): PetrelError {
  return new PetrelError("PETREL_INVALID_REQUEST", message);
}
