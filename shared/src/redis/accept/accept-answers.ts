// redis/accept/{accept, accept-plain, accept-collapsing}.lua -> here -> accept/accept-batch: reads the answers of
// the scripts that store messages.
// Guarantees: one result or error for each message, in the order of the call.
import { PetrelError } from "../../kernel/errors.js";
import { decodeMessageRecord, type MessageRecord } from "../../protocol/messages/stored-message.js";

export type AcceptResult =
  | { readonly outcome: "stored"; readonly seq: number; readonly epoch: string; readonly atMs: number }
  /** A record with this id exists; the caller decides whether it is the same message. */
  | { readonly outcome: "exists"; readonly record: MessageRecord }
  | { readonly outcome: "inbox-full" }
  /** The user has reached the receive limit. */
  | { readonly outcome: "limited"; readonly retryAfterMs: number };

/**
 * @param count how many messages the call had
 * @throws PetrelError PETREL_UNAVAILABLE if nothing of the call was stored
 */
export function readAnswer(lines: readonly string[], count: number): (AcceptResult | Error)[] {
  const atMs = readHead(lines);
  return Array.from({ length: count }, (_, i) => decodeLine(lines[i + 1] ?? "", atMs));
}

/**
 * @param counts how many messages each user of the call had
 * @throws PetrelError PETREL_UNAVAILABLE if nothing of the call was stored
 */
export function readPlainAnswer(
  lines: readonly string[],
  counts: readonly number[],
): (AcceptResult | Error)[] {
  const atMs = readHead(lines);
  const results: (AcceptResult | Error)[] = [];
  let next = 1;
  for (const count of counts) {
    const line = lines[next] ?? "";
    if (!line.startsWith("*")) {
      for (const end = next + count; next < end; next++) results.push(decodeLine(lines[next] ?? "", atMs));
      continue;
    }
    next++;
    const tab = line.indexOf("\t");
    const epoch = line.slice(tab + 1);
    const first = Number(line.slice(1, tab));
    for (let n = 0; n < count; n++) results.push({ outcome: "stored", seq: first + n, epoch, atMs });
  }
  return results;
}

/** @returns when the messages were stored, by Redis' clock */
function readHead([head = ""]: readonly string[]): number {
  if (head === "busy") throw tooMuchWaits("Too many messages are waiting for a dispatcher.");
  return Number(head.slice("now ".length));
}

function decodeLine(line: string, atMs: number): AcceptResult | Error {
  switch (line.charAt(0)) {
    case "+": {
      const [seq = "", epoch = ""] = line.slice(1).split("\t");
      return { outcome: "stored", seq: Number(seq), epoch, atMs };
    }
    case "=":
      return { outcome: "exists", record: decodeMessageRecord(line.slice(1)) };
    case "!":
      return { outcome: "inbox-full" };
    case "~":
      return { outcome: "limited", retryAfterMs: Number(line.slice(1)) };
    case "?":
      return tooMuchWaits("Too many messages of this priority are waiting for a fallback channel.");
    default:
      throw new Error(`accept answered ${JSON.stringify(line)}`);
  }
}

function tooMuchWaits(message: string): PetrelError {
  return new PetrelError("PETREL_UNAVAILABLE", message, { retryAfterSeconds: 5 });
}
