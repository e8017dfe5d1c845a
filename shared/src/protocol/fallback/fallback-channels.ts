// collect/check-message, dispatch/config -> here -> redis/keys: the names of the fallback channels.
// Guarantees: a name is never changed or reused: it stands in records, in key names, in metrics and in the API.

/** In the default order of FALLBACK_CHANNELS. */
export const fallbackChannels = ["apns", "web", "wechat", "webhook"] as const;

export type FallbackChannelName = (typeof fallbackChannels)[number];
