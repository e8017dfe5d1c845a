// Tests only: clients that take part in topics, and the push node that they speak to, played by the test.
// Guarantees: each test has a push node of its own; after it the clients are closed, and the console speaks again.
import { WsPeer, type PeerFrame, type PeerSocket } from "@petrel/shared/testing/peers/ws-peer";
import { afterEach, beforeEach, vi } from "vitest";
import { WebSocket } from "ws";
import {
  PetrelClient,
  type PetrelClientError,
  type PetrelClientOptions,
} from "../../clients/browser/src/client.js";

const features = ["ack", "resume", "topics", "publish"];

/** Call it once in a test file. */
export function useTopicPeer() {
  let peer: WsPeer;
  let clients: PetrelClient[] = [];
  /** What the client said on the console, in this test. */
  const toConsole: { level: string; error: PetrelClientError }[] = [];

  beforeEach(async () => {
    peer = await WsPeer.start();
    clients = [];
    toConsole.length = 0;
    for (const level of ["error", "warn"] as const) {
      vi.spyOn(console, level).mockImplementation((error: PetrelClientError) => {
        toConsole.push({ level, error });
      });
    }
  });

  afterEach(async () => {
    await Promise.all(clients.map((client) => client.close()));
    await peer.close();
    vi.restoreAllMocks();
  });

  return {
    toConsole,
    accept: (): Promise<PeerSocket> => peer.accept(),

    newClient: (options: Partial<PetrelClientOptions> = {}): PetrelClient => {
      const client = new PetrelClient({
        url: peer.url,
        getToken: () => "token",
        WebSocket,
        ...options,
        timing: { backoffBaseMs: 20, backoffCapMs: 100, ...options.timing },
      });
      clients.push(client);
      return client;
    },

    welcomed: async (client: PetrelClient, fields: PeerFrame = {}): Promise<PeerSocket> => {
      client.connect();
      const socket = await peer.accept();
      socket.welcome({ features, ...fields });
      return socket;
    },

    again: async (): Promise<PeerSocket> => {
      const socket = await peer.accept();
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
