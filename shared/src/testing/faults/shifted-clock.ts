// Tests only: a wall clock for a Redis server that a test can step, through a small preloaded library.
// Guarantees: a step counts at once, in every life of the server; its monotonic clocks, and everybody else's clocks,
// are left alone. If the machine cannot do that, the result is `undefined`, and the caller says what it leaves out.
import { open, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { runCommand } from "../../embedded-redis/run-command.js";

export interface ShiftedClock {
  /** For the server's process. */
  readonly environment: Readonly<Record<string, string>>;
  /** How far it is ahead of the machine's clock; negative if behind. */
  readonly shiftMs: () => number;
  /** Moves it forward, or back. */
  readonly step: (ms: number) => Promise<void>;
}

/** Names the file with the shift, for the library: a server's process that has it has such a clock. */
export const SHIFTED_CLOCK_FILE = "SHIFTED_CLOCK_FILE";

/** Beside this file's source, from where it is built too. */
const SOURCE = fileURLToPath(new URL("../../../src/testing/faults/shifted-clock.c", import.meta.url));
const COMPILE_DEADLINE_MS = 30_000;

/**
 * Compiles the library with the machine's C compiler.
 * @param directory for the library and the shift; the caller removes it
 * @returns undefined if there is no compiler, or this is not Linux
 * @throws if it is missing though PETREL_REQUIRE_CLOCK requires it
 */
export async function openShiftedClock(
  directory: string,
  environment: Readonly<Record<string, string | undefined>>,
): Promise<ShiftedClock | undefined> {
  const problem = await compile(join(directory, "shifted-clock.so"), environment);
  if (problem !== undefined) {
    if (environment["PETREL_REQUIRE_CLOCK"] === "1")
      throw new Error(`no clock to step for a Redis: ${problem}`);
    return undefined;
  }
  const shiftFile = join(directory, "clock-shift");
  await writeFile(shiftFile, Buffer.alloc(8));
  let shiftMs = 0;
  return {
    environment: { LD_PRELOAD: join(directory, "shifted-clock.so"), [SHIFTED_CLOCK_FILE]: shiftFile },
    shiftMs: () => shiftMs,
    step: async (ms) => {
      shiftMs += ms;
      const microseconds = Buffer.alloc(8);
      microseconds.writeBigInt64LE(BigInt(Math.round(shiftMs * 1_000)));
      // In place: the server has mapped this very file.
      const file = await open(shiftFile, "r+");
      await file.write(microseconds, 0, 8, 0);
      await file.close();
    },
  };
}

/** @returns why it failed */
async function compile(
  library: string,
  environment: Readonly<Record<string, string | undefined>>,
): Promise<string | undefined> {
  if (process.platform !== "linux") return "the library is written for Linux";
  const args = ["-O1", "-fPIC", "-shared", "-ffreestanding", "-o", library, SOURCE];
  const { code, stderr } = await runCommand("cc", args, { environment, deadlineMs: COMPILE_DEADLINE_MS });
  return code === 0 ? undefined : `cc: ${stderr.trim() === "" ? "is not installed" : stderr.trim()}`;
}
