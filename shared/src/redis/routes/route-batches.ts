// push-node/node-routes -> here -> {connect-routes, route-store}: batches the connections that come and go in one
// turn of the event loop.
// Guarantees: one call per partition, all in one write, without waiting for a call in progress. Closed connections are
// removed before new ones are added. In a crowd a connect lingers 2 ms; a removal with a grace lease lingers 5 ms, or
// 40 ms in a crowd, unless others go before. A user whose keys Redis refuses delays nobody else.
import { groupBy } from "../../kernel/group-by.js";
import { inSlices } from "../../kernel/in-slices.js";
import { type Clock, systemClock } from "../../kernel/clock.js";
import { RandomText } from "../../kernel/random-text.js";
import type { PartitionKeys } from "../keys.js";
import type { ScriptRunner } from "../scripts/script-runner.js";
import {
  connectRoutes,
  MAX_ROUTES_PER_CALL,
  SEED_BYTES,
  type ConnectResult,
  type RouteLimits,
  type RouteToConnect,
} from "./connect-routes.js";
import { removeRoutes, type RouteToRemove } from "./route-store.js";

type ComingRoute = Omit<RouteToConnect, "node">;

interface Waiting<Route, Result> {
  readonly keys: PartitionKeys;
  readonly route: Route;
  readonly resolve: (result: Result) => void;
  readonly reject: (error: unknown) => void;
}

type Coming = Waiting<ComingRoute, ConnectResult>;
type Leaving = Waiting<RouteToRemove, void>;

export interface RouteBatchesOptions {
  readonly scripts: ScriptRunner;
  readonly node: string;
  readonly limits: RouteLimits;
  /** Whether to send at once because this process is about to end. */
  readonly isStopping: () => boolean;
  readonly clock?: Clock;
}

/** A crowd: less than this has passed since the last call. */
const CROWD_MS = 5;
const LINGER_MS = 2;
/** The grace lease lasts for seconds, so this delays no push to a phone. */
const LEAVING_MS = 5;
/** The same in a crowd: less than twice this has passed since the last call. */
const LEAVING_IN_CROWD_MS = 40;
const FULL = 2 * MAX_ROUTES_PER_CALL;

export class RouteBatches {
  readonly #options: RouteBatchesOptions;
  readonly #clock: Clock;
  readonly #seeds = new RandomText(SEED_BYTES);
  #coming: Coming[] = [];
  #leaving: Leaving[] = [];
  #sentAtMs = Number.NEGATIVE_INFINITY;
  #isDueThisTurn = false;
  #timer: NodeJS.Timeout | undefined;
  #dueAtMs = Number.POSITIVE_INFINITY;

  constructor(options: RouteBatchesOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
  }

  /** Rejects with what ioredis throws if Redis does not answer, or with Redis's error about the user's keys. */
  connect(keys: PartitionKeys, route: ComingRoute): Promise<ConnectResult> {
    return new Promise((resolve, reject) => {
      this.#coming.push({ keys, route, resolve, reject });
      this.#schedule(this.#lingerMs());
    });
  }

  /** Rejects as `connect` does. */
  remove(keys: PartitionKeys, route: RouteToRemove): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#leaving.push({ keys, route, resolve, reject });
      this.#schedule(route.graceMs > 0 ? this.#leavingMs() : this.#lingerMs());
    });
  }

  #lingerMs(): number {
    return this.#clock.monotonicMs() - this.#sentAtMs < CROWD_MS ? LINGER_MS : 0;
  }

  #leavingMs(): number {
    const sinceMs = this.#clock.monotonicMs() - this.#sentAtMs;
    return sinceMs < 2 * LEAVING_IN_CROWD_MS ? LEAVING_IN_CROWD_MS : LEAVING_MS;
  }

  #schedule(inMs: number): void {
    if (this.#isDueThisTurn) return;
    const isFull = this.#coming.length + this.#leaving.length >= FULL;
    if (inMs === 0 || isFull || this.#options.isStopping()) {
      this.#isDueThisTurn = true;
      // After the poll phase: everything that arrived together is in by then.
      setImmediate(() => void this.#send());
      return;
    }
    const dueAtMs = this.#clock.monotonicMs() + inMs;
    if (this.#timer !== undefined && dueAtMs >= this.#dueAtMs) return;
    clearTimeout(this.#timer);
    this.#dueAtMs = dueAtMs;
    this.#timer = setTimeout(() => void this.#send(), inMs);
  }

  async #send(): Promise<void> {
    const { scripts, node, limits } = this.#options;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#dueAtMs = Number.POSITIVE_INFINITY;
    this.#isDueThisTurn = false;
    const leaving = this.#leaving;
    const coming = this.#coming;
    if (leaving.length + coming.length === 0) return;
    this.#leaving = [];
    this.#coming = [];
    this.#sentAtMs = this.#clock.monotonicMs();
    await Promise.all(
      scripts.together(() => [
        ...inCalls(leaving, (keys, routes) => removeRoutes(scripts, keys, routes)),
        ...inCalls(coming, (keys, routes) =>
          connectRoutes(scripts, keys, node, routes, limits, this.#seeds.next()),
        ),
      ]),
    );
  }
}

/** @returns one promise per call, which never rejects */
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
