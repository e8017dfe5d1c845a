// The page's calls to the console's own server, which passes them on to auth, collect and the APNs simulator.
// Guarantees: an answer that is an error of the contract is thrown as one, with its code and message, and
// with the request's id.

export class ClusterError extends Error {
  /** @param requestId by which the services' logs find it; undefined where nobody has answered */
  constructor(code, message, requestId) {
    super(requestId === undefined ? `${message} (${code})` : `${message} (${code}, request ${requestId})`);
    this.name = "ClusterError";
    this.code = code;
  }
}

/** @returns {Promise<{ nodeUrls: string[], hasPhones: boolean, hasBrowsers: boolean }>} */
export const readConfig = () => call("GET", "/api/config");

/** @returns {Promise<string>} an access token for this user */
export async function createToken(userId) {
  const { accessToken } = await call("POST", "/api/tokens", { userId });
  return accessToken;
}

/**
 * @param {{ to: { user: string }, data: unknown, fallback?: string, notification?: { title: string, body: string } }} message
 * @returns {Promise<{ id: string, duplicate: boolean }>}
 */
export const sendMessage = (message) => call("POST", "/api/messages", message);

/** @returns {Promise<{ id: string, state: string, seq?: number, reason?: { code: string, message: string } }>} */
export const readMessage = (id) => call("GET", `/api/messages/${encodeURIComponent(id)}`);

const phonePath = (userId) => `/api/phones/${encodeURIComponent(userId)}`;

/** @returns {Promise<{ registered: boolean, badge: number, notifications: object[] }>} */
export const readPhone = (userId) => call("GET", phonePath(userId));

/** Registers a pretend iPhone for the user. */
export const addPhone = (userId) => call("PUT", phonePath(userId));

export const removePhone = (userId) => call("DELETE", phonePath(userId));

export const clearPhone = (userId) => call("DELETE", `${phonePath(userId)}/notifications`);

async function call(method, path, value) {
  const headers = { "content-type": "application/json" };
  const body = value === undefined ? undefined : JSON.stringify(value);
  let response;
  try {
    response = await fetch(path, body === undefined ? { method } : { method, headers, body });
  } catch {
    throw new ClusterError("unreachable", "The console's server does not answer");
  }
  if (response.status === 204) return undefined;
  const answer = await response.json();
  if (!response.ok) {
    const requestId = response.headers.get("x-request-id") ?? undefined;
    throw new ClusterError(answer.error.code, answer.error.message, requestId);
  }
  return answer;
}

const browserPath = (userId) => `/api/browsers/${encodeURIComponent(userId)}`;

/** @returns {Promise<{ registered: boolean, notifications: object[] }>} */
export const readBrowser = (userId) => call("GET", browserPath(userId));
/** Subscribes a pretend browser of the user's, and registers it. */
export const addBrowser = (userId) => call("PUT", browserPath(userId));
/** The user's pretend browser is a device no more. */
export const removeBrowser = (userId) => call("DELETE", browserPath(userId));
