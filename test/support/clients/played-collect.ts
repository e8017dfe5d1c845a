// Tests only: the library for backends, and the collect that it sends to, played by the test.
// Guarantees: each request is read as collect reads it, and kept; no socket is opened.
import { gunzipSync } from "node:zlib";
import { Petrel, PetrelError, type Message, type PetrelOptions } from "../../../clients/server/src/petrel.js";

export interface Entry {
  readonly to: Readonly<Record<string, unknown>>;
  readonly data: unknown;
  readonly idempotencyKey: string;
}

/** One request. */
export interface Asked {
  readonly messages: readonly Entry[];
  readonly headers: Headers;
  readonly bytes: Buffer;
  readonly signal: AbortSignal;
}

/** What collect answers. The first request has the index 0. */
export type Play = (asked: Asked, index: number) => Promise<Response> | Response;

export const json = (status: number, body: unknown, headers: Record<string, string> = {}): Response =>
  new Response(JSON.stringify(body), { status, headers });

export const stored = ({ messages }: Pick<Asked, "messages">): Response =>
  json(202, {
    results: messages.map(({ idempotencyKey }) => ({ id: `m-${idempotencyKey}`, duplicate: false })),
  });

/** Sends to a collect that answers so. @returns it, and the requests as they come */
export function openPetrel(
  play: Play,
  options: Partial<PetrelOptions> = {},
): { petrel: Petrel; requests: Asked[] } {
  const requests: Asked[] = [];
  const petrel = new Petrel({
    collect: "http://collect.test",
    key: "pk.secret",
    fetch: async (_url, { body, headers, signal }) => {
      const bytes = Buffer.from(body as string | Uint8Array);
      const all = new Headers(headers);
      const text = all.get("content-encoding") === "gzip" ? gunzipSync(bytes) : bytes;
      const { messages } = JSON.parse(text.toString()) as { messages: Entry[] };
      const asked = { messages, headers: all, bytes, signal: signal as AbortSignal };
      requests.push(asked);
      return play(asked, requests.length - 1);
    },
    ...options,
  });
  return { petrel, requests };
}

export const to = (user: string, data: unknown = 1): Message<{ user: string }> => ({ to: { user }, data });

/** What the promise rejects with. Fails where it resolves. */
export async function ofError(promise: Promise<unknown>): Promise<PetrelError> {
  try {
    await promise;
  } catch (error) {
    if (error instanceof PetrelError) return error;
    throw error;
  }
  throw new Error("it resolved");
}
