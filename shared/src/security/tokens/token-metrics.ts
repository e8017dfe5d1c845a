// auth, push-node -> here: the sources that token checks depend on, as gauges, and how often a check was remembered.
// Guarantees: each source and each outcome has its series from the start.
import { Counter, Gauge, type Registry } from "../../kernel/metrics/metrics.js";
import type { TokenSource } from "./token-source.js";

export function addTokenGauges(registry: Registry, sources: readonly TokenSource[]): void {
  registry.registerMetric(
    new Gauge({
      name: "petrel_token_source_up",
      help: "1 while this source can check tokens: auth's introspection, or an issuer's public keys.",
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
      help: "Public keys the issuer published when last asked.",
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
      help: "Users' tokens checked: hit, found in the cache; miss, checked by signature.",
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
      help: "Checked tokens in the cache.",
      registers: [],
      collect() {
        this.set(cache.size);
      },
    }),
  );
}
