// dispatch/hand-over/route-messages, accept/accept.lua -> here -> push-node/deliver/deliver: handles what arrives on
// this node's channels.
// Guarantees: messages are processed in the order they were published. Kinds of a newer release are skipped. A revoked
// user or session is closed in the same turn, a single token in the next one.
import { closeCodes } from "@petrel/shared/protocol/frames/close-codes";
import { decodeNodeMessage, type KeptTopicChange } from "@petrel/shared/protocol/messages/node-messages";
import type { CatchUp } from "./catch-up.js";
import { closeReplaced } from "../connection/close-replaced.js";
import { createRevokedTokens, closeErased, closeRevoked, livesUnder } from "../connection/close-revoked.js";
import { takeRecall } from "../recall/tell-recalls.js";
import type { ConnectionRegistry } from "../connection/connection-registry.js";
import type { Deliver } from "./deliver.js";
import type { DeliveryAcks } from "./delivery-acks.js";

export interface ReceiveDeps {
  readonly registry: ConnectionRegistry;
  readonly deliver: Deliver;
  readonly catchUp: CatchUp;
  readonly acks: Pick<DeliveryAcks, "repeat">;
  /** The topics that the server keeps for users have changed. */
  readonly onKeptTopics: (changes: readonly KeptTopicChange[]) => void;
  /** These users were erased. */
  readonly onErased: (userIds: readonly string[]) => void;
}

/** @returns a function that takes each text published to this node */
export function createReceiveEnvelopes({
  registry,
  deliver,
  catchUp,
  acks,
  onKeptTopics,
  onErased,
}: ReceiveDeps): (text: string) => void {
  const closeTokens = createRevokedTokens(registry);
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
      case "recalled":
        for (const recall of message.recalls) {
          for (const connection of registry.ofUser(recall.userId)) {
            takeRecall(connection, recall);
            if (connection.phase !== "registering") connection.flush();
          }
        }
        return;
      case "evict":
        for (const { userId, connection: id, reason, platform } of message.connections) {
          for (const connection of registry.ofUser(userId)) {
            if (connection.id === id) closeReplaced(connection, reason, platform);
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
      case "revoke-user":
        for (const { userId, generation } of message.revocations) {
          for (const connection of registry.ofUser(userId)) {
            if (livesUnder(connection, (token) => token.generation < generation)) closeRevoked(connection);
          }
        }
        return;
      case "revoke-session":
        for (const { userId, sessionId } of message.revocations) {
          for (const connection of registry.ofUser(userId)) {
            if (livesUnder(connection, (token) => token.sessionId === sessionId)) closeRevoked(connection);
          }
        }
        return;
      case "revoke-token":
        closeTokens(message.jtis);
        return;
      case "erase-user":
        for (const { userId, generation } of message.erasures) {
          for (const connection of registry.ofUser(userId)) {
            if (livesUnder(connection, (token) => token.generation < generation)) closeErased(connection);
          }
        }
        // Not who has signed in anew meanwhile.
        onErased(message.erasures.map(({ userId }) => userId).filter((userId) => !isHere(registry, userId)));
        return;
      case "topics":
        onKeptTopics(message.changes);
        return;
      case undefined:
        return;
    }
  };
}

function isHere(registry: ConnectionRegistry, userId: string): boolean {
  for (const connection of registry.ofUser(userId)) if (connection.isOpen) return true;
  return false;
}
