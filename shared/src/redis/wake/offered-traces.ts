// wake/offer.lua, wake/wake.lua -> here: which of the offered messages are sampled.
// Guarantees: reads what includes/messages/offer-messages writes.

/** A message with the trace that it carries. */
export interface TracedMessage {
  readonly id: string;
  readonly trace: string;
}

/** @param text id SPACE trace, joined by ","; undefined if nothing is sampled */
export function decodeOfferedTraces(text: string | undefined): readonly TracedMessage[] | undefined {
  return text?.split(",").map((one) => {
    const [id = "", trace = ""] = one.split(" ");
    return { id, trace };
  });
}
