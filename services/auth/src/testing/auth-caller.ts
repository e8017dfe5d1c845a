// Tests only: calls auth's application as its clients do.
// Guarantees: a key `NAME` has the secret `NAME-secret`.
import type { InjectOptions } from "fastify";
import type { HttpApp } from "@petrel/shared/kernel/http/http-app";
import type { ProducerScope } from "@petrel/shared/protocol/producer-scopes";
import type { ProducerKeysStore } from "@petrel/shared/redis/producers/producer-keys-store";
import { hashProducerSecret } from "@petrel/shared/security/producers/producer-keys";

export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, unknown>>;
  readonly text: string;
  /** Parsed; undefined if there is none. */
  readonly body: never;
}

export interface TokenPair {
  readonly accessToken: string;
  readonly refreshToken: string;
  readonly expiresIn: number;
  readonly tokenType: string;
}

export async function addKey(
  producerKeys: ProducerKeysStore,
  id: string,
  scopes: readonly ProducerScope[],
): Promise<void> {
  const secretSha256 = hashProducerSecret(`${id}-secret`);
  await producerKeys.create({ id, owner: id, name: id, scopes, secretSha256 }, new Date());
}

/** @param as a producer key's name, a user's access token, or undefined for an anonymous caller */
export async function ask(app: HttpApp, as: string | undefined, options: InjectOptions): Promise<Answer> {
  const credential = as?.includes(".") === true ? as : `${as}.${as}-secret`;
  const headers = as === undefined ? {} : { authorization: `Bearer ${credential}` };
  const response = await app.inject({ ...options, headers: { ...headers, ...options.headers } });
  return {
    status: response.statusCode,
    headers: response.headers,
    text: response.body,
    body: (response.body === "" ? undefined : response.json()) as never,
  };
}
