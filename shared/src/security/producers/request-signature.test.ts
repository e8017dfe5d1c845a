// Tests a request's signature: the text, the header, and that only the request as signed fits. The vectors are those of
// docs/send/producers.md; the properties hold for random requests, printed with their seed.
import { createHash, createSecretKey } from "node:crypto";
import { readFileSync } from "node:fs";
import {
  array,
  assert,
  constantFrom,
  integer,
  nat,
  property,
  record,
  uint8Array,
  type Arbitrary,
} from "fast-check";
import { describe, expect, test } from "vitest";
import { sized } from "../../../../test/support/sizes.js";
import {
  EMPTY_BODY_SHA256,
  parseSignatures,
  type SignedContent,
  signatureFits,
  signRequest,
  textToSign,
} from "./request-signature.js";

const secret = "4Vt9fQ2mXw7Lr0ZpB6sYcJ1nKdUe3hGaT8oNvRiMxSE";
const vectors = [
  {
    id: "b9e1c1d4-5c1f-4f3a-9a51-0d7f0f6f2c11",
    method: "POST",
    target: "/v1/messages",
    body: '{"to":{"user":"alice"},"data":{"text":"hello"}}',
    bodySha256: "42b360a0c2297c450eaef688a982da08f7586ba665e0296ed2283160950df7ab",
    signature: "G0ERFpIgelUeRop3gaHmtbVxwtNhzWuMLI4qgWDUpaM=",
  },
  {
    id: "b9e1c1d4-5c1f-4f3a-9a51-0d7f0f6f2c12",
    method: "GET",
    target: "/v1/users/alice%40example.test/messages?after=0&limit=10",
    body: "",
    bodySha256: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    signature: "gV17UPA5vf4UNnrsh2yQ6I6LhCqscIkkiBRnjntemLY=",
  },
] as const;
const timestamp = "1767225600";

const visible = (max: number) =>
  array(integer({ min: 0x21, max: 0x7e }), { minLength: 1, maxLength: max }).map((codes) =>
    String.fromCharCode(...codes),
  );
const contents: Arbitrary<SignedContent> = record({
  id: visible(128),
  timestamp: integer({ min: 0, max: 4_000_000_000 }).map(String),
  method: constantFrom("GET", "POST", "PUT", "DELETE", "HEAD"),
  target: visible(200).map((path) => `/${path}`),
  bodySha256: uint8Array({ maxLength: 200 }).map(sha256),
});

function sha256(bytes: Uint8Array | string): string {
  return createHash("sha256").update(bytes).digest("hex");
}

function fits(content: SignedContent, header: string, ...secrets: string[]): boolean {
  const given = parseSignatures(header);
  if (given === undefined) return false;
  const keys = secrets.map((text) => createSecretKey(text, "utf8"));
  return signatureFits(content, given, keys);
}

describe("the vectors", () => {
  test.each(vectors)("$method $target", ({ id, method, target, body, bodySha256, signature }) => {
    expect(sha256(body)).toBe(bodySha256);
    const content = { id, timestamp, method, target, bodySha256 };
    expect(textToSign(content)).toBe(`${id}\n1767225600\n${method}\n${target}\n${bodySha256}`);
    expect(signRequest(content, secret)).toBe(signature);
    expect(fits(content, `v1,${signature}`, secret)).toBe(true);
  });

  test("are those that docs/send/producers.md shows", () => {
    const page = readFileSync(new URL("../../../../docs/send/producers.md", import.meta.url), "utf8");
    expect(page).toContain(secret);
    for (const { id, method, target, body, bodySha256, signature } of vectors) {
      expect(page).toContain([id, timestamp, method, target, bodySha256].join("\n"));
      expect(page).toContain(signature);
      expect(page).toContain(body);
    }
  });

  test("an empty body has the hash that stands for it", () => {
    expect(sha256("")).toBe(EMPTY_BODY_SHA256);
  });
});

describe("the header", () => {
  const [{ signature, ...vector }] = vectors;
  const content = { ...vector, timestamp };
  const good = `v1,${signature}`;
  const other = `v1,${signRequest(content, "another")}`;

  test.each([
    good,
    `${other} ${good}`,
    `${good} ${other}`,
    `v2,whatever ${good}`,
    `v1a,${"x".repeat(2_000)} ${good}`,
    `  ${good}  `,
    `v1,not-base64 ${good}`,
  ])("%j matches", (header) => {
    expect(fits(content, header, secret)).toBe(true);
    expect(fits(content, header, "a former one", secret)).toBe(true);
  });

  test.each([
    "",
    signature,
    `v2,${signature}`,
    `V1,${signature}`,
    `v1, ${signature}`,
    `v1,${signature.slice(0, -1)}`,
    `v1,${signature}=`,
    `v1,${Buffer.from(signature, "base64").toString("hex")}`,
    `v1,${Buffer.from(signature, "base64").toString("base64url")}`,
    `${good},`,
    `${good},${good}`,
    other,
    `${good} ${"x".repeat(5_000)}`,
  ])("%j does not", (header) => {
    expect(fits(content, header, secret)).toBe(false);
  });

  test("another encoding of the same bytes does not match", () => {
    const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const last = digits.indexOf(signature.charAt(42));
    const respelt = `${signature.slice(0, 42)}${digits[last ^ 1]}=`;
    expect(Buffer.from(respelt, "base64")).toEqual(Buffer.from(signature, "base64"));
    expect(fits(content, `v1,${respelt}`, secret)).toBe(false);
  });
});

describe("random requests", () => {
  test("what was signed matches, only with its own secret", () => {
    assert(
      property(contents, visible(64), visible(64), (content, mine, theirs) => {
        const header = `v1,${signRequest(content, mine)}`;
        expect(fits(content, header, mine)).toBe(true);
        if (theirs !== mine) expect(fits(content, header, theirs)).toBe(false);
      }),
      { numRuns: 500 },
    );
  });

  test("any single changed bit, anywhere, breaks it", () => {
    assert(
      property(contents, visible(64), nat(), nat(5), (content, mine, position, part) => {
        const signature = signRequest(content, mine);
        const names = ["id", "timestamp", "method", "target", "bodySha256"] as const;
        const name = names[part];
        if (name === undefined) {
          expect(fits(content, `v1,${flipBit(signature, position)}`, mine)).toBe(false);
          return;
        }
        const changed = { ...content, [name]: flipBit(content[name], position) };
        expect(fits(changed, `v1,${signature}`, mine)).toBe(false);
      }),
      { numRuns: sized(3_000, 1_000) },
    );
  });

  test("moving bytes from one part to the next breaks it", () => {
    const content = { id: "a", timestamp: "1", method: "GET", target: "/", bodySha256: EMPTY_BODY_SHA256 };
    const header = `v1,${signRequest(content, "s")}`;
    expect(fits({ ...content, id: "a1", timestamp: "" }, header, "s")).toBe(false);
    expect(fits({ ...content, method: "GE", target: "T/" }, header, "s")).toBe(false);
  });
});

function flipBit(text: string, position: number): string {
  const bytes = Buffer.from(text, "latin1");
  const bit = position % (bytes.length * 8);
  bytes[bit >> 3] = (bytes[bit >> 3] ?? 0) ^ (1 << (bit & 7));
  return bytes.toString("latin1");
}
