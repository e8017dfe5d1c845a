// tab-member -> here -> hub: where the sockets of the other tabs are, as overheard on the way to the hub.
// Guarantees: a tab that begins to lead knows from where all can be served. A place ends with its socket, or some time
// after the last word of a tab that crashed.
import type { Place } from "./hub/hub.js";
import type { FromHub, ToHub } from "./hub/share-messages.js";
import { ackIn, welcomedAt } from "./shared-socket.js";

interface HeardPlace extends Place {
  readonly heardAtMs: number;
}

/** A live tab sends something within this time, even in the background; a crashed one does not. */
const PLACE_LASTS_MS = 150_000;

export class OverheardPlaces {
  readonly #places = new Map<string, HeardPlace>();

  /** What another tab's socket says to the hub. */
  heard(message: ToHub): void {
    const { socket } = message;
    const place = this.#places.get(socket);
    const heardAtMs = performance.now();
    if (message.kind === "open") {
      const { position, broadcast } = message;
      // Nobody announces the end of a crashed tab.
      for (const [one, { heardAtMs: atMs }] of this.#places) {
        if (heardAtMs - atMs > PLACE_LASTS_MS) this.#places.delete(one);
      }
      this.#places.set(socket, { position, broadcast, heardAtMs });
    } else if (message.kind === "close" || message.kind === "abandon") {
      this.#places.delete(socket);
    } else if (place !== undefined) {
      const seq = message.kind === "send" ? ackIn(message.text) : undefined;
      const { position } = place;
      const moved = seq === undefined || position === undefined ? position : { ...position, since: seq };
      this.#places.set(socket, { ...place, position: moved, heardAtMs });
    }
  }

  /** What the hub says. From its welcome on, a new tab has a position. */
  answered(message: FromHub): void {
    if (message.kind !== "frame") return;
    const position = welcomedAt(message.text);
    if (position === undefined) return;
    for (const socket of message.to) {
      const place = this.#places.get(socket);
      if (place !== undefined) this.#places.set(socket, { ...place, position });
    }
  }

  ofOthers(): Place[] {
    const nowMs = performance.now();
    return [...this.#places.values()].filter((one) => nowMs - one.heardAtMs < PLACE_LASTS_MS);
  }
}
