// Tests exactly-once under faults: a model of a user's inbox behind a push node that cuts, repeats and renumbers.
// Guarantees: under any schedule of faults, each message reaches the application once, in order, and is
// acknowledged. No ack names a message that its socket has not carried.
import { waitFor } from "@petrel/shared/testing/wait-for";
import { WsPeer, type PeerSocket } from "@petrel/shared/testing/peers/ws-peer";
import * as fc from "fast-check";
import { expect, it } from "vitest";
import { WebSocket } from "ws";
import { sized } from "../../../test/support/sizes.js";
import { PetrelClient } from "./client.js";

const MESSAGES = 30;

interface ConnectionScript {
  /** How many messages this connection carries before it ends. */
  readonly carries: number;
  /** How many of them it repeats before it ends. */
  readonly repeats: number;
  readonly newEpoch: boolean;
  /** `reopen`: the application closes the client and connects it again. */
  readonly end: "cut" | "move" | "none" | "reopen" | 1012 | 4408;
}

const faultyConnection: fc.Arbitrary<ConnectionScript> = fc.record({
  carries: fc.integer({ min: 0, max: 12 }),
  repeats: fc.integer({ min: 0, max: 4 }),
  newEpoch: fc.boolean(),
  end: fc.constantFrom("cut" as const, "move" as const, "reopen" as const, 1012 as const, 4408 as const),
});

const goodConnection: ConnectionScript = { carries: MESSAGES, repeats: 0, newEpoch: false, end: "none" };

/** The server's side. As in Petrel, numbers stay when the epoch changes. */
class Inbox {
  #epoch = 1;
  #acked = 0;
  readonly violations: string[] = [];

  get acked(): number {
    return this.#acked;
  }

  serve(socket: PeerSocket, { carries, repeats, newEpoch, end }: ConnectionScript): void {
    if (newEpoch) this.#epoch++;
    const epoch = `e${this.#epoch}`;
    const since = Number(socket.query.get("since") ?? "0");
    const resumed = socket.query.get("epoch") === epoch;
    if (resumed) this.#ack(since, MESSAGES);
    const after = resumed ? since : this.#acked;
    const last = Math.min(MESSAGES, after + carries);
    socket.onFrame = ({ type, seq }) => {
      if (type === "ack" && epoch === `e${this.#epoch}`) this.#ack(Number(seq), last);
    };
    socket.welcome({ epoch, after, resumed, seq: MESSAGES });
    for (let seq = after + 1; seq <= last; seq++) socket.message(seq);
    for (let seq = Math.max(after + 1, last - repeats); seq <= last; seq++) socket.message(seq);
    if (end === "cut") socket.cut();
    else if (end === "move") socket.send({ type: "reconnect", afterMs: 1, reason: "drain" });
    else if (end !== "none" && end !== "reopen") socket.close(end);
  }

  #ack(seq: number, sent: number): void {
    if (seq > sent) this.violations.push(`ack ${seq} of ${sent} sent`);
    this.#acked = Math.max(this.#acked, seq);
  }
}

it("holds for any schedule of faults", { timeout: 60_000 }, async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(faultyConnection, { maxLength: 8 }),
      fc.infiniteStream(fc.integer({ min: 0, max: 3 })),
      async (faults, handlerTurns) => {
        const peer = await WsPeer.start();
        const inbox = new Inbox();
        const seen: string[] = [];
        const client = new PetrelClient({
          url: peer.url,
          getToken: () => "token",
          WebSocket,
          // Shorter than some handlers take, so the client reconnects while one still runs.
          timing: { backoffBaseMs: 1, backoffCapMs: 4, ackDelayMs: 1, closeGraceMs: 2 },
        });
        client.on("message", async ({ id }) => {
          for (let turns = handlerTurns.next().value ?? 0; turns > 0; turns--) {
            await new Promise((resolve) => setTimeout(resolve, 1));
          }
          seen.push(id);
        });
        const scripts = [...faults];
        let isOver = false;
        const reopen = async (): Promise<void> => {
          await client.close();
          if (!isOver) client.connect();
        };
        peer.onAccept = (socket) => {
          const script = scripts.shift() ?? goodConnection;
          inbox.serve(socket, script);
          // Some time between the welcome and the last handler.
          if (script.end === "reopen") setTimeout(() => void reopen(), script.repeats);
        };
        try {
          client.connect();
          await waitFor(() => inbox.acked === MESSAGES, { what: "all acks", everyMs: 2 });
        } finally {
          isOver = true;
          await client.close();
          await peer.close();
        }
        expect(seen).toEqual(Array.from({ length: MESSAGES }, (_, i) => `m${i + 1}`));
        expect(inbox.violations).toEqual([]);
      },
    ),
    { numRuns: sized(60, 30) },
  );
});
