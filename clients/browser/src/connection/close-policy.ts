// The contract's table: what each close code asks the client to do.
// Guarantees: every code has exactly one answer; an unknown code never means "give up".

/** `resume`: reconnect and resume · `refresh`: fresh token first · `backoff`: wait longer · `stop`: stay away */
export type NextStep = "resume" | "refresh" | "backoff" | "stop";

/** The connection ended without a close frame (RFC 6455, section 7.1.5). */
export const ABNORMAL_CLOSURE = 1006;
/** Sent by the client when its user signs out. */
export const NORMAL_CLOSURE = 1000;
/** The node is stopping, or the client must reconnect. */
export const SERVICE_RESTART = 1012;
/** A newer connection took this one's place. */
export const REPLACED = 4409;
/** Sent by the client when it leaves a socket but not the cluster: it moves, or the socket went silent. */
export const CLIENT_LEAVES_SOCKET = 4000;

const table: ReadonlyMap<number, NextStep> = new Map<number, NextStep>([
  [1000, "stop"],
  [1001, "resume"],
  [1002, "stop"],
  [1003, "stop"],
  [1006, "resume"],
  [1007, "stop"],
  [1009, "stop"],
  [1011, "resume"],
  [1012, "resume"],
  [1013, "resume"],
  [4400, "stop"],
  [4401, "refresh"],
  [4403, "stop"],
  [4408, "resume"],
  [4409, "stop"],
  [4429, "backoff"],
]);

/**
 * @param code of the close event
 * @param action from the `error` frame just before the close, if there was one
 * @returns what the table says. The frame decides if the code says nothing: it is unknown, or 1006 because the close
 *   frame after the error was lost.
 */
export function nextStep(code: number, action?: string): NextStep {
  const known = table.get(code);
  if (known !== undefined && code !== ABNORMAL_CLOSURE) return known;
  return isNextStep(action) ? action : (known ?? "backoff");
}

function isNextStep(text: string | undefined): text is NextStep {
  return text === "resume" || text === "refresh" || text === "backoff" || text === "stop";
}
