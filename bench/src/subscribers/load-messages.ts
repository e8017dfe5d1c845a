// Bench: what the bench and its load processes tell each other.
import type { LedgerReport, Round } from "./delivery-ledger.js";
import type { Entrance } from "./raw-subscriber.js";

export type ToLoadProcess =
  | { readonly kind: "connect"; readonly entrances: readonly Entrance[]; readonly atATime: number }
  | { readonly kind: "round"; readonly round: Round }
  | { readonly kind: "report" }
  /** All of them. */
  | { readonly kind: "leave" };

export type FromLoadProcess =
  | { readonly kind: "connected" }
  | { readonly kind: "left" }
  | { readonly kind: "failed"; readonly why: string }
  /** The round may begin. */
  | { readonly kind: "listening" }
  | { readonly kind: "seen"; readonly n: number }
  | { readonly kind: "all" }
  | { readonly kind: "report"; readonly report: LedgerReport };
