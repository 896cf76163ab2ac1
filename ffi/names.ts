/** Names by this machine's resolver. */

import type { Native } from "./native.ts";
import { cString } from "./memory.ts";

/** Addresses of one name that are told. */
const ADDRESSES_MAX = 32;
const IP_BYTES = 16;

/**
 * All addresses of a name, IPv4-mapped where they are IPv4, the preferred first; none: there is no
 * such name. Undefined: the resolver does not answer, or fails. Waits on a thread of its own.
 */
export async function nameAddresses(
  native: Native,
  name: string,
): Promise<Uint8Array[] | undefined> {
  const text = cString(name);
  const memory = new Uint8Array(ADDRESSES_MAX * IP_BYTES + text.length);
  // All in one piece of memory that is used below: it stays where it is meanwhile.
  const ips = memory.subarray(0, ADDRESSES_MAX * IP_BYTES);
  const asked = memory.subarray(ips.length);
  asked.set(text);
  const count = await native.symbols.ph_name_addresses(asked, ips, ADDRESSES_MAX);
  if (count < 0) return undefined;
  return Array.from(
    { length: count },
    (_, i) => ips.slice(i * IP_BYTES, (i + 1) * IP_BYTES),
  );
}
