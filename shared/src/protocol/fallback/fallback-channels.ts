// collect/check-message, dispatch/config -> here -> redis/keys: the fallback channels there are.
// Guarantees: a name is never changed or reused: it stands in records, in key names, in metrics and in the API.

/** In the order in which they are asked where FALLBACK_CHANNELS says nothing else. */
export const fallbackChannels = ["apns", "web", "wechat", "webhook"] as const;

export type FallbackChannelName = (typeof fallbackChannels)[number];
