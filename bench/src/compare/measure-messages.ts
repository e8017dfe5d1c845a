// Bench: messages to single users: one for each request, batched by the sender, or at a steady pace.
// Guarantees: every message to every user is checked: all, once, and by number where the server numbers them.
import { userOf, type Contender, type SenderLibrary } from "../contenders/contender.js";
import { faultsOf, type MeasuredRound } from "../rounds/measured-round.js";
import { measureRound, type RoundPlan } from "../rounds/measure-round.js";
import { atRate, inClosedLoop } from "../rounds/publish-plans.js";
import { startSubscribers, type Subscribers } from "../subscribers/start-subscribers.js";
import type { CompareOptions } from "./compare-options.js";
import { summarise, type ContenderFigures, type RoundFigures, type WorkloadFigures } from "./figures.js";
import { inRounds, openOrFail } from "./in-rounds.js";

export interface CompareContext {
  readonly contenders: readonly Contender[];
  readonly options: CompareOptions;
  readonly say: (line: string) => void;
  /** The first of so many numbers for messages that no other round has. */
  readonly takeNumbers: (count: number) => number;
}

export type MessageLoad = Pick<
  CompareOptions,
  "users" | "messages" | "publishers" | "batch" | "rate" | "seconds" | "ackDelayMs"
>;

const ENTRANCES_AT_A_TIME = 32;
/** Few enough that each waits for the answer to its batch, as senders do. */
const BATCHING_PUBLISHERS = 16;
/** Some load processes share the reading, so that latencies are the servers'. */
const LOAD_PROCESSES = 2;

/** Where a round takes long, and differs little from the next. */
export function fewRounds({ rounds }: Pick<CompareOptions, "rounds">): number {
  return Math.min(2, rounds);
}

/** Where a round is short, and differs much from the next. */
export function manyRounds({ rounds }: Pick<CompareOptions, "rounds">): number {
  return rounds < 3 ? rounds : 2 * rounds - 1;
}

interface RoundsOfAWorkload {
  readonly rounds?: number;
  readonly warmUps?: number;
}

/** V8 compiles what serves messages for some seconds of load; a server that has run for an hour is through with that. */
const WARM_UPS = 3;
/** Batches are through with the same messages in a third of the time. */
const WARM_UPS_OF_BATCHES = 9;

function asWarm(options: Pick<CompareOptions, "rounds">, warmUps = WARM_UPS): RoundsOfAWorkload {
  return { rounds: manyRounds(options), warmUps: options.rounds < 3 ? 1 : warmUps };
}

/** The users of one contender, connected. */
export interface ConnectedUsers {
  readonly names: readonly string[];
  readonly measure: (plan: RoundPlan) => Promise<RoundFigures>;
  readonly close: () => Promise<void>;
}

export async function connectUsers(
  contender: Contender,
  count: number,
  ackDelayMs: number,
  library?: SenderLibrary,
): Promise<ConnectedUsers> {
  const side = contender.users;
  if (side === undefined) throw new Error(`${contender.name} has no users`);
  const names = Array.from({ length: count }, (_, i) => userOf(i));
  const entrances = await userEntrances(contender, names, ackDelayMs);
  const subscribers: Subscribers = await startSubscribers(entrances, LOAD_PROCESSES);
  return {
    names,
    measure: async (plan) =>
      figuresOf(
        await measureRound(
          { side, library, pids: contender.pids, subscribers },
          // Lingering acknowledgements belong to the messages.
          { settleMs: ackDelayMs + 100, ...plan },
        ),
      ),
    close: async () => {
      await Promise.all([subscribers.close(), library?.close()]);
    },
  };
}

export async function userEntrances(contender: Contender, names: readonly string[], ackDelayMs = 0) {
  const entrances = [];
  for (let i = 0; i < names.length; i += ENTRANCES_AT_A_TIME) {
    const some = names.slice(i, i + ENTRANCES_AT_A_TIME);
    const opened = await Promise.all(some.map(async (name, j) => contender.users?.entrance(i + j, [name])));
    for (const entrance of opened) if (entrance !== undefined) entrances.push({ ...entrance, ackDelayMs });
  }
  return entrances;
}

function figuresOf({ totalUs, cpuUs, seconds, verdict }: MeasuredRound): RoundFigures {
  return {
    value: totalUs,
    parts: Object.fromEntries(cpuUs),
    more: {
      "p50 ms": verdict.p50Ms,
      "p99 ms": verdict.p99Ms,
      "p99.9 ms": verdict.p999Ms,
      "messages/s": verdict.deliveries / seconds,
    },
    faults: faultsOf(verdict),
  };
}

export async function measureSingle(context: CompareContext): Promise<WorkloadFigures> {
  const { options } = context;
  return {
    workload: "single",
    title: `One message per POST: ${options.publishers} publishers in a closed loop, ${options.messages} messages to ${options.users} users`,
    unit: "µs CPU a message",
    contenders: await forEach(
      context,
      context.contenders,
      (names) => singlePlan(context, names),
      asWarm(options),
    ),
  };
}

export function singlePlan(
  { options, takeNumbers }: Pick<CompareContext, "options" | "takeNumbers">,
  names: readonly string[],
): RoundPlan {
  const { messages, publishers } = options;
  const first = takeNumbers(messages);
  return {
    first,
    topics: spread(names, messages),
    run: (publish) => inClosedLoop(publish, first, messages, { publishers }),
  };
}

export async function measureBatched(context: CompareContext): Promise<WorkloadFigures> {
  const { messages, batch } = context.options;
  return {
    workload: "batched",
    title: `Batches of ${batch} by ${BATCHING_PUBLISHERS} senders, ${messages} messages`,
    unit: "µs CPU a message",
    contenders: await forEach(
      context,
      context.contenders.filter(({ users }) => users?.batch !== undefined),
      (names) => {
        const first = context.takeNumbers(messages);
        return {
          first,
          topics: spread(names, messages),
          run: (publish) =>
            inClosedLoop(publish, first, messages, { publishers: BATCHING_PUBLISHERS, together: batch }),
        };
      },
      asWarm(context.options, WARM_UPS_OF_BATCHES),
    ),
  };
}

/** As many senders as `single` has, each awaiting its own message: what their library makes of that. */
export async function measureLibrary(context: CompareContext): Promise<WorkloadFigures> {
  const { options } = context;
  return {
    workload: "library",
    title: `Its library for backends: ${options.publishers} senders, each awaits its message, ${options.messages} messages`,
    unit: "µs CPU a message",
    contenders: await forEach(
      context,
      context.contenders.filter(({ users }) => users?.openLibrary !== undefined),
      (names) => singlePlan(context, names),
      asWarm(options),
      ({ users }) => users?.openLibrary?.(),
    ),
  };
}

export async function measureLatency(context: CompareContext): Promise<WorkloadFigures> {
  const { rate, seconds } = context.options;
  return {
    workload: "latency",
    title: `${rate} messages a second, for ${seconds} s`,
    unit: "p99 ms",
    contenders: latencies(
      await forEach(context, context.contenders, (names) => steadyPlan(context, names, rate), {
        rounds: fewRounds(context.options),
      }),
    ),
  };
}

/** @param single what each can take: what this run has found, or finds now */
export async function measureHalfLoad(
  context: CompareContext,
  single: WorkloadFigures,
): Promise<WorkloadFigures> {
  const most = new Map(
    single.contenders.map((figures) => [figures.name, summarise(figures)?.median.more?.["messages/s"] ?? 0]),
  );
  const able = context.contenders.filter(({ name }) => (most.get(name) ?? 0) > 0);
  return {
    workload: "half-load",
    title: `Half of what each takes in a closed loop, for ${context.options.seconds} s`,
    unit: "p99 ms",
    contenders: latencies(
      await forEach(
        context,
        able,
        (names, { name }) => steadyPlan(context, names, Math.max(1, Math.floor((most.get(name) ?? 0) / 2))),
        // `single` has warmed them up.
        { rounds: fewRounds(context.options), warmUps: 0 },
      ),
    ),
  };
}

export function steadyPlan(
  { options, takeNumbers }: Pick<CompareContext, "options" | "takeNumbers">,
  names: readonly string[],
  rate: number,
): RoundPlan {
  const count = Math.ceil(rate * options.seconds);
  const first = takeNumbers(count);
  return { first, topics: spread(names, count), run: (publish) => atRate(publish, first, count, rate) };
}

/** The same rounds by their latency; what they cost is told beside it. */
function latencies(contenders: readonly ContenderFigures[]): ContenderFigures[] {
  return contenders.map((one) => ({
    ...one,
    rounds: one.rounds.map(
      ({ value, more: { "p99 ms": p99Ms = Number.NaN, ...more } = {}, faults = [] }) => ({
        value: p99Ms,
        more: { ...more, "µs CPU": value },
        faults,
      }),
    ),
  }));
}

async function forEach(
  { options, say }: CompareContext,
  contenders: readonly Contender[],
  plan: (names: readonly string[], contender: Contender) => RoundPlan,
  { rounds = options.rounds, warmUps = 1 }: RoundsOfAWorkload = {},
  openLibrary: (contender: Contender) => SenderLibrary | undefined = () => undefined,
): Promise<ContenderFigures[]> {
  const opened: ConnectedUsers[] = [];
  try {
    const competitors = [];
    for (const contender of contenders) {
      if (contender.users === undefined) continue;
      const open = async () => {
        const users = await connectUsers(
          contender,
          options.users,
          options.ackDelayMs,
          openLibrary(contender),
        );
        opened.push(users);
        return () => users.measure(plan(users.names, contender));
      };
      competitors.push(await openOrFail(contender.name, open));
    }
    return await inRounds(competitors, { rounds, warmUps, say });
  } finally {
    await Promise.all(opened.map((users) => users.close()));
  }
}

function spread(names: readonly string[], count: number): string[] {
  return Array.from({ length: count }, (_, i) => names[i % names.length] ?? "");
}
