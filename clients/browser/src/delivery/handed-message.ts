// message-delivery -> here -> the application: a message, with what the application may call on it.
// Guarantees: only the contract's fields are its own properties, so it compares, spreads and serialises like a plain
// object.

/** A message as the application gets it. */
export interface PetrelMessage<Data = unknown> {
  /** All copies of a message share it. */
  readonly id: string;
  /** Strictly increasing. A missing number belongs to a message that expired or was cancelled. */
  readonly seq: number;
  /** Numbers are comparable within one epoch only. */
  readonly epoch: string;
  /** When Petrel accepted it, RFC 3339 in UTC. */
  readonly at: string;
  readonly data: Data;
  /**
   * A person has seen it, even if the page is not visible: acknowledges it and all before it.
   * @returns false if it belongs to a past epoch
   */
  seen(): boolean;
}

type Fields = Omit<PetrelMessage, "seen">;

export class HandedMessage implements PetrelMessage {
  readonly id: string;
  readonly seq: number;
  readonly epoch: string;
  readonly at: string;
  readonly data: unknown;
  readonly #acknowledge: (message: Fields) => boolean;

  constructor({ id, seq, epoch, at, data }: Fields, acknowledge: (message: Fields) => boolean) {
    this.id = id;
    this.seq = seq;
    this.epoch = epoch;
    this.at = at;
    this.data = data;
    this.#acknowledge = acknowledge;
  }

  seen(): boolean {
    return this.#acknowledge(this);
  }
}
