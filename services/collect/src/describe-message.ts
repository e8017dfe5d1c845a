// message-routes -> here: what became of a message, as the contract tells it.
// Guarantees: the timeline is ascending and ends with the state; a time that is only an upper bound says so.
import type { FoundMessage } from "@petrel/shared/redis/read-message";
import { type Static, Type } from "typebox";

const time = Type.String({ format: "date-time" });

export const messageStateSchema = Type.Object({
  id: Type.String(),
  to: Type.Object({ user: Type.String() }),
  state: Type.String({ description: "queued, or an end: delivered, pushed, expired, cancelled, failed." }),
  seq: Type.Integer({ description: "Its place in the user's sequence." }),
  epoch: Type.String(),
  acceptedAt: time,
  expiresAt: time,
  timeline: Type.Array(
    Type.Object({
      at: time,
      event: Type.String(),
      approximate: Type.Optional(Type.Boolean({ description: "`at` is an upper bound: it was not later." })),
    }),
  ),
});

export type MessageStateAnswer = Static<typeof messageStateSchema>;

export function describeMessage(id: string, found: FoundMessage): MessageStateAnswer {
  const { record, state, stateAtMs, stateAtIsUpperBound } = found;
  const acceptedAt = formatTime(record.atMs);
  const timeline: MessageStateAnswer["timeline"] = [{ at: acceptedAt, event: "accepted" }];
  if (state !== "queued") {
    // Acknowledged, but the time is lost: by now it had been.
    const at = formatTime(stateAtMs ?? Date.now());
    const isApproximate = stateAtIsUpperBound || stateAtMs === undefined;
    timeline.push(isApproximate ? { at, event: state, approximate: true } : { at, event: state });
  }
  return {
    id,
    to: { user: record.userId },
    state,
    seq: record.seq,
    epoch: record.epoch,
    acceptedAt,
    expiresAt: formatTime(record.expiresAtMs),
    timeline,
  };
}

/** RFC 3339, UTC, with milliseconds. */
function formatTime(ms: number): string {
  return new Date(ms).toISOString();
}
