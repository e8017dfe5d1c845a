// npm run test:install-ferretdb -> here -> start-ferretdb: builds the server that tests of the archive run on.
// Guarantees: if it cannot, exits with 1 and says why.
import { buildFerretDb } from "./start-ferretdb.js";

const why = buildFerretDb();
if (why !== undefined) {
  process.stderr.write(`tests of the archive are left out: ${why}\n`);
  process.exitCode = 1;
}
