// The local run: `.data/pids.json`, the process of each part, for tools and tests that stop, pause or measure one.
// Guarantees: follows every restart; removed after the stop. Written in the order of the changes.
import { rm } from "node:fs/promises";
import { writePrivateFile } from "./write-private-file.js";

export interface PidFile {
  /** @param pid undefined while the part is down */
  set(name: string, pid: number | undefined): void;
  /** Resolves when everything set before is in the file, or could not be written. */
  written(): Promise<void>;
  remove(): Promise<void>;
}

export function createPidFile(path: string): PidFile {
  const pids = new Map<string, number>();
  let written: Promise<void> = Promise.resolve();
  return {
    set: (name, pid) => {
      if (pid === undefined) pids.delete(name);
      else pids.set(name, pid);
      const content = `${JSON.stringify(Object.fromEntries(pids), null, 2)}\n`;
      // A convenience only, so ignore a failed write.
      written = written.then(() => writePrivateFile(path, content)).catch(() => undefined);
    },
    written: () => written,
    remove: async () => {
      await written;
      await rm(path, { force: true });
    },
  };
}
