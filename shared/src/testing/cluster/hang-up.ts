// start-cluster -> here: closes the connections that `fetch`, `askService` and services' calls keep, before the services
// stop.
// Guarantees: requests under way are answered; the next request opens a connection of its own.
import { globalAgent } from "node:http";
import { hangUpAsked } from "./ask-service.js";

/** Where Node keeps the pool of its `fetch`: the undici package knows it by this name too. */
const POOL = Symbol.for("undici.globalDispatcher.1");

interface Pool {
  close(): Promise<void>;
}

/** A service that stops waits a moment for idle clients, who may be about to ask: a test is not. */
export function hangUp(): void {
  hangUpAsked();
  for (const sockets of Object.values(globalAgent.freeSockets))
    for (const socket of sockets ?? []) socket.destroy();
  const holder = globalThis as { [POOL]?: Pool };
  const pool = holder[POOL];
  // Nothing was fetched, or this Node keeps it elsewhere.
  if (pool === undefined) return;
  holder[POOL] = new (pool.constructor as new () => Pool)();
  pool.close().catch(() => undefined);
}
