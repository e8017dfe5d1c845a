// auth's keys, checks of tokens -> here: the algorithms that users' tokens are signed with (RFC 7518 section 3.1).
// Guarantees: asymmetric ones only; a shared secret is a matter of its own, see hs256-key.ts.

export const tokenAlgorithms = ["ES256", "RS256"] as const;

export type TokenAlgorithm = (typeof tokenAlgorithms)[number];
