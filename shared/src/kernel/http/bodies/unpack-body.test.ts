// Tests the unpacking of request bodies.
import { gzipSync } from "node:zlib";
import type { PetrelError } from "../../errors.js";
import { expect, test } from "vitest";
import { unpackBody } from "./unpack-body.js";

const MAX_BYTES = 1024 * 1024;

function unpack(packed: Buffer, encoding: string): Promise<Buffer> {
  return new Promise((resolve, reject) =>
    unpackBody(packed, encoding, MAX_BYTES, (error: PetrelError | null, body) =>
      body === undefined ? reject(error ?? new Error("neither")) : resolve(body),
    ),
  );
}

test("unpacks gzip under each of its names; leaves identity as it is", async () => {
  const packed = gzipSync("hello");
  for (const name of ["gzip", "GZIP", "x-gzip", " gzip "]) {
    expect((await unpack(packed, name)).toString()).toBe("hello");
  }
  expect((await unpack(Buffer.from("hello"), "identity")).toString()).toBe("hello");
});

test("refuses any other encoding", async () => {
  for (const name of ["br", "deflate", "gzip, gzip", "zstd"]) {
    await expect(unpack(gzipSync("hello"), name)).rejects.toMatchObject({
      code: "PETREL_UNSUPPORTED_MEDIA_TYPE",
    });
  }
});

test("unpacks up to the bound, and not a byte more", async () => {
  expect(await unpack(gzipSync(Buffer.alloc(MAX_BYTES)), "gzip")).toHaveLength(MAX_BYTES);
  await expect(unpack(gzipSync(Buffer.alloc(MAX_BYTES + 1)), "gzip")).rejects.toMatchObject({
    code: "PETREL_PAYLOAD_TOO_LARGE",
  });
});

test("cuts a bomb off at the bound and never looks at the rest", async () => {
  // Broken beyond the bound: unpacked to its end it would count as invalid.
  const bomb = gzipSync(Buffer.alloc(64 * MAX_BYTES));
  bomb.fill(0xff, bomb.length - 1_000);
  expect(bomb.length).toBeLessThan(MAX_BYTES / 10);
  await expect(unpack(bomb, "gzip")).rejects.toMatchObject({ code: "PETREL_PAYLOAD_TOO_LARGE" });
});

test("rejects what is not gzip, or cut short", async () => {
  const packed = gzipSync("hello, hello, hello");
  for (const bytes of [Buffer.from("hello"), packed.subarray(0, -3), Buffer.alloc(0)]) {
    await expect(unpack(bytes, "gzip")).rejects.toMatchObject({ code: "PETREL_INVALID_JSON" });
  }
});
