// Checks what an application passes: JavaScript enforces no types, and an older page may have stored the position.
// Guarantees: rejects any value that would make every attempt fail or wait for ever. `undefined` counts as absent.
import { defaultTiming, type ClientTiming } from "./client-timing.js";
import type { NetworkEvents } from "./connection/network-watch.js";
import type { Position } from "./delivery/user-sequence.js";
import { parseUrl } from "./parse-url.js";

/** Told what is wrong with an option that the client can do without. That option is dropped. */
export type Complain = (problem: string) => void;

/** The longest delay a timer accepts. A longer one would fire at once. */
const MAX_TIMER_MS = 2 ** 31 - 1;
/** These may be 0. For the others, 0 would fail every attempt or retry without a pause. */
const mayBeZero: ReadonlySet<string> = new Set([
  "stableAfterMs",
  "ackDelayMs",
  "ackGatherMs",
  "closeGraceMs",
]);

const schemes: Readonly<Record<string, string>> = {
  "ws:": "ws:",
  "wss:": "wss:",
  "http:": "ws:",
  "https:": "wss:",
};

/** @throws TypeError */
export function checkUrls(given: unknown): string[] {
  const urls: unknown[] = Array.isArray(given) ? given : [given];
  if (urls.length === 0) throw new TypeError("url: at least one is needed");
  return urls.map((text) => {
    const page = (globalThis as { readonly location?: { readonly href: string } }).location?.href;
    const isText = typeof text === "string" && text !== "";
    // A server that renders the page knows no address to be relative to; it does not connect either.
    if (isText && page === undefined && text.startsWith("/")) return text;
    const url = isText ? parseUrl(text, page) : undefined;
    const scheme = schemes[url?.protocol ?? ""];
    if (typeof text !== "string" || url === undefined || scheme === undefined) {
      throw new TypeError(`url: ${shown(text)} is not a ws:, wss:, http: or https: URL`);
    }
    if (url.hash !== "") throw new TypeError(`url: ${shown(text)} has a fragment, which no WebSocket takes`);
    if (url.searchParams.has("token") || url.searchParams.has("ticket")) {
      throw new TypeError("url: it holds a credential, and a server takes one only: leave it to getToken");
    }
    // Unchanged, if nothing has to be changed.
    if (scheme === url.protocol && parseUrl(text) !== undefined) return text;
    url.protocol = scheme;
    return url.href;
  });
}

/** @throws TypeError */
export function checkChoice<Choice extends string>(
  name: string,
  given: unknown,
  choices: readonly [Choice, ...Choice[]],
): Choice {
  if (given === undefined) return choices[0];
  const choice = choices.find((one) => one === given);
  if (choice === undefined) {
    throw new TypeError(`${name}: one of ${choices.join(", ")} is needed, not ${shown(given)}`);
  }
  return choice;
}

export function readTiming(given: unknown, complain: Complain): ClientTiming {
  const timing: Record<string, number> = { ...defaultTiming };
  if (given === undefined || given === null) return defaultTiming;
  if (typeof given !== "object") {
    complain(`timing: an object is needed, not ${shown(given)}`);
    return defaultTiming;
  }
  for (const [name, ms] of Object.entries(given) as [string, unknown][]) {
    if (!Object.hasOwn(defaultTiming, name)) complain(`timing.${name}: there is no such time`);
    else if (typeof ms === "number" && (ms > 0 || (ms === 0 && mayBeZero.has(name)))) {
      timing[name] = Math.min(ms, MAX_TIMER_MS);
    } else if (ms !== undefined) {
      complain(`timing.${name}: a number of milliseconds above 0 is needed, not ${shown(ms)}`);
    }
  }
  return timing as unknown as ClientTiming;
}

/** Positions usually come from a store. Stores answer `null` for "nothing", so `null` counts as absent too. */
export function readPosition(given: unknown, complain: Complain): Position | undefined {
  if (given === undefined || given === null) return undefined;
  const { epoch, since } = given as Partial<Record<string, unknown>>;
  // What a push node accepts. It would refuse each handshake with anything else, and a page cannot read why.
  const isGood =
    typeof epoch === "string" &&
    /^[A-Za-z0-9._-]{1,64}$/.test(epoch) &&
    typeof since === "number" &&
    Number.isInteger(since) &&
    since >= 0 &&
    since < 1e15;
  if (isGood) return { epoch, since };
  complain(`position: ${shown(given)} is not one: the server starts after what was acknowledged`);
  return undefined;
}

export function readFunction<Given>(name: string, given: Given, complain: Complain): Given | undefined {
  if (given === undefined || typeof given === "function") return given;
  complain(`${name}: a function is needed, not ${shown(given)}`);
  return undefined;
}

export function readNetworkEvents(
  given: NetworkEvents | undefined,
  complain: Complain,
): NetworkEvents | undefined {
  if (given === undefined || isNetworkEvents(given)) return given;
  complain(`networkEvents: something with addEventListener is needed, not ${shown(given)}`);
  return undefined;
}

export function isNetworkEvents(given: unknown): given is NetworkEvents {
  const { addEventListener, removeEventListener } = (given ?? {}) as Partial<NetworkEvents>;
  return typeof addEventListener === "function" && typeof removeEventListener === "function";
}

/** For an error message; long values are cut. */
export function shown(value: unknown): string {
  let text: string | undefined;
  try {
    text = JSON.stringify(value);
  } catch {
    text = undefined;
  }
  return (text ?? typeof value).slice(0, 200);
}
