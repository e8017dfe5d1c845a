// `petrel user ID`: who is connected where, which devices can be reached, the state of the inbox, and what became of
// the newest messages and why.
// Guarantees: reads only.
import { createAsk } from "../ask-service.js";
import { CliError, type ExitCode } from "../cli-error.js";
import { addressOptions } from "../cluster-address.js";
import { readArguments } from "../read-arguments.js";
import type { Terminal } from "../terminal.js";
import { describeOutcome, describeReasons } from "./describe-way.js";
import type { MessageAnswer } from "./message-answer.js";
import { readMessage } from "./why.js";

export const userOptions = {
  ...addressOptions,
  json: { type: "boolean" },
} as const;

interface User {
  readonly user: string;
  readonly connections: readonly {
    readonly id: string;
    readonly node: string;
    readonly platform: string;
    readonly connectedAt: string;
  }[];
  readonly lastSeenAt: string | null;
  readonly devices: readonly {
    readonly id: string;
    readonly platform: string;
    readonly lastSeenAt: string;
  }[];
  readonly sequence: {
    readonly epoch: string;
    readonly seq: number;
    readonly acked: number;
    readonly ackedAt?: string;
    readonly nudged: number;
    readonly offered: number;
  } | null;
  readonly nextLookAt: string | null;
  readonly stored: number;
  readonly scheduled: number;
  readonly topics: number;
  readonly recent: readonly { readonly id: string; readonly seq: number }[];
}

export async function runUser(args: readonly string[], terminal: Terminal): Promise<ExitCode> {
  const {
    values,
    words: [id],
  } = readArguments(args, userOptions, ["ID"]);
  const ask = createAsk("collect", "key", values, terminal);
  const user = (await ask("GET", `/v1/users/${encodeURIComponent(id)}`)) as unknown as User;
  if (values.json === true) terminal.print(JSON.stringify(user));
  else for (const line of describeUser(user)) terminal.print(line);
  for (const { id: message, seq } of user.recent) {
    let answer: MessageAnswer;
    try {
      answer = await readMessage(ask, message, terminal);
    } catch (error) {
      if (!(error instanceof CliError) || !error.message.startsWith("there is no message")) throw error;
      // Its record expired between the two requests.
      continue;
    }
    const why = [describeOutcome(answer), ...describeReasons(answer)];
    terminal.print(
      values.json === true
        ? JSON.stringify({ ...answer, why })
        : `  ${seq} ${message} ${answer.acceptedAt}: ${why.join(" ")}`,
    );
  }
  return 0;
}

function describeUser({
  user,
  connections,
  lastSeenAt,
  devices,
  sequence,
  nextLookAt,
  stored,
  scheduled,
  topics,
  recent,
}: User): string[] {
  const seen = lastSeenAt === null ? "" : `; last seen ${lastSeenAt}`;
  return [
    ...(connections.length === 0 ? [`${user} is not connected${seen}`] : [`${user} is connected:`]),
    ...connections.map(
      ({ id, node, platform, connectedAt }) => `  ${id} on ${node}, ${platform}, since ${connectedAt}`,
    ),
    devices.length === 0 ? "no device: nothing can be pushed but by webhook" : "devices:",
    ...devices.map(({ id, platform, lastSeenAt: at }) => `  ${id} ${platform}, seen ${at}`),
    ...(sequence === null
      ? ["there was never a message or a connection"]
      : [
          `inbox: acknowledged up to ${sequence.acked} of ${sequence.seq}` +
            `${sequence.ackedAt === undefined ? "" : `, last at ${sequence.ackedAt}`}; ${stored} stored, ` +
            `sent again up to ${sequence.nudged}, offered to the fallback up to ${sequence.offered}`,
        ]),
    nextLookAt === null ? "dispatch has nothing to do for them" : `dispatch looks next at ${nextLookAt}`,
    `${scheduled} scheduled, ${topics} kept topics`,
    ...(recent.length === 0 ? [] : ["the newest messages:"]),
  ];
}
