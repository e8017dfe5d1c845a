// Sends a message to each user of the command line, and says what became of it.
// Usage: PETREL_COLLECT=URL PETREL_KEY=KEY.SECRET node send.mjs USER…
import { Petrel, PetrelError } from "@petrel/server";

const petrel = new Petrel({ collect: process.env.PETREL_COLLECT, key: process.env.PETREL_KEY });

async function greet(user) {
  try {
    const { id } = await petrel.send({ to: { user }, data: { text: `hello, ${user}` } });
    const { state } = await petrel.messages.get(id);
    console.log(user, id, state);
  } catch (error) {
    if (!(error instanceof PetrelError)) throw error;
    // "unknown": it may be stored; with the same key it can be sent again.
    console.log(user, error.code, error.outcome, error.idempotencyKey);
    process.exitCode = 1;
  }
}

await Promise.all(process.argv.slice(2).map(greet));
await petrel.close();
