// The APNs simulator: counts for tests.
// Guarantees: counters only grow, gauges show the present. Bounded: an answer is counted by its status and reason.
import type { ApnsAnswer } from "./apns-answer.js";

export class RequestCounts {
  connectionsOpened = 0;
  streamsOpened = 0;
  /** The most streams that were open on one connection at a time. */
  mostStreamsOpen = 0;
  /** Requests left without an answer: swallowed by a black hole. */
  swallowed = 0;
  /** Requests above a GOAWAY's last stream, which were ignored. */
  refusedByGoaway = 0;
  /** Requests whose client had reset the stream, or was gone, before the answer. */
  abandoned = 0;
  readonly #answers = new Map<string, number>();

  countAnswer({ status, reason }: ApnsAnswer): void {
    const name = reason === undefined ? String(status) : `${status} ${reason}`;
    this.#answers.set(name, (this.#answers.get(name) ?? 0) + 1);
  }

  /** Such as `{ "200": 7, "410 Unregistered": 1 }`. */
  answers(): Readonly<Record<string, number>> {
    return Object.fromEntries(this.#answers);
  }
}
