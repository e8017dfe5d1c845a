// Bench, APNs: the three compared clients, each behind the same few lines.
// Guarantees: `push` resolves with what the client itself reports. Ours is retried as the channel does, with the same
// apns-id; the others report once and are not.
import { createPrivateKey } from "node:crypto";
import { setMaxListeners } from "node:events";
import { setTimeout as pause } from "node:timers/promises";
import { backoffMs } from "@petrel/shared/kernel/backoff";
import { systemClock } from "@petrel/shared/kernel/clock";
import { createLogger } from "@petrel/shared/kernel/logging/logging";
import type { StoredProviderToken } from "@petrel/shared/redis/fallback/provider-token-store";
import apn from "@parse/node-apn";
import { ApnsClient, Notification } from "apns2";
import { ApnsPool } from "../../../services/dispatch/dist/channels/apns/connection/apns-pool.js";
import { buildApnsRequest } from "../../../services/dispatch/dist/channels/apns/apns-request.js";
import { judgeApnsAnswer } from "../../../services/dispatch/dist/channels/apns/judge-apns-answer.js";
import { ProviderTokens } from "../../../services/dispatch/dist/channels/apns/credentials/provider-token.js";

export const clientNames = ["petrel", "node-apn", "apns2"] as const;
export type ClientName = (typeof clientNames)[number];

export interface ClientOptions {
  readonly endpoint: string;
  /** PEM. */
  readonly ca: string;
  /** PEM. */
  readonly privateKey: string;
  readonly keyId: string;
  readonly teamId: string;
}

export interface PushReport {
  readonly isTaken: boolean;
  /** At least once a connection broke and left it without an answer. */
  readonly wasUnanswered: boolean;
  readonly reason?: string;
}

export interface BenchClient {
  /** @param token hex, unique per push: it identifies the push, whatever its id */
  push(token: string, apnsId: string): Promise<PushReport>;
  close(): Promise<void>;
}

const TOPIC = "app.petrel.bench";

export function openClient(name: ClientName, options: ClientOptions): BenchClient {
  switch (name) {
    case "petrel":
      return openPetrel(options);
    case "node-apn":
      return openNodeApn(options);
    case "apns2":
      return openApns2(options);
  }
}

function openPetrel({ endpoint, ca, privateKey, keyId, teamId }: ClientOptions): BenchClient {
  let stored: StoredProviderToken | undefined;
  const tokens = new ProviderTokens({
    store: {
      read: () => Promise.resolve(stored),
      agree: (_key, candidate) => Promise.resolve((stored = candidate)),
    },
    keyId,
    teamId,
    privateKey: createPrivateKey(privateKey),
    clock: systemClock,
  });
  const pool = new ApnsPool({
    endpoint,
    ca,
    connections: 2,
    auth: { kind: "token", tokens },
    requestTimeoutMs: 5_000,
    pingTimeoutMs: 1_000,
    logger: createLogger({ service: "bench", level: "warn" }),
  });
  const { signal } = new AbortController();
  // Every push under way listens to it.
  setMaxListeners(0, signal);
  const device = { id: "", topic: TOPIC };
  return {
    push: async (token) => {
      const message = {
        id: `m_${token}`,
        priority: "high" as const,
        expiresAtMs: Date.now() + 3_600_000,
        notification: '{"title":"Order 4711","body":"Your order is on its way.","sound":"default"}',
      };
      const built = buildApnsRequest({ message, device: { ...device, id: `d_${token}`, token } });
      if (!built.ok) return { isTaken: false, wasUnanswered: false, reason: built.reason };
      let wasUnanswered = false;
      for (let attempt = 0; ; attempt++) {
        const result = await pool.send(built.request, signal);
        let afterMs = 0;
        if (result.kind === "unanswered") wasUnanswered = true;
        if (result.kind === "answered") {
          const verdict = judgeApnsAnswer(result);
          if (verdict.kind === "taken") return { isTaken: true, wasUnanswered };
          if (verdict.kind !== "retry") {
            return { isTaken: false, wasUnanswered, reason: verdict.kind };
          }
          afterMs = verdict.afterMs ?? 0;
        }
        await pause(Math.max(afterMs, backoffMs(attempt, { baseMs: 200, capMs: 5_000 })));
      }
    },
    close: () => pool.close(),
  };
}

function openNodeApn({ endpoint, ca, privateKey, keyId, teamId }: ClientOptions): BenchClient {
  const { hostname, port } = new URL(endpoint);
  const provider = new apn.MultiProvider({
    token: { key: privateKey, keyId, teamId },
    address: hostname,
    port: Number(port),
    ca: [ca],
    clientCount: 2,
  });
  return {
    push: async (token, apnsId) => {
      const notification = new apn.Notification({
        alert: { title: "Order 4711", body: "Your order is on its way." },
        sound: "default",
        topic: TOPIC,
      });
      notification.id = apnsId;
      notification.pushType = "alert";
      const { sent, failed } = await provider.send(notification, token);
      const [fault] = failed;
      return {
        isTaken: sent.length === 1,
        wasUnanswered: false,
        ...(fault === undefined ? {} : { reason: fault.response?.reason ?? String(fault.error) }),
      };
    },
    close: () => new Promise((resolve) => void provider.shutdown(resolve)),
  };
}

function openApns2({ endpoint, privateKey, keyId, teamId }: ClientOptions): BenchClient {
  const client = new ApnsClient({ team: teamId, keyId, signingKey: privateKey, defaultTopic: TOPIC });
  // It only knows port 443: the same pool, with its own settings, to another port.
  const Pool = client.client.constructor as new (origin: string, options: object) => typeof client.client;
  const pool = new Pool(endpoint, {
    connections: 32,
    pipelining: 1,
    allowH2: true,
    maxConcurrentStreams: 100,
  });
  Object.defineProperty(client, "client", { value: pool });
  return {
    push: async (token) => {
      const notification = new Notification(token, {
        alert: { title: "Order 4711", body: "Your order is on its way." },
        sound: "default",
      });
      try {
        await client.send(notification);
        return { isTaken: true, wasUnanswered: false };
      } catch (error) {
        return { isTaken: false, wasUnanswered: false, reason: String(error) };
      }
    },
    close: () => client.close(),
  };
}
