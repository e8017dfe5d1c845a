// Bench: the drop test, in short: clients that are cut off while messages are sent to them.
// Guarantees: by the same seed for both; what did not arrive is a fault.
import { openSocketIoTarget } from "../contenders/socket-io-target.js";
import { openPetrelTarget } from "../drops/drop-test-petrel.js";
import { percentile, runDrops, type DropResult } from "../drops/drop-test-run.js";
import type { RoundFigures, WorkloadFigures } from "./figures.js";
import type { CompareContext } from "./measure-messages.js";

const LOAD = { messages: 60, drops: 8, everyMs: 250, seed: 1, patienceMs: 10_000 } as const;
/** Socket.IO's recovery scans one stream for all: with as many clients as Petrel it does not end. */
const OTHERS_SHARE = 4;

export async function measureDrops({ options, say }: CompareContext): Promise<WorkloadFigures> {
  const { dropClients, contenders } = options;
  const otherClients = Math.max(1, Math.floor(dropClients / OTHERS_SHARE));
  const targets = [
    { name: "petrel", open: openPetrelTarget, clients: dropClients },
    { name: "socket.io-streams", open: openSocketIoTarget, clients: otherClients },
  ] as const;
  const found = [];
  for (const { name, open, clients } of targets) {
    if (!contenders.includes(name)) continue;
    const result = await runDrops(await open(), { ...LOAD, clients });
    const figures = figuresOf(result);
    say(`  ${result.name}, ${clients} clients: replay p99 ${figures.value.toFixed(1)} ms`);
    found.push({ name: name === "petrel" ? "Petrel" : "Socket.IO, streams", rounds: [figures] });
  }
  return {
    workload: "drops",
    title: `${dropClients} clients (Socket.IO: ${otherClients}), each cut off ${LOAD.drops} times within ${LOAD.messages} messages`,
    unit: "p99 ms of a replay",
    contenders: found,
  };
}

function figuresOf(result: DropResult): RoundFigures {
  const { accepted, delivered, duplicates, outOfOrder, replaysMs, cpuUsPerMessage } = result;
  return {
    value: percentile(replaysMs, 0.99),
    // Nothing is rounded up to 100.
    more: {
      "% delivered": Math.floor((delivered / accepted) * 10_000) / 100,
      "p50 ms": percentile(replaysMs, 0.5),
      "µs CPU a message": cpuUsPerMessage,
    },
    faults: [
      ...(delivered === accepted ? [] : [`${accepted - delivered} of ${accepted} messages not delivered`]),
      ...(duplicates === 0 ? [] : [`${duplicates} messages delivered twice`]),
      ...(outOfOrder === 0 ? [] : [`${outOfOrder} messages out of order`]),
    ],
  };
}
