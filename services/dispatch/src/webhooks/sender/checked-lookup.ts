// webhooks/sender/webhook-sender -> here: finds a name's addresses, and refuses those that nobody may be posted to.
// Guarantees: the connection goes to an address that was checked here, since the socket asks nobody else: a name that
// changes its answer later changes nothing. A name with any refused address is refused as a whole.
import { type LookupAddress, lookup } from "node:dns";
import type { LookupFunction } from "node:net";
import { Semaphore } from "@petrel/shared/kernel/semaphore";
import { isRefusedAddress } from "./refused-address.js";

/** All of a name's addresses. */
export type ResolveName = (name: string) => Promise<readonly LookupAddress[]>;

export class RefusedAddressError extends Error {
  override readonly name = "RefusedAddressError";
}

/**
 * As everything on this machine resolves names, /etc/hosts included. It holds one of Node's four threads while it waits,
 * so that names of dead zones must not get all of them.
 * @param atATime look-ups
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

/** For a socket's `lookup`. */
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
