// Operations: a cluster in which nothing happens sleeps.
// Guarantees: no service wakes more than 25 times a second, its metrics included. Counted by the kernel, which counts a
// wake-up once however slow the machine is; any three seconds in which it holds are enough.
import { readdirSync, readFileSync } from "node:fs";
import { freePort } from "@petrel/shared/testing/free-port";
import { startCluster, type TestCluster } from "@petrel/shared/testing/cluster/start-cluster";
import type { ServiceProcess } from "@petrel/shared/testing/cluster/service-process";
import { waitFor } from "@petrel/shared/testing/wait-for";
import { afterAll, beforeAll, expect, test } from "vitest";

const MAX_A_SECOND = 25;
const WINDOW_MS = 3_000;
const names = ["auth", "collect", "dispatch-1", "push-node-1"];

let cluster: TestCluster;
beforeAll(async () => {
  const ports = await Promise.all(names.map(freePort));
  cluster = await startCluster({
    nodes: 1,
    environmentOf: (name) => ({ METRICS_PORT: String(ports[names.indexOf(name)]) }),
  });
});
afterAll(() => cluster?.stop());

/** How often its threads went to sleep of their own accord. */
function countSleeps({ pid }: ServiceProcess): number {
  return readdirSync(`/proc/${pid}/task`).reduce((sum, thread) => {
    const status = readFileSync(`/proc/${pid}/task/${thread}/status`, "utf8");
    return sum + Number(/^voluntary_ctxt_switches:\s*(\d+)/m.exec(status)?.[1]);
  }, 0);
}

test.skipIf(process.platform !== "linux")(
  "an idle service wakes a few times a second",
  async () => {
    let rates: Record<string, number> = {};
    await waitFor(
      async () => {
        const before = cluster.processes.map(countSleeps);
        const sinceMs = performance.now();
        await new Promise((resolve) => setTimeout(resolve, WINDOW_MS));
        const seconds = (performance.now() - sinceMs) / 1000;
        rates = Object.fromEntries(
          cluster.processes.map((service, i) => [
            service.name,
            (countSleeps(service) - (before[i] ?? 0)) / seconds,
          ]),
        );
        return Object.values(rates).every((rate) => rate <= MAX_A_SECOND);
      },
      { what: "few wake-ups", deadlineMs: 30_000 },
    ).catch((error: unknown) => expect.fail(`${String(error)}: ${JSON.stringify(rates)}`));
    expect(Object.keys(rates).sort()).toEqual(names.toSorted());
  },
  120_000,
);
