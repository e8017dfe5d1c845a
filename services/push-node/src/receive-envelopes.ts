// scripts/accept or dispatch/route-messages -> here -> deliver: what comes over this node's channels.
// Guarantees: taken in the order it was published; kinds of a newer release are skipped.
import { closeCodes } from "@petrel/shared/protocol/close-codes";
import { decodeNodeMessage } from "@petrel/shared/protocol/node-messages";
import type { CatchUp } from "./catch-up.js";
import type { CollectAcks } from "./collect-acks.js";
import type { ConnectionRegistry } from "./connection-registry.js";
import type { Deliver } from "./deliver.js";

export interface ReceiveDeps {
  readonly registry: ConnectionRegistry;
  readonly deliver: Deliver;
  readonly catchUp: CatchUp;
  readonly acks: CollectAcks;
}

/** @returns what takes each text that is published to this node */
export function createReceiveEnvelopes({
  registry,
  deliver,
  catchUp,
  acks,
}: ReceiveDeps): (text: string) => void {
  return (text) => {
    const message = decodeNodeMessage(text);
    switch (message?.kind) {
      case "deliver":
        deliver(message.envelopes);
        return;
      case "nudge":
        for (const userId of message.userIds) {
          for (const connection of registry.ofUser(userId)) {
            acks.repeat(connection);
            connection.readToEnd = true;
            catchUp(connection);
          }
        }
        return;
      case "evict":
        for (const { userId, connection: id } of message.connections) {
          for (const connection of registry.ofUser(userId)) {
            if (connection.id !== id) continue;
            connection.fail(
              closeCodes.replaced,
              "PETREL_CONNECTION_REPLACED",
              "A newer connection of this user took this one's place.",
              "stop",
            );
          }
        }
        return;
      case "disconnect":
        for (const userId of message.userIds) {
          for (const connection of registry.ofUser(userId)) {
            connection.fail(
              closeCodes.revoked,
              "PETREL_DISCONNECTED",
              "An operator closed this user's connections.",
              "stop",
            );
          }
        }
        return;
      case undefined:
        return;
    }
  };
}
