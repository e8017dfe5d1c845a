// Tests the encryption of push messages against the RFC's own example, and that nothing repeats.
import { createECDH, randomBytes } from "node:crypto";
import { decryptPush } from "@petrel/shared/testing/peers/decrypt-push";
import { expect, test } from "vitest";
import { encryptPayload, MAX_BODY, MAX_PLAINTEXT } from "./encrypt-payload.js";

const bytes = (text: string): Buffer => Buffer.from(text.replaceAll(/\s/g, ""), "base64url");

test("reproduces the example of RFC 8291, section 5 and appendix A, byte for byte", () => {
  const keys = {
    p256dh: "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4",
    auth: "BTBZMqHH6r4Tts7J_aSIgg",
  };
  const seed = {
    privateKey: bytes("yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw"),
    salt: bytes("DGv6ra1nlYgDCS1FRnbzlw"),
  };
  expect(encryptPayload(Buffer.from("When I grow up, I want to be a watermelon"), keys, seed)).toEqual(
    bytes(`DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27ml
      mlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A_yl95bQpu6cVPT
      pK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN`),
  );
});

test("decrypts the longest payload, which fills a body; refuses one byte more; no two are alike", () => {
  const browser = createECDH("prime256v1");
  const p256dh = browser.generateKeys().toString("base64url");
  const auth = randomBytes(16);
  const keys = { p256dh, auth: auth.toString("base64url") };
  const text = Buffer.alloc(MAX_PLAINTEXT, "é");
  const [one, two] = [encryptPayload(text, keys), encryptPayload(text, keys)];
  expect(one).toHaveLength(MAX_BODY);
  expect(decryptPush(one, browser.getPrivateKey(), auth)).toEqual(text);
  expect(one.subarray(0, 86)).not.toEqual(two.subarray(0, 86));
  expect(() => encryptPayload(Buffer.alloc(MAX_PLAINTEXT + 1), keys)).toThrow(RangeError);
});
