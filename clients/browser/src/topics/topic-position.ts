// topic-stream -> here: what a `subscribed` frame means for a consumer that has received a topic up to some position.
// Guarantees: a consumer counts as joined only if all messages after its position follow, or there are none.
import type { SubscribedFrame, TopicPosition } from "../frames.js";

/** `joined`: the messages after the position follow · `resume`: unknown yet; ask for them · `lost`: they are gone */
export type Verdict = "joined" | "resume" | "lost";

/**
 * @param given the position in the `subscribe` that this answers; undefined if it had none, or nobody asked
 * @param isLive whether the server has sent everything up to `position` on this connection, and continues from there
 */
export function judge(
  position: TopicPosition,
  { epoch, offset, oldest, recovered }: SubscribedFrame,
  given: TopicPosition | undefined,
  isLive: boolean,
): Verdict {
  if (recovered) {
    // Unasked, it refers to what the server has sent, in the previous epoch.
    if (given === undefined) return isLive && position.epoch === epoch ? "joined" : "resume";
    // In a past epoch, what is above the given position may have been lost.
    if (position.epoch !== epoch) return isSame(position, given) ? "joined" : "resume";
    return position.offset >= given.offset && position.offset <= offset ? "joined" : "resume";
  }
  // The server continues after `offset`.
  if (position.epoch === epoch && position.offset === offset) return "joined";
  if (given !== undefined && isSame(position, given)) return "lost";
  return position.epoch === epoch && position.offset < oldest - 1 ? "lost" : "resume";
}

/**
 * Whether this frame can be the answer to a `subscribe` with that position. The server also sends `subscribed` unasked,
 * at its newest offset, such as for a topic that it keeps for the user.
 */
export function isAnswerTo(given: TopicPosition | undefined, frame: SubscribedFrame): boolean {
  if (given === undefined || frame.recovered || given.epoch !== frame.epoch) return true;
  // The position was available but was not used: an answer would say `recovered`.
  return given.offset < frame.oldest - 1 || given.offset > frame.offset;
}

/** Whether a frame belongs to that position's epoch, and to no earlier time. */
export function isKnown(position: TopicPosition, { epoch, offset }: SubscribedFrame): boolean {
  return position.epoch === epoch && position.offset <= offset;
}

/**
 * Where to resume so that as many consumers as possible are served: the lowest of the comparable positions. One of an
 * older epoch comes first, because what follows it serves the others too.
 * @param epoch the newest that is known
 */
export function lowestOf(
  positions: readonly TopicPosition[],
  epoch: string | undefined,
): TopicPosition | undefined {
  const group = (positions.find((one) => one.epoch !== epoch) ?? positions[0])?.epoch;
  return positions
    .filter((one) => one.epoch === group)
    .toSorted((one, other) => one.offset - other.offset)
    .at(0);
}

export function isSame(one: TopicPosition, other: TopicPosition): boolean {
  return one.epoch === other.epoch && one.offset === other.offset;
}
