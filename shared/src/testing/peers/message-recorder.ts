// Tests only: records what producers asked, what clients got, and which faults there were; check-history reads it.
// Guarantees: every entry has its time on one clock; nothing is judged here.
import { TopicRecorder, type TopicHistory } from "./topic-recorder.js";

/** The outcome of a POST, as its producer knows it. */
export type PostOutcome =
  /** Answered with 202 and an id. */
  | "accepted"
  /** Answered, and not stored. */
  | "refused"
  /** No answer, or one that leaves it open: it may arrive or not, once at most. */
  | "unknown";

export interface PostRecord {
  /** The message's number in its `data`: identifies it before it has an id, and if it never gets one. */
  readonly n: number;
  /** Who gets it: a user, or `#` and a topic. */
  readonly user: string;
  /** As JSON. */
  readonly data: string;
  /** Whether a fallback channel may take it: it has a notification, and its policy is not "never". */
  readonly mayFallBack: boolean;
  /** Whether it may expire while the test runs. */
  readonly mayExpire: boolean;
  /** Whether it was sent with an idempotencyKey. */
  readonly insists: boolean;
  readonly startedAtMs: number;
  outcome: PostOutcome;
  /** When the answer came; Infinity if none did. */
  answeredAtMs: number;
  id: string | undefined;
  attempts: number;
  /** Why it was not accepted. */
  problem: string | undefined;
}

/** One try of a POST, over one HTTP connection. */
export interface AttemptRecord {
  /** The collect that got it. */
  readonly target: string;
  /** How long the connection had been idle since its last answer; undefined for a new one. */
  readonly idleMs: number | undefined;
  readonly startedAtMs: number;
  readonly endedAtMs: number;
  /** Undefined if no answer came. */
  readonly status: number | undefined;
  /** Why none came, such as ECONNRESET. */
  readonly problem: string | undefined;
}

/** `DELETE /v1/users/:id`, repeated until it was answered. */
export interface ErasureRecord {
  readonly user: string;
  readonly atMs: number;
  /** When its 204 came; Infinity while there is none. */
  endedAtMs: number;
  attempts: number;
}

export interface ConnectionRecord {
  readonly id: string;
  /** One device of a user, in one of the user's lives. */
  readonly client: string;
  readonly user: string;
  readonly node: string;
  readonly epoch: string;
  readonly after: number;
  readonly resumed: boolean;
  /** When its socket was opened: what it was told may be as old. */
  readonly openedAtMs: number;
  /** When it was welcome. */
  readonly atMs: number;
  closed: { readonly code: number; readonly atMs: number } | undefined;
}

/** A `reconnect` frame on a socket. */
export interface MoveRecord {
  readonly connection: ConnectionRecord;
  readonly reason: string;
  readonly atMs: number;
}

/** A `message` frame on a socket. */
export interface WireRecord {
  readonly connection: ConnectionRecord;
  readonly seq: number;
  readonly id: string;
  readonly atMs: number;
}

/** A message that an application got. */
export interface HandledRecord {
  readonly client: string;
  readonly user: string;
  readonly epoch: string;
  readonly seq: number;
  readonly id: string;
  readonly n: number | undefined;
  /** As JSON. */
  readonly data: string;
  readonly atMs: number;
}

export interface AckRecord {
  readonly connection: ConnectionRecord;
  readonly seq: number;
  readonly atMs: number;
}

/** A call of a fallback channel. */
export interface FallbackRecord {
  readonly id: string;
  readonly user: string;
  readonly n: number | undefined;
  readonly atMs: number;
}

/** What `GET /v1/messages/:id` answers at the end; state "missing" for 404. */
export interface StateRecord {
  readonly id: string;
  readonly state: string;
  /** Its number in its user's sequence, or in its topic. */
  readonly seq: number;
  readonly epoch: string;
}

export interface FaultRecord {
  /** Such as "kill". */
  readonly kind: string;
  /** The process's name, or "redis". */
  readonly target: string;
  readonly atMs: number;
  /** Infinity while it lasts. */
  endedAtMs: number;
}

export interface History {
  readonly posts: readonly PostRecord[];
  readonly connections: readonly ConnectionRecord[];
  readonly moves: readonly MoveRecord[];
  readonly wire: readonly WireRecord[];
  readonly handled: readonly HandledRecord[];
  readonly acks: readonly AckRecord[];
  readonly fallbacks: readonly FallbackRecord[];
  readonly states: readonly StateRecord[];
  readonly faults: readonly FaultRecord[];
  readonly attempts: readonly AttemptRecord[];
  readonly erasures: readonly ErasureRecord[];
  readonly topics: TopicHistory;
}

export class MessageRecorder implements History {
  readonly posts: PostRecord[] = [];
  readonly connections: ConnectionRecord[] = [];
  readonly moves: MoveRecord[] = [];
  readonly wire: WireRecord[] = [];
  readonly handled: HandledRecord[] = [];
  readonly acks: AckRecord[] = [];
  readonly fallbacks: FallbackRecord[] = [];
  readonly faults: FaultRecord[] = [];
  readonly attempts: AttemptRecord[] = [];
  readonly erasures: ErasureRecord[] = [];
  readonly topics = new TopicRecorder();
  states: StateRecord[] = [];
  /** The numbers of messages that some application has got. */
  readonly handledNumbers = new Set<number>();

  /** Call it before a POST is sent, and write its outcome into the result. */
  posting(
    post: Pick<PostRecord, "user" | "mayFallBack" | "mayExpire" | "insists">,
    data: object,
  ): PostRecord {
    const n = this.posts.length;
    const record: PostRecord = {
      ...post,
      n,
      data: JSON.stringify({ n, ...data }),
      startedAtMs: performance.now(),
      outcome: "unknown",
      answeredAtMs: Number.POSITIVE_INFINITY,
      id: undefined,
      attempts: 0,
      problem: undefined,
    };
    this.posts.push(record);
    return record;
  }

  welcomed(welcome: Omit<ConnectionRecord, "atMs" | "closed">): ConnectionRecord {
    const connection = { ...welcome, atMs: performance.now(), closed: undefined };
    this.connections.push(connection);
    return connection;
  }

  closed(connection: ConnectionRecord, code: number): void {
    connection.closed = { code, atMs: performance.now() };
  }

  askedToMove(connection: ConnectionRecord, reason: string): void {
    this.moves.push({ connection, reason, atMs: performance.now() });
  }

  sentOnWire(connection: ConnectionRecord, seq: number, id: string): void {
    this.wire.push({ connection, seq, id, atMs: performance.now() });
  }

  acked(connection: ConnectionRecord, seq: number): void {
    this.acks.push({ connection, seq, atMs: performance.now() });
  }

  wasHandled(message: Omit<HandledRecord, "n" | "data" | "atMs">, data: unknown): void {
    const n = numberOf(data);
    if (n !== undefined) this.handledNumbers.add(n);
    const { client, user, epoch, seq, id } = message;
    this.handled.push({
      client,
      user,
      epoch,
      seq,
      id,
      n,
      data: JSON.stringify(data),
      atMs: performance.now(),
    });
  }

  topicMessageWasHandled(client: string, message: TopicMessageOnClient): void {
    const { topic, offset, id, data } = message;
    const n = numberOf(data);
    if (n !== undefined) this.handledNumbers.add(n);
    this.topics.wasHandled({ client, topic, offset, id, n });
  }

  fellBack(id: string, user: string, n: number | undefined): void {
    this.fallbacks.push({ id, user, n, atMs: performance.now() });
  }

  attempted(attempt: AttemptRecord): void {
    this.attempts.push(attempt);
  }

  /** Call it before a person is erased, and write the outcome into the result. */
  erasing(user: string): ErasureRecord {
    const erasure = { user, atMs: performance.now(), endedAtMs: Number.POSITIVE_INFINITY, attempts: 0 };
    this.erasures.push(erasure);
    return erasure;
  }

  /** @returns call it when the fault is over */
  faultBegan(kind: string, target: string): () => void {
    const fault: FaultRecord = { kind, target, atMs: performance.now(), endedAtMs: Number.POSITIVE_INFINITY };
    this.faults.push(fault);
    return () => {
      fault.endedAtMs = performance.now();
    };
  }
}

interface TopicMessageOnClient {
  readonly topic: string;
  readonly offset: number;
  readonly id: string;
  readonly data: unknown;
}

/** The number in a message's data. */
function numberOf(data: unknown): number | undefined {
  const { n } = (data ?? {}) as { readonly n?: unknown };
  return typeof n === "number" ? n : undefined;
}
