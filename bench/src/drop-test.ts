// Bench: the drop test: clients that are cut off again and again while messages are sent to them.
// Guarantees: Petrel and Socket.IO with connection-state recovery in one run, by the same seed; what comes out is shown,
// whatever it is.
import { parseArgs } from "node:util";
import { openPetrelTarget } from "./drop-test-petrel.js";
import { runDrops, type DropOptions, type DropResult } from "./drop-test-run.js";
import { dropTable } from "./drop-test-table.js";
import { openSocketIoTarget } from "./socket-io-target.js";

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
const results: DropResult[] = [await runDrops(await openPetrelTarget(), options)];
for (const clients of values["peer-clients"].split(",").map(Number).filter(Boolean)) {
  results.push(await runDrops(await openSocketIoTarget(), { ...options, clients }));
}
process.stdout.write(`${dropTable(results)}\n`);
for (const { name, clients, cpuByProcess } of results) {
  const parts = [...cpuByProcess].map(([process_, us]) => `${process_} ${us.toFixed(1)}`).join(" · ");
  process.stdout.write(`${name}, ${clients}: ${parts}\n`);
}
process.exit(0);
