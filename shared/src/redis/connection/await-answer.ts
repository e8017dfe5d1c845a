// Waits for an answer of Redis, and reports plainly if none comes.
// Guarantees: a missing answer becomes PETREL_UNAVAILABLE, with its cause; an error that Redis answered with is passed
// on unchanged.
import { PetrelError } from "../../kernel/errors.js";
import { isConnectionError } from "./connect.js";

export async function awaitAnswer<T>(call: Promise<T>): Promise<T> {
  try {
    return await call;
  } catch (error) {
    if (!isConnectionError(error)) throw error;
    throw new PetrelError("PETREL_UNAVAILABLE", "Redis does not answer.", { cause: error });
  }
}
