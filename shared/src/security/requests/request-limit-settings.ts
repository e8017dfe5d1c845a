// The settings of a service that limits its HTTP requests by address.
// Guarantees: one name and one default in all services.
import { integer, list } from "../../kernel/config.js";

export const addressLimitSettings = {
  trustedProxies: list(
    "TRUSTED_PROXIES",
    "addresses or blocks (`192.0.2.16/28`) of proxies that may name the client in X-Forwarded-For; from anyone else the header is ignored",
    { default: [] },
  ),
  failedAuths: integer(
    "FAILED_AUTHS_PER_ADDRESS_PER_MINUTE",
    "failed authentications from one address after which a process answers it with 429 instead of looking up unknown keys; 0: no limit; see limits.md",
    { default: 600, max: 1_000_000 },
  ),
} as const;
