// Bench, fan-out: a table of one workload, a contender a line, and what there is to say below it.
// Guarantees: Petrel's share of each contender is of the medians; a fault is never left out.
import { summarise, type FanOutResult, type FanOutSummary } from "./fan-out-result.js";

const HEAD = [
  "",
  "µs CPU/delivery",
  "least–most",
  "Petrel is",
  "nodes",
  "Redis",
  "rest",
  "p50 ms",
  "p99 ms",
  "seen",
];

export function fanOutTable(results: readonly FanOutResult[]): string {
  const summaries = results.map(summarise);
  const petrel = summaries.find(({ name }) => name === "Petrel");
  const rows = summaries.map((summary) => rowOf(summary, petrel));
  const widths = HEAD.map((title, column) =>
    Math.max(title.length, ...rows.map((row) => row[column]?.length ?? 0)),
  );
  const lines = [HEAD, ...rows].map((row) =>
    row
      .map((cell, column) =>
        column === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[column] ?? 0),
      )
      .join("  "),
  );
  const faults = summaries.flatMap(({ name, faults }) => faults.map((fault) => `  ${name}: ${fault}`));
  const parts = petrel === undefined ? [] : [`  Petrel: ${partsOf(petrel.median.cpuUs)}`];
  return [...lines, ...parts, ...faults].join("\n");
}

function partsOf(cpuUs: ReadonlyMap<string, number>): string {
  return [...cpuUs].map(([process, us]) => `${process} ${us.toFixed(1)}`).join(" · ");
}

function rowOf(summary: FanOutSummary, petrel: FanOutSummary | undefined): string[] {
  const { name, median, leastUs, mostUs, faults } = summary;
  const part = (isPart: (process: string) => boolean): number =>
    [...median.cpuUs].reduce((sum, [process, us]) => (isPart(process) ? sum + us : sum), 0);
  const nodes = part(isNode);
  const redis = part((process) => process === "redis");
  return [
    name,
    median.totalUs.toFixed(1),
    `${leastUs.toFixed(1)}–${mostUs.toFixed(1)}`,
    petrel === undefined || summary === petrel
      ? ""
      : `${(petrel.median.totalUs / median.totalUs).toFixed(2)} ×`,
    nodes.toFixed(1),
    redis.toFixed(1),
    Math.abs(median.totalUs - nodes - redis).toFixed(1),
    summary.idleMsPerSecond.toFixed(0),
    median.verdict.p50Ms.toFixed(1),
    median.verdict.p99Ms.toFixed(1),
    faults.length === 0 ? "all, one order" : "see below",
  ];
}

/** What holds sockets. */
function isNode(process: string): boolean {
  return /^(push-)?node|^server/.test(process);
}
