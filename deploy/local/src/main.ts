// `npm start`: the composition root of the local run; the only reader of process.env in it.
// Guarantees: exit code 0 after a clean stop, 1 for a failure, 2 for a wrong option; no stack traces.
import { fileURLToPath } from "node:url";
import { runLocal } from "./run-local.js";
import { watchInterrupts } from "./processes/watch-interrupts.js";

const writeLine = (stream: NodeJS.WriteStream) => (line: string) => void stream.write(`${line}\n`);
// A closed terminal or pipe must not interrupt the stop.
for (const stream of [process.stdout, process.stderr]) stream.on("error", () => undefined);

process.exitCode = await runLocal({
  args: process.argv.slice(2),
  environment: process.env,
  repositoryRoot: fileURLToPath(new URL("../../..", import.meta.url)),
  say: writeLine(process.stdout),
  complain: (line) => writeLine(process.stderr)(`petrel: ${line}`),
  ...watchInterrupts(process, process.env["npm_lifecycle_event"] !== undefined),
});
process.exit();
