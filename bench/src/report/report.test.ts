// Tests what readers see: tables, verdicts and the picture, from figures made up here.
import { expect, test } from "vitest";
import type { WorkloadFigures } from "../compare/figures.js";
import { drawPlot } from "./draw-plot.js";
import { figureText } from "./figure-text.js";
import { comparisonBlock, comparisonPage, summaryTable } from "./summary-table.js";
import { judgeTargets } from "./targets.js";
import { workloadTable } from "./workload-table.js";
import { withFigures } from "./write-blocks.js";

function workload(name: string, values: Readonly<Record<string, number>>): WorkloadFigures {
  return {
    workload: name,
    title: `the ${name}`,
    unit: "µs",
    contenders: Object.entries(values).map(([contender, value]) => ({
      name: contender,
      rounds: [{ value }],
    })),
  };
}

test("a figure has as many digits as are significant", () => {
  expect([0.1234, 12.345, 123.4, 12_345, Number.NaN].map(figureText)).toEqual([
    "0.12",
    "12.3",
    "123",
    "12,345",
    "–",
  ]);
});

test("a workload's table has medians, spread, Petrel's share, parts, faults and failures", () => {
  const part = { "push-node-1": 20, "push-node-2": 10, redis: 30, collect: 40 };
  const table = workloadTable({
    workload: "single",
    title: "one at a time",
    unit: "µs",
    contenders: [
      {
        name: "Petrel",
        rounds: [
          { value: 100, parts: part, more: { "p99 ms": 2 } },
          { value: 140, parts: part, more: { "p99 ms": 3 }, faults: ["9 of 10 deliveries"] },
          { value: 90, parts: part, more: { "p99 ms": 1 } },
        ],
      },
      { name: "Other", rounds: [{ value: 200, parts: { "node-1": 200 }, more: { "p99 ms": 4 } }] },
      { name: "Broken", rounds: [], failed: "it fell\nover" },
    ],
  });
  const rows = table.split("\n").map((line) => line.split("|").map((cell) => cell.trim()));
  const row = (name: string): string[] | undefined => rows.find(([, first]) => first === name)?.slice(2, -1);
  expect(row("**Petrel**")).toEqual([
    "**100**",
    "90.0 – 140",
    "",
    "30.0",
    "30.0",
    "40.0",
    "2.00",
    "see below",
  ]);
  expect(row("Other")).toEqual(["**200**", "200 – 200", "0.50 ×", "200", "0.00", "0.00", "4.00", ""]);
  expect(row("Broken")).toEqual(["–", "–", "–", "–", "–", "–", "–", "failed"]);
  expect(table).toContain("- Petrel: 9 of 10 deliveries");
  expect(table).toContain("- Broken failed: it fell");
});

test("targets are met, missed or not measured", () => {
  const verdicts = judgeTargets([
    workload("single", { Petrel: 130, "Centrifugo 6": 125, "Socket.IO 4.8.4": 140 }),
    workload("batched", { Petrel: 50, "Centrifugo 6": 65 }),
    workload("connect", { Petrel: 700, "Socket.IO 4.8.4": 800, "Socket.IO 4.8.4, streams": 600 }),
    workload("storage", { Petrel: 230 }),
    workload("registered", { "Petrel, 1,000 users": 100, "Petrel, 100,000 users": 105 }),
  ]);
  const of = (start: string) => verdicts.find(({ target }) => target.startsWith(start));
  expect(of("a message per POST")).toMatchObject({ isMet: false, found: "1.04 × (130 beside 125)" });
  expect(of("batched")).toMatchObject({ isMet: true });
  expect(of("a connection, there and back ≤")).toMatchObject({ isMet: undefined, found: "not measured" });
  expect(of("a connection, there and back below")).toMatchObject({
    isMet: true,
    found: "0.88 × (700 beside 800)",
  });
  expect(of("1,000 messages/s")).toMatchObject({ isMet: true, found: "20.7 GB" });
  expect(of("cost flat")).toMatchObject({ isMet: true, found: "1.05 ×" });
  expect(of("an idle cluster")?.isMet).toBeUndefined();
});

test("the page names left-out contenders and marks figures with a fault", () => {
  const single = workload("single", { Petrel: 100 });
  const faulty: WorkloadFigures = {
    ...single,
    contenders: [...single.contenders, { name: "Other", rounds: [{ value: 1, faults: ["two lost"] }] }],
  };
  const page = comparisonPage({
    contenders: [
      { name: "Petrel", setUp: "stored" },
      { name: "Other", setUp: "not stored" },
    ],
    leftOut: ["nchan: no apt"],
    workloads: [faulty],
    failed: ["drops: it broke"],
    machine: "2 cores",
  });
  for (const line of ["- Left out: nchan: no apt.", "- Failed: drops: it broke.", "- Other: two lost"])
    expect(page).toContain(line);
  expect(summaryTable(["Petrel", "Other", "Third"], [faulty])).toContain("| 100 | 1.00 (!) | – |");
});

test("the picture has a bar each, none leaves its panel, and all text is escaped", () => {
  const svg = drawPlot([
    workload("single", { Petrel: 100, "Other <&>": 200 }),
    workload("idle-connections", { Petrel: 0, Other: 0 }),
  ]);
  const widths = [...svg.matchAll(/<rect class="(\w+)" x="160" y="\d+" width="([\d.]+)"/g)];
  expect(widths.map(([, kind, width]) => [kind, width])).toEqual([
    ["ours", "105.0"],
    ["bar", "210.0"],
  ]);
  expect(svg).toContain("Other &lt;&amp;&gt;");
  expect(svg).not.toContain("idle");
  expect(svg).toContain("prefers-color-scheme: dark");
});

test("replaces a documentation page's figures between their marks and leaves the rest as it is", () => {
  const page = "# Capacity\n\n<!-- costs: npm run x -->\nold\n<!-- end of costs -->\n\nText.\n";
  expect(withFigures(page, { costs: "new" })).toBe(
    "# Capacity\n\n<!-- costs: npm run x -->\n\nnew\n\n<!-- end of costs -->\n\nText.\n",
  );
  expect(() => withFigures("# Capacity\n", { costs: "new" })).toThrow("no marks for costs");
});

test("wraps a page's comparison at the width of pages", () => {
  const block = comparisonBlock({
    contenders: [{ name: "Petrel", setUp: "stored ".repeat(30).trim() }],
    leftOut: ["nchan: no apt"],
    workloads: [workload("single", { Petrel: 100 })],
    failed: [],
    machine: "2 cores",
  });
  for (const line of block.split("\n"))
    if (!line.startsWith("|")) expect(line.length).toBeLessThanOrEqual(120);
  expect(block).toContain("2 cores");
  expect(block).toContain("- Left out: nchan: no apt.");
});
