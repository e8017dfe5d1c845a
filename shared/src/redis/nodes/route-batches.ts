// push-node/node-routes -> here -> route-store: the connections that come and go in one turn of the event loop.
// Guarantees: one call for each partition, all in one write; nothing lingers, and nothing waits for a call that is under
// way. Those that have closed leave before others come. A user whose keys Redis refuses holds up nobody else.
import { groupBy } from "../../kernel/group-by.js";
import { inSlices } from "../../kernel/in-slices.js";
import { TurnBatcher } from "../../kernel/turn-batcher.js";
import type { PartitionKeys } from "../keys.js";
import type { ScriptRunner } from "../scripts/script-runner.js";
import {
  connectRoutes,
  MAX_ROUTES_PER_CALL,
  removeRoutes,
  type ConnectResult,
  type RouteLimits,
  type RouteToConnect,
  type RouteToRemove,
} from "./route-store.js";

type ComingRoute = Omit<RouteToConnect, "node">;

interface Waiting<Route, Result> {
  readonly keys: PartitionKeys;
  readonly route: Route;
  readonly resolve: (result: Result) => void;
  readonly reject: (error: unknown) => void;
}

type Coming = Waiting<ComingRoute, ConnectResult> & { readonly kind: "coming" };
type Leaving = Waiting<RouteToRemove, void> & { readonly kind: "leaving" };

export interface RouteBatchesOptions {
  readonly scripts: ScriptRunner;
  readonly node: string;
  readonly limits: RouteLimits;
}

export class RouteBatches {
  readonly #options: RouteBatchesOptions;
  readonly #batcher: TurnBatcher<Coming | Leaving>;

  constructor(options: RouteBatchesOptions) {
    this.#options = options;
    this.#batcher = new TurnBatcher({
      // A call that hangs must not hold up those after it.
      maxInFlight: Number.POSITIVE_INFINITY,
      flush: (items) => this.#flush(items),
    });
  }

  /** Rejects with what ioredis throws where Redis does not answer, or with what Redis says of the user's keys. */
  connect(keys: PartitionKeys, route: ComingRoute): Promise<ConnectResult> {
    return new Promise((resolve, reject) => {
      this.#batcher.add({ kind: "coming", keys, route, resolve, reject });
    });
  }

  /** Rejects as `connect` does. */
  remove(keys: PartitionKeys, route: RouteToRemove): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#batcher.add({ kind: "leaving", keys, route, resolve, reject });
    });
  }

  async #flush(items: readonly (Coming | Leaving)[]): Promise<void> {
    const { scripts, node, limits } = this.#options;
    const leaving = items.filter((item) => item.kind === "leaving");
    const coming = items.filter((item) => item.kind === "coming");
    await Promise.all(
      scripts.together(() => [
        ...inCalls(leaving, (keys, routes) => removeRoutes(scripts, keys, routes)),
        ...inCalls(coming, (keys, routes) => connectRoutes(scripts, keys, node, routes, limits)),
      ]),
    );
  }
}

/** @returns one promise a call, which never rejects */
function inCalls<Route, Result>(
  items: readonly Waiting<Route, Result>[],
  call: (keys: PartitionKeys, routes: readonly Route[]) => Promise<(Result | Error)[]>,
): Promise<void>[] {
  return [...groupBy(items, ({ keys }) => keys)].flatMap(([keys, ofPartition]) =>
    inSlices(ofPartition, MAX_ROUTES_PER_CALL).map(async (some) => {
      try {
        const results = await call(
          keys,
          some.map(({ route }) => route),
        );
        for (const [i, { resolve, reject }] of some.entries()) {
          const result = results[i];
          if (result instanceof Error) reject(result);
          else resolve(result as Result);
        }
      } catch (error) {
        for (const { reject } of some) reject(error);
      }
    }),
  );
}
