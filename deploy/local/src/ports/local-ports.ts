// The local run: which port each part has.
// Guarantees: the layout of the public contract (DESIGN section 3), so that tools find the parts without asking.
import { LocalRunError } from "../local-run-error.js";

export const maxNodes = 10;
export const maxDispatchers = 10;
const span = 40;

export interface LocalPorts {
  readonly console: number;
  readonly auth: number;
  readonly collect: number;
  /** The APNs simulator's control API. */
  readonly apnsControl: number;
  /** Where the APNs simulator takes pushes. */
  readonly apnsTls: number;
  readonly redis: number;
  /** One for each push node. */
  readonly nodes: readonly number[];
  /** One for each dispatcher. */
  readonly dispatchers: readonly number[];
  /** Internal listeners with /metrics, of the services that face users. */
  readonly metrics: { readonly auth: number; readonly collect: number; readonly nodes: readonly number[] };
}

/**
 * @param base PETREL_PORT_BASE as it is in the environment; 7100 where it is unset
 * @throws LocalRunError where it is no port, or too high for the others to follow
 */
export function assignPorts(
  base: string | undefined,
  { nodes, dispatchers }: { readonly nodes: number; readonly dispatchers: number },
): LocalPorts {
  const first = base === undefined || base === "" ? 7100 : Number(base);
  if (!Number.isInteger(first) || first < 1 || first > 65_536 - span) {
    throw new LocalRunError(
      `PETREL_PORT_BASE must be a port from 1 to ${65_536 - span}, not ${JSON.stringify(base)}`,
    );
  }
  const row = (offset: number, count: number): number[] =>
    Array.from({ length: count }, (_, i) => first + offset + i);
  return {
    console: first,
    auth: first + 1,
    collect: first + 2,
    apnsControl: first + 4,
    apnsTls: first + 6,
    redis: first + 9,
    nodes: row(10, nodes),
    dispatchers: [first + 3, ...row(20, dispatchers - 1)],
    metrics: { collect: first + 7, auth: first + 8, nodes: row(30, nodes) },
  };
}

export const originOf = (port: number): string => `http://127.0.0.1:${port}`;

/** Full WebSocket URLs of the push nodes. */
export function nodeUrls({ nodes }: LocalPorts): string[] {
  return nodes.map((port) => `ws://127.0.0.1:${port}/v1/connect`);
}
