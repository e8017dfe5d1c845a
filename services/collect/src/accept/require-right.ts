// message-routes, batch-routes -> here: whether this producer may send this message.
// Guarantees: a broadcast needs the scope `admin` besides `send`, which the route has checked.
import { BROADCAST_TOPIC } from "@petrel/shared/protocol/topics/topic-name";
import { type Producer, requireScope } from "@petrel/shared/security/producers/authenticate-producer";
import type { CheckedMessage } from "../contract/check-message.js";

/** @throws PetrelError PETREL_FORBIDDEN */
export function requireRight(producer: Producer, { to }: Pick<CheckedMessage, "to">): void {
  if (to.topic === BROADCAST_TOPIC) requireScope(producer, "admin");
}
