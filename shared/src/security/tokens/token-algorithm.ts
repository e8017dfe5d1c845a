// auth's keys, checks of tokens -> here: the algorithms that sign users' tokens (RFC 7518 section 3.1).
// Guarantees: asymmetric ones only; for a shared secret see hs256-key.ts.

export const tokenAlgorithms = ["ES256", "RS256"] as const;

export type TokenAlgorithm = (typeof tokenAlgorithms)[number];
