// logging -> here -> stdout: writes lines off the event loop, all of one turn in one call.
// Guarantees: a slow reader holds up no request: the buffer is bounded, and lines beyond the bound are dropped and
// counted. At exit, clean or by a crash, the remaining lines are written in order. A reader that is gone ends the
// writing, never the process; one that does not read its pipe delays the exit by half a second at most.
import { constants, fstatSync, openSync, write, writeSync } from "node:fs";

export interface LineWriterOptions {
  readonly fd: number;
  /** The most bytes that may wait for the reader. */
  readonly maxBytes?: number;
  /** Called when lines are accepted again after some were dropped. */
  readonly onDropped: (lines: number) => void;
}

/** About a minute of a busy service. */
const MAX_BYTES = 4 * 1024 * 1024;
/** A terminal, or a pipe that somebody made non-blocking, may be full for a moment. */
const RETRY_MS = 20;
/** How long the exit waits for a write in progress. */
const UNDER_WAY_MS = 100;
const LAST_MS = 500;

export class LineWriter {
  readonly #options: LineWriterOptions;
  readonly #maxBytes: number;
  readonly #atExit = (): void => this.flushSync();
  #fd: number | undefined;
  #waiting: string[] = [];
  #waitingBytes = 0;
  /** Handed to the system, or waiting to be retried. */
  #underWay: Buffer | undefined;
  /** Pending while the system refused the last write. */
  #retry: NodeJS.Timeout | undefined;
  /** From the first line until nothing waits: while this is true, the exit has something to flush. */
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
    // Characters instead of bytes: lines are nearly always ASCII, and the bound need not be exact.
    this.#waitingBytes += line.length;
    if (this.#isScheduled || this.#underWay !== undefined) return;
    this.#isScheduled = true;
    setImmediate(() => {
      this.#isScheduled = false;
      this.#writeNext();
    });
  }

  /** Calls back once all lines so far are written, or the reader is gone. */
  flush(done: () => void): void {
    if (this.#isBusy) this.#whenIdle.push(done);
    else done();
  }

  /** For when the event loop no longer runs: at the exit, and for fatal lines. */
  flushSync(): void {
    if (this.#isOver) return;
    const refused = this.#takeRefused();
    // The system has these bytes, but its callback will never run. It needs microseconds, unless the reader is full.
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

  /** Takes over the bytes that were due for a retry. */
  #takeRefused(): Buffer {
    const bytes = this.#underWay;
    if (this.#retry === undefined || bytes === undefined) return Buffer.alloc(0);
    clearTimeout(this.#retry);
    this.#retry = undefined;
    this.#underWay = undefined;
    // If the process lives on, later lines must not wait for another one to start the writing.
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

  /** The reader is gone. */
  #end(): void {
    this.#isOver = true;
    this.#underWay = undefined;
    this.#takeAll();
    this.#becomeIdle();
  }
}

/**
 * Reopens the pipe for this process alone, non-blocking: a write to a full pipe then fails at once. A write that
 * blocked would delay the exit for as long as nobody reads.
 */
function openWithoutBlocking(fd: number): number {
  try {
    if (!fstatSync(fd).isFIFO()) return fd;
    return openSync(`/proc/self/fd/${fd}`, constants.O_WRONLY | constants.O_NONBLOCK);
  } catch {
    // Not Linux, or another user's pipe.
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
