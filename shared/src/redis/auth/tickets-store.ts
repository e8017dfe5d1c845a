// auth/create-ticket, push-node's handshake -> here: a credential for a URL, valid once and for seconds.
// Guarantees: of any number of callers with the same ticket, one gets its token. A ticket is stored under its hash, so
// nobody who reads Redis can use it.
import { hash, randomBytes } from "node:crypto";
import { awaitAnswer } from "../connection/await-answer.js";
import { clusterKeys } from "../keys.js";
import type { ScriptRunner } from "../scripts/script-runner.js";

const TICKET = /^pt_[A-Za-z0-9_-]{43}$/;
const TICKET_BYTES = 32;

/** @template Token what a ticket stands for: a VerifiedToken, as opaque data */
export class TicketsStore<Token extends object> {
  readonly #scripts: ScriptRunner;

  constructor(scripts: ScriptRunner) {
    this.#scripts = scripts;
  }

  /**
   * @param token the caller's own; whoever uses the ticket gets its claims
   * @param ttlMs at least 1; the token itself may expire sooner, and says when
   * @throws PetrelError PETREL_UNAVAILABLE if Redis does not answer, like all methods here
   */
  async issue(token: Token, ttlMs: number): Promise<string> {
    const ticket = `pt_${randomBytes(TICKET_BYTES).toString("base64url")}`;
    await awaitAnswer(this.#scripts.run("issue-ticket.v1", [keyOf(ticket)], [JSON.stringify(token), ttlMs]));
    return ticket;
  }

  /**
   * Does not check whether the token has been revoked meanwhile.
   * @returns undefined if the ticket is unknown, expired or used. If the answer is lost, the ticket may be used up:
   * request another
   */
  async redeem(ticket: string): Promise<Readonly<Token> | undefined> {
    if (!TICKET.test(ticket)) return undefined;
    const text = await awaitAnswer(this.#scripts.redis.getdel(keyOf(ticket)));
    return text === null ? undefined : Object.freeze(JSON.parse(text) as Token);
  }
}

function keyOf(ticket: string): string {
  return clusterKeys.ticket(hash("sha256", ticket, "base64url"));
}
