// client -> here -> the application: a promise for the next welcome.
// Guarantees: it settles with the welcome or with the end, whichever comes first, and leaves no listener behind.
import { clientErrorCodes, PetrelClientError } from "./client-error.js";
import type { ClosedEvent, OfflineEvent } from "./client-events.js";
import type { WelcomeFrame } from "./frames.js";

/** The events that are listened to. */
export interface OnlineEvents {
  on(event: "online", listener: (welcome: WelcomeFrame) => unknown): () => void;
  on(event: "closed", listener: (event: ClosedEvent) => unknown): () => void;
}

/** @throws PetrelClientError `closed` */
export function nextWelcome(events: OnlineEvents): Promise<WelcomeFrame> {
  return new Promise((resolve, reject) => {
    const offs = [
      events.on("online", (welcome) => {
        for (const off of offs) off();
        resolve(welcome);
      }),
      events.on("closed", (event) => {
        for (const off of offs) off();
        reject(closedError(event));
      }),
    ];
  });
}

export function closedError({
  code,
  reason,
  error,
}: OfflineEvent & Pick<ClosedEvent, "error">): PetrelClientError {
  const why = error === undefined ? reason : `${error.code} ${error.message}`;
  return new PetrelClientError(clientErrorCodes.closed, `The client is closed: ${why} (${code})`, {
    retryable: false,
  });
}
