// The local run: what asks it to stop: Ctrl-C, SIGTERM, a closing terminal, npm's death.
// Guarantees: the first asks for a clean stop, a second one for an instant stop. One key press never counts as both.

export interface Interrupts {
  readonly stopAsked: AbortSignal;
  readonly killAsked: AbortSignal;
}

/** The parts of the process that are needed here. */
export interface SignalHost {
  on(signal: NodeJS.Signals, listener: () => void): unknown;
  readonly ppid: number;
}

// npm passes on the SIGINT that the terminal has already sent us.
const samePressMs = 400;
const parentCheckMs = 500;

/** @param startedByNpm npm does not tell us when it is killed, so its death counts as SIGTERM */
export function watchInterrupts(host: SignalHost, startedByNpm: boolean): Interrupts {
  const stop = new AbortController();
  const kill = new AbortController();
  let firstAtMs: number | undefined;
  const interrupt = (): void => {
    const nowMs = performance.now();
    firstAtMs ??= nowMs;
    stop.abort();
    if (nowMs - firstAtMs > samePressMs) kill.abort();
  };
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) host.on(signal, interrupt);
  if (startedByNpm) {
    const parent = host.ppid;
    const timer = setInterval(() => {
      if (host.ppid === parent) return;
      clearInterval(timer);
      stop.abort();
    }, parentCheckMs);
    timer.unref();
  }
  return { stopAsked: stop.signal, killAsked: kill.signal };
}
