// Tests only: the client library's clients, and the push node that they speak to, played by the test.
// Guarantees: each test has a push node of its own; after it the clients are closed, and the node is gone.
import { WsPeer, type PeerFrame, type PeerSocket } from "@petrel/shared/testing/peers/ws-peer";
import { afterEach, beforeEach, expect } from "vitest";
import { WebSocket } from "ws";
import { PetrelClient, type PetrelClientOptions } from "../../../clients/browser/src/client.js";

/** Call it once in a test file. */
export function useClientPeer<Data = unknown>() {
  let peer: WsPeer;
  let clients: PetrelClient<Data>[] = [];
  /** Why the clients asked for a token, in this test. */
  const tokenReasons: string[] = [];

  const closeClients = async (): Promise<void> => {
    await Promise.all(clients.map((client) => client.close()));
  };

  beforeEach(async () => {
    peer = await WsPeer.start();
    clients = [];
    tokenReasons.length = 0;
  });

  afterEach(async () => {
    await closeClients();
    await peer.close();
  });

  /** It tries again soon. Its tokens are "token-1", "token-2", … */
  const newClient = (options: Partial<PetrelClientOptions> = {}): PetrelClient<Data> => {
    const client = new PetrelClient<Data>({
      url: peer.url,
      getToken: ({ reason }) => {
        tokenReasons.push(reason);
        return `token-${tokenReasons.length}`;
      },
      WebSocket,
      ...options,
      timing: { backoffBaseMs: 20, backoffCapMs: 100, ...options.timing },
    });
    clients.push(client);
    return client;
  };

  return {
    tokenReasons,
    closeClients,
    newClient,
    /** The next connection that a client opens. */
    accept: (withinMs?: number): Promise<PeerSocket> => peer.accept(withinMs),
    /** How many connections the clients have opened so far. */
    acceptedCount: (): number => peer.accepted,
    peerUrl: (): string => peer.url,

    /** A new client that connects. Its long backoff is short, too. */
    started: (options: Partial<PetrelClientOptions> = {}): PetrelClient<Data> => {
      const client = newClient({ ...options, timing: { longBackoffBaseMs: 400, ...options.timing } });
      client.connect();
      return client;
    },

    /** Starts the client and welcomes it. */
    welcomed: async (client: PetrelClient<Data>, fields: PeerFrame = {}): Promise<PeerSocket> => {
      client.connect();
      const socket = await peer.accept();
      socket.welcome(fields);
      return socket;
    },
  };
}

/** Waits for the ack of this number. Acks of lower numbers may come first. */
export async function ackOf(socket: PeerSocket, seq: number): Promise<void> {
  for (;;) {
    const ack = await socket.next("ack");
    if (Number(ack["seq"]) < seq) continue;
    expect(ack).toEqual({ type: "ack", seq });
    return;
  }
}
