// chaos: users with the client library, each with one client or two; every frame and message is recorded.
// Guarantees: all are online when the call returns; they reconnect by the library's own rules, only faster.
import { setTimeout as sleep } from "node:timers/promises";
import { PetrelClient } from "@petrel/client";
import { createRecordingSocket, ReadingGate } from "@petrel/shared/testing/peers/recording-socket";
import type { MessageRecorder } from "@petrel/shared/testing/peers/message-recorder";
import { waitFor } from "@petrel/shared/testing/wait-for";

export interface RecordedUsersOptions {
  readonly recorder: MessageRecorder;
  readonly users: readonly string[];
  /** Those with a second device. */
  readonly phoneOwners?: readonly string[];
  /** Push nodes, up to /v1/connect; users are spread over them, and move on to the next after a failure. */
  readonly urls: readonly string[];
  readonly tokenFor: (user: string) => Promise<string>;
  /** The topics that each of a user's devices subscribes to; none by default. */
  readonly topicsOf?: (user: string) => readonly string[];
  /** The client library of the n-th device, such as another release's. */
  readonly libraryOf?: (turn: number) => typeof PetrelClient;
}

export interface RecordedUsers {
  readonly countOnline: () => number;
  /** Users whose client was told to stop, and why: no fault may do that. */
  readonly stopped: () => readonly string[];
  readonly allOnline: (deadlineMs: number) => Promise<void>;
  /**
   * The user's second device reads nothing: its sockets stay open, and fill up.
   * @returns lets it read again
   */
  readonly lagPhoneOf: (user: string) => () => void;
  /** The sockets of the user's devices end at once, as when a phone changes its network. */
  readonly cutOff: (user: string) => void;
  /** The user is about to be erased, so their clients may be told to stop. */
  readonly expectErasure: (user: string) => void;
  /** An erased person signs in again with new devices, which know nothing of the old ones. */
  readonly comeBack: (user: string) => void;
  readonly close: () => Promise<void>;
}

interface Device {
  readonly name: string;
  readonly user: string;
  readonly client: PetrelClient;
  readonly gate: ReadingGate;
  mayBeStopped: boolean;
  wasStopped: boolean;
}

/** A test cannot wait for minutes, and has no crowd to spread. */
const TIMING = {
  backoffBaseMs: 100,
  backoffCapMs: 1_000,
  longBackoffBaseMs: 500,
  longBackoffCapMs: 2_000,
  connectTimeoutMs: 4_000,
  tokenTimeoutMs: 4_000,
  closeGraceMs: 500,
} as const;
const FIRST_ONLINE_MS = 60_000;
/** One user in this many has a slow application, so that a fault finds it at work, with messages sent to it again. */
const SLOW_ONE_IN = 3;
const SLOW_HANDLER_MS = 200;

export async function connectRecordedUsers(options: RecordedUsersOptions): Promise<RecordedUsers> {
  const { recorder, users, phoneOwners = [], urls, tokenFor, libraryOf = () => PetrelClient } = options;
  const { topicsOf = () => [] } = options;
  const stopped: string[] = [];
  const devices: Device[] = [];
  const lives = new Map<string, number>();

  const connect = (user: string, name: string, turn: number, isSlow: boolean): void => {
    const gate = new ReadingGate();
    const Client = libraryOf(turn);
    const client = new Client({
      url: urls.map((_, j) => urls[(turn + j) % urls.length] ?? ""),
      getToken: () => tokenFor(user),
      WebSocket: createRecordingSocket(recorder, name, gate),
      timing: TIMING,
    });
    const device: Device = { name, user, client, gate, mayBeStopped: false, wasStopped: false };
    client.on("message", async ({ id, seq, epoch, data }) => {
      recorder.wasHandled({ client: name, user, id, seq, epoch }, data);
      if (isSlow) await sleep(SLOW_HANDLER_MS);
    });
    client.on("closed", ({ code, reason, byClient }) => {
      if (byClient) return;
      device.wasStopped = true;
      if (!device.mayBeStopped) stopped.push(`${name}: ${code} ${reason}`);
    });
    for (const topic of topicsOf(user)) {
      client.subscribe(topic, {
        onMessage: (message) => recorder.topicMessageWasHandled(name, message),
        onLost: () => recorder.topics.toldOfHole(name, topic),
      });
    }
    // Faults make attempts fail; the client goes on by itself, and the checker judges the outcome.
    client.on("error", () => undefined);
    client.connect();
    devices.push(device);
  };

  for (const [i, user] of users.entries()) connect(user, user, i, i % SLOW_ONE_IN === 0);
  for (const user of phoneOwners) connect(user, phoneOf(user), users.indexOf(user) + 1, false);
  // A client told to stop does not come back: that is judged, not waited for.
  const expected = (): Device[] =>
    devices.filter(({ mayBeStopped, wasStopped }) => !mayBeStopped && !wasStopped);
  const countOnline = (): number => expected().filter(({ client }) => client.state === "online").length;
  const allOnline = async (deadlineMs: number): Promise<void> => {
    await waitFor(() => countOnline() === expected().length, {
      what: `${expected().length} clients to be online`,
      deadlineMs,
      everyMs: 50,
    });
  };
  await allOnline(FIRST_ONLINE_MS);
  return {
    countOnline,
    stopped: () => stopped,
    allOnline,
    lagPhoneOf: (user) => {
      const phone = devices.find(({ name }) => name === phoneOf(user));
      if (phone === undefined) throw new Error(`${user} has no second device`);
      phone.gate.shut();
      return () => phone.gate.open();
    },
    cutOff: (user) => {
      for (const device of devices) if (device.user === user) device.gate.cut();
    },
    expectErasure: (user) => {
      for (const device of devices) if (device.user === user) device.mayBeStopped = true;
    },
    comeBack: (user) => {
      const life = (lives.get(user) ?? 1) + 1;
      lives.set(user, life);
      connect(user, `${user} life ${life}`, life, false);
    },
    close: async () => {
      for (const { gate } of devices) gate.open();
      await Promise.all(devices.map(({ client }) => client.close()));
    },
  };
}

function phoneOf(user: string): string {
  return `${user} phone`;
}
