// Tests only: a bare provider of push notifications: node:http2, and headers exactly as given.
// Guarantees: nothing is added, retried or withheld; a request's outcome is reported as it came.
import { sign } from "node:crypto";
import { readFileSync } from "node:fs";
import { connect, type ClientHttp2Session, type OutgoingHttpHeaders } from "node:http2";
import type { SecureClientSessionOptions } from "node:http2";

export interface RawAnswer {
  readonly status: number;
  readonly apnsId: string | undefined;
  readonly reason: string | undefined;
  readonly timestamp: number | undefined;
  readonly retryAfter: string | undefined;
}

export interface RawProvider {
  readonly session: ClientHttp2Session;
  /** Rejects if the stream or the connection ends without an answer; the error has Node's code. */
  readonly send: (headers: OutgoingHttpHeaders, body: string | Buffer) => Promise<RawAnswer>;
  /** The GOAWAY's debug data and last stream id. */
  readonly goaway: Promise<{ readonly lastStreamId: number; readonly data: string }>;
  readonly close: () => void;
}

/** Resolves when the server's first SETTINGS have come. */
export async function connectProvider(
  endpoint: string,
  caFile: string,
  options: SecureClientSessionOptions = {},
): Promise<RawProvider> {
  const session = connect(endpoint, { ca: readFileSync(caFile), ...options });
  const goaway = new Promise<{ lastStreamId: number; data: string }>((resolve) => {
    session.once("goaway", (_code, lastStreamId, data) =>
      resolve({ lastStreamId, data: Buffer.from(data ?? []).toString("utf8") }),
    );
  });
  await new Promise<void>((resolve, reject) => {
    session.once("remoteSettings", () => resolve());
    session.once("error", reject);
  });
  session.on("error", () => undefined);
  const send = (headers: OutgoingHttpHeaders, body: string | Buffer): Promise<RawAnswer> =>
    new Promise((resolve, reject) => {
      const stream = session.request(headers, { endStream: false });
      let answered: Omit<RawAnswer, "reason" | "timestamp"> | undefined;
      let text = "";
      stream.once("response", (answer) => {
        const one = (name: string): string | undefined => answer[name]?.toString();
        answered = {
          status: Number(answer[":status"]),
          apnsId: one("apns-id"),
          retryAfter: one("retry-after"),
        };
      });
      stream.setEncoding("utf8");
      stream.on("data", (chunk: string) => (text += chunk));
      stream.once("error", reject);
      stream.once("close", () => {
        if (answered === undefined) {
          reject(new Error("the stream ended without an answer"));
          return;
        }
        const { reason, timestamp } = JSON.parse(text === "" ? "{}" : text) as Partial<RawAnswer>;
        resolve({ ...answered, reason, timestamp });
      });
      stream.end(body);
    });
  return { session, send, goaway, close: () => session.destroy() };
}

export interface ProviderTokenClaims {
  readonly keyId: string;
  readonly teamId: string;
  /** PEM. */
  readonly privateKey: string;
  /** Seconds since 1970; now by default. */
  readonly issuedAt?: number;
  /** What the header claims; the signature is always ES256. */
  readonly algorithm?: string;
}

/** A provider token (a compact JWS), made by hand. */
export function signProviderToken(claims: ProviderTokenClaims): string {
  const { keyId, teamId, privateKey, issuedAt = Math.floor(Date.now() / 1000), algorithm = "ES256" } = claims;
  const encode = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString("base64url");
  const signed = `${encode({ alg: algorithm, kid: keyId })}.${encode({ iss: teamId, iat: issuedAt })}`;
  const signature = sign("sha256", Buffer.from(signed), { key: privateKey, dsaEncoding: "ieee-p1363" });
  return `${signed}.${signature.toString("base64url")}`;
}
