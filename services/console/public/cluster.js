// The page's calls to the console's own server, which passes them on to auth and collect.
// Guarantees: an answer that is an error of the contract is thrown as one, with its code and message.

export class ClusterError extends Error {
  constructor(code, message) {
    super(`${message} (${code})`);
    this.name = "ClusterError";
    this.code = code;
  }
}

/** @returns {Promise<{ nodeUrls: string[] }>} */
export const readConfig = () => call("GET", "/api/config");

/** @returns {Promise<string>} an access token for this user */
export async function createToken(userId) {
  const { accessToken } = await call("POST", "/api/tokens", { userId });
  return accessToken;
}

/** @returns {Promise<{ id: string, duplicate: boolean }>} */
export const sendMessage = (user, data) => call("POST", "/api/messages", { to: { user }, data });

/** @returns {Promise<{ id: string, state: string, seq?: number, reason?: { code: string, message: string } }>} */
export const readMessage = (id) => call("GET", `/api/messages/${encodeURIComponent(id)}`);

async function call(method, path, value) {
  const headers = { "content-type": "application/json" };
  const body = value === undefined ? undefined : JSON.stringify(value);
  let response;
  try {
    response = await fetch(path, body === undefined ? { method } : { method, headers, body });
  } catch {
    throw new ClusterError("unreachable", "The console's server does not answer");
  }
  const answer = await response.json();
  if (!response.ok) throw new ClusterError(answer.error.code, answer.error.message);
  return answer;
}
