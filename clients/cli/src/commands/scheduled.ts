// `petrel scheduled USER`.
// Guarantees: prints the user's scheduled messages by time, as collect reports them.
import { createAsk, readItems } from "../ask-service.js";
import type { ExitCode } from "../cli-error.js";
import { addressOptions } from "../cluster-address.js";
import { readArguments, wholeNumber } from "../read-arguments.js";
import type { Terminal } from "../terminal.js";

export const scheduledOptions = {
  ...addressOptions,
  limit: { type: "string" },
  json: { type: "boolean" },
} as const;

interface ScheduledMessage {
  readonly id: string;
  readonly deliverAt: string;
  readonly expiresAt: string;
  readonly data: unknown;
}

export async function runScheduled(args: readonly string[], terminal: Terminal): Promise<ExitCode> {
  const {
    values,
    words: [user],
  } = readArguments(args, scheduledOptions, ["USER"]);
  const limit = wholeNumber("--limit", values.limit, 1);
  const ask = createAsk("collect", "key", values, terminal);
  const path = `/v1/users/${encodeURIComponent(user)}/messages`;
  for await (const message of readItems<ScheduledMessage>(ask, path, { state: "scheduled" }, limit)) {
    const { id, deliverAt, data } = message;
    terminal.print(
      values.json === true ? JSON.stringify(message) : `${deliverAt} ${id} ${JSON.stringify(data)}`,
    );
  }
  return 0;
}
