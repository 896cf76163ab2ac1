/** By which addresses this machine, in this thread's network namespace, is reached. */

import { checked } from "./errors.ts";
import type { Native } from "./native.ts";

/** struct ph_block */
const BLOCK_BYTES = 20;
const BITS_AT = 16;
const BLOCKS = 128;

/** Addresses that begin with the same bits. */
export interface AddressBlock {
  /** 16 bytes, IPv4 as IPv4-mapped. */
  readonly ip: Uint8Array<ArrayBuffer>;
  /** Of 128. */
  readonly bits: number;
}

/** Those of all interfaces, and what local routes lead to; one may be there twice. */
export function localAddresses({ symbols }: Native): AddressBlock[] {
  for (let room = BLOCKS;;) {
    const bytes = new Uint8Array(room * BLOCK_BYTES);
    const count = checked(symbols.ph_local_list(bytes, room), "list local addresses");
    if (count <= room) return Array.from({ length: count }, (_, i) => read(bytes, i));
    // More may have come meanwhile.
    room = count + BLOCKS;
  }
}

function read(bytes: Uint8Array<ArrayBuffer>, index: number): AddressBlock {
  const at = index * BLOCK_BYTES;
  const bits = new DataView(bytes.buffer, at + BITS_AT).getUint32(0, true);
  return { ip: bytes.slice(at, at + BITS_AT), bits };
}
