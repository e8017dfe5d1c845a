// `petrel listen USER [--topic TOPIC …]`.
// Guarantees: a message is acknowledged only after it was written to standard output. Lines about the connection go to
// standard error, and so does a gap in a topic.
import { createInterface } from "node:readline";
import {
  PetrelClient,
  type ClosedEvent,
  type PetrelMessage,
  type Position,
  type TopicMessage,
  type TopicPresence,
} from "@petrel/client";
import { WebSocket } from "ws";
import { CliError, usageError, type ExitCode } from "../cli-error.js";
import { addressOptions, findCluster } from "../cluster-address.js";
import { fetchToken } from "../fetch-token.js";
import { type OptionValues, readArguments, wholeNumber } from "../read-arguments.js";
import { readTopicName, type TopicGrant } from "../read-topics.js";
import type { Terminal } from "../terminal.js";

export const listenOptions = {
  ...addressOptions,
  ack: { type: "string" },
  epoch: { type: "string" },
  since: { type: "string" },
  topic: { type: "string", multiple: true },
  history: { type: "boolean" },
  presence: { type: "boolean" },
  count: { type: "string" },
  json: { type: "boolean" },
} as const;

const ackModes = ["handled", "auto", "manual", "none"] as const;

export async function runListen(args: readonly string[], terminal: Terminal): Promise<ExitCode> {
  const {
    values,
    words: [userId],
  } = readArguments(args, listenOptions, ["USER"]);
  const ack = ackModes.find((mode) => mode === (values.ack ?? "handled"));
  if (ack === undefined) throw usageError(`--ack must be one of ${ackModes.join(", ")}`);
  const position = readPosition(values.epoch, wholeNumber("--since", values.since, 0));
  const count = wholeNumber("--count", values.count, 1) ?? Number.POSITIVE_INFINITY;
  const topics = readTopics(values);
  const cluster = findCluster(values, ["auth", "nodes", "key"], terminal);

  const { deliver, note, interrupted, stdin } = terminal;
  const grants = grantsFor(topics, values.presence === true);
  const request = grants.length === 0 ? { userId } : { userId, topics: grants };
  const freshToken = async (): Promise<string> =>
    (await fetchToken(cluster, request, { interrupted, sign: values.sign === true })).accessToken;
  // Get a token before the client starts. The client would retry forever, but here an unreachable cluster is an error.
  let first: string | undefined = await freshToken();
  const client = new PetrelClient({
    url: cluster.nodes,
    WebSocket,
    getToken: () => {
      const token = first ?? freshToken();
      first = undefined;
      return token;
    },
    ack: ack === "none" ? "manual" : ack,
    ...(position === undefined ? {} : { position }),
  });

  const ended = new Promise<ClosedEvent>((resolve) => client.once("closed", resolve));
  let shown = 0;
  let last: PetrelMessage | undefined;
  const show = async (shownAs: unknown, text: string): Promise<void> => {
    try {
      await deliver(values.json === true ? JSON.stringify(shownAs) : text);
    } catch {
      // The reader is gone. A handler that never finishes is never acknowledged, so the next listener gets the message.
      void client.close();
      await new Promise(() => undefined);
    }
  };
  const showMessage = async (message: PetrelMessage | TopicMessage, text: string): Promise<void> => {
    if (shown >= count) return;
    await show(message, text);
    // Not awaited: `close` waits for this handler, so that the last message is acknowledged too.
    if (++shown >= count) void client.close();
  };
  client.on("message", async (message) => {
    if (shown < count) last = message;
    await showMessage(message, describeMessage(message));
  });
  client.on("recalled", async (recalled) => {
    if (shown < count) await show({ recalled }, `#${recalled.seq} ${recalled.id} was cancelled`);
  });
  for (const topic of topics) {
    client.subscribe(topic, {
      from: values.history === true ? "oldest" : undefined,
      onMessage: (message) => showMessage(message, describeTopicMessage(message)),
      onPresence:
        values.presence === true ? (presence) => show(presence, describePresence(presence)) : undefined,
      onSubscribed: ({ epoch, offset, recovered }) =>
        note(`${topic}: epoch ${epoch}, newest ${offset}${recovered ? ", recovered" : ""}`),
      onLost: ({ after, position }) =>
        note(`${topic}: messages after ${after.offset} are lost; it continues after ${position.offset}`),
      onError: ({ code, message }) => note(`${topic}: ${code}: ${message}`),
    });
  }
  client.on("welcome", ({ node, user, epoch, after, resumed }) => {
    note(`listening as ${user} on ${node}, epoch ${epoch}, after ${after}${resumed ? ", resumed" : ""}`);
  });
  client.on("offline", ({ code, reason }) => note(`offline (${code} ${reason}), reconnecting`));
  client.on("error", ({ code, message }) => note(`${code}: ${message}`));

  const acknowledge = ack === "manual" ? readAcks(terminal, client, () => last) : undefined;
  const stop = (): void => void client.close();
  interrupted.addEventListener("abort", stop);
  client.connect();
  if (interrupted.aborted) stop();
  const { byClient, code, reason, error } = await ended;
  acknowledge?.close();
  stdin.pause();
  interrupted.removeEventListener("abort", stop);
  await client.close();
  if (byClient) return 0;
  const why = error === undefined ? reason : `${error.code}: ${error.message}`;
  throw new CliError(`closed by the server with ${code} ${why}`);
}

function readPosition(epoch: string | undefined, since: number | undefined): Position | undefined {
  if (epoch === undefined && since === undefined) return undefined;
  if (epoch === undefined || since === undefined) throw usageError("--epoch and --since go together");
  return { epoch, since };
}

function readTopics({ topic = [], history, presence }: OptionValues<typeof listenOptions>): string[] {
  if (topic.length === 0 && (history ?? presence) === true) {
    throw usageError("--history and --presence go with --topic");
  }
  return [...new Set(topic)].map((name) => readTopicName(name, { broadcast: true }));
}

/** Everybody has the broadcast, so it needs no grant. */
function grantsFor(topics: readonly string[], presence: boolean): TopicGrant[] {
  const can = presence ? ["subscribe", "presence"] : ["subscribe"];
  return topics.filter((topic) => topic !== "$all").map((topic) => ({ topic, can }));
}

function describeTopicMessage({ topic, offset, at, id, from, data }: TopicMessage): string {
  return `${topic} #${offset} ${at} ${id} ${from === undefined ? "" : `from ${from} `}${JSON.stringify(data)}`;
}

function describePresence({ topic, users, connections, here }: TopicPresence): string {
  return `${topic} has ${users} users, ${connections} connections${here === undefined ? "" : `: ${here.join(", ")}`}`;
}

function describeMessage({ seq, at, id, data }: PetrelMessage): string {
  return `#${seq} ${at} ${id} ${JSON.stringify(data)}`;
}

/** An empty line acknowledges everything shown so far; a number acknowledges up to that seq. */
function readAcks({ stdin, note }: Terminal, client: PetrelClient, last: () => PetrelMessage | undefined) {
  const lines = createInterface({ input: stdin });
  lines.on("line", (line) => {
    const message = last();
    if (message === undefined) return note("nothing to acknowledge yet");
    const seq = line.trim() === "" ? message.seq : Number(line);
    if (!Number.isSafeInteger(seq) || seq < 1 || seq > message.seq) {
      return note(`press Enter, or type a number from 1 to ${message.seq}`);
    }
    const taken = client.ack({ epoch: message.epoch, seq });
    return note(taken ? `acknowledged up to ${seq}` : "that epoch has ended: the messages will come again");
  });
  return lines;
}
