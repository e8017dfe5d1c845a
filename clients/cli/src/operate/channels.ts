// `petrel channels list|pause|resume`: the fallback channels.
// Guarantees: `pause` and `resume` end once every dispatcher has confirmed the change, or name those that have not.
import { setTimeout as wait } from "node:timers/promises";
import type { Ask } from "../ask-service.js";
import { CliError, type ExitCode } from "../cli-error.js";
import { addressOptions } from "../cluster-address.js";
import { type Call, runAction } from "../run-action.js";
import type { Terminal } from "../terminal.js";
import { describeMs } from "../explain/describe-time.js";

export const channelsOptions = {
  ...addressOptions,
  reason: { type: "string" },
  json: { type: "boolean" },
} as const;

type ChannelsCall = Call<typeof channelsOptions>;

interface Channel {
  readonly channel: string;
  readonly paused: { readonly since: string; readonly by: string; readonly reason: string } | null;
  readonly waiting: number;
  readonly retries: number;
  readonly oldestSeconds: number;
}

interface Channels {
  readonly items: readonly Channel[];
  readonly unsorted: number;
  readonly unconfirmed: readonly string[];
}

/** Each dispatcher looks once a second. */
const CONFIRMED_WITHIN_MS = 10_000;
const POLL_MS = 300;

export const runChannels = (args: readonly string[], terminal: Terminal): Promise<ExitCode> =>
  runAction(
    {
      name: "channels",
      service: "dispatch",
      options: channelsOptions,
      actions: {
        list: { words: [], run: listChannels },
        pause: { words: ["CHANNEL"], options: ["reason"], run: (call) => change(call, "pause") },
        resume: { words: ["CHANNEL"], run: (call) => change(call, "resume") },
      },
    },
    args,
    terminal,
  );

async function listChannels({ values, terminal, ask }: ChannelsCall): Promise<ExitCode> {
  const { items, unsorted } = await read(ask);
  for (const item of items) show(item, values, terminal);
  if (values.json !== true && unsorted > 0) {
    terminal.print(`${unsorted} in the queue for all: with a single channel they are that one's`);
  }
  return 0;
}

async function change(
  { values, terminal, ask, words: [channel = ""] }: ChannelsCall,
  action: "pause" | "resume",
): Promise<ExitCode> {
  const body = values.reason === undefined ? {} : { reason: values.reason };
  await ask("POST", `/v1/channels/${encodeURIComponent(channel)}/${action}`, JSON.stringify(body));
  const endMs = performance.now() + CONFIRMED_WITHIN_MS;
  for (;;) {
    const { items, unconfirmed } = await read(ask);
    const item = items.find((one) => one.channel === channel);
    if (item !== undefined && unconfirmed.length === 0) {
      show(item, values, terminal);
      return 0;
    }
    if (performance.now() + POLL_MS > endMs) {
      throw new CliError(
        `it is ${action}d, but not confirmed by ${unconfirmed.join(", ")}: an older release, or no link to Redis`,
      );
    }
    await wait(POLL_MS, undefined, { signal: terminal.interrupted }).catch((cause: unknown) => {
      throw new CliError("interrupted", { cause });
    });
  }
}

async function read(ask: Ask): Promise<Channels> {
  return (await ask("GET", "/v1/channels")) as unknown as Channels;
}

function show(item: Channel, { json }: ChannelsCall["values"], { print }: Terminal): void {
  print(json === true ? JSON.stringify(item) : describeChannel(item));
}

function describeChannel({ channel, paused, waiting, retries, oldestSeconds }: Channel): string {
  const state =
    paused === null
      ? "sends"
      : `PAUSED since ${paused.since} by ${paused.by}${paused.reason === "" ? "" : ` (${paused.reason})`}`;
  const oldest = waiting === 0 ? "" : `, the oldest for ${describeMs(oldestSeconds * 1_000)}`;
  return `${channel} ${state}, ${waiting} waiting${oldest}, ${retries} to be tried again`;
}
