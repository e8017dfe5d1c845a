// Starts and stops a service's process: signals in, exit code out.
// Guarantees: parts close in reverse order of their opening, each at most once, within a deadline; a start that fails
// logs one clear line and exits 1; Node's warnings are log lines like any other.
import { ConfigError } from "../config.js";
import { describeError, PetrelError } from "../errors.js";
import type { Logger } from "../logging/logging.js";
import { pause } from "../pause.js";

const FLUSH_MS = 1_000;

export interface Lifecycle {
  /** Registers a part to close at the stop; the last registered closes first. */
  onStop(name: string, close: () => Promise<void> | void): void;
  /** Aborted when the stop begins, for loops to watch. */
  readonly stopping: AbortSignal;
  /** Begins the stop; resolves when everything is closed. */
  stop(reason: string): Promise<void>;
}

export interface LifecycleOptions {
  readonly logger: Logger;
  /** After this time the process exits with 1, even if parts are still closing. */
  readonly stopDeadlineMs: number;
  readonly exit?: (code: number) => void;
}

export function createLifecycle({
  logger,
  stopDeadlineMs,
  exit = (code) => process.exit(code),
}: LifecycleOptions): Lifecycle {
  const controller = new AbortController();
  const closers: { name: string; close: () => Promise<void> | void }[] = [];
  let stopped: Promise<void> | undefined;

  async function closeAll(reason: string): Promise<void> {
    logger.info({ reason }, "stopping");
    controller.abort();
    const deadline = setTimeout(() => {
      logger.error({ stopDeadlineMs }, "stop took too long: exiting");
      exit(1);
    }, stopDeadlineMs);
    for (const { name, close } of closers.reverse()) {
      try {
        await close();
      } catch (error) {
        logger.error({ err: error, part: name }, "closing failed");
      }
    }
    clearTimeout(deadline);
    logger.info("stopped");
  }

  return {
    onStop: (name, close) => void closers.push({ name, close }),
    stopping: controller.signal,
    stop: (reason) => (stopped ??= closeAll(reason)),
  };
}

/**
 * Runs a service's composition root until a signal ends it.
 * @param start opens the parts and registers each with the lifecycle
 */
export async function runService(
  options: Omit<LifecycleOptions, "exit">,
  start: (lifecycle: Lifecycle) => Promise<void>,
): Promise<void> {
  const { logger } = options;
  const lifecycle = createLifecycle(options);
  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    process.on(
      signal,
      () =>
        void lifecycle
          .stop(signal)
          .then(() => flushLog(logger))
          .then(() => process.exit(0)),
    );
  }
  process.on("uncaughtException", (error) => {
    // The process's state is unknown now, so stop it and leave the work to the other instances. A fatal line also
    // flushes the lines before it.
    logger.fatal({ err: error }, "uncaught exception");
    process.exit(1);
  });
  logWarnings(logger);
  try {
    await start(lifecycle);
  } catch (error) {
    // For a fault that an operator can fix, one line is enough; any other needs its stack.
    if (error instanceof PetrelError || error instanceof ConfigError || isSystemError(error)) {
      logger.fatal({ reason: error.message }, "start failed");
    } else {
      logger.fatal({ err: error }, "start failed");
    }
    process.exitCode = 1;
    await lifecycle.stop("start failed");
    await flushLog(logger);
    process.exit(1);
  }
}

/** Flushes the last lines. If the reader is too slow, the process's exit writes the rest or drops it. */
async function flushLog(logger: Logger): Promise<void> {
  const inTime = new AbortController();
  const flushed = new Promise<void>((resolve) => logger.flush(() => resolve()));
  await Promise.race([flushed, pause(FLUSH_MS, inTime.signal)]);
  inTime.abort();
}

/** Node prints warnings as plain text, which a JSON log reader cannot parse. */
function logWarnings(logger: Logger): void {
  // Node's own printer is a listener too; remove it.
  process.removeAllListeners("warning");
  process.on("warning", (warning: Error & { readonly code?: string }) => {
    const { name, code, message, stack } = warning;
    logger.warn({ warning: name, code, reason: message, stack }, "process warning");
  });
}

/** Calls `read`; a wrong configuration ends the process with one line instead of a stack. */
export function configOrExit<T>(service: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    const kind = error instanceof ConfigError ? "configuration" : "start";
    process.stderr.write(`${service}: ${kind}: ${describeError(error)}\n`);
    return process.exit(1);
  }
}

/** Such as a port that is taken (EADDRINUSE) or a file that cannot be read (EACCES). */
function isSystemError(error: unknown): error is NodeJS.ErrnoException {
  return error instanceof Error && "syscall" in error;
}
