// Bench: the drop test: clients are cut off again and again while messages are sent to them.
// Guarantees: Petrel and Socket.IO with connection-state recovery in one run, by the same seed; the result is shown,
// whatever it is.
import { parseArgs } from "node:util";
import { openPetrelTarget } from "./drops/drop-test-petrel.js";
import { runDrops, type DropOptions, type DropResult, type DropTarget } from "./drops/drop-test-run.js";
import { dropTable } from "./drops/drop-test-table.js";
import { openSocketIoTarget } from "./contenders/socket-io-target.js";

const { values } = parseArgs({
  options: {
    clients: { type: "string", default: "2000" },
    "peer-clients": { type: "string", default: "100,400" },
    messages: { type: "string", default: "120" },
    drops: { type: "string", default: "8" },
    "every-ms": { type: "string", default: "400" },
    seed: { type: "string", default: "1" },
    help: { type: "boolean", default: false },
  },
});
if (values.help) {
  process.stdout.write(
    "npm run bench:drops -- [--clients 2000] [--peer-clients 100,400] [--messages 120] [--drops 8] [--every-ms 400] [--seed 1]\n",
  );
  process.exit(0);
}

const options: DropOptions = {
  clients: Number(values.clients),
  messages: Number(values.messages),
  drops: Number(values.drops),
  everyMs: Number(values["every-ms"]),
  seed: Number(values.seed),
  patienceMs: 10_000,
};
process.stdout.write(
  `each client cut off ${options.drops} times while ${options.messages} messages are sent to it, one every ${options.everyMs} ms; seed ${options.seed}\n`,
);
const results: DropResult[] = [];
async function run(target: DropTarget, clients: number): Promise<void> {
  const result = await runDrops(target, { ...options, clients });
  results.push(result);
  const parts = [...result.cpuByProcess].map(([process_, us]) => `${process_} ${us.toFixed(1)}`).join(" · ");
  process.stdout.write(`${result.name}, ${clients} clients, µs CPU a message: ${parts}\n`);
}
await run(await openPetrelTarget(), options.clients);
for (const clients of values["peer-clients"].split(",").map(Number).filter(Boolean)) {
  await run(await openSocketIoTarget(), clients);
}
process.stdout.write(`${dropTable(results)}\n`);
process.exit(0);
