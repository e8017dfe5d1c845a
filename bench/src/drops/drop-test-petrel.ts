// Bench, drop test: Petrel as the target, with clients of its SDK.
// Guarantees: stored with the append-only file on, and acknowledged by the SDK after the application had it.
import { PetrelClient } from "@petrel/client";
import { startCluster } from "@petrel/shared/testing/cluster/start-cluster";
import { WebSocket } from "ws";
import type { DropTarget } from "./drop-test-run.js";

const NODES = 2;

/** So many of the newest frames of the connection before come again on the next one. */
const REPEATED_FRAMES = 5;

interface PetrelTargetOptions {
  /** As after a fault of the servers: the client then has to notice that it had these messages. */
  readonly repeatsFrames?: boolean;
  /** Where nobody measures what the services take: they share a process. */
  readonly together?: boolean;
}

export async function openPetrelTarget({
  repeatsFrames = false,
  together = false,
}: PetrelTargetOptions = {}): Promise<DropTarget> {
  const cluster = await startCluster({
    nodes: NODES,
    appendOnly: true,
    together,
    environment: { LOG_LEVEL: "warn" },
  });
  const clients: PetrelClient<{ n: number }>[] = [];
  const userOf = (index: number): string => `dropped-${index}`;
  return {
    name: "Petrel",
    pids: new Map([
      ...cluster.processes.map(({ name, pid }) => [name, pid] as const),
      ["redis", cluster.redis.pid],
    ]),
    connect: async (index, recorder) => {
      const token = await cluster.tokenFor(userOf(index));
      let socket: WebSocket | undefined;
      let newest: Buffer[] = [];
      const remember = (one: WebSocket): void => {
        socket = one;
      };
      // The client makes its sockets itself, so this one remembers the newest.
      class RememberedSocket extends WebSocket {
        constructor(url: string, protocols: string[]) {
          super(url, protocols, { perMessageDeflate: false });
          remember(this);
          this.on("open", () => recorder.opened());
          if (repeatsFrames) this.#repeatFrames();
        }

        /** Right after the welcome. Also checks what a connection promises: its numbers increase. */
        #repeatFrames(): void {
          let highest = -1;
          let isRepeat = false;
          this.on("message", (frame: Buffer) => {
            const { type, seq = 0 } = JSON.parse(frame.toString("utf8")) as { type: string; seq?: number };
            if (type === "welcome") {
              const repeated = newest;
              recorder.repeated += repeated.length;
              setImmediate(() => {
                isRepeat = true;
                for (const one of repeated) this.emit("message", one, false);
                isRepeat = false;
              });
            }
            if (type !== "message" || isRepeat) return;
            if (seq <= highest) recorder.backwards++;
            highest = seq;
            newest = [...newest, frame].slice(-REPEATED_FRAMES);
          });
        }
      }
      const urls = cluster.nodeUrls;
      const client = new PetrelClient<{ n: number }>({
        url: index % 2 === 0 ? urls : [...urls].reverse(),
        getToken: () => token,
        WebSocket: RememberedSocket,
      });
      client.on("message", ({ data }) => recorder.received(data.n));
      // Failed attempts are part of the test.
      client.on("error", () => undefined);
      clients.push(client);
      client.connect();
      await client.whenOnline();
      return {
        isConnected: () => client.state === "online" && socket?.readyState === WebSocket.OPEN,
        drop: () => socket?.terminate(),
      };
    },
    send: async (indices, n) => {
      const messages = indices.map((index) => ({ to: { user: userOf(index) }, data: { n } }));
      const { results } = (await cluster.post("/v1/messages/batch", { messages })) as {
        results: readonly { readonly error?: unknown }[];
      };
      const refused = results.find(({ error }) => error !== undefined);
      if (refused !== undefined) throw new Error(`refused: ${JSON.stringify(refused)}`);
    },
    close: async () => {
      await Promise.all(clients.map((client) => client.close()));
      await cluster.stop();
    },
  };
}
