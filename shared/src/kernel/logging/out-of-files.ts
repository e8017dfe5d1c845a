// {http-app, metrics} -> here: whether this process may open a socket or a file more.
// Guarantees: asks the system itself, by opening something that is always there.
import { close, open } from "node:fs";

/** Of this process, of the whole machine. */
const NONE_LEFT: readonly unknown[] = ["EMFILE", "ENFILE"];

/** @returns what the system says where there is no file descriptor left; undefined otherwise */
export function findOutOfFiles(): Promise<string | undefined> {
  return new Promise((resolve) => {
    open("/dev/null", "r", (error, file) => {
      if (error === null) close(file, () => resolve(undefined));
      else resolve(NONE_LEFT.includes(error.code) ? `no file descriptors left: ${error.code}` : undefined);
    });
  });
}
