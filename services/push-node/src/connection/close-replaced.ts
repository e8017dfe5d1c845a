// push-node/deliver/receive-envelopes, push-node/connect/register-connection -> here: closes a connection that a newer
// one replaced.
// Guarantees: 4409 with the reason: too many connections, or a sign-in elsewhere and its platform.
import { closeCodes } from "@petrel/shared/protocol/frames/close-codes";
import type { Eviction } from "@petrel/shared/protocol/messages/node-messages";
import type { Connection } from "./connection.js";

/** @param platform of the newer connection; "" if unknown */
export function closeReplaced(connection: Connection, reason: Eviction["reason"], platform: string): void {
  if (reason === "elsewhere") {
    const where = platform === "" ? "elsewhere" : `elsewhere, on the platform "${platform}"`;
    connection.fail(
      closeCodes.replaced,
      "PETREL_SIGNED_IN_ELSEWHERE",
      `This user has signed in ${where}, and only the newest sign-in stays.`,
      "stop",
    );
    return;
  }
  connection.fail(
    closeCodes.replaced,
    "PETREL_CONNECTION_REPLACED",
    "Newer connections of this user replaced this one.",
    "stop",
  );
}
