// Tests only: the target of dispatch's webhook channel, in place of a phone.
// Guarantees: each call is recorded before it is answered; answers 204.
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import type { MessageRecorder } from "./message-recorder.js";

export interface FallbackRecorder {
  /** For FALLBACK_WEBHOOK_URL. */
  readonly url: string;
  readonly stop: () => Promise<void>;
}

export async function startFallbackRecorder(recorder: MessageRecorder): Promise<FallbackRecorder> {
  const server = createServer((request, response) => {
    let text = "";
    request.setEncoding("utf8");
    request.on("data", (chunk: string) => (text += chunk));
    request.on("end", () => {
      const call = JSON.parse(text) as {
        readonly id: string;
        readonly user: string;
        readonly notification?: { readonly body?: string };
      };
      // recording-producer puts the message's number there.
      const n = Number(call.notification?.body ?? Number.NaN);
      recorder.fellBack(call.id, call.user, Number.isNaN(n) ? undefined : n);
      response.writeHead(204).end();
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/fallback`,
    stop: async () => {
      server.close();
      server.closeAllConnections();
      await once(server, "close");
    },
  };
}
