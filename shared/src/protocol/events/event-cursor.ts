// GET /v1/events -> here: where a reader stands in the event streams of all partitions, as one opaque text.
// Guarantees: a truncated or altered text is refused, and so is one for another number of partitions.
import { decodeEventPosition, encodeEventPosition, type EventPosition } from "./event-position.js";

const VERSION = "1";

/** @param positions one for each partition, in order */
export function encodeEventCursor(positions: readonly EventPosition[]): string {
  const content = [VERSION, ...positions.map(encodeEventPosition)].join(" ");
  const text = `${content} ${checkSum(content)}`;
  return btoa(text).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

/** @returns undefined for any text that `encodeEventCursor` does not make for this many partitions */
export function decodeEventCursor(text: string, partitionCount: number): EventPosition[] | undefined {
  if (!/^[A-Za-z0-9_-]+$/.test(text)) return undefined;
  const base64 = text.replaceAll("-", "+").replaceAll("_", "/");
  if (base64.length % 4 === 1) return undefined;
  const [version, ...parts] = atob(base64).split(" ").slice(0, -1);
  if (version !== VERSION || parts.length !== partitionCount) return undefined;
  const positions = parts.flatMap((part) => decodeEventPosition(part) ?? []);
  return positions.length === partitionCount && encodeEventCursor(positions) === text ? positions : undefined;
}

/** FNV-1a, 32 bits: guards against mishaps, not forgers; a cursor grants no access. */
function checkSum(text: string): string {
  let sum = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) sum = Math.imul(sum ^ text.charCodeAt(i), 0x01000193) >>> 0;
  return sum.toString(36);
}
