// measure-formats -> here: a `message` and an `ack` frame packed by hand, with nothing that both ends know already.
// Guarantees: what is unpacked equals what was packed; `data` stays JSON, since only the application knows its form.

export interface Message {
  readonly type: "message";
  readonly id: string;
  readonly seq: number;
  readonly at: string;
  readonly data: unknown;
}

const MESSAGE = 1;
const ACK = 2;
/** Kind, seq, time, and the length of the id. */
const HEAD_BYTES = 1 + 8 + 8 + 1;

/** @param dataJson as a node has it: it is never parsed there */
export function packMessage({ id, seq, at }: Message, dataJson: string): Buffer {
  const idBytes = Buffer.byteLength(id);
  const buffer = Buffer.allocUnsafe(HEAD_BYTES + idBytes + Buffer.byteLength(dataJson));
  buffer.writeUInt8(MESSAGE, 0);
  buffer.writeDoubleBE(seq, 1);
  buffer.writeDoubleBE(Date.parse(at), 9);
  buffer.writeUInt8(idBytes, 17);
  buffer.write(id, HEAD_BYTES, "latin1");
  buffer.write(dataJson, HEAD_BYTES + idBytes, "utf8");
  return buffer;
}

export function unpackMessage(buffer: Buffer): Message {
  const idEnd = HEAD_BYTES + buffer.readUInt8(17);
  return {
    type: "message",
    id: buffer.toString("latin1", HEAD_BYTES, idEnd),
    seq: buffer.readDoubleBE(1),
    at: new Date(buffer.readDoubleBE(9)).toISOString(),
    data: JSON.parse(buffer.toString("utf8", idEnd)) as unknown,
  };
}

export function packAck(seq: number): Buffer {
  const buffer = Buffer.allocUnsafe(9);
  buffer.writeUInt8(ACK, 0);
  buffer.writeDoubleBE(seq, 1);
  return buffer;
}

export function unpackAck(buffer: Buffer): { readonly type: "ack"; readonly seq: number } {
  return { type: "ack", seq: buffer.readDoubleBE(1) };
}
