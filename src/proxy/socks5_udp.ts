// The header of SOCKS5's UDP associations (RFC 1928 §7), read and written in place.
//
//   reserved u16 = 0 | fragment u8 = 0 | address | data
//
// The address is the one of the DATAGRAM frame: both sides copy it as it is. Nothing here
// allocates.

import { addressLength, addressPort } from "../wire/address.ts";

/** Before the address. */
export const UDP_PREFIX_BYTES = 3;

/** Reads headers; keeps where the parts of the last one are, and counts what it drops. */
export class UdpHeaderReader {
  addressAt = 0;
  addressLength = 0;
  dataAt = 0;
  dataLength = 0;
  /** Datagrams that are parts of one: reassembly is optional in SOCKS5, and nobody uses it. */
  fragments = 0;
  malformed = 0;

  /** Whether a datagram is to be passed on; false is to be dropped, and is counted. */
  read(bytes: Uint8Array, at: number, length: number): boolean {
    if (length < UDP_PREFIX_BYTES || bytes[at] !== 0 || bytes[at + 1] !== 0) return this.#drop();
    if (bytes[at + 2] !== 0) {
      this.fragments += 1;
      return false;
    }
    const addressAt = at + UDP_PREFIX_BYTES;
    const size = addressLength(bytes, addressAt, at + length);
    if (size <= 0 || addressPort(bytes, addressAt, size) === 0) return this.#drop();
    this.addressAt = addressAt;
    this.addressLength = size;
    this.dataAt = addressAt + size;
    this.dataLength = length - UDP_PREFIX_BYTES - size;
    return true;
  }

  #drop(): boolean {
    this.malformed += 1;
    return false;
  }
}

/** Writes a header with an address as on the wire in front of data; its length. */
export function writeUdpHeader(
  out: Uint8Array,
  at: number,
  bytes: Uint8Array,
  addressAt: number,
  addressLength: number,
): number {
  writePrefix(out, at);
  for (let i = 0; i < addressLength; i++) {
    out[at + UDP_PREFIX_BYTES + i] = bytes[addressAt + i] ?? 0;
  }
  return UDP_PREFIX_BYTES + addressLength;
}

function writePrefix(out: Uint8Array, at: number): void {
  out[at] = 0;
  out[at + 1] = 0;
  out[at + 2] = 0;
}
