// `petrel cancel ID`.
// Guarantees: prints only what collect has confirmed; the exit code is 1 if the message was not cancelled.
import { createAsk } from "../ask-service.js";
import type { ExitCode } from "../cli-error.js";
import { addressOptions } from "../cluster-address.js";
import { readArguments } from "../read-arguments.js";
import type { Terminal } from "../terminal.js";

export const cancelOptions = { ...addressOptions, json: { type: "boolean" } } as const;

export async function runCancel(args: readonly string[], terminal: Terminal): Promise<ExitCode> {
  const {
    values,
    words: [id],
  } = readArguments(args, cancelOptions, ["ID"]);
  const ask = createAsk("collect", "key", values, terminal);
  await ask("DELETE", `/v1/messages/${encodeURIComponent(id)}`);
  terminal.print(values.json === true ? JSON.stringify({ id, state: "cancelled" }) : `${id} cancelled`);
  return 0;
}
