// upstream -> here -> tabs that join later: what a connection has carried since its welcome.
// Guarantees: a tab that joins sees what a connection of its own would bring after its position: the recalls, then the
// messages, in order.
import type { Position } from "../../delivery/user-sequence.js";
import type { RecalledFrame, WelcomeFrame } from "../../frames.js";
import type { Started } from "./merge-positions.js";
import { RecentMessages, type RecentMessage } from "./recent-messages.js";

/** The limit for messages that a later tab may still need. */
const MAX_CHARACTERS = 4 * 1024 * 1024;
const REMEMBERED_RECALLS = 100;

export class CarriedFrames {
  readonly #welcome: WelcomeFrame;
  readonly #welcomeFields: Readonly<Record<string, unknown>>;
  readonly #recent: RecentMessages;
  #recalls: { readonly seq: number; readonly text: string }[] = [];
  #received: number;

  constructor(welcome: WelcomeFrame, text: string) {
    this.#welcome = welcome;
    this.#welcomeFields = JSON.parse(text) as Record<string, unknown>;
    this.#recent = new RecentMessages(welcome.after, MAX_CHARACTERS);
    this.#received = welcome.after;
  }

  /** The seq of the last message. */
  get received(): number {
    return this.#received;
  }

  /** @param asked the position in the connection's address */
  started(asked: Position | undefined): Started {
    const { epoch, resumed } = this.#welcome;
    return { epoch, resumed, start: this.#recent.start, asked };
  }

  /** @returns whether the message is new */
  add({ seq, id }: { readonly seq: number; readonly id: string }, text: string): boolean {
    if (seq <= this.#received) return false;
    this.#received = seq;
    this.#recent.add({ seq, id, text });
    return true;
  }

  recall({ seq, id }: RecalledFrame, text: string): void {
    this.#recent.remove(id);
    this.#recalls = [...this.#recalls.slice(1 - REMEMBERED_RECALLS), { seq, text }];
  }

  /** The welcome of a tab that continues here. */
  welcomeAt(after: number, resumed: boolean): string {
    const seq = Math.max(this.#received, Number(this.#welcomeFields["seq"] ?? 0));
    return JSON.stringify({ ...this.#welcomeFields, seq, after, resumed });
  }

  recallsAfter(after: number): string[] {
    return this.#recalls.flatMap(({ seq, text }) => (seq > after ? [text] : []));
  }

  messagesAfter(after: number): readonly RecentMessage[] {
    return this.#recent.after(after);
  }
}
