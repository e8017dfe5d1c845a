// topic-stream -> here: what a `subscribed` frame means for one who has received a topic up to some position.
// Guarantees: nobody counts as joined unless all messages after their position come, or there are none.
import type { SubscribedFrame, TopicPosition } from "../frames.js";

/**
 * `joined`: what follows the position comes · `resume`: nobody knows yet; ask for what follows it · `lost`: it can't be
 * had any more
 */
export type Verdict = "joined" | "resume" | "lost";

/**
 * @param given the position in the `subscribe` that this answers; undefined where it had none, or nobody asked
 * @param isLive whether the server has sent everything up to `position` on this connection, and goes on from there
 */
export function judge(
  position: TopicPosition,
  { epoch, offset, oldest, recovered }: SubscribedFrame,
  given: TopicPosition | undefined,
  isLive: boolean,
): Verdict {
  if (recovered) {
    // Unasked, it speaks of what the server has sent, in the epoch before.
    if (given === undefined) return isLive && position.epoch === epoch ? "joined" : "resume";
    // In an epoch that is over, what is above the position that was given may have been lost.
    if (position.epoch !== epoch) return isSame(position, given) ? "joined" : "resume";
    return position.offset >= given.offset && position.offset <= offset ? "joined" : "resume";
  }
  // The server goes on after `offset`.
  if (position.epoch === epoch && position.offset === offset) return "joined";
  if (given !== undefined && isSame(position, given)) return "lost";
  return position.epoch === epoch && position.offset < oldest - 1 ? "lost" : "resume";
}

/**
 * Whether this frame can be the answer to a `subscribe` with that position. The server also says `subscribed` unasked,
 * at its newest offset, such as for a topic that it keeps for the user.
 */
export function isAnswerTo(given: TopicPosition | undefined, frame: SubscribedFrame): boolean {
  if (given === undefined || frame.recovered || given.epoch !== frame.epoch) return true;
  // A position that can be had, and was not: an answer would say `recovered`.
  return given.offset < frame.oldest - 1 || given.offset > frame.offset;
}

/** Whether a frame speaks of that position's epoch, and of no time before it. */
export function isKnown(position: TopicPosition, { epoch, offset }: SubscribedFrame): boolean {
  return position.epoch === epoch && position.offset <= offset;
}

/**
 * Where to resume so that as many as possible are served: the lowest, among those that compare. Of an older epoch first:
 * what comes after such a position serves the others too.
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
