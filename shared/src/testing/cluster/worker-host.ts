// start-cluster, simulator-process -> here -> service-host: the processes in which services and simulators run together.
// Guarantees: for each process that runs tests, one of each tree; it is started with the first service that needs it.
import { join } from "node:path";
import { builtTree } from "./service-files.js";
import { ServiceHost } from "./service-host.js";

class WorkerHosts {
  readonly #byTree = new Map<string, ServiceHost>();

  of(tree: string): ServiceHost {
    const path = join(tree, "/");
    const host = this.#byTree.get(path) ?? new ServiceHost(path);
    this.#byTree.set(path, host);
    return host;
  }
}

const hosts = new WorkerHosts();

/** @param tree the root of a built tree; this one by default */
export function workerHost(tree = builtTree): ServiceHost {
  return hosts.of(tree);
}
