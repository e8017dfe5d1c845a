// client -> here -> the console, or the application's function: logs what the client does, for debugging.
// Guarantees: contains no token and no message's data.

/** @param facts never a credential, never data */
export type Debug = (what: string, facts: Readonly<Record<string, unknown>>) => void;

/** @returns undefined if nobody wants to know */
export function debugLog(given: unknown): Debug | undefined {
  if (given === true) return (what, facts) => console.debug(`petrel: ${what}`, facts);
  return typeof given === "function" ? (given as Debug) : undefined;
}

/** The parts of a frame that may be logged. */
export function factsOf(frame: { readonly type: string }): Record<string, unknown> {
  const { type, id, seq, topic, offset, epoch, code, ref, afterMs } = frame as Record<string, unknown> & {
    readonly type: string;
  };
  const facts = { type, id, seq, topic, offset, epoch, code, ref, afterMs };
  return Object.fromEntries(Object.entries(facts).filter(([, value]) => value !== undefined));
}
