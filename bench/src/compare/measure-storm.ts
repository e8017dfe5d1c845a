// Bench: a crowd that connects to Petrel at once, with live messages to others beside it.
// Guarantees: a connection that is refused or cut fails the storm; every live message is checked.
import { userOf } from "../contenders/contender.js";
import { openPetrel } from "../contenders/open-petrel.js";
import { profiledIn } from "../contenders/open-contender.js";
import { startSubscribers } from "../subscribers/start-subscribers.js";
import type { RoundFigures, WorkloadFigures } from "./figures.js";
import { connectUsers, steadyPlan, userEntrances, type CompareContext } from "./measure-messages.js";

const LOAD_PROCESSES = 2;
const AT_A_TIME = 1_000;
/** Of some 28,000: where most ports of an address are taken, the kernel looks long for a free one. */
const SOCKETS_PER_ADDRESS = 2_000;
const BEFORE_MS = 500;

export async function measureStorm(context: CompareContext): Promise<WorkloadFigures> {
  const { options, say } = context;
  const { storm, users, rate, ackDelayMs } = options;
  const petrel = await openPetrel({ ...profiledIn(options.profile), environment: options.environment });
  const stops = [petrel.stop];
  try {
    const live = await connectUsers(petrel, users, ackDelayMs);
    stops.push(live.close);
    const crowd = Array.from({ length: storm }, (_, i) => userOf(users + i));
    say(`  tokens for ${storm}`);
    const entrances = (await userEntrances(petrel, crowd)).map((entrance, i) => ({
      ...entrance,
      localAddress: `127.0.0.${2 + Math.floor(i / SOCKETS_PER_ADDRESS)}`,
    }));
    const subscribers = await startSubscribers(entrances, LOAD_PROCESSES, {
      connects: false,
      atATime: AT_A_TIME,
    });
    stops.push(() => subscribers.close());
    // The nodes have seen these tokens, as those of a crowd that comes back.
    for (const isMeasured of [false, true]) {
      const connecting = async (): Promise<number> => {
        await new Promise((resolve) => setTimeout(resolve, BEFORE_MS));
        const startMs = performance.now();
        await subscribers.connect();
        return (performance.now() - startMs) / 1000;
      };
      const [seconds, during] = await Promise.all([
        connecting(),
        live.measure(steadyPlan(context, live.names, rate)),
      ]);
      const figures: RoundFigures = {
        value: seconds,
        more: { "connects/s": storm / seconds, ...prefixed("live ", during.more ?? {}) },
        faults: during.faults ?? [],
      };
      say(`  ${storm} welcome after ${seconds.toFixed(1)} s${isMeasured ? "" : " (warm-up)"}`);
      if (isMeasured) return describe(context, figures);
      await subscribers.leave();
    }
    throw new Error("no storm");
  } finally {
    for (const stop of stops.reverse()) await stop();
  }
}

function describe({ options }: CompareContext, figures: RoundFigures): WorkloadFigures {
  const { storm, rate, seconds } = options;
  return {
    workload: "storm",
    title: `${storm} connections at once, ${LOAD_PROCESSES * AT_A_TIME} under way, beside ${rate} messages a second for ${seconds} s`,
    unit: "s until all are welcome",
    contenders: [{ name: "Petrel", rounds: [figures] }],
  };
}

function prefixed(prefix: string, figures: Readonly<Record<string, number>>): Record<string, number> {
  return Object.fromEntries(Object.entries(figures).map(([name, value]) => [prefix + name, value]));
}
