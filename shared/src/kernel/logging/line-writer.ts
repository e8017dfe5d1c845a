// logging -> here -> stdout: lines are written beside the event loop, all of a turn at once.
// Guarantees: a slow reader holds up no request; what waits for it is bounded, and beyond the bound lines are dropped and
// counted. The process' end writes what is left, in order: an exit of its own accord, and a crash. A reader that has gone
// ends the writing, never the process; one that does not read a pipe holds up the end for half a second.
import { constants, fstatSync, openSync, write, writeSync } from "node:fs";

export interface LineWriterOptions {
  readonly fd: number;
  /** What may wait for the reader. */
  readonly maxBytes?: number;
  /** Lines are read again after so many were dropped. */
  readonly onDropped: (lines: number) => void;
}

/** A minute of a busy service. */
const MAX_BYTES = 4 * 1024 * 1024;
/** A terminal, or a pipe that somebody has made non-blocking, is full for a moment. */
const RETRY_MS = 20;
/** How long the process' end waits for a write that is under way, and for a reader that is full. */
const UNDER_WAY_MS = 100;
const LAST_MS = 500;

export class LineWriter {
  readonly #options: LineWriterOptions;
  readonly #maxBytes: number;
  readonly #atExit = (): void => this.flushSync();
  #fd: number | undefined;
  #waiting: string[] = [];
  #waitingBytes = 0;
  /** Handed to the system, or refused by it for the moment. */
  #underWay: Buffer | undefined;
  /** Until it is handed to the system again. */
  #retry: NodeJS.Timeout | undefined;
  /** From the first line until nothing waits: then the process' end has something to do. */
  #isBusy = false;
  #isScheduled = false;
  #isOver = false;
  #dropped = 0;
  #whenIdle: (() => void)[] = [];

  constructor(options: LineWriterOptions) {
    this.#options = options;
    this.#maxBytes = options.maxBytes ?? MAX_BYTES;
  }

  write(line: string): void {
    if (this.#isOver) return;
    if (this.#waitingBytes >= this.#maxBytes) {
      this.#dropped++;
      return;
    }
    if (!this.#isBusy) process.on("exit", this.#atExit);
    this.#isBusy = true;
    this.#waiting.push(line);
    // Nearly always ASCII; a bound need not be exact.
    this.#waitingBytes += line.length;
    if (this.#isScheduled || this.#underWay !== undefined) return;
    this.#isScheduled = true;
    setImmediate(() => {
      this.#isScheduled = false;
      this.#writeNext();
    });
  }

  /** Calls back when all lines so far are written, or nobody reads any more. */
  flush(done: () => void): void {
    if (this.#isBusy) this.#whenIdle.push(done);
    else done();
  }

  /** Where the event loop no longer runs: at the end of the process, and for what is fatal. */
  flushSync(): void {
    if (this.#isOver) return;
    const refused = this.#takeRefused();
    // The system has it, and nobody will say when it is done: it takes microseconds, unless the reader is full.
    if (this.#underWay !== undefined) pauseSync(UNDER_WAY_MS);
    const rest = Buffer.concat([refused, this.#takeAll()]);
    const endsAtMs = performance.now() + LAST_MS;
    for (let at = 0; at < rest.length;) {
      try {
        at += writeSync(this.#open(), rest, at);
      } catch (error) {
        if (!isFull(error) || performance.now() > endsAtMs) {
          this.#end();
          return;
        }
        pauseSync(RETRY_MS);
      }
    }
  }

  /** What was to be tried again. */
  #takeRefused(): Buffer {
    const bytes = this.#underWay;
    if (this.#retry === undefined || bytes === undefined) return Buffer.alloc(0);
    clearTimeout(this.#retry);
    this.#retry = undefined;
    this.#underWay = undefined;
    // There may be no further line to go on with.
    setImmediate(() => this.#writeNext());
    return bytes;
  }

  #open(): number {
    return (this.#fd ??= openWithoutBlocking(this.#options.fd));
  }

  #takeAll(): Buffer {
    const bytes = Buffer.from(this.#waiting.join(""));
    this.#waiting = [];
    this.#waitingBytes = 0;
    return bytes;
  }

  #writeNext(): void {
    if (this.#underWay !== undefined || this.#isOver) return;
    if (this.#waiting.length === 0) this.#becomeIdle();
    else this.#write(this.#takeAll());
  }

  #write(bytes: Buffer): void {
    this.#underWay = bytes;
    write(this.#open(), bytes, (error, written) => {
      if (error !== null) {
        if (isFull(error)) this.#writeLater(bytes);
        else this.#end();
      } else if (written < bytes.length) {
        this.#write(bytes.subarray(written));
      } else {
        this.#underWay = undefined;
        this.#sayDropped();
        this.#writeNext();
      }
    });
  }

  #writeLater(bytes: Buffer): void {
    this.#retry = setTimeout(() => {
      this.#retry = undefined;
      this.#write(bytes);
    }, RETRY_MS);
  }

  #sayDropped(): void {
    const dropped = this.#dropped;
    this.#dropped = 0;
    if (dropped > 0) this.#options.onDropped(dropped);
  }

  #becomeIdle(): void {
    this.#isBusy = false;
    process.off("exit", this.#atExit);
    for (const done of this.#whenIdle.splice(0)) done();
  }

  /** Nobody reads any more. */
  #end(): void {
    this.#isOver = true;
    this.#underWay = undefined;
    this.#takeAll();
    this.#becomeIdle();
  }
}

/**
 * A pipe as this process alone sees it: a write to one that is full fails at once. A write that hung would hold up the
 * process' exit for as long as nobody reads.
 */
function openWithoutBlocking(fd: number): number {
  try {
    if (!fstatSync(fd).isFIFO()) return fd;
    return openSync(`/proc/self/fd/${fd}`, constants.O_WRONLY | constants.O_NONBLOCK);
  } catch {
    // Another system, or another user's pipe.
    return fd;
  }
}

function isFull(error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException;
  return code === "EAGAIN" || code === "EBUSY";
}

function pauseSync(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}
