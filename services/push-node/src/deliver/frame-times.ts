// push-node/deliver/deliver -> here: formats a time for a frame, RFC 3339 in UTC.
// Guarantees: the same text as `Date`, which is only used for the first message of each second.

const MILLISECONDS: readonly string[] = Array.from(
  { length: 1_000 },
  (_, ms) => `${String(ms).padStart(3, "0")}Z`,
);

export class FrameTimes {
  #second = Number.NaN;
  #upToSecond = "";

  /** @param atMs whole milliseconds since 1970 */
  textOf(atMs: number): string {
    const second = Math.floor(atMs / 1_000);
    if (second !== this.#second) {
      this.#upToSecond = new Date(second * 1_000).toISOString().slice(0, -"000Z".length);
      this.#second = second;
    }
    return this.#upToSecond + MILLISECONDS[atMs - second * 1_000];
  }
}
