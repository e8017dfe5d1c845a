// auth/signing-keyring -> here -> auth/agree-signing-keys.lua: the keys that sign users' tokens, shared by all auth processes.
// Guarantees: of several that would replace the same keys at once one does, and the others are told what counts now; a
// private part comes here sealed.
import { authKeys } from "./auth-keys.js";
import { awaitAnswer } from "../connection/await-answer.js";
import type { ScriptRunner } from "../scripts/script-runner.js";

/**
 * - upcoming: published, signs nothing yet, until everyone who checks tokens must have it
 * - active: signs; there is one
 * - retired: published until no token that it has signed can be good
 * - withdrawn: not published, and no token by it is good: it was compromised
 */
export const signingKeyStates = ["upcoming", "active", "retired", "withdrawn"] as const;

export type SigningKeyState = (typeof signingKeyStates)[number];

/** As stored. All times are ms by Redis' clock. */
export interface SigningKeyRecord {
  readonly kid: string;
  readonly alg: "ES256" | "RS256";
  readonly state: SigningKeyState;
  /** A PKCS #8 PEM, encrypted at rest; "" once withdrawn. */
  readonly sealedPrivateKey: string;
  readonly createdAtMs: number;
  /** When it began to sign. */
  readonly activatedAtMs?: number;
  /** When it ceased to. */
  readonly retiredAtMs?: number;
}

export interface AgreedSigningKeys {
  /** Ms by Redis' clock. */
  readonly nowMs: number;
  /** Grows with each change; "0" where there are no keys yet. */
  readonly revision: string;
  /** Whether they are what this call proposed; two may propose the same. */
  readonly isTaken: boolean;
  readonly keys: readonly SigningKeyRecord[];
}

export class SigningKeysStore {
  readonly #scripts: ScriptRunner;

  constructor(scripts: ScriptRunner) {
    this.#scripts = scripts;
  }

  /** @throws PetrelError PETREL_UNAVAILABLE where Redis does not answer, as all here */
  read(): Promise<AgreedSigningKeys> {
    return this.#run("", "");
  }

  /**
   * Puts other keys in the place of those that were read with `expected`.
   * @returns what counts now: these, or what another process has put there meanwhile
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
