// Bench: everything on one page: a row for each workload, a column for each contender; then the targets.
// Guarantees: a contender that took no part in a workload has a dash there, whatever the reason.
import { summarise, type RoundFigures, type WorkloadFigures } from "../compare/figures.js";
import type { Comparison } from "../compare/run-compare.js";
import { figureText } from "./figure-text.js";
import { judgeTargets } from "./targets.js";
import { markdownTable, PETREL, workloadTable } from "./workload-table.js";

interface Row {
  readonly workload: string;
  readonly title: string;
  readonly cell: (median: RoundFigures) => string;
}

function latencies({ value, more = {} }: RoundFigures): string {
  return [more["p50 ms"], value, more["p99.9 ms"]].map((ms = Number.NaN) => figureText(ms)).join(" / ");
}

const ROWS: readonly Row[] = [
  { workload: "single", title: "a message, one per POST, µs", cell: ({ value }) => figureText(value) },
  {
    workload: "batched",
    title: "a message, batched by the sender, µs",
    cell: ({ value }) => figureText(value),
  },
  {
    workload: "library",
    title: "a message, by the library for backends, µs",
    cell: ({ value }) => figureText(value),
  },
  { workload: "connect", title: "a connection, there and back, µs", cell: ({ value }) => figureText(value) },
  { workload: "broadcast", title: "broadcast, a delivery, µs", cell: ({ value }) => figureText(value) },
  { workload: "idle-connections", title: "an idle connection, µs/s", cell: ({ value }) => figureText(value) },
  {
    workload: "idle-connections",
    title: "an idle connection, KB",
    cell: ({ more = {} }) => figureText(more["KB of memory"] ?? Number.NaN),
  },
  { workload: "idle-cluster", title: "an idle cluster, ms/s", cell: ({ value }) => figureText(value) },
  {
    workload: "latency",
    title: "latency at a steady rate, p50 / p99 / p99.9 ms",
    cell: latencies,
  },
  {
    workload: "half-load",
    title: "latency at half load, p50 / p99 / p99.9 ms",
    cell: latencies,
  },
  { workload: "storage", title: "Redis, a delivered message, bytes", cell: ({ value }) => figureText(value) },
  {
    workload: "drops",
    title: "drop test: delivered, replay p99",
    cell: (median) => `${median.more?.["% delivered"] ?? "–"} %, ${figureText(median.value)} ms`,
  },
];

/** Everything, each workload with its parts. */
export function comparisonPage(comparison: Comparison): string {
  return [comparisonBlock(comparison), "", comparison.workloads.map(workloadTable).join("\n\n"), ""].join(
    "\n",
  );
}

/** The summary and the targets, as the documentation shows them. */
export function comparisonBlock({ contenders, leftOut, workloads, failed, machine }: Comparison): string {
  const setUps = contenders.map(({ name, setUp }) => `- ${name}: ${setUp}.`);
  const missing = [
    ...leftOut.map((line) => `- Left out: ${line}.`),
    ...failed.map((line) => `- Failed: ${line}.`),
  ];
  return [
    wrapped(`${machine}.`),
    "",
    summaryTable(
      contenders.map(({ name }) => name),
      workloads,
    ),
    "",
    ...[...setUps, ...missing].map(wrapped),
    "",
    targetTable(workloads),
  ].join("\n");
}

const WIDTH = 120;

/** As pages are; what follows a list's sign stands below it. */
function wrapped(text: string): string {
  const lines: string[] = [];
  const indent = text.startsWith("- ") ? "  " : "";
  for (const word of text.split(" ")) {
    const last = lines.at(-1);
    if (last !== undefined && last.length + 1 + word.length <= WIDTH)
      lines[lines.length - 1] = `${last} ${word}`;
    else lines.push(last === undefined ? word : indent + word);
  }
  return lines.join("\n");
}

export function summaryTable(names: readonly string[], workloads: readonly WorkloadFigures[]): string {
  const rows = ROWS.flatMap(({ workload, title, cell }) => {
    const figures = workloads.find((one) => one.workload === workload);
    if (figures === undefined) return [];
    const cells = names.map((name) => {
      // The drop test has clients of its own, and so Socket.IO without its version.
      const found = figures.contenders.find(
        (one) => one.name === name || one.name === name.replace(/ [\d.]+/, ""),
      );
      const summary = found === undefined ? undefined : summarise(found);
      if (summary === undefined) return "–";
      return cell(summary.median) + (summary.faults.length === 0 ? "" : " (!)");
    });
    return [[title, ...cells]];
  });
  return markdownTable(["", ...names.map((name) => (name === PETREL ? `**${name}**` : name))], rows);
}

function targetTable(workloads: readonly WorkloadFigures[]): string {
  const rows = judgeTargets(workloads).map(({ target, found, isMet }) => [
    target,
    found,
    isMet === undefined ? "–" : isMet ? "met" : "**missed**",
  ]);
  return markdownTable(["target", "found", ""], rows);
}
