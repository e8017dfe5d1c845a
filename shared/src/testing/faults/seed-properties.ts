// Tests only: runs in each worker before its tests, and gives property tests the seed of this run (seeded-random).
import * as fc from "fast-check";
import { seedOfRun } from "./seeded-random.js";

const seed = seedOfRun();
fc.configureGlobal(seed === undefined ? {} : { seed });
