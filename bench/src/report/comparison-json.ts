// Bench: the figures for other programs.
// Guarantees: every round, not only the medians.
import type { Comparison } from "../compare/run-compare.js";

export function comparisonJson(comparison: Comparison): string {
  return JSON.stringify({ node: process.version, at: new Date().toISOString(), ...comparison }, undefined, 2);
}
