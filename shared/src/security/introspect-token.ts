// Checks a user's token by asking auth (RFC 7662), for nodes set to see a revocation at once.
// Guarantees: the answer comes from auth each time, within a deadline; without one the token is neither good nor bad.
import type { ClientTlsFiles } from "../kernel/client-tls-files.js";
import { PetrelError } from "../kernel/errors.js";
import { fetchJson, type JsonAnswer } from "./fetch-json.js";
import { formerNamesOf, nameOfToken } from "./name-of-token.js";
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
}

const MAX_BODY_BYTES = 65_536;
const MAX_TOKEN_LENGTH = 16_384;

export function createIntrospectToken(options: IntrospectTokenOptions): VerifyToken {
  const { authUrl, credential, timeoutMs = 3_000, tls } = options;
  const url = `${authUrl.replace(/\/+$/, "")}/v1/introspect`;

  async function ask(token: string): Promise<JsonAnswer> {
    try {
      return await fetchJson(url, {
        method: "POST",
        timeoutMs,
        tls,
        maxBytes: MAX_BODY_BYTES,
        headers: {
          authorization: `Bearer ${credential}`,
          "content-type": "application/x-www-form-urlencoded",
        },
        body: new URLSearchParams({ token, token_type_hint: "access_token" }).toString(),
      });
    } catch (error) {
      throw new PetrelError("PETREL_UNAVAILABLE", "The token cannot be checked now: auth does not answer.", {
        cause: error,
      });
    }
  }

  return async (token) => {
    if (token === "" || token.length > MAX_TOKEN_LENGTH) {
      throw new PetrelError("PETREL_TOKEN_INVALID", "The token is empty or too long.");
    }
    const { status, body } = await ask(token);
    if (status !== 200 || typeof body !== "object" || body === null) {
      // 401 and 403 too: they are about this node's key, and say nothing about the token.
      throw new PetrelError(
        "PETREL_UNAVAILABLE",
        `The token cannot be checked now: auth answered ${status}.`,
      );
    }
    return withFormerNames(readIntrospection(body as Readonly<Record<string, unknown>>), token);
  };
}

function readIntrospection(answer: Readonly<Record<string, unknown>>): VerifiedToken {
  if (answer["active"] !== true) {
    throw new PetrelError("PETREL_TOKEN_INVALID", "The token is not active: wrong, over, or revoked.");
  }
  return readTokenClaims(answer);
}

/** Where auth calls it by its signed text, a process of the release before may have revoked it by another name. */
function withFormerNames(verified: VerifiedToken, token: string): VerifiedToken {
  if (verified.jti !== nameOfToken(token)) return verified;
  return Object.freeze({ ...verified, formerNames: formerNamesOf(token) });
}
