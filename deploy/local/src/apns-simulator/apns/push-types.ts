// The APNs simulator: Apple's push types, and the topic that each requires.
// Guarantees: exactly those of "Sending notification requests to APNs".

export interface PushType {
  /** The suffix after the app's bundle id; empty: the bundle id itself. */
  readonly topicSuffix: string;
  /** In bytes. */
  readonly maxPayloadBytes: number;
}

const usual = 4096;

/** `mdm` has a topic of its own, named by a certificate: it has no known suffix. */
export const pushTypes: ReadonlyMap<string, PushType> = new Map([
  ["alert", { topicSuffix: "", maxPayloadBytes: usual }],
  ["background", { topicSuffix: "", maxPayloadBytes: usual }],
  ["mdm", { topicSuffix: "", maxPayloadBytes: usual }],
  ["location", { topicSuffix: ".location-query", maxPayloadBytes: usual }],
  ["voip", { topicSuffix: ".voip", maxPayloadBytes: 5120 }],
  ["complication", { topicSuffix: ".complication", maxPayloadBytes: usual }],
  ["fileprovider", { topicSuffix: ".pushkit.fileprovider", maxPayloadBytes: usual }],
  ["liveactivity", { topicSuffix: ".push-type.liveactivity", maxPayloadBytes: usual }],
  ["pushtotalk", { topicSuffix: ".voip-ptt", maxPayloadBytes: usual }],
  ["widgets", { topicSuffix: ".push-type.widgets", maxPayloadBytes: usual }],
  ["controls", { topicSuffix: ".push-type.controls", maxPayloadBytes: usual }],
]);

const suffixes = [...pushTypes.values()].map(({ topicSuffix }) => topicSuffix).filter((one) => one !== "");

/** The suffix by which a topic requires a push type of its own, or "". */
export function suffixOf(topic: string): string {
  return suffixes.find((suffix) => topic.endsWith(suffix)) ?? "";
}
