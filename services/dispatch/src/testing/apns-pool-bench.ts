// Tests only: an APNs client with bare HTTP/2 servers.
// Guarantees: `close()` stops everything that the bench has opened.
import { randomUUID } from "node:crypto";
import { setMaxListeners } from "node:events";
import { createLogger } from "@petrel/shared/kernel/logging/logging";
import type { ApnsRequest, ApnsResult } from "../channels/apns/connection/apns-exchange.js";
import { ApnsPool, type ApnsPoolOptions } from "../channels/apns/connection/apns-pool.js";
import { answer, startApnsServer, type ApnsServer, type ApnsServerRequest } from "./apns-server.js";

const logger = createLogger({ service: "test", level: "silent" });

/** A signal that is never aborted. Every request in progress listens to it. */
export const never: AbortSignal = new AbortController().signal;
setMaxListeners(0, never);

export function ok(request: ApnsServerRequest): void {
  answer(request);
}

export class ApnsPoolBench {
  readonly #cleanUps: (() => Promise<void>)[] = [];

  async serve(...parts: Parameters<typeof startApnsServer>): Promise<ApnsServer> {
    const server = await startApnsServer(...parts);
    this.onClose(server.stop);
    return server;
  }

  open(server: Pick<ApnsServer, "endpoint" | "ca">, options: Partial<ApnsPoolOptions> = {}): ApnsPool {
    let minted = 0;
    const pool = new ApnsPool({
      endpoint: server.endpoint,
      ca: server.ca,
      connections: 1,
      reconnectBaseMs: 10,
      reconnectCapMs: 50,
      auth: {
        kind: "token",
        tokens: {
          current: () => Promise.resolve(`token-${minted}`),
          replace: () => Promise.resolve(`token-${++minted}`),
        },
      },
      logger,
      ...options,
    });
    this.onClose(() => pool.close());
    return pool;
  }

  /** The last registered closes first. */
  onClose(close: () => Promise<void>): void {
    this.#cleanUps.push(close);
  }

  async close(): Promise<void> {
    for (const cleanUp of this.#cleanUps.splice(0).reverse()) await cleanUp();
  }
}

export function push(id: string = randomUUID()): ApnsRequest {
  return {
    path: "/3/device/aabb",
    headers: { "apns-id": id, "apns-topic": "app.petrel", "apns-push-type": "alert" },
    body: Buffer.from('{"aps":{"alert":"hello"}}'),
  };
}

export function sendMany(pool: ApnsPool, count: number): Promise<ApnsResult[]> {
  return Promise.all(Array.from({ length: count }, () => pool.send(push(), never)));
}

export function statuses(results: readonly ApnsResult[]): (number | string)[] {
  return results.map((result) => (result.kind === "answered" ? result.status : result.kind));
}
