// `petrel nodes`: the push nodes and their state.
// Guarantees: reads only.
import { createAsk } from "../ask-service.js";
import type { ExitCode } from "../cli-error.js";
import { addressOptions } from "../cluster-address.js";
import { readArguments } from "../read-arguments.js";
import type { Terminal } from "../terminal.js";

export const nodesOptions = {
  ...addressOptions,
  json: { type: "boolean" },
} as const;

export interface PushNode {
  readonly id: string;
  readonly name: string;
  readonly version?: string;
  readonly connections?: number;
  readonly draining?: boolean;
  readonly leaseEndsAt?: string;
  readonly asked: boolean;
}

export async function runNodes(args: readonly string[], terminal: Terminal): Promise<ExitCode> {
  const { values } = readArguments(args, nodesOptions, []);
  const ask = createAsk("dispatch", "adminKey", values, terminal);
  const { items } = (await ask("GET", "/v1/nodes")) as unknown as { readonly items: readonly PushNode[] };
  for (const node of items) terminal.print(values.json === true ? JSON.stringify(node) : describeNode(node));
  return 0;
}

export function describeNode({ id, version, connections, draining, leaseEndsAt, asked }: PushNode): string {
  if (version === undefined) return `${id} of a release that reports nothing about itself`;
  const state = draining === true ? ", draining" : asked ? ", asked to drain" : "";
  return `${id} ${version}, ${connections} connections${state}, lease until ${leaseEndsAt}`;
}
