// share-link -> here -> tab-member: finds the group of tabs that a credential belongs to.
// Guarantees: each attempt's credential decides who shares. A credential that cannot be shared gets no socket here.
// What one user's connection has left behind goes to no other user's.
import type { Socket, SocketConstructor } from "../connection/socket.js";
import type { Credential } from "../credentials/credential-source.js";
import type { SharedAck } from "./hub/ack-policy.js";
import { shareName, userOf, type Identity } from "./share-identity.js";
import { SHARE_VERSION } from "./hub/share-messages.js";
import { TabMember, type TabMemberOptions } from "./tab-member.js";

export interface ShareSocketsOptions extends Omit<TabMemberOptions, "name" | "policy" | "onEmpty"> {
  readonly urls: readonly string[];
  readonly key: string | undefined;
  readonly ack: SharedAck;
  /** How the client acknowledges, and how its token travels: tabs must have these in common. */
  readonly options: Readonly<Record<string, string>>;
}

export class ShareSockets {
  readonly #options: ShareSocketsOptions;
  #members: { readonly name: string; readonly member: TabMember }[] = [];
  /** The group of the newest credential. */
  #name: string | undefined;

  constructor(options: ShareSocketsOptions) {
    this.#options = options;
  }

  /**
   * @param before the credential of the last welcome, to whose user the client's position belongs
   * @returns undefined if this credential is not shared
   */
  socketFor(credential: Credential, before: Credential | undefined): SocketConstructor | undefined {
    const identity = this.#identityOf(tokenOf(credential));
    const name = shareName(SHARE_VERSION, identity);
    this.#name = name;
    this.#leaveFormer();
    if (name === undefined) return undefined;
    const user = userOf(identity);
    const former = before === undefined ? undefined : userOf(this.#identityOf(tokenOf(before)));
    // Not before it is used: the client may be closed by then, and a tab that leads for nobody would hold the lock.
    const open = (url: string, protocols: readonly string[]): Socket =>
      this.#memberOf(name).open({
        url: former === undefined || former === user ? url : withoutPosition(url),
        protocols,
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

  /** Whether this token of the same user allows something else. (The server handles another user's token.) */
  #isForAnother(name: string, user: string | undefined, token: string): boolean {
    const identity = this.#identityOf(token);
    return userOf(identity) === user && shareName(SHARE_VERSION, identity) !== name;
  }

  #memberOf(name: string): TabMember {
    const known = this.#members.find((one) => one.name === name);
    if (known !== undefined) return known.member;
    const member = new TabMember({
      ...this.#options,
      name,
      policy: this.#options.ack,
      onEmpty: () => this.#leaveFormer(),
    });
    this.#members.push({ name, member });
    return member;
  }

  /** Groups of another user or other rights, each once its last socket has closed: it would lead there for nobody. */
  #leaveFormer(): void {
    const over = this.#members.filter((one) => one.name !== this.#name && one.member.isEmpty);
    this.#members = this.#members.filter((one) => !over.includes(one));
    for (const { member } of over) member.release();
  }

  release(): void {
    for (const { member } of this.#members) member.release();
    this.#members = [];
  }
}

function tokenOf(credential: Credential): string | undefined {
  return "token" in credential ? credential.token : undefined;
}

/** The position belongs to the other user. The broadcast's numbers are the same for everybody. */
function withoutPosition(address: string): string {
  const url = new URL(address);
  url.searchParams.delete("epoch");
  url.searchParams.delete("since");
  return url.href;
}
