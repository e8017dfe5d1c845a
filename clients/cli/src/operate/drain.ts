// `petrel drain NODE`: asks a push node to drain, or withdraws that, and waits until the node confirms it.
// Guarantees: never hangs: if a node does not confirm in time, the error says what the reason may be.
import { setTimeout as pause } from "node:timers/promises";
import { type Ask, createAsk } from "../ask-service.js";
import { CliError, type ExitCode, usageError } from "../cli-error.js";
import { addressOptions } from "../cluster-address.js";
import { readArguments, wholeNumber } from "../read-arguments.js";
import type { Terminal } from "../terminal.js";
import { describeNode, type PushNode } from "./nodes.js";

export const drainOptions = {
  ...addressOptions,
  undo: { type: "boolean" },
  force: { type: "boolean" },
  wait: { type: "boolean" },
  "wait-seconds": { type: "string" },
  json: { type: "boolean" },
} as const;

/** A node reports every two seconds (NODE_TTL_MS / 3). */
const CONFIRMED_WITHIN_MS = 20_000;
const DEFAULT_WAIT_SECONDS = 120;
const POLL_MS = 500;

export async function runDrain(args: readonly string[], terminal: Terminal): Promise<ExitCode> {
  const {
    values,
    words: [wanted],
  } = readArguments(args, drainOptions, ["NODE"]);
  const waitSeconds = wholeNumber("--wait-seconds", values["wait-seconds"], 1) ?? DEFAULT_WAIT_SECONDS;
  const isOn = values.undo !== true;
  if (!isOn && (values.wait === true || values.force === true)) throw usageError("--undo goes alone");
  const ask = createAsk("dispatch", "adminKey", values, terminal);
  const { id } = await findNode(ask, wanted);
  const path = `/v1/nodes/${encodeURIComponent(id)}/drain`;
  if (isOn) await ask("POST", path, JSON.stringify(values.force === true ? { force: true } : {}));
  else await ask("DELETE", path);
  const node = await untilNode(ask, id, CONFIRMED_WITHIN_MS, terminal, (one) => one.draining === isOn);
  if (node === undefined) {
    throw new CliError(
      `${id} has not ${isOn ? "begun to drain" : "come back"} within ${CONFIRMED_WITHIN_MS / 1_000} s: has it lost its link to Redis, or is it stopping? ` +
        (isOn ? "The request stands: --undo undoes it." : "Nothing is asked of it any more."),
    );
  }
  show(node, values.json === true, terminal);
  if (values.wait !== true) return 0;
  const empty = await untilNode(ask, id, waitSeconds * 1_000, terminal, (one) => one.connections === 0);
  if (empty === undefined) throw new CliError(`${id} still has connections after ${waitSeconds} s`);
  show(empty, values.json === true, terminal);
  return 0;
}

function show(node: PushNode, isJson: boolean, { print }: Terminal): void {
  print(isJson ? JSON.stringify(node) : describeNode(node));
}

async function listNodes(ask: Ask): Promise<readonly PushNode[]> {
  return ((await ask("GET", "/v1/nodes"))["items"] ?? []) as readonly PushNode[];
}

/** By its id, or by its name if only one node has it. */
async function findNode(ask: Ask, wanted: string): Promise<PushNode> {
  const nodes = await listNodes(ask);
  const exact = nodes.find(({ id }) => id === wanted);
  if (exact !== undefined) return exact;
  const [found, another] = nodes.filter(({ name }) => name === wanted);
  if (found === undefined) {
    const ids = nodes.map(({ id }) => id).join(", ");
    throw new CliError(`there is no node ${wanted}; there are: ${ids === "" ? "none" : ids}`);
  }
  // While a node is replaced, both may be alive for a moment.
  if (another !== undefined)
    throw new CliError(`several nodes are named ${wanted}: ${found.id}, ${another.id}`);
  return found;
}

/** @returns undefined if it does not happen in time, or the node is gone for another reason */
async function untilNode(
  ask: Ask,
  id: string,
  deadlineMs: number,
  { interrupted }: Terminal,
  isThere: (node: PushNode) => boolean,
): Promise<PushNode | undefined> {
  const endMs = performance.now() + deadlineMs;
  for (;;) {
    const node = (await listNodes(ask)).find((one) => one.id === id);
    if (node !== undefined && isThere(node)) return node;
    if (performance.now() + POLL_MS > endMs) return undefined;
    await pause(POLL_MS, undefined, { signal: interrupted }).catch((cause: unknown) => {
      throw new CliError("interrupted", { cause });
    });
  }
}
