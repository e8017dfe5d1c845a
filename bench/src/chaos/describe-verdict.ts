// chaos: the checker's verdict, for people.
// Guarantees: every kind of violation is listed with its count and a few examples.
import type { Verdict } from "@petrel/shared/testing/checks/check-history";

const EXAMPLES = 5;

export function describeVerdict({ violations, counts }: Verdict): string {
  const { posted, accepted, refused, unknown, unknownArrived, states, connections } = counts;
  const ends = Object.entries(states).map(([state, count]) => `${count} ${state}`);
  const lines = [
    `posted ${posted}: ${accepted} accepted, ${refused} refused, ${unknown} without an answer (${unknownArrived} of them arrived)`,
    `accepted: ${ends.join(", ") || "none"}`,
    `on the wire ${counts.onWire} over ${connections} connections, ${counts.wireDuplicates} of them again; ` +
      `handled by applications ${counts.handled}`,
    `fallbacks ${counts.fallbacks}, ${counts.fallbackRepeats} of them again; faults ${counts.faults}`,
    `topics: ${counts.topicHandled} messages handled by applications, ${counts.topicRecoveries} recoveries, ` +
      `${counts.topicHoles} holes told`,
    `devices that were told of a hole ${counts.toldHoles}; people erased ${counts.erasures}; ` +
      `requests over kept connections during a planned stop ${counts.keptDuringStops}`,
  ];
  for (const kind of new Set(violations.map((one) => one.kind))) {
    const ofKind = violations.filter((one) => one.kind === kind);
    lines.push(`VIOLATION ${kind}: ${ofKind.length}`);
    for (const { detail } of ofKind.slice(0, EXAMPLES)) lines.push(`  ${detail}`);
    if (ofKind.length > EXAMPLES) lines.push(`  … and ${ofKind.length - EXAMPLES} more`);
  }
  lines.push(violations.length === 0 ? "verdict: every promise was kept" : "verdict: BROKEN");
  return lines.join("\n");
}
