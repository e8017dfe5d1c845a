// webhooks/sender/webhook-sender -> here: resolves a name, and refuses addresses that must not be posted to.
// Guarantees: the socket connects to an address that was checked here and resolves nothing itself, so a name that later
// changes its answer makes no difference. A name with any refused address is refused as a whole.
import { type LookupAddress, lookup } from "node:dns";
import type { LookupFunction } from "node:net";
import { Semaphore } from "@petrel/shared/kernel/semaphore";
import { isRefusedAddress } from "./refused-address.js";

/** Resolves a name to all its addresses. */
export type ResolveName = (name: string) => Promise<readonly LookupAddress[]>;

export class RefusedAddressError extends Error {
  override readonly name = "RefusedAddressError";
}

/**
 * Resolves names as this machine does, including /etc/hosts. A look-up holds one of Node's four threads while it waits,
 * so names in dead zones must not take all of them.
 * @param atATime concurrent look-ups
 */
export function createResolver(atATime: number): ResolveName {
  const slots = new Semaphore(atATime);
  return (name) =>
    slots.run(
      () =>
        new Promise((resolve, reject) => {
          lookup(name, { all: true, verbatim: true }, (error, addresses) => {
            if (error === null) resolve(addresses);
            else reject(error);
          });
        }),
    );
}

/** For a socket's option `lookup`. */
export function createCheckedLookup(resolveName: ResolveName, allowPrivate: boolean): LookupFunction {
  return (name, { all, family }, answer) => {
    void (async () => {
      let found: readonly LookupAddress[];
      try {
        found = await resolveChecked(name, resolveName, allowPrivate);
      } catch (error) {
        return answer(error instanceof Error ? error : new Error(String(error)), "", 0);
      }
      const wanted = family === 4 || family === 6 ? found.filter((one) => one.family === family) : found;
      const [first] = wanted;
      if (first === undefined) answer(new Error(`${name} has no address`), "", 0);
      else if (all === true) answer(null, [...wanted]);
      else answer(null, first.address, first.family);
    })();
  };
}

async function resolveChecked(
  name: string,
  resolveName: ResolveName,
  allowPrivate: boolean,
): Promise<readonly LookupAddress[]> {
  const found = await resolveName(name);
  const refused = allowPrivate ? undefined : found.find(({ address }) => isRefusedAddress(address));
  if (refused === undefined) return found;
  throw new RefusedAddressError(`${name} is at a private or special address: ${refused.address}`);
}
