// share-link -> here -> tab-member: the place among the tabs that a credential belongs to.
// Guarantees: who shares is decided by the credential of each attempt; what cannot be shared gets no socket from here; what
// one user's connection has left behind goes to no other user's.
import type { Socket, SocketConstructor } from "../connection/socket.js";
import type { Credential } from "../credentials/credential-source.js";
import type { SharedAck } from "./ack-policy.js";
import { shareName, userOf, type Identity } from "./share-identity.js";
import { SHARE_VERSION } from "./share-messages.js";
import { TabMember, type TabMemberOptions } from "./tab-member.js";

export interface ShareSocketsOptions extends Omit<TabMemberOptions, "name" | "policy"> {
  readonly urls: readonly string[];
  readonly key: string | undefined;
  readonly ack: SharedAck;
  /** How the client acknowledges, and how its token travels: tabs have to agree. */
  readonly options: Readonly<Record<string, string>>;
}

export class ShareSockets {
  readonly #options: ShareSocketsOptions;
  #members: { readonly name: string; readonly member: TabMember }[] = [];
  /** Who was welcomed last: the client's position is of that user. */
  #user: string | undefined;

  constructor(options: ShareSocketsOptions) {
    this.#options = options;
  }

  /** @returns undefined where this credential is not shared */
  socketFor(credential: Credential): SocketConstructor | undefined {
    const token = "token" in credential ? credential.token : undefined;
    const identity = this.#identityOf(token);
    const name = shareName(SHARE_VERSION, identity);
    // Of another user, or of other rights: its last socket may still be open.
    const over = this.#members.filter((one) => one.name !== name && one.member.isEmpty);
    for (const { member } of over) member.release();
    this.#members = this.#members.filter((one) => !over.includes(one));
    if (name === undefined) return undefined;
    const user = userOf(identity);
    // Not before it is used: the client may be closed by then, and a tab that leads for nobody would hold the lock.
    const open = (url: string, protocols: readonly string[]): Socket =>
      this.#memberOf(name).open({
        url: this.#user === undefined || this.#user === user ? url : withoutPosition(url),
        protocols,
        onWelcomed: () => (this.#user = user),
        isForAnother: (fresh) => this.#isForAnother(name, user, fresh),
      });
    const Shared = function (url: string, protocols: readonly string[]) {
      return open(url, protocols);
    };
    return Shared as unknown as SocketConstructor;
  }

  #identityOf(token: string | undefined): Identity {
    const { urls, key, ack, options } = this.#options;
    return { token, key, urls, options: { ...options, ack } };
  }

  /** Whether this token of the same user allows something else. (What to do about another user's, the server knows.) */
  #isForAnother(name: string, user: string | undefined, token: string): boolean {
    const identity = this.#identityOf(token);
    return userOf(identity) === user && shareName(SHARE_VERSION, identity) !== name;
  }

  #memberOf(name: string): TabMember {
    const known = this.#members.find((one) => one.name === name);
    if (known !== undefined) return known.member;
    const member = new TabMember({ ...this.#options, name, policy: this.#options.ack });
    this.#members.push({ name, member });
    return member;
  }

  release(): void {
    for (const { member } of this.#members) member.release();
    this.#members = [];
  }
}

/** The other user's. What all are sent has the same numbers for everybody. */
function withoutPosition(address: string): string {
  const url = new URL(address);
  url.searchParams.delete("epoch");
  url.searchParams.delete("since");
  return url.href;
}
