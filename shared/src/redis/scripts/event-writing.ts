// The stores -> here: which events the scripts write, by a process's settings.
// Guarantees: a script that gets "" writes none, and reads nothing for them.
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
   * The argument that makes a script write the enabled ones of these types: cap SPACE letters; "" for none.
   * @param possible what the script may write
   */
  argument(...possible: readonly EventType[]): string {
    const letters = possible.filter((type) => this.#types.has(type)).map(letterOfEvent);
    return letters.length === 0 ? "" : `${this.#cap} ${letters.join("")}`;
  }
}

/** For a process that changes no state, or whose settings are not known yet. */
export const noEvents = new EventWriting([], 1);

/** The keys that a script needs to write events, besides its own. */
export function eventKeys(keys: PartitionKeys): [events: string, eventLog: string, generation: string] {
  return [keys.events, keys.eventLog, keys.generation];
}
