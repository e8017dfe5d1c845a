// push-node: one shared timer checks all connections: alive, not stuck, token still valid.
// Guarantees: a client that is silent for two ping intervals is disconnected. One that accepts nothing for too long
// while data waits is closed with 4408. One whose token expires is told in advance, and closed with 4401. Time in which
// this process was suspended counts against nobody.
import type { Clock } from "@petrel/shared/kernel/clock";
import type { CommonTicks } from "@petrel/shared/kernel/common-tick";
import { closeCodes } from "@petrel/shared/protocol/frames/close-codes";
import type { Connection } from "./connection.js";
import type { ConnectionRegistry } from "./connection-registry.js";
import { endsSoon, watchTokenExpiry } from "./watch-token-expiry.js";

export interface WatchDeps {
  readonly registry: ConnectionRegistry;
  readonly clock: Clock;
  readonly ticks: Pick<CommonTicks, "every">;
  readonly pingSeconds: number;
  readonly slowTimeoutMs: number;
}

const TICK_MS = 1_000;

export interface ConnectionWatch {
  readonly start: () => void;
  readonly stop: () => void;
  /** One round over all connections. */
  readonly tick: () => void;
}

export function createConnectionWatch(deps: WatchDeps): ConnectionWatch {
  const { registry, clock, pingSeconds } = deps;
  let end: (() => void) | undefined;
  let beat = 0;
  let lastTickMs: number | undefined;

  function tick(): void {
    beat++;
    const nowMs = clock.monotonicMs();
    const wallMs = clock.wallMs();
    const pausedMs = nowMs - (lastTickMs ?? nowMs) - TICK_MS;
    lastTickMs = nowMs;
    const silentSinceMs = nowMs - pingSeconds * 2_000 - TICK_MS;
    for (let slot = 0; slot < registry.slotCount; slot++) {
      // Spread by slot, so that not all are pinged in the same second.
      const isPinged = (beat + slot) % pingSeconds === 0;
      for (const connection of registry.inSlot(slot)) {
        if (pausedMs > TICK_MS) forgive(connection, pausedMs);
        if (connection.lastHeardMs < silentSinceMs) {
          // Long gone: do not expect it back.
          connection.isExpectedBack = false;
          connection.terminate();
          continue;
        }
        // Called once a second for each connection, so check the flag first: it is set for hardly any.
        if (connection.mayWait) watchProgress(connection, nowMs, deps.slowTimeoutMs);
        if (endsSoon(connection, wallMs)) watchTokenExpiry(connection, wallMs);
        if (isPinged) connection.ping();
      }
    }
  }

  return {
    start: () => {
      end ??= deps.ticks.every(TICK_MS, tick);
    },
    stop: () => end?.(),
    tick,
  };
}

/** What arrived during a suspension is read only after it: nobody was silent or slow for that long. */
function forgive(connection: Connection, pausedMs: number): void {
  connection.lastHeardMs += pausedMs;
  if (connection.stuckSinceMs !== undefined) connection.stuckSinceMs += pausedMs;
}

function watchProgress(connection: Connection, nowMs: number, slowTimeoutMs: number): void {
  if (connection.waitingBytes === 0) {
    connection.mayWait = false;
    connection.stuckSinceMs = undefined;
    return;
  }
  const mark = connection.movementMark;
  if (connection.stuckSinceMs === undefined || mark !== connection.lastMark) {
    connection.stuckSinceMs = nowMs;
    connection.lastMark = mark;
    return;
  }
  if (nowMs - connection.stuckSinceMs < slowTimeoutMs) return;
  connection.stuckSinceMs = nowMs;
  // Closing and still stuck: its close frame will never get through.
  if (!connection.isOpen) connection.terminate();
  else
    connection.fail(
      closeCodes.tooSlow,
      "PETREL_TOO_SLOW",
      "This connection read nothing for too long.",
      "resume",
    );
}
