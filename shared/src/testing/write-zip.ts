// Tests only: a zip archive of a few small files, as a Python wheel is.
// Guarantees: the archive is complete: `unzip -t` accepts it.
import { crc32, deflateRawSync } from "node:zlib";

export interface FileToZip {
  readonly name: string;
  readonly content: Buffer;
  /** Stored, not deflated. */
  readonly stored?: boolean;
}

export function writeZip(files: readonly FileToZip[], comment = ""): Buffer {
  const parts: Buffer[] = [];
  const directory: Buffer[] = [];
  let at = 0;
  for (const { name, content, stored = false } of files) {
    const packed = stored ? content : deflateRawSync(content);
    const nameBytes = Buffer.from(name);
    const sizes = Buffer.alloc(20);
    sizes.writeUInt16LE(stored ? 0 : 8, 2);
    sizes.writeUInt32LE(crc32(content), 8);
    sizes.writeUInt32LE(packed.length, 12);
    sizes.writeUInt32LE(content.length, 16);
    // The extra field is only here, not in the directory, as some archivers write it.
    const lengths = Buffer.from([nameBytes.length, 0, 4, 0]);
    const local = Buffer.concat([
      Buffer.from("PK\x03\x04\x14\0"),
      sizes,
      lengths,
      nameBytes,
      Buffer.from("ex\0\0"),
      packed,
    ]);
    const place = Buffer.alloc(14);
    place.writeUInt32LE(at, 10);
    directory.push(
      Buffer.from("PK\x01\x02\x14\0\x14\0"),
      sizes,
      Buffer.from([nameBytes.length, 0, 0, 0]),
      place,
      nameBytes,
    );
    parts.push(local);
    at += local.length;
  }
  const list = Buffer.concat(directory);
  const end = Buffer.alloc(22);
  end.write("PK\x05\x06", "latin1");
  end.writeUInt16LE(files.length, 8);
  end.writeUInt16LE(files.length, 10);
  end.writeUInt32LE(list.length, 12);
  end.writeUInt32LE(at, 16);
  end.writeUInt16LE(Buffer.byteLength(comment), 20);
  return Buffer.concat([...parts, list, end, Buffer.from(comment)]);
}
