// The local run: the port of each part.
// Guarantees: the layout of the public contract (DESIGN section 3), so that tools find the parts without asking.
import { LocalRunError } from "../local-run-error.js";

export const maxNodes = 10;
export const maxCollects = 10;
export const maxDispatchers = 10;
const SPAN = 40;
/** The span if there are further collects. */
const LONG_SPAN = 60;

export interface LocalPorts {
  readonly console: number;
  readonly auth: number;
  /** One for each collect. */
  readonly collects: readonly number[];
  /** The APNs simulator's control API. */
  readonly apnsControl: number;
  /** The WeChat simulator: WeChat's interfaces and its control API. */
  readonly wechat: number;
  /** Where the APNs simulator accepts pushes. */
  readonly apnsTls: number;
  /** The Web Push simulator: its control API, and where it accepts pushes. */
  readonly webPush: number;
  readonly redis: number;
  /** One for each push node. */
  readonly nodes: readonly number[];
  /** One for each dispatcher. */
  readonly dispatchers: readonly number[];
  /** Internal listeners with /metrics, of the services that face users. */
  readonly metrics: {
    readonly auth: number;
    readonly collects: readonly number[];
    readonly nodes: readonly number[];
  };
}

/**
 * @param base PETREL_PORT_BASE from the environment; 7100 if unset
 * @throws LocalRunError if it is not a port, or too high for the others to follow
 */
export function assignPorts(
  base: string | undefined,
  {
    nodes,
    collects,
    dispatchers,
  }: { readonly nodes: number; readonly collects: number; readonly dispatchers: number },
): LocalPorts {
  const span = collects > 1 ? LONG_SPAN : SPAN;
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
    collects: [first + 2, ...row(40, collects - 1)],
    apnsControl: first + 4,
    wechat: first + 5,
    apnsTls: first + 6,
    // After the last possible dispatcher.
    webPush: first + 29,
    redis: first + 9,
    nodes: row(10, nodes),
    dispatchers: [first + 3, ...row(20, dispatchers - 1)],
    metrics: {
      auth: first + 8,
      collects: [first + 7, ...row(50, collects - 1)],
      nodes: row(30, nodes),
    },
  };
}

export const originOf = (port: number): string => `http://127.0.0.1:${port}`;

/** A single collect has no number. */
export function collectName({ collects }: LocalPorts, index: number): string {
  return collects.length === 1 ? "collect" : `collect-${index + 1}`;
}

/** Full WebSocket URLs of the push nodes. */
export function nodeUrls({ nodes }: LocalPorts): string[] {
  return nodes.map((port) => `ws://127.0.0.1:${port}/v1/connect`);
}
