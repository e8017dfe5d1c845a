// Tests the key with which pages subscribe, on a real Redis, without a port.
import { createPublicKey } from "node:crypto";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { encodeVapidKey, makeVapidKey } from "@petrel/shared/security/web-push/vapid-key";
import { openStore, type OpenStore } from "@petrel/shared/testing/redis/open-store";
import { afterAll, beforeAll, expect, test } from "vitest";
import { openAuth } from "../testing/open-auth.js";

let store: OpenStore;
let directory: string;
beforeAll(async () => {
  store = await openStore();
  directory = await mkdtemp(join(tmpdir(), "petrel-vapid-"));
});
afterAll(async () => {
  await rm(directory, { recursive: true });
  await store.close();
});

async function ask(environment: Readonly<Record<string, string>>) {
  const auth = await openAuth({ url: store.server.url, encryptionKey: Buffer.alloc(32, 1), environment });
  const headers = { origin: "https://anywhere.example" };
  const response = await auth.app.inject({ url: "/v1/web-push-key", headers });
  await auth.close();
  return response;
}

test("is public, for every page, and the same for either half of the key", async () => {
  const [file, publicFile] = [join(directory, "private.pem"), join(directory, "public.pem")];
  await writeFile(file, makeVapidKey());
  const key = createPublicKey(await readFile(file, "utf8"));
  await writeFile(publicFile, key.export({ type: "spki", format: "pem" }));
  for (const each of [file, publicFile]) {
    const answer = await ask({ VAPID_KEY_FILE: each });
    expect(answer.statusCode).toBe(200);
    expect(answer.json()).toEqual({ key: encodeVapidKey(key) });
    expect(Buffer.from(encodeVapidKey(key), "base64url")).toHaveLength(65);
    expect(answer.headers["access-control-allow-origin"]).toBe("*");
  }
});

test("answers 404 if Web Push is not configured", async () => {
  const answer = await ask({});
  expect(answer.statusCode).toBe(404);
  expect(answer.json()).toMatchObject({ error: { code: "PETREL_NOT_FOUND" } });
});

test("a file without such a key stops the start", async () => {
  await expect(ask({ VAPID_KEY_FILE: "/etc/hostname" })).rejects.toThrow("VAPID_KEY_FILE must hold");
});
