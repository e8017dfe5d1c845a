// push-node/connect/{route-upgrades, connect-route} -> here: is this a WebSocket handshake, by the full grammar of RFC
// 9110 section 7.8 and RFC 6455 section 4.2.1?
// Guarantees: anything that is not one gets an error of the contract. Lists may have empty elements.
import type { IncomingMessage } from "node:http";
import { PetrelError } from "@petrel/shared/kernel/errors";

type Head = Pick<IncomingMessage, "headers" | "httpVersionMajor" | "httpVersionMinor">;

/** The elements of a list (RFC 9110 section 5.6.1), without the empty ones. */
export function listElements(header: string | undefined): string[] {
  if (header === undefined) return [];
  // White space in a header is spaces and tabs only.
  return header
    .split(",")
    .map((element) => element.replace(/^[ \t]+|[ \t]+$/g, ""))
    .filter((element) => element !== "");
}

/** Whether it asks for a WebSocket, perhaps among other protocols. An upgrade of HTTP/1.0 must be ignored. */
export function wantsWebSocket({ headers, httpVersionMajor, httpVersionMinor }: Head): boolean {
  if (httpVersionMajor < 1 || (httpVersionMajor === 1 && httpVersionMinor < 1)) return false;
  const { upgrade } = headers;
  // As all but a few write it.
  if (upgrade === "websocket") return true;
  return listElements(upgrade).some((protocol) => protocol.toLowerCase() === "websocket");
}

/** @throws PetrelError PETREL_UPGRADE_REQUIRED, PETREL_INVALID_REQUEST */
export function checkUpgrade(request: Head): void {
  const { headers } = request;
  if (!wantsWebSocket(request) || headers["sec-websocket-version"] !== "13") {
    throw new PetrelError("PETREL_UPGRADE_REQUIRED", "Only WebSocket version 13 (RFC 6455) is supported.");
  }
  const key = headers["sec-websocket-key"];
  if (key === undefined || !/^[+/0-9A-Za-z]{22}==$/.test(key)) {
    throw new PetrelError("PETREL_INVALID_REQUEST", "Sec-WebSocket-Key is not 16 bytes in base64.");
  }
  const length = headers["content-length"];
  if (headers["transfer-encoding"] !== undefined || (length !== undefined && Number(length) !== 0)) {
    throw new PetrelError("PETREL_INVALID_REQUEST", "A handshake must not have a body.");
  }
}
