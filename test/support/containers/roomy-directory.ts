// Tests only: where thirty thousand small files are made and removed: in memory, if there is room.
// Guarantees: the folder for temporary files otherwise. On a disk their names alone cost more than all that is tested.
import { accessSync, constants, statfsSync } from "node:fs";
import { tmpdir } from "node:os";

const IN_MEMORY = "/dev/shm";

export function roomyDirectory(bytes: number): string {
  try {
    accessSync(IN_MEMORY, constants.W_OK);
    const { bavail, bsize } = statfsSync(IN_MEMORY);
    return bavail * bsize > 2 * bytes ? IN_MEMORY : tmpdir();
  } catch {
    return tmpdir();
  }
}
