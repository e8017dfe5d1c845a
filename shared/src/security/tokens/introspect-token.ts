// Checks a user's token by asking auth (RFC 7662), for nodes that must notice a revocation at once.
// Guarantees: auth answers each time, within a deadline. Without an answer the token is neither valid nor invalid; the
// log says why, once, because nobody can connect then.
import type { ClientTlsFiles } from "../../kernel/calls/client-tls-files.js";
import { type Clock, systemClock } from "../../kernel/clock.js";
import { REQUEST_ID } from "../../kernel/http/requests/request-ids.js";
import { describeWithCause, PetrelError } from "../../kernel/errors.js";
import type { Logger } from "../../kernel/logging/logging.js";
import { Outage } from "../../kernel/logging/outage.js";
import { fetchJson, type JsonAnswer } from "./fetch-json.js";
import { formerNamesOf, nameOfToken } from "./name-of-token.js";
import type { TokenSource } from "./token-source.js";
import { readTokenClaims, type VerifiedToken, type VerifyToken } from "./verified-token.js";

export interface IntrospectTokenOptions {
  /** Where auth answers, such as http://127.0.0.1:7101. */
  readonly authUrl: string;
  /** `<key>.<secret>` of a key with the scope `introspect`. */
  readonly credential: string;
  /** Default 3000. */
  readonly timeoutMs?: number;
  /** For an https URL, see fetch-json. */
  readonly tls?: ClientTlsFiles | undefined;
  readonly logger: Logger;
  readonly clock?: Clock;
}

export interface Introspection extends TokenSource {
  readonly verifyToken: VerifyToken;
}

const MAX_BODY_BYTES = 65_536;
const MAX_TOKEN_LENGTH = 16_384;
/** No such token exists: an allowed caller is told that it is not active. */
const PROBE = "probe";
const PROBE_EVERY_MS = 5_000;

export function createIntrospection(options: IntrospectTokenOptions): Introspection {
  const { authUrl, credential, timeoutMs = 3_000, tls, logger, clock = systemClock } = options;
  const outage = new Outage({
    logger,
    clock,
    failing: "tokens cannot be checked: auth's introspection fails, and nobody can connect",
    over: "tokens can be checked again",
  });
  let hasWorked = false;
  let probedAtMs = Number.NEGATIVE_INFINITY;
  const url = `${authUrl.replace(/\/+$/, "")}/v1/introspect`;

  async function ask(token: string, requestId?: string): Promise<JsonAnswer> {
    try {
      const answer = await fetchJson(url, {
        method: "POST",
        timeoutMs,
        tls,
        maxBytes: MAX_BODY_BYTES,
        headers: {
          authorization: `Bearer ${credential}`,
          "content-type": "application/x-www-form-urlencoded",
          ...(requestId === undefined ? {} : { [REQUEST_ID]: requestId }),
        },
        body: new URLSearchParams({ token, token_type_hint: "access_token" }).toString(),
      });
      note(answer.status);
      return answer;
    } catch (error) {
      outage.fail(describeWithCause(error));
      throw new PetrelError(
        "PETREL_UNAVAILABLE",
        "The token cannot be checked at the moment: auth does not answer.",
        {
          cause: error,
        },
      );
    }
  }

  /** Any other status concerns one token. */
  function note(status: number): void {
    if (status === 200) {
      hasWorked = true;
      outage.end();
    } else if (status === 401 || status === 403) {
      outage.fail(
        `auth answered ${status}: INTROSPECT_KEY_FILE holds no valid key with the scope introspect`,
      );
    } else if (status === 429 || status >= 500) {
      outage.fail(`auth answered ${status}`);
    }
  }

  const verifyToken: VerifyToken = async (token, requestId) => {
    if (token === "" || token.length > MAX_TOKEN_LENGTH) {
      throw new PetrelError("PETREL_TOKEN_INVALID", "The token is empty or too long.");
    }
    const { status, body } = await ask(token, requestId);
    if (status !== 200 || typeof body !== "object" || body === null) {
      // 401 and 403 too: they concern this node's key, not the token.
      throw new PetrelError(
        "PETREL_UNAVAILABLE",
        `The token cannot be checked now: auth answered ${status}.`,
      );
    }
    return withFormerNames(readIntrospection(body as Readonly<Record<string, unknown>>), token);
  };

  return {
    verifyToken,
    source: "introspection",
    get problem() {
      return outage.reason;
    },
    check: async () => {
      const nowMs = clock.monotonicMs();
      const isInDoubt = !hasWorked || outage.reason !== undefined;
      if (isInDoubt && nowMs - probedAtMs >= PROBE_EVERY_MS) {
        probedAtMs = nowMs;
        await ask(PROBE).catch(() => undefined);
      }
      if (outage.reason !== undefined) throw new Error(outage.reason);
    },
  };
}

function readIntrospection(answer: Readonly<Record<string, unknown>>): VerifiedToken {
  if (answer["active"] !== true) {
    throw new PetrelError("PETREL_TOKEN_INVALID", "The token is not active: invalid, expired or revoked.");
  }
  return readTokenClaims(answer);
}

/** An auth of the last release names the token by its signed text, and may have revoked it under another name. */
function withFormerNames(verified: VerifiedToken, token: string): VerifiedToken {
  if (verified.jti !== nameOfToken(token)) return verified;
  return Object.freeze({ ...verified, formerNames: formerNamesOf(token) });
}
