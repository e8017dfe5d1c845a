// The stores -> here: which events the scripts write, as a process' settings say.
// Guarantees: a script that is told "" writes none, and reads nothing for them.
import { letterOfEvent, type EventType } from "../../protocol/events/event-types.js";
import type { PartitionKeys } from "../keys.js";

export class EventWriting {
  readonly #types: ReadonlySet<EventType>;
  readonly #cap: number;

  /** @param cap events that a partition keeps */
  constructor(types: readonly EventType[], cap: number) {
    this.#types = new Set(types);
    this.#cap = cap;
  }

  writes(type: EventType): boolean {
    return this.#types.has(type);
  }

  /**
   * What a script takes to write those of these types that are wanted: cap SPACE letters; "" for none.
   * @param possible what the script may write
   */
  argument(...possible: readonly EventType[]): string {
    const letters = possible.filter((type) => this.#types.has(type)).map(letterOfEvent);
    return letters.length === 0 ? "" : `${this.#cap} ${letters.join("")}`;
  }
}

/** Of a process that changes no state, or before its settings are known. */
export const noEvents = new EventWriting([], 1);

/** What a script that writes events takes beside its own keys. */
export function eventKeys(keys: PartitionKeys): [events: string, eventLog: string, generation: string] {
  return [keys.events, keys.eventLog, keys.generation];
}
