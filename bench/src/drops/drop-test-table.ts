// Bench, drop test: one result per line.
// Guarantees: nothing is rounded up to 100 %.
import { percentile, type DropResult } from "./drop-test-run.js";

export function dropTable(results: readonly DropResult[]): string {
  const rows = results.map((result) => [
    result.name,
    String(result.clients),
    `${(Math.floor((result.delivered / result.accepted) * 10_000) / 100).toFixed(2)} %`,
    `${result.duplicates} / ${result.outOfOrder}`,
    ms(percentile(result.replaysMs, 0.5)),
    ms(percentile(result.replaysMs, 0.99)),
    `${result.incompleteReplays} of ${result.incompleteReplays + result.replaysMs.length}`,
    result.cpuUsPerMessage.toFixed(0),
    result.seconds.toFixed(0),
  ]);
  const head = [
    "",
    "clients",
    "delivered",
    "twice / disordered",
    "replay p50",
    "p99",
    "incomplete",
    "µs CPU/message",
    "seconds",
  ];
  const widths = head.map((title, column) =>
    Math.max(title.length, ...rows.map((row) => row[column]?.length ?? 0)),
  );
  return [head, ...rows]
    .map((row) => row.map((cell, column) => cell.padStart(widths[column] ?? 0)).join("  "))
    .join("\n");
}

function ms(value: number): string {
  return Number.isNaN(value) ? "none" : `${value.toFixed(1)} ms`;
}
