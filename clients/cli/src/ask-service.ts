// commands -> here -> call-service: what a command asks one service, with the key it needs there.
// Guarantees: every question is asked with the same key, and signed where the command line says so.
import { callService, type CallOptions } from "./call-service.js";
import { type AddressValues, findCluster } from "./cluster-address.js";
import type { Terminal } from "./terminal.js";

export type Answer = Readonly<Record<string, unknown>>;

/** @param body JSON text */
export type Ask = (method: CallOptions["method"], path: string, body?: string) => Promise<Answer>;

const PAGE_SIZE = 1_000;

/**
 * @param key of a producer, or of an operator: in the local run they differ
 * @throws CliError where the cluster, or a key, is not named anywhere
 */
export function createAsk(
  service: "auth" | "collect" | "dispatch",
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
 * The items of a list, page by page.
 * @param filters of the query; those that are undefined are left out
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
    // A page may be short, even empty, though more follow.
    const items = (page["items"] ?? []) as readonly Item[];
    yield* items;
    left -= items.length;
    cursor = page["nextCursor"];
  } while (typeof cursor === "string" && left > 0);
}
