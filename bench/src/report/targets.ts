// Bench: the targets, each with the figures that it speaks of.
// Guarantees: a target without its figures is not called met.
import { summarise, type Summary, type WorkloadFigures } from "../compare/figures.js";
import { figureText } from "./figure-text.js";
import { PETREL } from "./workload-table.js";

export interface TargetVerdict {
  readonly target: string;
  /** What it came to, in words. */
  readonly found: string;
  /** Undefined where the figures are missing. */
  readonly isMet: boolean | undefined;
}

const SOCKET_IO = /^Socket\.IO [^,]*$/;
const CENTRIFUGO = /^Centrifugo/;
/** How long a delivered message's record is kept by default, in seconds. */
const KEPT_SECONDS = 25 * 3_600;
const PER_SECOND = 1_000;

export function judgeTargets(workloads: readonly WorkloadFigures[]): TargetVerdict[] {
  const summary = (workload: string, name: RegExp | string): Summary | undefined => {
    const figures = workloads
      .find((one) => one.workload === workload)
      ?.contenders.find((one) => (typeof name === "string" ? one.name === name : name.test(one.name)));
    return figures === undefined ? undefined : summarise(figures);
  };
  const share = (target: string, workload: string, other: RegExp, most: number): TargetVerdict => {
    const [ours, theirs] = [summary(workload, PETREL), summary(workload, other)];
    if (ours === undefined || theirs === undefined) return missing(target);
    const ratio = ours.median.value / theirs.median.value;
    return {
      target,
      found: `${ratio.toFixed(2)} × (${figureText(ours.median.value)} beside ${figureText(theirs.median.value)})`,
      isMet: ratio <= most,
    };
  };
  const atMost = (target: string, most: number, unit: string, value: number | undefined): TargetVerdict =>
    value === undefined || !Number.isFinite(value)
      ? missing(target)
      : { target, found: `${figureText(value)} ${unit}`, isMet: value <= most };

  const idle = summary("idle-connections", PETREL)?.median;
  const stored = summary("storage", PETREL)?.median.value;
  const drops = summary("drops", PETREL)?.median;
  const registered = workloads.find(({ workload }) => workload === "registered")?.contenders.map(summarise);
  const [few, many] = registered ?? [];
  const delivered = drops?.more?.["% delivered"];
  return [
    share("a message per POST ≤ 1.0 × Centrifugo", "single", CENTRIFUGO, 1),
    share("batched ≤ 0.80 × Centrifugo's batch", "batched", CENTRIFUGO, 0.8),
    share("a connection, there and back ≤ 1.3 × Centrifugo", "connect", CENTRIFUGO, 1.3),
    share("a connection, there and back below Socket.IO", "connect", SOCKET_IO, 1),
    share("broadcast, a delivery ≤ 0.60 × Socket.IO", "broadcast", SOCKET_IO, 0.6),
    share("broadcast, a delivery ≤ 0.50 × Centrifugo", "broadcast", CENTRIFUGO, 0.5),
    atMost("an idle connection ≤ 3 µs/s", 3, "µs/s", idle?.value),
    atMost("an idle connection ≤ 9 KB", 9, "KB", idle?.more?.["KB of memory"]),
    atMost("an idle cluster ≤ 15 ms/s", 15, "ms/s", summary("idle-cluster", PETREL)?.median.value),
    atMost(
      `${PER_SECOND.toLocaleString("en")} messages/s ≤ 25 GB of Redis`,
      25,
      "GB",
      stored === undefined ? undefined : (stored * KEPT_SECONDS * PER_SECOND) / 1e9,
    ),
    atMost(
      "cost flat from few registered users to many (≤ 1.1 ×)",
      1.1,
      "×",
      few === undefined || many === undefined ? undefined : many.median.value / few.median.value,
    ),
    delivered === undefined
      ? missing("drop test: 100 %")
      : { target: "drop test: 100 %", found: `${delivered} %`, isMet: delivered === 100 },
    atMost("drop test: replay p99 ≤ 100 ms", 100, "ms", drops?.value),
  ];
}

function missing(target: string): TargetVerdict {
  return { target, found: "not measured", isMet: undefined };
}
