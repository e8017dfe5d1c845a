// Bench, fan-out: broadcasts to everyone on Petrel, with single messages and pings beside them, before and meanwhile.
// Guarantees: every socket's broadcasts are checked; the nodes' event-loop delay is their own metric, read at the end
// of each phase.
import { freePort } from "@petrel/shared/testing/free-port";
import { openPetrel, type PetrelContender } from "../contenders/open-petrel.js";
import { startSubscribers, type Subscribers } from "../subscribers/start-subscribers.js";
import type { FanOutOptions } from "./fan-out-options.js";
import { faultsOf, type MeasuredRound } from "../rounds/measured-round.js";
import { measureRound } from "../rounds/measure-round.js";
import { entrancesOf } from "./run-fan-out.js";
import { openSingleMessages, type SingleFigures, type SingleMessages } from "./single-messages.js";

export interface BroadcastPhase {
  readonly singles: SingleFigures;
  /** Of each node, since the phase began. */
  readonly loopDelayP99Ms: readonly number[];
}

export interface BroadcastResult {
  readonly sockets: number;
  readonly broadcasts: number;
  readonly before: BroadcastPhase;
  readonly meanwhile: BroadcastPhase;
  readonly cpuUsPerDelivery: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly faults: readonly string[];
}

const BROADCAST_TOPIC = "$all";
const NODES = ["push-node-1", "push-node-2"];
/** One address has some 28,000 ports, each target counted apart. */
const SOCKETS_PER_ADDRESS = 20_000;
const SETTLE_MS = 3_000;

export async function runBroadcast(
  options: FanOutOptions,
  say: (line: string) => void,
): Promise<BroadcastResult> {
  const { sockets, loadProcesses, seconds, everyMs, profile } = options;
  const ports = new Map(await Promise.all(NODES.map(async (name) => [name, await freePort()] as const)));
  const petrel = await openPetrel({
    environmentOf: (name): Record<string, string> => {
      const port = ports.get(name);
      return port === undefined ? {} : { METRICS_PORT: String(port) };
    },
    ...(profile === undefined
      ? {}
      : { nodeArguments: ["--cpu-prof", `--cpu-prof-dir=${profile}`, "--cpu-prof-interval=500"] }),
  });
  let subscribers: Subscribers | undefined;
  let singles: SingleMessages | undefined;
  try {
    say(`connecting ${sockets} sockets to two nodes, out of ${loadProcesses} processes`);
    const entrances = await entrancesOf(
      petrel,
      Array.from({ length: sockets }, () => BROADCAST_TOPIC),
    );
    const spread = entrances.map((entrance, i) => ({
      ...entrance,
      localAddress: `127.0.0.${2 + Math.floor(i / SOCKETS_PER_ADDRESS)}`,
    }));
    subscribers = await startSubscribers(spread, loadProcesses);
    singles = await openSingleMessages(petrel);
    await new Promise((resolve) => setTimeout(resolve, SETTLE_MS));
    const phase = async (): Promise<BroadcastPhase> => {
      // Each reading begins the next stretch.
      await readLoopDelays([...ports.values()]);
      const measured = await (singles as SingleMessages).measure(seconds);
      return { singles: measured, loopDelayP99Ms: await readLoopDelays([...ports.values()]) };
    };
    const before = await phase();
    say(describePhase("before", before));
    const [meanwhile, round] = await Promise.all([
      phase(),
      broadcast(petrel, subscribers, Math.max(1, Math.floor((seconds * 1000) / everyMs)), everyMs),
    ]);
    say(describePhase("meanwhile", meanwhile));
    const faults = faultsOf(round.verdict);
    const { p50Ms, p99Ms } = round.verdict;
    const broadcasts = round.verdict.expected / sockets;
    say(
      `${broadcasts} broadcasts to ${sockets}, one every ${everyMs} ms: ${round.totalUs.toFixed(1)} µs CPU a delivery with the single messages; p50 ${p50Ms.toFixed(0)} ms, p99 ${p99Ms.toFixed(0)} ms; ${faults.length === 0 ? "everyone has all, in one order" : faults.join("; ")}`,
    );
    return { sockets, broadcasts, before, meanwhile, cpuUsPerDelivery: round.totalUs, p50Ms, p99Ms, faults };
  } finally {
    singles?.close();
    await subscribers?.close();
    await petrel.stop();
  }
}

function broadcast(
  contender: PetrelContender,
  subscribers: Subscribers,
  count: number,
  everyMs: number,
): Promise<MeasuredRound> {
  return measureRound(
    { side: contender, pids: contender.pids, subscribers },
    {
      first: 1,
      topics: Array.from({ length: count }, () => BROADCAST_TOPIC),
      run: async (publish) => {
        const startMs = performance.now();
        for (let n = 1; n <= count; n++) {
          await publish(0, n);
          const leftMs = startMs + n * everyMs - performance.now();
          await new Promise((resolve) => setTimeout(resolve, Math.max(0, leftMs)));
        }
      },
    },
  );
}

async function readLoopDelays(ports: readonly number[]): Promise<number[]> {
  return Promise.all(
    ports.map(async (port) => {
      const text = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
      return Number(/^nodejs_eventloop_lag_p99_seconds(?:\{[^}]*\})? (\S+)/m.exec(text)?.[1]) * 1000;
    }),
  );
}

function describePhase(name: string, { singles, loopDelayP99Ms }: BroadcastPhase): string {
  const { sent, received, p50Ms, p99Ms, pings, pongs, pongP99Ms } = singles;
  const delays = loopDelayP99Ms.map((ms) => ms.toFixed(1)).join(" / ");
  return `${name}: ${received} of ${sent} single messages, p50 ${p50Ms.toFixed(1)} ms, p99 ${p99Ms.toFixed(1)} ms; ${pongs} of ${pings} pongs, p99 ${pongP99Ms.toFixed(1)} ms; event loops' delay, p99: ${delays} ms`;
}
