// chaos: users with the client library, each with one client, whose every frame and message is recorded.
// Guarantees: all are online when they are returned; they reconnect by the library's own rules, only quicker.
import { setTimeout as sleep } from "node:timers/promises";
import { PetrelClient } from "@petrel/client";
import { createRecordingSocket } from "@petrel/shared/testing/recording-socket";
import type { MessageRecorder } from "@petrel/shared/testing/message-recorder";
import { waitFor } from "@petrel/shared/testing/wait-for";

export interface RecordedUsersOptions {
  readonly recorder: MessageRecorder;
  readonly users: readonly string[];
  /** Push nodes, up to /v1/connect; the users are spread over them, and move on to the next after a failure. */
  readonly urls: readonly string[];
  readonly tokenFor: (user: string) => Promise<string>;
}

export interface RecordedUsers {
  readonly countOnline: () => number;
  /** Users whose client was told to stop, and why: no fault may do that. */
  readonly stopped: () => readonly string[];
  readonly allOnline: (deadlineMs: number) => Promise<void>;
  readonly close: () => Promise<void>;
}

/** A test has no minutes to wait, and no crowd to spread. */
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
/** Every so many users, one whose application takes its time: a fault finds it at work, and what it has sent again. */
const SLOW_ONE_IN = 3;
const SLOW_HANDLER_MS = 200;

export async function connectRecordedUsers(options: RecordedUsersOptions): Promise<RecordedUsers> {
  const { recorder, users, urls, tokenFor } = options;
  const stopped: string[] = [];
  const clients = users.map((user, i) => {
    const client = new PetrelClient({
      url: urls.map((_, j) => urls[(i + j) % urls.length] ?? ""),
      getToken: () => tokenFor(user),
      WebSocket: createRecordingSocket(recorder, user),
      timing: TIMING,
    });
    client.on("message", async ({ id, seq, epoch, data }) => {
      recorder.wasHandled({ client: user, user, id, seq, epoch }, data);
      if (i % SLOW_ONE_IN === 0) await sleep(SLOW_HANDLER_MS);
    });
    client.on("closed", ({ code, reason, byClient }) => {
      if (!byClient) stopped.push(`${user}: ${code} ${reason}`);
    });
    // Faults make attempts fail: the client goes on by itself, and the checker judges what comes of it.
    client.on("error", () => undefined);
    client.connect();
    return client;
  });
  const countOnline = (): number => clients.filter(({ state }) => state === "online").length;
  const allOnline = async (deadlineMs: number): Promise<void> => {
    await waitFor(() => countOnline() === clients.length, {
      what: `${clients.length} clients to be online`,
      deadlineMs,
      everyMs: 50,
    });
  };
  await allOnline(FIRST_ONLINE_MS);
  return {
    countOnline,
    stopped: () => stopped,
    allOnline,
    close: async () => {
      await Promise.all(clients.map((client) => client.close()));
    },
  };
}
