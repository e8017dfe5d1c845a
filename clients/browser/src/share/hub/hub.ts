// tab-member -> here -> upstream: in the leading tab, the sockets of all tabs on one connection.
// Guarantees: one connection, except while one replaces another. No tab misses anything then, because each asks anew
// from its own position.
import { CLIENT_LEAVES_SOCKET } from "../../connection/close-policy.js";
import type { SocketConstructor } from "../../connection/socket.js";
import type { Position } from "../../delivery/user-sequence.js";
import type { TopicPosition } from "../../frames.js";
import type { SharedAck } from "./ack-policy.js";
import { lowestBroadcast, lowestPosition } from "./merge-positions.js";
import type { FromHub, OpenSocket, ToHub } from "./share-messages.js";
import { Upstream } from "./upstream.js";

export interface HubOptions {
  readonly WebSocket: SocketConstructor;
  readonly policy: SharedAck;
  readonly silentMs: number;
  readonly post: (message: FromHub) => void;
  readonly isHeld: () => boolean | Promise<boolean>;
  /** The positions of the other tabs, as far as this one has heard. */
  readonly positions: () => readonly Place[];
}

/** A tab's position. */
export interface Place {
  readonly position: Position | undefined;
  readonly broadcast: TopicPosition | undefined;
}

export class Hub {
  readonly #options: HubOptions;
  /** Serves new sockets; older ones serve those that have not moved yet. */
  #current: Upstream | undefined;
  readonly #all = new Set<Upstream>();
  readonly #bySocket = new Map<string, Upstream>();
  #isStopped = false;

  constructor(options: HubOptions) {
    this.#options = options;
  }

  receive(message: ToHub): void {
    if (this.#isStopped) return;
    const { socket } = message;
    const upstream = this.#bySocket.get(socket);
    switch (message.kind) {
      case "open":
        if (upstream === undefined) this.#open([message]);
        return;
      case "send":
        upstream?.send(socket, message.text);
        return;
      case "here":
        upstream?.here(socket, message.wants);
        return;
      case "close": {
        this.#bySocket.delete(socket);
        const { code, reason } = message;
        const isKnown = upstream?.detach(socket, code, reason) === true;
        if (!isKnown) this.#options.post({ kind: "closed", to: [socket], code, reason });
        return;
      }
      case "abandon":
        this.#bySocket.delete(socket);
        if (upstream?.abandon(socket) === true && upstream === this.#current) {
          this.#current = undefined;
          upstream.moveAll("the connection is silent");
        }
    }
  }

  /** Another tab leads. */
  stop(reason: string): void {
    this.#isStopped = true;
    for (const upstream of this.#all) upstream.close(CLIENT_LEAVES_SOCKET, reason);
  }

  /** @param others the tabs served by the same connection, as far as known */
  #open(sockets: readonly OpenSocket[], others = this.#options.positions()): void {
    // A tab that opens a second socket beside its first leaves an expiring token: the connection has to change.
    if (sockets.some(({ socket }) => this.#current?.mustChangeFor(socket) === true)) this.#leave();
    if (this.#current === undefined) {
      const [opener] = sockets;
      if (opener === undefined) return;
      try {
        this.#current = this.#connect(opener, [...sockets, ...others]);
      } catch (error) {
        // Such as a token with characters that a header cannot carry.
        const to = sockets.map(({ socket }) => socket);
        this.#options.post({ kind: "closed", to, code: 4401, reason: (error as Error).message });
        return;
      }
      this.#all.add(this.#current);
    }
    for (const open of sockets) {
      const current = this.#current;
      this.#bySocket.set(open.socket, current);
      current.attach(open);
    }
  }

  /** The sockets on the current connection follow to the next. */
  #leave(): void {
    const before = this.#current;
    this.#current = undefined;
    before?.moveAll("the connection changes");
  }

  #connect(opener: OpenSocket, places: readonly Place[]): Upstream {
    const position = lowestPosition(places.map((one) => one.position));
    const broadcast = lowestBroadcast(places.map((one) => one.broadcast));
    const url = new URL(opener.url);
    if (position !== undefined) {
      url.searchParams.set("epoch", position.epoch);
      url.searchParams.set("since", String(position.since));
    }
    if (broadcast !== undefined) url.searchParams.set("all", `${broadcast.epoch}:${broadcast.offset}`);
    return new Upstream({
      ...this.#options,
      url: url.href,
      opener,
      position,
      onMissing: (upstream, missing) => {
        if (this.#isStopped) return;
        for (const { socket } of missing) this.#bySocket.delete(socket);
        if (upstream === this.#current) this.#leave();
        // For these alone: what others have asked for may be gone on the server.
        this.#open(missing, []);
        if (upstream.isEmpty) upstream.close(CLIENT_LEAVES_SOCKET, "the connection changes");
      },
      onLeaving: (upstream) => {
        if (upstream === this.#current) this.#current = undefined;
      },
      onEnd: (upstream) => {
        if (upstream === this.#current) this.#current = undefined;
        this.#all.delete(upstream);
        for (const [socket, one] of this.#bySocket) if (one === upstream) this.#bySocket.delete(socket);
      },
    });
  }
}
