// Tests what a rollout of push nodes costs their clients, by a model of the Deployment: with the settings of k8s/, and the
// table of docs/operate/operations.md.
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { parseAllDocuments } from "yaml";
import { modelRollout, type Rollout } from "../support/kubernetes/model-rollout.js";

interface Deployment {
  readonly kind: string;
  readonly spec: {
    readonly minReadySeconds: number;
    readonly strategy: {
      readonly rollingUpdate: { readonly maxSurge: string; readonly maxUnavailable: number };
    };
    readonly template: {
      readonly spec: {
        readonly containers: readonly {
          readonly lifecycle: { readonly preStop: { readonly sleep: { seconds: number } } };
        }[];
      };
    };
  };
}

const read = (path: string): string => readFileSync(new URL(`../../${path}`, import.meta.url), "utf8");
const [deployment] = parseAllDocuments(read("k8s/base/push-node.yaml"))
  .map((document) => document.toJS() as Deployment)
  .filter(({ kind }) => kind === "Deployment");
if (deployment === undefined) throw new Error("no push nodes");
const { minReadySeconds, strategy, template } = deployment.spec;
const preStopSeconds = template.spec.containers[0]?.lifecycle.preStop.sleep.seconds ?? 0;

/** As kubectl reads a percentage: rounded up. */
function surgeOf(nodes: number, setting: string | number): number {
  if (typeof setting === "number") return setting;
  const [, percent] = /^(\d+)%$/.exec(setting) ?? [];
  if (percent === undefined) throw new Error(`no percentage: ${setting}`);
  return Math.ceil((nodes * Number(percent)) / 100);
}

const rollout = (more: Partial<Rollout>): Rollout => ({
  nodes: 10,
  maxSurge: surgeOf(more.nodes ?? 10, strategy.rollingUpdate.maxSurge),
  maxUnavailable: strategy.rollingUpdate.maxUnavailable,
  minReadySeconds,
  preStopSeconds,
  drainSeconds: 60,
  balancer: "round robin",
  ...more,
});

describe("as in k8s/", () => {
  test.each([2, 3, 5, 10, 20, 50])(
    "%i nodes: nearly one move per client, and the nodes end up even",
    (nodes) => {
      for (const drainSeconds of [20, 60])
        for (const balancer of ["round robin", "least connections"] as const) {
          const { movesPerClient, fullest } = modelRollout(rollout({ nodes, drainSeconds, balancer }));
          expect(movesPerClient).toBeGreaterThanOrEqual(1);
          expect(movesPerClient).toBeLessThan(1.1);
          expect(fullest).toBeLessThan(1.05);
        }
    },
  );
});

test("matches the documentation's table", () => {
  const rows: readonly (readonly [string, Partial<Rollout>])[] = [
    ["`maxSurge: 1`", { maxSurge: 1 }],
    ["`maxSurge: 1`, `minReadySeconds: 80`", { maxSurge: 1, minReadySeconds: 80 }],
    ["`maxSurge: 50%` (as here)", {}],
    ["`maxSurge: 100%`", { maxSurge: 10 }],
  ];
  const page = read("docs/operate/operations.md");
  const made: string[] = [];
  for (const [name, more] of rows) {
    const robin = modelRollout(rollout(more));
    const least = modelRollout(rollout({ ...more, balancer: "least connections" }));
    const minutes = (robin.seconds / 60).toFixed(1);
    const percent = Math.round(robin.fullest * 100);
    const row = `| ${name} | ${robin.drainedAtOnce} | ${robin.movesPerClient.toFixed(2)} | ${percent} % | ${least.movesPerClient.toFixed(2)} | ${minutes} min |`;
    made.push(row);
  }
  process.stdout.write(`${made.join("\n")}\n`);
  for (const row of made) expect(page).toContain(row);
});
