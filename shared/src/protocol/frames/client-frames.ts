// What clients say to a push node: text frames, one JSON object each.
// Guarantees: the result is validated; unknown fields are ignored, unknown types and missing fields are refused.

export type ClientFrame =
  | { readonly type: "auth"; readonly token: string }
  | { readonly type: "token"; readonly token: string }
  | { readonly type: "ack"; readonly seq: number }
  | { readonly type: "subscribe" | "unsubscribe"; readonly topic: string }
  | { readonly type: "ping" };

export type ParsedFrame =
  | { readonly ok: true; readonly frame: ClientFrame }
  | { readonly ok: false; readonly problem: string };

/** The most frequent frame, as the SDK writes it: read without building an object. */
const plainAck = /^\{"type":"ack","seq":(\d{1,15})\}$/;

export function parseClientFrame(text: string): ParsedFrame {
  const ack = plainAck.exec(text);
  if (ack !== null) return { ok: true, frame: { type: "ack", seq: Number(ack[1]) } };
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return bad("The frame is not JSON.");
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    return bad("The frame is not a JSON object.");
  }
  const { type, seq, token, topic } = value as Record<string, unknown>;
  switch (type) {
    case "ack":
      return typeof seq === "number" && Number.isSafeInteger(seq) && seq >= 0
        ? { ok: true, frame: { type, seq } }
        : bad("An ack needs `seq`, a whole number.");
    case "ping":
      return { ok: true, frame: { type } };
    case "auth":
    case "token":
      return typeof token === "string" && token !== ""
        ? { ok: true, frame: { type, token } }
        : bad(`A frame of type "${type}" needs \`token\`, a text.`);
    case "subscribe":
    case "unsubscribe":
      return typeof topic === "string" && topic !== ""
        ? { ok: true, frame: { type, topic } }
        : bad(`A frame of type "${type}" needs \`topic\`, a text.`);
    default:
      return bad(typeof type === "string" ? "The frame is of an unknown type." : "The frame has no `type`.");
  }
}

function bad(problem: string): ParsedFrame {
  return { ok: false, problem };
}
