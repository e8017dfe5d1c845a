// read-json-body -> here: undoes a request body's Content-Encoding.
// Guarantees: never makes more than `maxBytes` and one chunk, whatever the packed bytes claim.
import { gunzip } from "node:zlib";
import { PetrelError } from "../../errors.js";

type Done = (error: PetrelError | null, body?: Buffer) => void;

const CHUNK_BYTES = 64 * 1024;

/**
 * @param encoding the header's value (RFC 9110 section 8.4: `x-gzip` is `gzip`, case does not count)
 * @param maxBytes of the unpacked body
 * @param done gets PETREL_UNSUPPORTED_MEDIA_TYPE, PETREL_PAYLOAD_TOO_LARGE or PETREL_INVALID_JSON on failure
 */
export function unpackBody(packed: Buffer, encoding: string, maxBytes: number, done: Done): void {
  switch (encoding.trim().toLowerCase()) {
    case "":
    case "identity":
      done(null, packed);
      return;
    case "gzip":
    case "x-gzip":
      gunzip(packed, { maxOutputLength: maxBytes, chunkSize: CHUNK_BYTES }, (error, unpacked) => {
        if (error === null) done(null, unpacked);
        else done(describeFailure(error, maxBytes));
      });
      return;
    default:
      done(
        new PetrelError(
          "PETREL_UNSUPPORTED_MEDIA_TYPE",
          "The body's Content-Encoding must be gzip or absent.",
          {
            details: { acceptEncoding: ["gzip", "identity"] },
          },
        ),
      );
  }
}

function describeFailure(error: NodeJS.ErrnoException, maxBytes: number): PetrelError {
  return error.code === "ERR_BUFFER_TOO_LARGE"
    ? new PetrelError("PETREL_PAYLOAD_TOO_LARGE", `The unpacked body is larger than ${maxBytes} bytes.`)
    : new PetrelError("PETREL_INVALID_JSON", "The body is not valid gzip.", { cause: error });
}
