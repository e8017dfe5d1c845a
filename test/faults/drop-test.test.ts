// Flow: clients are cut off again and again while messages are sent to them. Beside Socket.IO: bench:drops.
// Guarantees: Petrel's applications get all of them, once and in order, though the newest frames come again on each new
// connection; the numbers of a connection increase. The replay times are printed.
import { chooseSeed } from "@petrel/shared/testing/faults/seeded-random";
import { expect, test } from "vitest";
import { openPetrelTarget } from "../../bench/src/drops/drop-test-petrel.js";
import { runDrops } from "../../bench/src/drops/drop-test-run.js";
import { dropTable } from "../../bench/src/drops/drop-test-table.js";
import { sized } from "../support/sizes.js";

const CLIENTS = sized(2_000, 15);

test(`${CLIENTS} clients, each cut off 8 times while it is sent 120 messages`, async () => {
  const options = {
    messages: 120,
    drops: 8,
    everyMs: sized(400, 60),
    seed: chooseSeed("drop test"),
    patienceMs: 20_000,
  };
  const petrel = await runDrops(await openPetrelTarget({ repeatsFrames: true, together: true }), {
    ...options,
    clients: CLIENTS,
  });
  process.stdout.write(`${dropTable([petrel])}\n`);
  expect(petrel.accepted).toBe(CLIENTS * 120);
  expect(petrel).toMatchObject({
    delivered: petrel.accepted,
    duplicates: 0,
    outOfOrder: 0,
    backwards: 0,
  });
  // Else a client that hands a message over twice would pass.
  expect(petrel.repeated).toBeGreaterThan(0);
  // Some were cut off with messages missing, and needed a replay.
  expect(petrel.replaysMs.length).toBeGreaterThan(0);
}, 280_000);
