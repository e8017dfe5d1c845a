// {http-app, metrics} -> here: whether this process can open another socket or file. It asks the system, by opening
// something that always exists.
import { close, open } from "node:fs";

/** No descriptor left: for this process, or on the whole machine. */
const NONE_LEFT: readonly unknown[] = ["EMFILE", "ENFILE"];

/** @returns the system's error if no file descriptor is left; otherwise undefined */
export function findOutOfFiles(): Promise<string | undefined> {
  return new Promise((resolve) => {
    open("/dev/null", "r", (error, file) => {
      if (error === null) close(file, () => resolve(undefined));
      else resolve(NONE_LEFT.includes(error.code) ? `no file descriptors left: ${error.code}` : undefined);
    });
  });
}
