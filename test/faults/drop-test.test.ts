// Flow: clients that are cut off again and again while messages are sent to them, beside Socket.IO in the same run.
// Guarantees: Petrel's applications get all of them, once and in order; both replays are printed.
import { chooseSeed } from "@petrel/shared/testing/faults/seeded-random";
import { expect, test } from "vitest";
import { openPetrelTarget } from "../../bench/src/drops/drop-test-petrel.js";
import { runDrops } from "../../bench/src/drops/drop-test-run.js";
import { dropTable } from "../../bench/src/drops/drop-test-table.js";
import { openSocketIoTarget } from "../../bench/src/contenders/socket-io-target.js";
import { sized } from "../support/sizes.js";

const CLIENTS = sized(2_000, 200);
/** Where Socket.IO still does well: at 400 its recoveries take all its time. */
const PEER_CLIENTS = sized(100, 50);

test(`${CLIENTS} clients, each cut off 8 times while 120 messages are sent to it`, async () => {
  const options = {
    messages: 120,
    drops: 8,
    everyMs: sized(400, 60),
    seed: chooseSeed("drop test"),
    patienceMs: 20_000,
  };
  const petrel = await runDrops(await openPetrelTarget(), { ...options, clients: CLIENTS });
  const socketIo = await runDrops(await openSocketIoTarget(), {
    ...options,
    clients: PEER_CLIENTS,
    patienceMs: 5_000,
  });
  process.stdout.write(`${dropTable([petrel, socketIo])}\n`);
  expect(petrel.accepted).toBe(CLIENTS * 120);
  expect(petrel).toMatchObject({ delivered: petrel.accepted, duplicates: 0, outOfOrder: 0 });
  // Those that were cut off with something missing did have to have it replayed.
  expect(petrel.replaysMs.length).toBeGreaterThan(0);
}, 280_000);
