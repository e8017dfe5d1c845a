// Bench: the connected users; they count what they get and, on Petrel, acknowledge it once a turn.
// Guarantees: `until` resolves when the expected number of messages has come; nothing is counted twice by seq.
import { WebSocket } from "ws";

export interface Receivers {
  /** Messages received since the beginning. */
  readonly count: () => number;
  readonly until: (count: number, deadlineMs: number) => Promise<void>;
  readonly close: () => void;
}

export interface ReceiverOptions {
  readonly url: string;
  readonly protocols?: readonly string[];
  readonly acks: boolean;
}

const seqOf = /^\{"type":"message","id":"[^"]*","seq":(\d+)/;

export async function openReceivers(all: readonly ReceiverOptions[]): Promise<Receivers> {
  let received = 0;
  const sockets: WebSocket[] = [];
  for (const { url, protocols = [], acks } of all) {
    const socket = new WebSocket(url, [...protocols], { perMessageDeflate: false });
    sockets.push(socket);
    let newest = 0;
    let scheduled = false;
    const ready = new Promise<void>((resolve, reject) => {
      socket.once(acks ? "message" : "open", () => resolve());
      socket.once("error", reject);
    });
    socket.on("message", (data: Buffer) => {
      if (!acks) {
        received++;
        return;
      }
      const match = seqOf.exec(data.toString("latin1", 0, 80));
      if (match === null) return;
      const seq = Number(match[1]);
      if (seq !== newest + 1 && newest !== 0) throw new Error(`seq ${seq} after ${newest}`);
      newest = seq;
      received++;
      if (scheduled) return;
      scheduled = true;
      setImmediate(() => {
        scheduled = false;
        socket.send(`{"type":"ack","seq":${newest}}`);
      });
    });
    await ready;
  }
  return {
    count: () => received,
    until: async (count, deadlineMs) => {
      const end = performance.now() + deadlineMs;
      while (received < count) {
        if (performance.now() > end) throw new Error(`${received} of ${count} messages came`);
        await new Promise((resolve) => setTimeout(resolve, 2));
      }
    },
    close: () => {
      for (const socket of sockets) socket.close();
    },
  };
}
