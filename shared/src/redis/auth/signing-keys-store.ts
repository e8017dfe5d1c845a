// auth/signing-keyring -> here -> auth/agree-signing-keys.lua: the keys that sign users' tokens, shared by all auth
// processes.
// Guarantees: if several replace the same keys at once, one succeeds, and the others get the keys that now apply. A
// private part arrives here sealed.
import { authKeys } from "./auth-keys.js";
import { awaitAnswer } from "../connection/await-answer.js";
import type { ScriptRunner } from "../scripts/script-runner.js";

/**
 * - upcoming: published, but signs nothing until everyone who checks tokens must have it
 * - active: signs; there is only one
 * - retired: published until none of its tokens can be valid
 * - withdrawn: compromised; not published, and none of its tokens is valid
 */
export const signingKeyStates = ["upcoming", "active", "retired", "withdrawn"] as const;

export type SigningKeyState = (typeof signingKeyStates)[number];

/** As stored. All times are ms by Redis's clock. */
export interface SigningKeyRecord {
  readonly kid: string;
  readonly alg: "ES256" | "RS256";
  readonly state: SigningKeyState;
  /** A PKCS #8 PEM, encrypted at rest; "" once withdrawn. */
  readonly sealedPrivateKey: string;
  readonly createdAtMs: number;
  /** When it began to sign. */
  readonly activatedAtMs?: number;
  /** When it stopped signing. */
  readonly retiredAtMs?: number;
}

export interface AgreedSigningKeys {
  /** Ms by Redis's clock. */
  readonly nowMs: number;
  /** Grows with each change; "0" if there are no keys yet. */
  readonly revision: string;
  /** Whether these are the keys that this call proposed; two calls may propose the same. */
  readonly isTaken: boolean;
  readonly keys: readonly SigningKeyRecord[];
}

export class SigningKeysStore {
  readonly #scripts: ScriptRunner;

  constructor(scripts: ScriptRunner) {
    this.#scripts = scripts;
  }

  /** @throws PetrelError PETREL_UNAVAILABLE if Redis does not answer, like all methods here */
  read(): Promise<AgreedSigningKeys> {
    return this.#run("", "");
  }

  /**
   * Replaces the keys that were read with the revision `expected`.
   * @returns the keys that apply now: these, or what another process wrote meanwhile
   */
  replace(expected: string, keys: readonly SigningKeyRecord[]): Promise<AgreedSigningKeys> {
    return this.#run(expected, JSON.stringify(keys));
  }

  async #run(expected: string, proposed: string): Promise<AgreedSigningKeys> {
    const answer = await awaitAnswer(
      this.#scripts.run("agree-signing-keys.v1", [authKeys.signingKeys], [expected, proposed]),
    );
    const [now = "", taken = "", revision = "", json = ""] = answer.split("\t");
    return {
      nowMs: Number(now),
      isTaken: taken === "1",
      revision,
      keys: json === "" ? [] : (JSON.parse(json) as SigningKeyRecord[]),
    };
  }
}
