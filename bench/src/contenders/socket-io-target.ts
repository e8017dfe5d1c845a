// Bench, drop test: Socket.IO as the target, with clients of its own library. Reconnects as fast as Petrel's SDK does
// on average; recovery is the library's own.
import { io, type Socket } from "socket.io-client";
import type { DropTarget } from "../drops/drop-test-run.js";
import { startSocketIoCluster } from "./socket-io-cluster.js";

const SERVERS = 2;

interface TransportWithSocket {
  readonly ws?: { readonly terminate?: () => void };
}

export async function openSocketIoTarget(): Promise<DropTarget> {
  const cluster = await startSocketIoCluster(SERVERS, "streams");
  const sockets: Socket[] = [];
  const userOf = (index: number): string => `dropped-${index}`;
  return {
    name: "Socket.IO",
    pids: cluster.pids,
    connect: async (index, recorder) => {
      const socket = io(`http://127.0.0.1:${cluster.ports[index % SERVERS]}`, {
        transports: ["websocket"],
        forceNew: true,
        auth: { user: userOf(index) },
        reconnectionDelay: 250,
        reconnectionDelayMax: 500,
        randomizationFactor: 1,
      });
      sockets.push(socket);
      socket.on("message", ({ n }: { n: number }) => recorder.received(n));
      recorder.opened();
      socket.io.on("open", () => recorder.opened());
      await new Promise<void>((resolve) => socket.once("connect", () => resolve()));
      return {
        isConnected: () => socket.connected,
        drop: () => (socket.io.engine.transport as unknown as TransportWithSocket).ws?.terminate?.(),
      };
    },
    send: async (indices, n) => {
      const messages = indices.map((index) => ({ to: { user: userOf(index) }, data: { n } }));
      const port = cluster.ports[(indices[0] ?? 0) % SERVERS];
      const response = await fetch(`http://127.0.0.1:${port}/`, {
        method: "POST",
        body: JSON.stringify({ messages }),
      });
      if (response.status !== 202) throw new Error(`answered ${response.status}`);
    },
    close: async () => {
      for (const socket of sockets) socket.disconnect();
      await cluster.stop();
    },
  };
}
