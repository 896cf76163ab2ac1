/**
 * Where a stream or a datagram goes to or comes from, as in SOCKS5 (RFC 1928 §5):
 *
 *     +------+----------------------------------+----------+
 *     | type | 1: 4 bytes; 4: 16 bytes          | port u16 |
 *     | u8   | 3: length u8 (1–255), then name  |          |
 *     +------+----------------------------------+----------+
 *
 * The bytes are the address: what passes them on copies them. Text becomes one at the edges, and
 * allocates.
 */

import { isIpv4Mapped, parseIp } from "../base/ip.ts";

export const AddressType = { ipv4: 1, name: 3, ipv6: 4 } as const;
export type AddressType = typeof AddressType[keyof typeof AddressType];

/** The longest name that fits, which is longer than any that can be looked up. */
const NAME_BYTES_MAX = 255;
export const ADDRESS_BYTES_MAX: number = 1 + 1 + NAME_BYTES_MAX + 2;
const IPV4_BYTES = 1 + 4 + 2;
const IPV6_BYTES = 1 + 16 + 2;
const PORT_MAX = 65_535;

/** 0.0.0.0:0, where there is no address to tell. Never written to. */
export const NO_ADDRESS: Uint8Array<ArrayBuffer> = Uint8Array.of(1, 0, 0, 0, 0, 0, 0);

/** What {@linkcode addressLength} says of what is no whole address. */
export const CUT_SHORT = 0;
export const BAD_ADDRESS = -1;
export const BAD_TYPE = -2;

/**
 * Bytes of the address at `at`, all of them before `end`; or {@linkcode CUT_SHORT},
 * {@linkcode BAD_ADDRESS} (a name of no bytes), {@linkcode BAD_TYPE}.
 */
export function addressLength(bytes: Uint8Array, at: number, end: number): number {
  if (at < 0 || at >= end || end > bytes.length) return CUT_SHORT;
  let length = 0;
  switch (bytes[at]) {
    case AddressType.ipv4:
      length = IPV4_BYTES;
      break;
    case AddressType.ipv6:
      length = IPV6_BYTES;
      break;
    case AddressType.name:
      if (at + 1 >= end) return CUT_SHORT;
      if (bytes[at + 1] === 0) return BAD_ADDRESS;
      length = 4 + bytes[at + 1]!;
      break;
    default:
      return BAD_TYPE;
  }
  return at + length <= end ? length : CUT_SHORT;
}

/** Bytes of the address at `at`, all of them before `end`; 0 when there is no whole one. */
export function addressBytes(bytes: Uint8Array, at: number, end: number): number {
  const length = addressLength(bytes, at, end);
  return length > 0 ? length : 0;
}

/** The port of an address that {@linkcode addressBytes} found whole. */
export function addressPort(bytes: Uint8Array, at: number, length: number): number {
  return bytes[at + length - 2]! << 8 | bytes[at + length - 1]!;
}

/**
 * Writes the address of an IP of 16 bytes (IPv4 as IPv4-mapped) with a port; bytes written, 0 when
 * they don't fit before `end`.
 */
export function writeIpAddress(
  target: Uint8Array,
  at: number,
  end: number,
  ip: Uint8Array,
  ipAt: number,
  port: number,
): number {
  const mapped = isIpv4Mapped(ip, ipAt);
  const length = mapped ? IPV4_BYTES : IPV6_BYTES;
  if (at + length > end || end > target.length) return 0;
  target[at] = mapped ? AddressType.ipv4 : AddressType.ipv6;
  const from = mapped ? ipAt + 12 : ipAt;
  for (let i = 0; i < length - 3; i++) target[at + 1 + i] = ip[from + i]!;
  target[at + length - 2] = port >>> 8;
  target[at + length - 1] = port;
  return length;
}

/** Writes the address of a name of 1 to 255 bytes; bytes written, 0 when they don't fit. */
export function writeNameAddress(
  target: Uint8Array,
  at: number,
  end: number,
  name: Uint8Array,
  nameLength: number,
  port: number,
): number {
  const length = nameLength + 4;
  if (nameLength < 1 || nameLength > NAME_BYTES_MAX) return 0;
  if (at + length > end || end > target.length) return 0;
  target[at] = AddressType.name;
  target[at + 1] = nameLength;
  for (let i = 0; i < nameLength; i++) target[at + 2 + i] = name[i]!;
  target[at + length - 2] = port >>> 8;
  target[at + length - 1] = port;
  return length;
}

/** Puts the IP of an address into 16 bytes (IPv4 as IPv4-mapped); false for a name. */
export function readIpAddress(
  bytes: Uint8Array,
  at: number,
  ip: Uint8Array,
  ipAt: number,
): boolean {
  const type = bytes[at];
  if (type === AddressType.ipv6) {
    for (let i = 0; i < 16; i++) ip[ipAt + i] = bytes[at + 1 + i]!;
    return true;
  }
  if (type !== AddressType.ipv4) return false;
  for (let i = 0; i < 10; i++) ip[ipAt + i] = 0;
  ip[ipAt + 10] = ip[ipAt + 11] = 0xff;
  for (let i = 0; i < 4; i++) ip[ipAt + 12 + i] = bytes[at + 1 + i]!;
  return true;
}

/**
 * The bytes of an address given as text: an IP without brackets, else a name in ASCII. Undefined
 * for what is neither: nobody could look it up.
 */
export function encodeAddress(host: string, port: number): Uint8Array<ArrayBuffer> | undefined {
  if (!Number.isInteger(port) || port < 0 || port > PORT_MAX) return undefined;
  const bytes = encodeHost(host);
  if (bytes === undefined) return undefined;
  bytes[bytes.length - 2] = port >>> 8;
  bytes[bytes.length - 1] = port;
  return bytes;
}

function encodeHost(host: string): Uint8Array<ArrayBuffer> | undefined {
  if (host.includes(":")) return withIp(AddressType.ipv6, parseIp(host));
  // Digits and dots alone are an IPv4 address or a mistake, never a name (RFC 3986 §3.2.2).
  if (/^[\d.]+$/.test(host)) return withIp(AddressType.ipv4, parseIp(host)?.subarray(12));
  if (host.length === 0 || host.length > NAME_BYTES_MAX) return undefined;
  const bytes = new Uint8Array(host.length + 4);
  bytes[0] = AddressType.name;
  bytes[1] = host.length;
  for (let i = 0; i < host.length; i++) {
    const byte = host.charCodeAt(i);
    if (!isNameByte(byte)) return undefined;
    bytes[2 + i] = byte;
  }
  return bytes;
}

function withIp(
  type: AddressType,
  ip: Uint8Array | undefined,
): Uint8Array<ArrayBuffer> | undefined {
  if (ip === undefined) return undefined;
  const bytes = new Uint8Array(1 + ip.length + 2);
  bytes[0] = type;
  bytes.set(ip, 1);
  return bytes;
}

function isNameByte(byte: number): boolean {
  return byte > 0x20 && byte < 0x7f;
}
