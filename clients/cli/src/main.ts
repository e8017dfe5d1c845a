// The CLI's process: wires the command, and is the only file that touches the process itself.
// Guarantees: SIGINT and SIGTERM end a command cleanly, a second one at once; a closed pipe is not an error.
import { readFileSync } from "node:fs";
import { runPetrel } from "./run-petrel.js";

const { version } = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")) as {
  readonly version: string;
};
const interruption = new AbortController();
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.on(signal, () => {
    if (interruption.signal.aborted) process.exit(130);
    interruption.abort();
  });
}
// `petrel listen alice | head -1`: the reader is gone, so there is nothing left to do.
process.stdout.on("error", () => interruption.abort());

process.exitCode = await runPetrel(
  process.argv.slice(2),
  {
    print: (line) => void process.stdout.write(`${line}\n`),
    deliver: (line) =>
      new Promise((resolve, reject) => {
        process.stdout.write(`${line}\n`, (error) => (error ? reject(error) : resolve()));
      }),
    note: (line) => void process.stderr.write(`${line}\n`),
    stdin: process.stdin,
    environment: process.env,
    workingDirectory: process.cwd(),
    interrupted: interruption.signal,
  },
  version,
);
