// upstream -> here: whom the end of a shared connection concerns.
// Guarantees: a verdict about a credential reaches the tab that brought it, and no other.

/** About the token, or the session, that the connection was opened with. */
const ofCredential = /^PETREL_(TOKEN|TICKET|SESSION|UNAUTHENTICATED|UNAUTHORIZED|USER_CHANGED|AUTH)/;
const TOKEN_REFUSED = 4401;
const REVOKED = 4403;

/** @param error the code of the server's last error */
export function ownerOnly(code: number, error: string | undefined): boolean {
  return code === TOKEN_REFUSED || (code === REVOKED && error !== undefined && ofCredential.test(error));
}
