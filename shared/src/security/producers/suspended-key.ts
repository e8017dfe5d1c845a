// authenticate-producer, authenticate-signature -> here: the error for a request of a suspended key.
import { PetrelError } from "../../kernel/errors.js";

export function suspended(): PetrelError {
  return new PetrelError(
    "PETREL_KEY_SUSPENDED",
    "An operator has suspended this key: ask whoever runs the cluster.",
  );
}
