// The local run: one part, started and kept running.
// Guarantees: a death before it was ready is an error. Later ones are reported and, unless it is stopping, followed by
// a restart.
import { setTimeout as sleep } from "node:timers/promises";
import { describeError } from "@petrel/shared/kernel/errors";
import { abortedByAny } from "./link-signals.js";
import { LocalRunError } from "../local-run-error.js";
import { nextRestart } from "./restart-delay.js";
import { describeExit, type RunningProcess } from "./running-process.js";

export interface SupervisedOptions {
  readonly name: string;
  readonly launch: () => Promise<RunningProcess>;
  /** Resolves when the part answers; rejects when the signal is aborted. */
  readonly untilReady: (signal: AbortSignal) => Promise<void>;
  readonly restart: boolean;
  /** The log that explains a death. */
  readonly logFile: string;
  readonly say: (line: string) => void;
  /** Called when the process changes or ends. */
  readonly onPid?: (pid: number | undefined) => void;
}

export interface SupervisedProcess {
  readonly name: string;
  readonly logFile: string;
  /**
   * Launches it and waits until it is ready; from then on it is kept running.
   * @throws LocalRunError if it dies or `deadline` is aborted before that
   */
  start(deadline: AbortSignal): Promise<void>;
  /** No more restarts; resolves when the process is gone. */
  stop(): Promise<void>;
  /** SIGKILL, for those who did not stop. */
  kill(): void;
}

export function superviseProcess(options: SupervisedOptions): SupervisedProcess {
  const { name, launch, untilReady, restart, logFile, say, onPid = () => undefined } = options;
  const stopping = new AbortController();
  let current: RunningProcess | undefined;
  let kept: Promise<void> = Promise.resolve();

  async function launchTracked(): Promise<RunningProcess> {
    const running = await launch();
    current = running;
    onPid(running.pid);
    void running.exited.then(() => {
      if (current !== running) return;
      current = undefined;
      onPid(undefined);
    });
    // The stop came while it was starting.
    if (stopping.signal.aborted) await running.stop();
    return running;
  }

  async function keepRunning(first: RunningProcess): Promise<void> {
    let running: RunningProcess | undefined = first;
    let deathsInARow = 0;
    let startedAtMs = performance.now();
    for (;;) {
      let why: string;
      if (running === undefined) why = "did not start";
      else why = `died (${describeExit(await running.exited)})`;
      if (stopping.signal.aborted) return;
      if (!restart) {
        say(`${name} … ${why} and stays dead (--no-restart); log: ${logFile}`);
        return;
      }
      const next = nextRestart(deathsInARow, performance.now() - startedAtMs);
      deathsInARow = next.deathsInARow;
      say(`${name} … ${why}, restarting in ${next.delayMs / 1000} s; log: ${logFile}`);
      await sleep(next.delayMs, undefined, { signal: stopping.signal }).catch(() => undefined);
      if (stopping.signal.aborted) return;
      startedAtMs = performance.now();
      running = await launchTracked().catch((error: unknown) => {
        say(`${name} … ${describeError(error)}`);
        return undefined;
      });
      if (running !== undefined) void announce(running, startedAtMs);
    }
  }

  async function announce(running: RunningProcess, startedAtMs: number): Promise<void> {
    const died = new AbortController();
    void running.exited.then(() => died.abort());
    await untilReady(abortedByAny(died.signal, stopping.signal)).then(
      () => say(`${name} … ready again (${secondsSince(startedAtMs)})`),
      () => undefined,
    );
  }

  return {
    name,
    logFile,
    start: async (deadline) => {
      const running = await launchTracked();
      const over = new AbortController();
      const died = running.exited.then((exit) => {
        over.abort();
        return `${name} died (${describeExit(exit)}) before it was ready`;
      });
      const ready = untilReady(abortedByAny(deadline, over.signal, stopping.signal)).then(
        () => undefined,
        () => `${name} was not ready in time`,
      );
      // `ready` is aborted by its death, so it settles after `died`.
      const problem = await Promise.race([died, ready]);
      if (problem !== undefined) throw new LocalRunError(problem);
      kept = keepRunning(running);
    },
    stop: async () => {
      stopping.abort();
      await current?.stop();
      await kept;
    },
    kill: () => {
      stopping.abort();
      current?.signal("SIGKILL");
    },
  };
}

/** Such as "0.4 s". */
export function secondsSince(startMs: number): string {
  return `${((performance.now() - startMs) / 1000).toFixed(1)} s`;
}
