// Flow: a burst of pushes through two connections to the APNs simulator, with a GOAWAY, a black hole and a burst of 503
// in the middle. Compared with two other clients: bench:apns.
// Guarantees: every push arrives, none is reported wrongly, and only what a broken connection left unanswered repeats.
import { expect, test } from "vitest";
import { apnsTable, runApns } from "../../bench/src/apns/apns-run.js";
import { sized } from "../support/sizes.js";

const PUSHES = sized(20_000, 600);

test(`${PUSHES} pushes, with faults midway`, async () => {
  const petrel = await runApns({
    latencyMs: 100,
    deadlineMs: 200_000,
    client: "petrel",
    pushes: PUSHES,
    concurrency: sized(2_000, 250),
    withFaults: true,
  });
  process.stdout.write(`${apnsTable([petrel])}\n`);
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
