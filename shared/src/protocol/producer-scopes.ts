// What a producer's key may be allowed to do. The names belong to the public contract; each route states the one it
// requires.

export const producerScopes = ["send", "read", "tokens", "devices", "introspect", "admin"] as const;

export type ProducerScope = (typeof producerScopes)[number];

export function isProducerScope(word: string): word is ProducerScope {
  return (producerScopes as readonly string[]).includes(word);
}
