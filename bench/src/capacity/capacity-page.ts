// Bench: the figures in docs/operate/capacity.md.
import { figureText } from "../report/figure-text.js";
import { markdownTable } from "../report/workload-table.js";
import { summarise, type WorkloadFigures } from "../compare/figures.js";
import { BYTES, needsOf, type Load, type Needs } from "./capacity-model.js";
import { readCosts, type CostByService, type Costs } from "./read-costs.js";

/** What each connection does: a message a minute at the peak, an hour's life. */
export function loadOf(connections: number): Load {
  return {
    connections,
    registered: 5 * connections,
    messagesPerSecond: connections / 60,
    batchedShare: 0.5,
    connectionSeconds: 3_600,
    meanShare: 0.25,
    inboxHistory: 10,
  };
}

const SCENARIOS = [10_000, 100_000, 1_000_000, 20_000_000];

export function costsTable(costs: Costs): string {
  const row = (title: string, cost: CostByService): string[] => {
    const { collect, nodes, redis, dispatch } = cost;
    return [title, ...[collect, nodes, redis, dispatch, collect + nodes + redis + dispatch].map(figureText)];
  };
  return markdownTable(
    ["µs of CPU", "collect", "push nodes", "Redis", "dispatch", "together"],
    [
      row("a message, one per POST", costs.single),
      row("a message, batched", costs.batched),
      row("a connection, there and back", costs.connect),
      row("an open connection, a second", costs.idle),
    ],
  );
}

/** What one core can do, half busy. */
export function coreTable({ single, batched, connect, idle, connectionKb }: Costs): string {
  const halfCore = (us: number): string =>
    figureText(us > 0 ? Number((500_000 / us).toPrecision(2)) : Number.NaN);
  return markdownTable(
    ["half a core of", "is enough for"],
    [
      [
        "collect",
        `${halfCore(single.collect)} messages a second one by one, ${halfCore(batched.collect)} batched`,
      ],
      [
        "a push node",
        `${halfCore(single.nodes)} messages a second, or ${halfCore(connect.nodes)} connections that come and go a second, or ${halfCore(idle.nodes)} that idle (${figureText(connectionKb)} KB each)`,
      ],
      ["Redis", `${halfCore(single.redis)} messages a second one by one, ${halfCore(batched.redis)} batched`],
    ],
  );
}

export function machinesTable(costs: Costs): string {
  return markdownTable(
    [
      "connections",
      "messages/s",
      "collects",
      "push nodes (bound by)",
      "dispatchers",
      "Redis",
      "shards (bound by)",
      "machines",
    ],
    SCENARIOS.map((connections) => {
      const load = loadOf(connections);
      return [
        figureText(connections),
        figureText(load.messagesPerSecond),
        ...needsCells(needsOf(load, costs)),
      ];
    }),
  );
}

/** The model beside what a run found. @throws where the run has not looked at it */
export function registeredTable(workloads: readonly WorkloadFigures[]): string {
  const found = workloads
    .find(({ workload }) => workload === "registered")
    ?.contenders.flatMap((one) => {
      const summary = summarise(one);
      return summary === undefined ? [] : [summary];
    });
  if (found === undefined) throw new Error("no figures for the workload registered");
  const rows = found.map(({ name, median }) => [
    name,
    figureText(median.value),
    figureText(median.parts?.["redis"] ?? Number.NaN),
    figureText(median.more?.["bytes of Redis a user"] ?? Number.NaN),
    figureText(BYTES.record + BYTES.idle + BYTES.inbox),
  ]);
  return markdownTable(["", "µs a message", "Redis' part", "bytes of Redis a user", "by the formula"], rows);
}

function needsCells({
  collects,
  nodes,
  nodesBound,
  dispatchers,
  redisGb,
  shards,
  shardsBound,
  machines,
}: Needs) {
  return [
    `${collects}`,
    `${nodes} (${nodesBound})`,
    `${dispatchers}`,
    `${figureText(redisGb)} GB`,
    `${shards} (${shardsBound})`,
    `${machines}`,
  ];
}

/** What the page's marks ask for, out of one run. @throws where the run lacks one of its figures */
export function capacityBlocks(workloads: readonly WorkloadFigures[]): Readonly<Record<string, string>> {
  const costs = readCosts(workloads);
  return {
    costs: costsTable(costs),
    cores: coreTable(costs),
    registered: registeredTable(workloads),
    machines: machinesTable(costs),
  };
}
