// Tests signed requests before HTTP: who passes, who does not, with which code, and what a stranger's request costs.
// The clock is the test's; the comparing function counts its calls and really compares; nonces are kept as the store
// keeps them.
import { createHash, randomBytes, timingSafeEqual } from "node:crypto";
import { array, assert, asyncProperty, integer, nat, string } from "fast-check";
import { describe, expect, test } from "vitest";
import { sized } from "../../../../test/support/sizes.js";
import { createLogger } from "../../kernel/logging/logging.js";
import type { ErrorCode } from "../../protocol/error-codes.js";
import { ProducerAuthenticator, type Producer } from "./authenticate-producer.js";
import { createAtRestCipher } from "../encrypt-at-rest.js";
import type { StoredProducerKey } from "./known-producer-key.js";
import { hashProducerSecret } from "./producer-keys.js";
import { EMPTY_BODY_SHA256, signRequest } from "./request-signature.js";
import { sealProducerSecret } from "./seal-producer-secret.js";
import { createSignatureChecks } from "./signature-checks.js";

const NOW_SECONDS = 1_767_225_600;
const logger = createLogger({ service: "test", level: "silent" });
const cipher = createAtRestCipher(randomBytes(32));

function signingKey(id: string, secret: string, more: Partial<StoredProducerKey> = {}): StoredProducerKey {
  return {
    id,
    owner: `${id}-owner`,
    scopes: ["send"],
    secretSha256: hashProducerSecret(secret),
    sealedSecret: sealProducerSecret(cipher, id, secret),
    ...more,
  };
}

function setUp({ opens = true } = {}) {
  const keys = new Map([
    ["shop", signingKey("shop", "s3cret")],
    ["plain", { ...signingKey("plain", "s3cret"), sealedSecret: undefined }],
    ["strict", signingKey("strict", "s3cret", { require: "signature", messagesPerSecond: 5 })],
    ["gone", signingKey("gone", "s3cret", { revokedAt: "2026-01-01T00:00:00.000Z" })],
    [
      "moved",
      { ...signingKey("moved", "s3cret"), sealedSecret: sealProducerSecret(cipher, "shop", "s3cret") },
    ],
  ]);
  const spent = new Set<string>();
  const state = { nowMs: NOW_SECONDS * 1_000, compared: 0, spends: 0, down: false };
  const spendNonce = async (keyId: string, nonce: string): Promise<boolean> => {
    state.spends++;
    if (state.down) throw new Error("connect ECONNREFUSED");
    const isNew = !spent.has(`${keyId}\n${nonce}`);
    spent.add(`${keyId}\n${nonce}`);
    return isNew;
  };
  const authenticator = new ProducerAuthenticator({
    findKey: (id) => Promise.resolve(keys.get(id)),
    signatures: createSignatureChecks(opens ? cipher : undefined, spendNonce, logger),
    clock: { wallMs: () => state.nowMs, monotonicMs: () => 0 },
    compare: (a, b) => {
      state.compared++;
      return timingSafeEqual(a, b);
    },
  });
  return { keys, state, authenticator };
}

interface Sent {
  readonly key?: string;
  readonly secret?: string;
  readonly id?: string;
  readonly timestamp?: string;
  readonly method?: string;
  readonly target?: string;
  readonly body?: string;
  /** Replaces the right signature. */
  readonly signature?: string;
  /** What arrives, if it differs from what was signed. */
  readonly arrives?: { readonly method?: string; readonly target?: string; readonly body?: string };
  readonly headers?: Readonly<Record<string, string | undefined>>;
}

let nonces = 0;

async function send(authenticator: ProducerAuthenticator, sent: Sent = {}): Promise<Producer> {
  const { key = "shop", secret = "s3cret", id = `nonce-${++nonces}`, timestamp = String(NOW_SECONDS) } = sent;
  const { method = "POST", target = "/v1/messages?x=1", body = '{"a":1}', arrives = {} } = sent;
  const bodySha256 = sha256(body);
  const signature =
    sent.signature ?? `v1,${signRequest({ id, timestamp, method, target, bodySha256 }, secret)}`;
  const headers = {
    "petrel-key": key,
    "petrel-id": id,
    "petrel-timestamp": timestamp,
    "petrel-signature": signature,
    ...sent.headers,
  };
  const begun = await authenticator.signatures.begin({
    headers,
    method: arrives.method ?? method,
    target: arrives.target ?? target,
  });
  return authenticator.signatures.finish(begun, sha256(arrives.body ?? body));
}

function sha256(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}

function withCode(code: ErrorCode) {
  return expect.objectContaining({ code });
}

test("a good signature gives the producer", async () => {
  const { authenticator } = setUp();
  const producer = await send(authenticator);
  expect(producer).toEqual({ keyId: "shop", owner: "shop-owner", scopes: ["send"] });
  expect(await send(authenticator, { key: "strict" })).toMatchObject({ messagesPerSecond: 5 });
  expect(await send(authenticator, { method: "GET", body: "" })).toBe(producer);
});

test.each<[string, Sent]>([
  ["another method", { arrives: { method: "PUT" } }],
  ["another path", { arrives: { target: "/v1/message?x=1" } }],
  ["another query", { arrives: { target: "/v1/messages?x=2" } }],
  ["no query", { arrives: { target: "/v1/messages" } }],
  ["another body", { arrives: { body: '{"a":2}' } }],
  ["no body", { arrives: { body: "" } }],
  ["another secret", { secret: "wrong" }],
  ["another nonce", { headers: { "petrel-id": "another" } }],
  ["another time", { headers: { "petrel-timestamp": String(NOW_SECONDS + 1) } }],
  ["a key that cannot sign", { key: "plain" }],
  ["invalid base64", { signature: "v1,!!!" }],
  ["a signature cut short", { signature: "v1,AAAA" }],
  ["no version", { signature: "A".repeat(44) }],
  ["only an unknown version", { signature: `v2,${"A".repeat(43)}=` }],
  ["an empty signature", { signature: "" }],
  ["no signature", { headers: { "petrel-signature": undefined } }],
  ["no nonce", { headers: { "petrel-id": undefined } }],
  ["an empty nonce", { id: "" }],
  ["a nonce with a space", { id: "a b" }],
  ["a nonce with a line break", { id: "a\nb" }],
  ["too long a nonce", { id: "n".repeat(129) }],
  ["no time", { headers: { "petrel-timestamp": undefined } }],
  ["a time in words", { timestamp: "now" }],
  ["a broken time", { timestamp: `${NOW_SECONDS}.5` }],
  ["a time with a sign", { timestamp: `+${NOW_SECONDS}` }],
  ["a time with a zero before it", { timestamp: `0${NOW_SECONDS}` }],
  ["no key", { headers: { "petrel-key": undefined } }],
  ["a key of another form", { key: "shop.s3cret" }],
])("%s is PETREL_SIGNATURE_INVALID, and spends nothing", async (_what, sent) => {
  const { authenticator, state } = setUp();
  await expect(send(authenticator, sent)).rejects.toEqual(withCode("PETREL_SIGNATURE_INVALID"));
  expect(state.spends).toBe(0);
});

describe("the time", () => {
  test.each([-300, -299, -1, 0, 1, 299, 300])("%i s from ours is accepted", async (offset) => {
    const { authenticator, state } = setUp();
    // However late in its second.
    for (const ms of [0, 1, 999]) {
      state.nowMs = NOW_SECONDS * 1_000 + ms;
      await send(authenticator, { timestamp: String(NOW_SECONDS + offset) });
    }
  });

  test.each([-1_000_000, -301, 301, 1_000_000])(
    "%i s from ours is PETREL_SIGNATURE_EXPIRED",
    async (offset) => {
      const { authenticator, state } = setUp();
      for (const ms of [0, 999]) {
        state.nowMs = NOW_SECONDS * 1_000 + ms;
        const timestamp = String(NOW_SECONDS + offset);
        await expect(send(authenticator, { timestamp })).rejects.toEqual(
          withCode("PETREL_SIGNATURE_EXPIRED"),
        );
      }
      expect(state.spends).toBe(0);
    },
  );

  test.each(["0", "9".repeat(15), `${NOW_SECONDS}000`])("%s is expired, not malformed", async (timestamp) => {
    const { authenticator } = setUp();
    await expect(send(authenticator, { timestamp })).rejects.toEqual(withCode("PETREL_SIGNATURE_EXPIRED"));
  });
});

describe("an unknown key", () => {
  test.each(["nobody", "gone"])("%s is PETREL_UNAUTHENTICATED", async (key) => {
    const { authenticator, state } = setUp();
    await expect(send(authenticator, { key })).rejects.toEqual(withCode("PETREL_UNAUTHENTICATED"));
    expect(state.spends).toBe(0);
  });

  test.each<[string, Sent]>([
    ["one signature", {}],
    ["several", { signature: `v1,${"A".repeat(43)}= v1,${"B".repeat(43)}=` }],
  ])("is compared as often as a known one, with %s", async (_what, sent) => {
    const { authenticator, state } = setUp();
    const counts: number[] = [];
    for (const key of ["shop", "nobody", "gone", "plain"]) {
      state.compared = 0;
      await expect(send(authenticator, { secret: "wrong", ...sent, key })).rejects.toThrow();
      counts.push(state.compared);
    }
    expect(counts[0]).toBeGreaterThan(0);
    expect(new Set(counts).size).toBe(1);
  });

  test("is compared as often as a known one with a bearer credential too", async () => {
    const { authenticator, state } = setUp();
    const counts: number[] = [];
    for (const key of ["shop", "nobody", "gone", "strict"]) {
      state.compared = 0;
      await expect(authenticator.authenticate(`Bearer ${key}.wrong`)).rejects.toEqual(
        withCode("PETREL_UNAUTHENTICATED"),
      );
      counts.push(state.compared);
    }
    expect(counts).toEqual([1, 1, 1, 1]);
  });

  test("is reported before a body is read", async () => {
    const { authenticator } = setUp();
    const headers = {
      "petrel-key": "nobody",
      "petrel-id": "n",
      "petrel-timestamp": String(NOW_SECONDS),
      "petrel-signature": `v1,${"A".repeat(43)}=`,
    };
    await expect(authenticator.signatures.begin({ headers, method: "POST", target: "/" })).rejects.toEqual(
      withCode("PETREL_UNAUTHENTICATED"),
    );
  });
});

describe("a nonce", () => {
  test("is valid once for its key, whatever else is signed with it", async () => {
    const { authenticator } = setUp();
    await send(authenticator, { id: "once" });
    await expect(send(authenticator, { id: "once" })).rejects.toEqual(withCode("PETREL_SIGNATURE_REPLAYED"));
    await expect(send(authenticator, { id: "once", body: "other" })).rejects.toEqual(
      withCode("PETREL_SIGNATURE_REPLAYED"),
    );
    await send(authenticator, { id: "once", key: "strict" });
  });

  test("of a wrong signature is not spent", async () => {
    const { authenticator } = setUp();
    await expect(send(authenticator, { id: "mine", secret: "wrong" })).rejects.toThrow();
    await send(authenticator, { id: "mine" });
  });

  test("that could not be recorded is not accepted: 503", async () => {
    const { authenticator, state } = setUp();
    state.down = true;
    await expect(send(authenticator)).rejects.toEqual(withCode("PETREL_UNAVAILABLE"));
  });
});

describe("a process", () => {
  test("without KEY_ENCRYPTION_FILE answers signatures with 503, and accepts bearer credentials as ever", async () => {
    const { authenticator } = setUp({ opens: false });
    await expect(send(authenticator)).rejects.toEqual(withCode("PETREL_UNAVAILABLE"));
    await authenticator.authenticate("Bearer shop.s3cret");
    await expect(send(authenticator, { key: "nobody" })).rejects.toEqual(withCode("PETREL_UNAUTHENTICATED"));
  });

  test("that cannot open a key's secret answers 503 for this key; a secret sealed for another key counts as one", async () => {
    const { authenticator } = setUp();
    await expect(send(authenticator, { key: "moved" })).rejects.toEqual(withCode("PETREL_UNAVAILABLE"));
    await authenticator.authenticate("Bearer moved.s3cret");
    await send(authenticator);
  });
});

describe("credentials", () => {
  test("of both kinds at once are 400", async () => {
    const { authenticator } = setUp();
    await expect(send(authenticator, { headers: { authorization: "Bearer shop.s3cret" } })).rejects.toEqual(
      withCode("PETREL_INVALID_REQUEST"),
    );
  });

  test("of a key that must sign: its secret is refused as a bearer, and says so only to who has it", async () => {
    const { authenticator } = setUp();
    await expect(authenticator.authenticate("Bearer strict.s3cret")).rejects.toEqual(
      withCode("PETREL_SIGNATURE_REQUIRED"),
    );
    await expect(authenticator.authenticate("Bearer strict.wrong")).rejects.toEqual(
      withCode("PETREL_UNAUTHENTICATED"),
    );
    await send(authenticator, { key: "strict" });
  });
});

describe("a rotation", () => {
  const untilMs = NOW_SECONDS * 1_000 + 10_000;
  const rotated = signingKey("shop", "new", {
    former: [
      {
        secretSha256: hashProducerSecret("s3cret"),
        sealedSecret: sealProducerSecret(cipher, "shop", "s3cret"),
        untilMs,
      },
    ],
  });

  test("with an overlap keeps both secrets valid, to sign and as a bearer, until it is over", async () => {
    const { authenticator, keys, state } = setUp();
    keys.set("shop", rotated);
    state.nowMs = untilMs - 1;
    for (const secret of ["s3cret", "new"]) {
      await send(authenticator, { secret });
      await authenticator.authenticate(`Bearer shop.${secret}`);
    }
    state.nowMs = untilMs;
    await send(authenticator, { secret: "new" });
    await authenticator.authenticate("Bearer shop.new");
    await expect(send(authenticator, { secret: "s3cret" })).rejects.toEqual(
      withCode("PETREL_SIGNATURE_INVALID"),
    );
    await expect(authenticator.authenticate("Bearer shop.s3cret")).rejects.toEqual(
      withCode("PETREL_UNAUTHENTICATED"),
    );
  });

  test("may be bridged by its sender: a signature with each secret, of which one matches", async () => {
    const { authenticator } = setUp();
    const content = {
      id: "both",
      timestamp: String(NOW_SECONDS),
      method: "GET",
      target: "/",
      bodySha256: EMPTY_BODY_SHA256,
    };
    const signature = ["new", "s3cret"].map((secret) => `v1,${signRequest(content, secret)}`).join(" ");
    await send(authenticator, { ...content, body: "", signature });
  });
});

test("of random requests, those as signed are accepted, and none with a single bit changed", async () => {
  const { authenticator } = setUp();
  const visible = array(integer({ min: 0x21, max: 0x7e }), { minLength: 1, maxLength: 40 }).map((codes) =>
    String.fromCharCode(...codes),
  );
  let run = 0;
  await assert(
    asyncProperty(visible, visible, string(), nat(), async (id, path, body, position) => {
      const mine = { id: `${++run}.${id}`, target: `/${path}`, body, method: "POST" };
      const timestamp = String(NOW_SECONDS);
      const content = { ...mine, timestamp, bodySha256: sha256(body) };
      const signature = `v1,${signRequest(content, "s3cret")}`;
      const parts: Record<string, string> = { key: "shop", signature, timestamp, ...mine };
      const names = Object.keys(parts).filter((name) => parts[name] !== "");
      const name = names[position % names.length] ?? "";
      const changed = { ...parts, [name]: flipBit(parts[name] ?? "", Math.floor(position / names.length)) };
      await expect(
        send(authenticator, { ...changed, signature: changed["signature"] ?? "" }),
      ).rejects.toThrow();
      await send(authenticator, { ...mine, signature });
    }),
    { numRuns: sized(1_000, 300) },
  );
});

function flipBit(text: string, position: number): string {
  const bytes = Buffer.from(text, "utf8");
  const bit = position % (bytes.length * 8);
  bytes[bit >> 3] = (bytes[bit >> 3] ?? 0) ^ (1 << (bit & 7));
  return bytes.toString("latin1");
}
