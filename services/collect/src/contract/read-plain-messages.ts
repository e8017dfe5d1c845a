// express-lane -> here -> accept-requests: the plainest messages, read in one pass over their text.
// Guarantees: a message that is read here is one that the schema and check-message would let pass, with the same
// result. Whatever is less plain, or wrong, is left to them: `undefined`.
// Plain: `to.user`, `data` and perhaps `ttlSeconds`, in any order, as JSON.stringify writes them.
// A message's data keeps its body's whole text in memory. The lane reads bodies of up to one read of a socket, 64 KiB.
import { isUserId } from "@petrel/shared/protocol/messages/ids";
import { type CheckedMessage, fitsAsData } from "./check-message.js";
import { DEFAULT_FALLBACK, MAX_RECIPIENTS, ttlSecondsRange } from "./message-schema.js";
import { CLOSE_OBJECT, COMMA, JsonScan, OPEN_OBJECT } from "./scan-json.js";

/** Deeper data is left to the parser. */
const MAX_DATA_DEPTH = 64;

/** @param text the body of POST /v1/messages */
export function readPlainMessage(text: string): CheckedMessage | undefined {
  const scan = new JsonScan(text);
  const message = readEntry(text, scan);
  return scan.isAtEnd ? message : undefined;
}

/** @param text the body of POST /v1/messages/batch */
export function readPlainBatch(text: string): CheckedMessage[] | undefined {
  const scan = new JsonScan(text);
  if (!scan.takeText('{"messages":[')) return undefined;
  const messages: CheckedMessage[] = [];
  do {
    const message = readEntry(text, scan);
    if (message === undefined || messages.push(message) > MAX_RECIPIENTS) return undefined;
  } while (scan.take(COMMA));
  return scan.takeText("]}") && scan.isAtEnd ? messages : undefined;
}

function readEntry(text: string, scan: JsonScan): CheckedMessage | undefined {
  let user: string | undefined;
  let data: string | undefined;
  let ttlSeconds: number | undefined;
  if (!scan.take(OPEN_OBJECT)) return undefined;
  do {
    // A member that is there twice, or is not plain, ends the reading.
    if (user === undefined && scan.takeText('"to":{"user":')) {
      user = readUser(text, scan);
      if (user === undefined) return undefined;
    } else if (data === undefined && scan.takeText('"data":')) {
      data = readData(text, scan);
      if (data === undefined) return undefined;
    } else if (ttlSeconds === undefined && scan.takeText('"ttlSeconds":')) {
      ttlSeconds = readTtlSeconds(text, scan);
      if (ttlSeconds === undefined) return undefined;
    } else {
      return undefined;
    }
  } while (scan.take(COMMA));
  if (!scan.take(CLOSE_OBJECT) || user === undefined || data === undefined) return undefined;
  return {
    to: { users: [user], isList: false },
    keyed: undefined,
    data,
    notification: "",
    fallback: DEFAULT_FALLBACK,
    priority: "normal",
    ttlMs: (ttlSeconds ?? ttlSecondsRange.default) * 1_000,
    deliverAtMs: undefined,
    collapseKey: undefined,
  };
}

/** The user's name, and the end of `to`. */
function readUser(text: string, scan: JsonScan): string | undefined {
  const from = scan.at + 1;
  if (!scan.takeString()) return undefined;
  const user = text.slice(from, scan.at - 1);
  return isUserId(user) && scan.take(CLOSE_OBJECT) ? user : undefined;
}

function readData(text: string, scan: JsonScan): string | undefined {
  const from = scan.at;
  if (!scan.takeValue(MAX_DATA_DEPTH)) return undefined;
  const data = text.slice(from, scan.at);
  return fitsAsData(data) ? data : undefined;
}

function readTtlSeconds(text: string, scan: JsonScan): number | undefined {
  const from = scan.at;
  if (!scan.takeValue(0)) return undefined;
  const seconds = Number(text.slice(from, scan.at));
  const { minimum, maximum } = ttlSecondsRange;
  return Number.isInteger(seconds) && seconds >= minimum && seconds <= maximum ? seconds : undefined;
}
