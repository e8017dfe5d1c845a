// Bench: what a round of a contender gave.
// Guarantees: whatever was not as promised is a fault, in words.
import type { DeliveryVerdict } from "../subscribers/judge-deliveries.js";

export interface MeasuredRound {
  /** Microseconds of CPU a delivery, by process. */
  readonly cpuUs: ReadonlyMap<string, number>;
  readonly totalUs: number;
  readonly seconds: number;
  readonly verdict: DeliveryVerdict;
}

/** Empty where everything was right. */
export function faultsOf(verdict: DeliveryVerdict): string[] {
  const { deliveries, expected, subscribersWithout, topicsInTwoOrders, brokenOffsets, ended } = verdict;
  return [
    ...(deliveries === expected ? [] : [`${deliveries} of ${expected} deliveries`]),
    ...(subscribersWithout === 0 ? [] : [`${subscribersWithout} subscribers without exactly their messages`]),
    ...(topicsInTwoOrders === 0 ? [] : [`${topicsInTwoOrders} topics in more than one order`]),
    ...(brokenOffsets === 0 ? [] : [`${brokenOffsets} offsets that do not follow`]),
    ...(ended.length === 0 ? [] : [`${ended.length} connections ended (${ended[0]})`]),
  ];
}
