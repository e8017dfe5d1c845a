// Tests only: a TCP proxy between two processes that does to their link what networks do.
// Guarantees: real sockets at both ends, so each sees what a real fault would show; a fault applies to new connections
// too, until `heal`.
import { once } from "node:events";
import { createServer, type AddressInfo } from "node:net";
import { FaultLink, type LinkConditions, type LinkDirection } from "./fault-link.js";

export interface FaultProxyOptions {
  /** On 127.0.0.1. */
  readonly targetPort: number;
}

export interface FaultProxy {
  readonly port: number;
  /** The number of client connections now. */
  readonly connections: () => number;
  /** Closes every connection with FIN, and each new one at once. */
  readonly cut: () => void;
  /** As `cut`, with RST. */
  readonly reset: () => void;
  /**
   * Keeps sockets open and forwards nothing, without FIN or RST; new connections hang. After `heal`, what was held back
   * goes on, stream ends included, as TCP would retransmit it.
   * @param directions both by default
   */
  readonly stall: (...directions: readonly LinkDirection[]) => void;
  /** Applies to what comes from now on. */
  readonly slow: (how: { readonly latencyMs?: number; readonly bytesPerSecond?: number }) => void;
  readonly heal: () => void;
  readonly stop: () => Promise<void>;
}

const HEALTHY: LinkConditions = Object.freeze({
  stalled: new Set<LinkDirection>(),
  latencyMs: 0,
  bytesPerSecond: Number.POSITIVE_INFINITY,
});

export async function startFaultProxy({ targetPort }: FaultProxyOptions): Promise<FaultProxy> {
  const links = new Set<FaultLink>();
  let conditions = HEALTHY;
  let refusal: "close" | "reset" | undefined;

  const server = createServer({ allowHalfOpen: true }, (client) => {
    if (refusal !== undefined) {
      client.on("error", () => undefined);
      if (refusal === "close") client.destroy();
      else client.resetAndDestroy();
      return;
    }
    const link: FaultLink = new FaultLink(
      client,
      targetPort,
      () => conditions,
      () => links.delete(link),
    );
    links.add(link);
  });
  server.listen({ port: 0, host: "127.0.0.1" });
  await once(server, "listening");

  const change = (next: LinkConditions): void => {
    conditions = next;
    refusal = undefined;
    for (const link of links) link.proceed();
  };
  const end = (how: "close" | "reset"): void => {
    change(HEALTHY);
    refusal = how;
    for (const link of links) link[how]();
  };
  return {
    port: (server.address() as AddressInfo).port,
    connections: () => links.size,
    cut: () => end("close"),
    reset: () => end("reset"),
    stall: (...directions) =>
      change({
        ...conditions,
        stalled: new Set<LinkDirection>(directions.length === 0 ? ["toTarget", "toClient"] : directions),
      }),
    slow: ({ latencyMs = 0, bytesPerSecond = Number.POSITIVE_INFINITY }) =>
      change({ stalled: new Set(), latencyMs, bytesPerSecond }),
    heal: () => change(HEALTHY),
    stop: async () => {
      for (const link of links) link.close();
      server.close();
      await once(server, "close");
    },
  };
}
