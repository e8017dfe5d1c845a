// start-cluster, simulator-process -> here -> service-host: the process in which services and simulators run together.
// Guarantees: one for each process that runs tests; it is started with the first service that needs it.
import { ServiceHost } from "./service-host.js";

export const workerHost = new ServiceHost();
