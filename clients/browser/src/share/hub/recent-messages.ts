// carried-frames -> here -> tabs that join later: the messages that have arrived on the connection.
// Guarantees: holds everything after `start`; the oldest are dropped first, so memory is bounded.

export interface RecentMessage {
  readonly seq: number;
  readonly id: string;
  readonly text: string;
}

export class RecentMessages {
  readonly #maxCharacters: number;
  #kept: RecentMessage[] = [];
  #characters = 0;
  #start: number;

  /** @param start exclusive: everything that arrives is after it */
  constructor(start: number, maxCharacters: number) {
    this.#start = start;
    this.#maxCharacters = maxCharacters;
  }

  /** A tab that has everything up to here misses nothing. */
  get start(): number {
    return this.#start;
  }

  add(message: RecentMessage): void {
    this.#kept.push(message);
    this.#characters += message.text.length;
    while (this.#characters > this.#maxCharacters) {
      const oldest = this.#kept.shift();
      if (oldest === undefined) return;
      this.#characters -= oldest.text.length;
      this.#start = oldest.seq;
    }
  }

  /** It was recalled. */
  remove(id: string): void {
    const place = this.#kept.findIndex((one) => one.id === id);
    if (place === -1) return;
    this.#characters -= this.#kept[place]?.text.length ?? 0;
    this.#kept.splice(place, 1);
  }

  /** In order. */
  after(seq: number): readonly RecentMessage[] {
    const first = this.#kept.findIndex((one) => one.seq > seq);
    return first === -1 ? [] : this.#kept.slice(first);
  }
}
