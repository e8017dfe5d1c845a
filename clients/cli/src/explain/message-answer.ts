// collect -> here -> describe-push, describe-way: what `GET /v1/messages/:id?explain=true` answers. docs/send/http-api.md.

export interface TimelineEvent {
  readonly at: string;
  readonly event: string;
  readonly approximate?: boolean;
  readonly channel?: string;
  readonly outcome?: string;
  readonly reason?: string;
  readonly details?: Readonly<Record<string, string>>;
}

export interface Explanation {
  readonly at: string;
  readonly user?: {
    readonly connections: readonly { readonly node: string; readonly connectedAt: string }[];
    readonly devices: readonly string[];
    readonly seq: number;
    readonly acked: number;
    readonly ackedAt?: string;
  };
  readonly policy?: {
    readonly fallback: string;
    readonly priority: string;
    readonly notification: boolean;
    readonly channels?: readonly string[];
    readonly collapseKey?: string;
  };
  readonly nudged?: boolean;
  readonly nextLookAt?: string;
  readonly sending?: boolean;
  readonly notSent: readonly { readonly at: string; readonly state: string; readonly channel?: string }[];
  readonly putOff?: { readonly until: string; readonly userLimit: boolean };
  /** Fallback channels that an operator has paused. */
  readonly pausedChannels?: readonly string[];
}

export interface MessageAnswer {
  readonly id: string;
  readonly to: { readonly user?: string; readonly topic?: string; readonly all?: boolean };
  readonly state: string;
  readonly seq?: number;
  readonly offset?: number;
  readonly acceptedAt: string;
  readonly expiresAt: string;
  readonly deliverAt?: string;
  readonly reason?: { readonly code: string; readonly message: string };
  readonly timeline: readonly TimelineEvent[];
  /** Absent if collect's release does not explain, or only the archive knows the message. */
  readonly explanation?: Explanation;
}
