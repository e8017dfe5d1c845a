// Tests messages that are taken back, over real sockets to a scripted push node.
// Guarantees: the application hears of each once; one that still waits for its turn is not handed over.
import { WsPeer, type PeerSocket } from "@petrel/shared/testing/peers/ws-peer";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { WebSocket } from "ws";
import { PetrelClient, type PetrelClientOptions, type RecalledMessage } from "./client.js";

let peer: WsPeer;
let clients: PetrelClient<number>[];

beforeEach(async () => {
  peer = await WsPeer.start();
  clients = [];
});
afterEach(async () => {
  await Promise.all(clients.map((client) => client.close()));
  await peer.close();
});

interface Watched {
  readonly client: PetrelClient<number>;
  readonly socket: PeerSocket;
  /** "message 1", "recalled 1", … in the order in which listeners were called. */
  readonly log: string[];
  readonly recalled: RecalledMessage[];
  /** From now on message listeners do not finish, until the returned function is called. */
  readonly hold: () => () => void;
}

async function watch(options: Partial<PetrelClientOptions> = {}): Promise<Watched> {
  const client = new PetrelClient<number>({
    url: peer.url,
    getToken: () => "token",
    WebSocket,
    timing: { backoffBaseMs: 20, backoffCapMs: 100, ackDelayMs: 1 },
    ...options,
  });
  clients.push(client);
  const log: string[] = [];
  const recalled: RecalledMessage[] = [];
  let held: Promise<void> | undefined;
  client.on("message", async ({ seq }) => {
    log.push(`message ${seq}`);
    await held;
  });
  client.on("recalled", (one) => {
    log.push(`recalled ${one.seq}`);
    recalled.push(one);
  });
  client.connect();
  const socket = await peer.accept();
  socket.welcome();
  const hold = () => {
    let release = (): void => undefined;
    held = new Promise((resolve) => (release = resolve));
    return () => {
      held = undefined;
      release();
    };
  };
  return { client, socket, log, recalled, hold };
}

const recall = (socket: PeerSocket, seq: number): void =>
  socket.send({ type: "recalled", seq, id: `m${seq}` });
const heard = (log: readonly string[], what: string) => waitFor(() => log.includes(what), { what });

describe("recalled", () => {
  it("reports the message, once, and goes on", async () => {
    const { socket, log, recalled } = await watch();
    socket.message(1);
    await heard(log, "message 1");
    recall(socket, 1);
    recall(socket, 1);
    socket.message(2);
    await heard(log, "message 2");
    expect(log).toEqual(["message 1", "recalled 1", "message 2"]);
    expect(recalled).toEqual([{ id: "m1", seq: 1, epoch: "e1" }]);
  });

  it("is reported once across connections", async () => {
    const { socket, log } = await watch();
    socket.message(1);
    recall(socket, 1);
    await heard(log, "recalled 1");
    socket.close(1012);
    const next = await peer.accept();
    next.welcome();
    recall(next, 1);
    next.message(2);
    await heard(log, "message 2");
    expect(log.filter((line) => line === "recalled 1")).toHaveLength(1);
  });

  it("a message waiting for its turn is not handed over, and is acknowledged in its turn", async () => {
    const { client, socket, log, hold } = await watch();
    const release = hold();
    for (const seq of [1, 2, 3]) socket.message(seq);
    await heard(log, "message 1");
    recall(socket, 2);
    await heard(log, "recalled 2");
    expect(client.position).toMatchObject({ since: 0 });
    release();
    await heard(log, "message 3");
    expect(log).toEqual(["message 1", "recalled 2", "message 3"]);
    await waitFor(() => client.position?.since === 3, { what: "the position" });
  });

  it("with ack: manual the position moves only by the application's acks", async () => {
    const { client, socket, log, hold } = await watch({ ack: "manual" });
    const release = hold();
    for (const seq of [1, 2]) socket.message(seq);
    await heard(log, "message 1");
    recall(socket, 2);
    await heard(log, "recalled 2");
    release();
    socket.message(3);
    await heard(log, "message 3");
    expect(log).toEqual(["message 1", "recalled 2", "message 3"]);
    expect(client.position).toMatchObject({ since: 0 });
  });

  it("a message that comes again under a new epoch is not handed over", async () => {
    const { client, socket, log, hold } = await watch();
    const release = hold();
    for (const seq of [1, 2]) socket.message(seq);
    await heard(log, "message 1");
    recall(socket, 2);
    await heard(log, "recalled 2");
    socket.close(1012);
    const next = await peer.accept();
    next.welcome({ epoch: "e2" });
    // The node has not heard of it.
    next.message(2);
    next.message(3);
    release();
    await heard(log, "message 3");
    expect(log).toEqual(["message 1", "recalled 2", "message 3"]);
    await waitFor(() => client.position?.since === 3, { what: "the position" });
  });

  it("reports a message that this client never had", async () => {
    const { socket, recalled } = await watch();
    recall(socket, 7);
    await waitFor(() => recalled.length === 1, { what: "the event" });
    expect(recalled).toEqual([{ id: "m7", seq: 7, epoch: "e1" }]);
  });
});
