// vitest.config -> here, before each test file: keeps Node from loading a module twice, by its link and by its real path.
// Node 20 resolves no link in a path if the last thing that the process asked the file system about was a pipe or a
// socket: `fs.realpathSync` looks at that answer, too. A file that is loaded then gets `@petrel/shared` anew, below
// node_modules, and its errors and paths are not those of the others.
import { statSync } from "node:fs";

/** Asks about a plain file, so that this is the last answer. */
export function forgetLastStat(): void {
  statSync(process.execPath);
}

forgetLastStat();
