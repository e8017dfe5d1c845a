// commands, operate -> here -> call-service: sends a command's requests to one service, with the key that service needs.
// Guarantees: every request uses the same key, and is signed if the command line says so.
import { callService, type CallOptions } from "./call-service.js";
import { type AddressValues, findCluster } from "./cluster-address.js";
import type { Terminal } from "./terminal.js";

export type Answer = Readonly<Record<string, unknown>>;

/** @param body JSON text */
export type Ask = (method: CallOptions["method"], path: string, body?: string) => Promise<Answer>;

const PAGE_SIZE = 1_000;

/**
 * @param key whose key to use, a producer's or an operator's: in the local run they differ
 * @throws CliError if nothing names the cluster or a key
 */
export function createAsk(
  service: CallOptions["service"],
  key: "key" | "adminKey",
  values: AddressValues,
  terminal: Terminal,
): Ask {
  const cluster = findCluster(values, [service, key], terminal);
  return (method, path, body) =>
    callService({
      service,
      baseUrl: cluster[service],
      key: cluster[key],
      sign: values.sign === true,
      method,
      path,
      interrupted: terminal.interrupted,
      ...(body === undefined ? {} : { body }),
    });
}

/**
 * Yields the items of a list, page by page.
 * @param filters for the query; undefined ones are left out
 */
export async function* readItems<Item>(
  ask: Ask,
  path: string,
  filters: Readonly<Record<string, string | undefined>> = {},
  limit = Infinity,
): AsyncGenerator<Item, void> {
  let left = limit;
  let cursor: unknown;
  do {
    const query = new URLSearchParams({ limit: String(Math.min(PAGE_SIZE, left)) });
    for (const [name, value] of Object.entries(filters)) if (value !== undefined) query.set(name, value);
    if (typeof cursor === "string") query.set("cursor", cursor);
    const page = await ask("GET", `${path}?${query.toString()}`);
    // A page may be short, even empty, although more follow.
    const items = (page["items"] ?? []) as readonly Item[];
    yield* items;
    left -= items.length;
    cursor = page["nextCursor"];
  } while (typeof cursor === "string" && left > 0);
}
