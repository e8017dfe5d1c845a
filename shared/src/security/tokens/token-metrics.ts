// auth, push-node -> here: the sources that token checks depend on, as gauges, and how often a check was remembered.
// Guarantees: each source and each outcome has its series from the start.
import { Counter, Gauge, type Registry } from "../../kernel/metrics/metrics.js";
import type { TokenSource } from "./token-source.js";

export function addTokenGauges(registry: Registry, sources: readonly TokenSource[]): void {
  registry.registerMetric(
    new Gauge({
      name: "petrel_token_source_up",
      help: "1 while tokens can be checked by it: auth's introspection, or the public keys of an issuer.",
      labelNames: ["source"],
      registers: [],
      collect() {
        for (const { source, problem } of sources) this.set({ source }, problem === undefined ? 1 : 0);
      },
    }),
  );
  registry.registerMetric(
    new Gauge({
      name: "petrel_jwks_keys",
      help: "Public keys that an issuer published when it was last asked.",
      labelNames: ["source", "outcome"],
      registers: [],
      collect() {
        for (const { source, keyCounts } of sources) {
          if (keyCounts === undefined) continue;
          this.set({ source, outcome: "taken" }, keyCounts.taken);
          this.set({ source, outcome: "left_out" }, keyCounts.leftOut);
        }
      },
    }),
  );
}

export function addTokenCacheMetrics(
  registry: Registry,
  cache: { readonly hits: number; readonly misses: number; readonly size: number },
): void {
  registry.registerMetric(
    new Counter({
      name: "petrel_token_checks_total",
      help: "Users' tokens that were checked: hit, remembered from before; miss, by their signature.",
      labelNames: ["outcome"],
      registers: [],
      collect() {
        this.reset();
        this.inc({ outcome: "hit" }, cache.hits);
        this.inc({ outcome: "miss" }, cache.misses);
      },
    }),
  );
  registry.registerMetric(
    new Gauge({
      name: "petrel_token_cache_tokens",
      help: "Checked tokens that are remembered.",
      registers: [],
      collect() {
        this.set(cache.size);
      },
    }),
  );
}
