// Tests the bench itself, small: the floor and `ws` by hand, which need no download, deliver everything that is counted.
import { expect, test } from "vitest";
import { readFanOutOptions } from "./fan-out-options.js";
import { faultsOf } from "../rounds/measured-round.js";
import { runFanOut } from "./run-fan-out.js";

test("compares two contenders in turn, with one topic and several; every delivery is seen", async () => {
  const small = "--sockets 6 --messages 5 --topics 3 --members 2 --rate 20 --seconds 1 --rounds 1";
  const chosen = ["--only", "floor,ws", "--workloads", "room,many", "--load-processes", "2"];
  const options = readFanOutOptions([...chosen, ...small.split(" ")]);
  if (options === undefined) throw new Error("no options");
  const all = await runFanOut(options, () => undefined);
  expect(all.map(({ workload }) => workload)).toEqual(["room", "many"]);
  for (const { workload, results } of all) {
    expect(results, workload).toHaveLength(2);
    for (const { name, rounds } of results)
      for (const { verdict, totalUs } of rounds) {
        // Two publishers at once may reach the two nodes of `ws` in two orders: it promises none.
        const faults = faultsOf({ ...verdict, topicsInTwoOrders: 0 });
        expect(faults, `${name}, ${workload}`).toEqual([]);
        expect(verdict.expected).toBe(workload === "many" ? 40 : 30);
        expect(totalUs).toBeGreaterThan(0);
      }
  }
}, 120_000);
