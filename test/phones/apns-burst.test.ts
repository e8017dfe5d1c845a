// Flow: a burst of pushes through two connections to the APNs simulator, with a GOAWAY, a black hole and a burst of 503
// in its middle; and the two clients that others use, for comparison, without faults.
// Guarantees: every push arrives, none is reported wrongly, and only what a broken connection left unanswered repeats.
import { expect, test } from "vitest";
import { apnsTable, runApns } from "../../bench/src/apns/apns-run.js";
import { sized } from "../support/sizes.js";

const PUSHES = sized(20_000, 3_000);
const PEER_PUSHES = sized(5_000, 60);

test(`${PUSHES} pushes, with faults in their middle`, async () => {
  const common = { latencyMs: 100, deadlineMs: 200_000 } as const;
  const petrel = await runApns({
    ...common,
    client: "petrel",
    pushes: PUSHES,
    concurrency: sized(2_000, 500),
    withFaults: true,
  });
  const peer = { ...common, pushes: PEER_PUSHES, concurrency: sized(2_000, 30), withFaults: false } as const;
  const nodeApn = await runApns({ ...peer, client: "node-apn" });
  const apns2 = await runApns({ ...peer, client: "apns2" });
  process.stdout.write(`${apnsTable([petrel, nodeApn, apns2])}\n`);
  // The faults did happen.
  expect(petrel.refusedByGoaway).toBeGreaterThan(0);
  expect(petrel.unanswered).toBeGreaterThan(0);
  expect(petrel.answers["503 ServiceUnavailable"]).toBeGreaterThan(0);
  expect(petrel).toMatchObject({
    arrived: PUSHES,
    falselyTaken: 0,
    falselyFailed: 0,
    reportedFailed: 0,
    repeatedWithoutCause: 0,
  });
}, 280_000);
