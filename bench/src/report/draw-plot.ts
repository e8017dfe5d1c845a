// Bench: a picture of the figures: a panel for each workload, a bar for each contender.
// Guarantees: readable on light and on dark pages; a bar is the median, the line over it the spread; nothing but text
// and rectangles, so it needs no font and no script.
import { summarise, type WorkloadFigures } from "../compare/figures.js";
import { figureText } from "./figure-text.js";
import { PETREL } from "./workload-table.js";

/** In this order, where they were measured. */
const PANELS = ["single", "batched", "connect", "broadcast", "idle-connections", "latency"];
const titles: Readonly<Record<string, string>> = {
  single: "A message, one per POST",
  batched: "A message, batched by its sender",
  connect: "A connection, there and back",
  broadcast: "One message to many, a delivery",
  "idle-connections": "An idle connection",
  latency: "Latency at a steady rate",
};

const PANEL_WIDTH = 430;
const NAME_WIDTH = 160;
const VALUE_WIDTH = 60;
const BAR_WIDTH = PANEL_WIDTH - NAME_WIDTH - VALUE_WIDTH;
const ROW_HEIGHT = 22;
const BAR_HEIGHT = 14;
const HEAD_HEIGHT = 44;
const GAP = 24;

const STYLE = `
    text { font: 12px system-ui, sans-serif; fill: #24292f }
    .title { font-size: 14px; font-weight: 600 }
    .unit { fill: #57606a }
    .bar { fill: #8c959f }
    .ours { fill: #0969da }
    .spread { stroke: #24292f; stroke-width: 1 }
    @media (prefers-color-scheme: dark) {
      text { fill: #e6edf3 }
      .unit { fill: #8d96a0 }
      .bar { fill: #6e7681 }
      .ours { fill: #4493f8 }
      .spread { stroke: #e6edf3 }
    }`;

export function drawPlot(workloads: readonly WorkloadFigures[]): string {
  const panels = PANELS.flatMap((name) => {
    const found = workloads.find(({ workload }) => workload === name);
    const panel = found === undefined ? undefined : drawPanel(found);
    return panel === undefined ? [] : [panel];
  });
  let y = 0;
  const placed: string[] = [];
  for (let i = 0; i < panels.length; i += 2) {
    const row = panels.slice(i, i + 2);
    for (const [column, { svg }] of row.entries())
      placed.push(`  <g transform="translate(${column * (PANEL_WIDTH + GAP)} ${y})">\n${svg}\n  </g>`);
    y += Math.max(...row.map(({ height }) => height)) + GAP;
  }
  const width = 2 * PANEL_WIDTH + GAP;
  const height = Math.max(1, y - GAP);
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" role="img" aria-label="What Petrel and others cost; shorter is better">`,
    `  <style>${STYLE}\n  </style>`,
    ...placed,
    "</svg>",
    "",
  ].join("\n");
}

function drawPanel(figures: WorkloadFigures): { readonly svg: string; readonly height: number } | undefined {
  const bars = figures.contenders.flatMap((one) => summarise(one) ?? []);
  const longest = Math.max(...bars.map(({ most }) => most));
  if (bars.length === 0 || !(longest > 0)) return undefined;
  const scale = (value: number): number => Math.max(0, (value / longest) * BAR_WIDTH);
  const lines = [
    `    <text class="title" x="0" y="14">${escaped(titles[figures.workload] ?? figures.title)}</text>`,
    `    <text class="unit" x="0" y="32">${escaped(figures.unit)}; shorter is better</text>`,
  ];
  for (const [i, { name, median, least, most }] of bars.entries()) {
    const top = HEAD_HEIGHT + i * ROW_HEIGHT;
    const middle = top + BAR_HEIGHT / 2;
    const isOurs = name.startsWith(PETREL);
    lines.push(
      `    <text x="0" y="${top + 11}">${escaped(name)}</text>`,
      `    <rect class="${isOurs ? "ours" : "bar"}" x="${NAME_WIDTH}" y="${top}" width="${at(scale(median.value))}" height="${BAR_HEIGHT}" rx="2"/>`,
      `    <line class="spread" x1="${at(NAME_WIDTH + scale(least))}" x2="${at(NAME_WIDTH + scale(most))}" y1="${middle}" y2="${middle}"/>`,
      `    <text x="${at(NAME_WIDTH + scale(most) + 6)}" y="${top + 11}">${figureText(median.value)}</text>`,
    );
  }
  return { svg: lines.join("\n"), height: HEAD_HEIGHT + bars.length * ROW_HEIGHT };
}

function at(position: number): string {
  return position.toFixed(1);
}

function escaped(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}
