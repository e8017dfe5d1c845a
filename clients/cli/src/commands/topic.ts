// `petrel topic TOPIC`.
// Guarantees: reads only; prints where the topic stands, and who is there if its rule has that counted.
import { createAsk, readItems } from "../ask-service.js";
import type { ExitCode } from "../cli-error.js";
import { addressOptions } from "../cluster-address.js";
import { readArguments } from "../read-arguments.js";
import { readTopicName } from "../read-topics.js";
import type { Terminal } from "../terminal.js";

export const topicOptions = {
  ...addressOptions,
  messages: { type: "boolean" },
  json: { type: "boolean" },
} as const;

interface Head {
  readonly topic: string;
  readonly epoch: string | null;
  readonly offset: number;
  readonly oldest: number;
  readonly messages: number;
  readonly users: number | null;
  readonly connections: number | null;
}

interface Present {
  readonly user: string;
  readonly connections: number;
  readonly since: string;
}

interface Kept {
  readonly id: string;
  readonly offset: number;
  readonly at: string;
  readonly from?: string;
  readonly data: unknown;
}

export async function runTopic(args: readonly string[], terminal: Terminal): Promise<ExitCode> {
  const {
    values,
    words: [name],
  } = readArguments(args, topicOptions, ["TOPIC"]);
  const topic = readTopicName(name, { broadcast: true });
  const ask = createAsk("collect", "key", values, terminal);
  const path = `/v1/topics/${encodeURIComponent(topic)}`;
  const show = <Item>(item: Item, describe: (item: Item) => string): void =>
    terminal.print(values.json === true ? JSON.stringify(item) : describe(item));
  const head = (await ask("GET", path)) as unknown as Head;
  show(head, describeHead);
  if (head.users !== null) {
    for await (const one of readItems<Present>(ask, `${path}/presence`)) show(one, describePresent);
  }
  if (values.messages !== true) return 0;
  for (let after = head.oldest - 1; ;) {
    const page = await ask("GET", `${path}/messages?after=${after}`);
    const items = (page["items"] ?? []) as readonly Kept[];
    for (const item of items) show(item, describeKept);
    // A page may be empty although more follow, because expired messages are left out.
    const { nextAfter } = page;
    if (typeof nextAfter !== "number" || nextAfter <= after) return 0;
    after = nextAfter;
  }
}

function describeHead(head: Head): string {
  const { topic, epoch, offset, oldest, messages, users, connections } = head;
  const kept = messages === 0 ? "none kept" : `${messages} kept from ${oldest}`;
  const log = epoch === null ? "never used" : `epoch ${epoch}, offset ${offset}, ${kept}`;
  const there = users === null ? "" : `; ${users} users, ${connections} connections`;
  return `${topic}: ${log}${there}`;
}

function describePresent({ user, connections, since }: Present): string {
  return `${user} ${connections} connections, since ${since}`;
}

function describeKept({ id, offset, at, from, data }: Kept): string {
  return `#${offset} ${at} ${id} ${from === undefined ? "" : `from ${from} `}${JSON.stringify(data)}`;
}
