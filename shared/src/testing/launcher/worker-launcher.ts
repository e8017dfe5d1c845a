// start-redis, service-process -> here -> process-launcher: how this process starts others.
// Guarantees: one launcher for each worker of the tests, started with the first process; elsewhere, as in the bench, which
// is small itself, each is a child of its own.
import { launchProcess, type LaunchProcess } from "../../embedded-redis/launch-process.js";
import { ProcessLauncher } from "./process-launcher.js";

const launcher = new ProcessLauncher();

export const launchFromWorker: LaunchProcess = (order) =>
  process.env["VITEST"] === undefined ? launchProcess(order) : launcher.launch(order);
