// Tests only: clients that take part in topics, and the push node that they speak to, played by the test.
// Guarantees: each test has a push node of its own; after it the clients are closed, and the console speaks again.
import type { PeerFrame, PeerSocket } from "@petrel/shared/testing/peers/ws-peer";
import { afterEach, beforeEach, vi } from "vitest";
import type { PetrelClient, PetrelClientError } from "../../../clients/browser/src/client.js";
import { useClientPeer } from "./client-peer.js";

const features = ["ack", "resume", "topics", "publish"];

/** Call it once in a test file. */
export function useTopicPeer() {
  /** What the client said on the console, in this test. */
  const toConsole: { level: string; error: PetrelClientError }[] = [];

  beforeEach(() => {
    toConsole.length = 0;
    for (const level of ["error", "warn"] as const) {
      vi.spyOn(console, level).mockImplementation((error: PetrelClientError) => {
        toConsole.push({ level, error });
      });
    }
  });

  afterEach(() => {
    vi.restoreAllMocks();
  });

  // Below the hooks above. What runs after a test runs in reverse: clients close while the console is still spied on.
  const { accept, newClient, welcomed } = useClientPeer();

  return {
    toConsole,
    accept,
    newClient,

    welcomed: (client: PetrelClient, fields: PeerFrame = {}): Promise<PeerSocket> =>
      welcomed(client, { features, ...fields }),

    again: async (): Promise<PeerSocket> => {
      const socket = await accept();
      socket.welcome({ features });
      return socket;
    },
  };
}

/** The entries of the next frame of this type. */
export async function entries(socket: PeerSocket, type: "subscribe" | "unsubscribe"): Promise<unknown> {
  return (await socket.next(type))["topics"];
}

export function subscribed(socket: PeerSocket, topic: string, offset: number, fields: PeerFrame = {}): void {
  const frame = { type: "subscribed", topic, epoch: "t1", offset, oldest: 1, recovered: false };
  socket.send({ ...frame, ...fields });
}

export function say(socket: PeerSocket, topic: string, offset: number, fields: PeerFrame = {}): void {
  const at = "2030-01-01T00:00:00.000Z";
  socket.send({ type: "message", topic, id: `m${offset}`, offset, at, data: offset, ...fields });
}

/** What the client has to say to all that was sent before is here when this returns. */
export async function roundTrip(client: PetrelClient, socket: PeerSocket): Promise<void> {
  const seen = new Promise((resolve) => client.once("error", resolve));
  socket.send({ type: "error", code: "PETREL_MARK", message: "mark", action: "none", on: "nothing" });
  await seen;
}

export function refuse(socket: PeerSocket, on: string, ref: string, code: string, action = "stop"): void {
  socket.send({ type: "error", code, message: "no", action, ref, on });
}
