// Bench: a workload as a table in Markdown, a contender a row.
// Guarantees: Petrel's share of each is of the medians; a fault or a failure is never left out.
import {
  summarise,
  type ContenderFigures,
  type RoundFigures,
  type Summary,
  type WorkloadFigures,
} from "../compare/figures.js";
import { figureText } from "./figure-text.js";

/** Whom all others are compared with. */
export const PETREL = "Petrel";

export function workloadTable({ title, unit, contenders }: WorkloadFigures): string {
  const summaries = contenders.map(summarise);
  const petrel = summaries.find((one) => one?.name === PETREL);
  const more = [...new Set(contenders.flatMap(({ rounds }) => Object.keys(rounds[0]?.more ?? {})))];
  const hasParts = contenders.some(({ rounds }) => rounds[0]?.parts !== undefined);
  const head = [
    "",
    unit,
    "least – most",
    "Petrel is",
    ...(hasParts ? ["nodes", "Redis", "rest"] : []),
    ...more,
    "",
  ];
  const rows = contenders.map((one, i) => rowOf(one, summaries[i], petrel, hasParts, more));
  const notes = [
    ...summaries.flatMap((one) => (one?.name === PETREL && hasParts ? [partsLine(one)] : [])),
    ...summaries.flatMap((one) => (one?.faults ?? []).map((fault) => `- ${one?.name}: ${fault}`)),
    ...contenders.flatMap(({ name, failed }) =>
      failed === undefined ? [] : [`- ${name} failed: ${oneLine(failed)}`],
    ),
  ];
  return [`### ${title}`, "", markdownTable(head, rows), ...(notes.length === 0 ? [] : ["", ...notes])].join(
    "\n",
  );
}

export function markdownTable(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(" | ")} |`;
  return [line(head), `|${"---|".repeat(head.length)}`, ...rows.map(line)].join("\n");
}

function rowOf(
  { name, failed }: ContenderFigures,
  summary: Summary | undefined,
  petrel: Summary | undefined,
  hasParts: boolean,
  more: readonly string[],
): string[] {
  const shown = name === PETREL ? `**${name}**` : name;
  if (summary === undefined) {
    const width = 3 + (hasParts ? 3 : 0) + more.length;
    return [shown, ...Array.from({ length: width }, () => "–"), failed === undefined ? "" : "failed"];
  }
  const { median, least, most, faults } = summary;
  return [
    shown,
    `**${figureText(median.value)}**`,
    `${figureText(least)} – ${figureText(most)}`,
    petrel === undefined || summary === petrel || median.value <= 0 || petrel.median.value <= 0
      ? ""
      : `${(petrel.median.value / median.value).toFixed(2)} ×`,
    ...(hasParts ? partCells(median) : []),
    ...more.map((key) => figureText(median.more?.[key] ?? Number.NaN)),
    failed === undefined ? (faults.length === 0 ? "" : "see below") : "failed",
  ];
}

function partCells({ parts = {}, value }: RoundFigures): string[] {
  const entries = Object.entries(parts);
  const total = (wanted: (process: string) => boolean): number =>
    entries.reduce((sum, [process, figure]) => (wanted(process) ? sum + figure : sum), 0);
  const nodes = total((process) => /^(push-)?node|^server/.test(process));
  const redis = total((process) => process === "redis");
  return [nodes, redis, Math.abs(value - nodes - redis)].map(figureText);
}

function partsLine({ name, median }: Summary): string {
  const parts = Object.entries(median.parts ?? {}).map(
    ([process, figure]) => `${process} ${figureText(figure)}`,
  );
  return `- ${name}: ${parts.join(" · ")}`;
}

function oneLine(text: string): string {
  return text.split("\n")[0] ?? "";
}
