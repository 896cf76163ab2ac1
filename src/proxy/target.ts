// Where a stream or datagram goes: an IP address or a name, and a port.

import { formatIp, isIpv4Mapped, parseIp } from "../base/ip.ts";
import {
  ADDRESS_BYTES_MAX,
  addressLength,
  addressPort,
  AddressType,
  BAD_ADDRESS,
  readIpAddress,
  writeIpAddress,
  writeNameAddress,
} from "../wire/address.ts";

/** A name without its trailing dot (RFC 1035: 255 on the wire with lengths and root). */
export const DOMAIN_BYTES_MAX = 253;
export const LABEL_BYTES_MAX = 63;

const DOT = 0x2e;
const COLON = 0x3a;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;

/** What a byte of a label becomes; 0 is refused: controls, spaces, signs, non-ASCII. */
const LABEL_BYTE = labelBytes();

function labelBytes(): Uint8Array {
  const table = new Uint8Array(256);
  for (const char of "abcdefghijklmnopqrstuvwxyz0123456789-_") {
    const code = char.charCodeAt(0);
    table[code] = code;
    table[char.toUpperCase().charCodeAt(0)] = code;
  }
  // "-" and "_" have no upper case: the loop wrote them twice, alike.
  return table;
}

/**
 * Writes a name in its one form: lower case, without the trailing dot. IDNs come as punycode.
 *
 * @returns its length, or 0 when it is no name (nor may be taken for a number by a resolver)
 */
function normalizeDomain(
  bytes: Uint8Array,
  at: number,
  length: number,
  out: Uint8Array,
): number {
  const size = length > 1 && bytes[at + length - 1] === DOT ? length - 1 : length;
  if (size < 1 || size > DOMAIN_BYTES_MAX) return 0;
  let labelAt = 0;
  for (let i = 0; i < size; i++) {
    const byte = bytes[at + i] ?? 0;
    if (byte === DOT) {
      if (i === labelAt) return 0;
      labelAt = i + 1;
      out[i] = DOT;
      continue;
    }
    const lower = LABEL_BYTE[byte] ?? 0;
    if (lower === 0 || i - labelAt >= LABEL_BYTES_MAX) return 0;
    out[i] = lower;
  }
  if (labelAt === size || isNumeric(out, labelAt, size)) return 0;
  return size;
}

/** Whether a last label is one that resolvers read as (a part of) an IPv4 address. */
function isNumeric(bytes: Uint8Array, start: number, end: number): boolean {
  const isHex = bytes[start] === 0x30 && bytes[start + 1] === 0x78;
  for (let i = isHex ? start + 2 : start; i < end; i++) {
    const byte = bytes[i] ?? 0;
    const isDigit = byte >= 0x30 && byte <= 0x39;
    if (!isDigit && !(isHex && byte >= 0x61 && byte <= 0x66)) return false;
  }
  return true;
}

/** {@linkcode normalizeDomain} for a text. */
export function normalizeDomainText(text: string): string | undefined {
  if (text.length > DOMAIN_BYTES_MAX + 1) return undefined;
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code > 0x7f) return undefined;
    bytes[i] = code;
  }
  const length = normalizeDomain(bytes, 0, bytes.length, bytes);
  return length === 0 ? undefined : latin1(bytes, 0, length);
}

/** Bytes as a text, each a code point. */
export function latin1(bytes: Uint8Array, at: number, length: number): string {
  let text = "";
  for (let i = 0; i < length; i++) text += String.fromCharCode(bytes[at + i] ?? 0);
  return text;
}

/** The port that digits stand for, or 0. */
function parsePort(bytes: Uint8Array, at: number, length: number): number {
  if (length < 1 || length > 5 || bytes[at] === 0x30) return 0;
  let port = 0;
  for (let i = 0; i < length; i++) {
    const digit = (bytes[at + i] ?? 0) - 0x30;
    if (digit < 0 || digit > 9) return 0;
    port = port * 10 + digit;
  }
  return port <= 0xffff ? port : 0;
}

/** An address to reach, made to be filled again and again. A setter that fails leaves it empty. */
export class Target {
  /** The address when {@linkcode isDomain} is false; IPv4 as IPv4-mapped. */
  readonly ip: Uint8Array = new Uint8Array(16);
  /** The name, normalised; its first {@linkcode nameLength} bytes. */
  readonly nameBytes: Uint8Array = new Uint8Array(DOMAIN_BYTES_MAX + 2);
  nameLength = 0;
  port = 0;

  get isDomain(): boolean {
    return this.nameLength > 0;
  }

  /** The name, or "" for an address. */
  get name(): string {
    return latin1(this.nameBytes, 0, this.nameLength);
  }

  clear(): void {
    this.ip.fill(0);
    this.nameLength = 0;
    this.port = 0;
  }

  copyFrom(other: Target): void {
    this.ip.set(other.ip);
    this.nameBytes.set(other.nameBytes);
    this.nameLength = other.nameLength;
    this.port = other.port;
  }

  setIp(bytes: Uint8Array, at: number, port: number): void {
    this.nameLength = 0;
    this.port = port;
    for (let i = 0; i < 16; i++) this.ip[i] = bytes[at + i] ?? 0;
  }

  /** A name, or the text of an address, which then counts as that address. */
  setHost(bytes: Uint8Array, at: number, length: number, port: number): boolean {
    this.nameLength = normalizeDomain(bytes, at, length, this.nameBytes);
    this.port = port;
    if (this.nameLength > 0) return true;
    const isBracketed = length > 2 && bytes[at] === OPEN_BRACKET &&
      bytes[at + length - 1] === CLOSE_BRACKET;
    const ip = isBracketed
      ? parseBracketed(bytes, at + 1, length - 2)
      : length <= 45
      ? parseIp(latin1(bytes, at, length))
      : undefined;
    if (ip === undefined) this.clear();
    else this.ip.set(ip);
    return ip !== undefined;
  }

  /** `host:port` or `[v6]:port`; without a port, `fallbackPort` unless that is 0. */
  setAuthority(bytes: Uint8Array, at: number, length: number, fallbackPort = 0): boolean {
    this.clear();
    const colon = lastColon(bytes, at, length);
    const hostLength = colon === -1 ? length : colon;
    const port = colon === -1 ? fallbackPort : parsePort(bytes, at + colon + 1, length - colon - 1);
    if (port === 0) return false;
    // Without brackets a colon in the host is ambiguous.
    if (bytes[at] !== OPEN_BRACKET && bytes.subarray(at, at + hostLength).includes(COLON)) {
      return false;
    }
    return this.setHost(bytes, at, hostLength, port);
  }

  /** {@linkcode setAuthority} for a text. */
  setText(text: string, fallbackPort = 0): boolean {
    if (text.length > ADDRESS_BYTES_MAX + 8) {
      this.clear();
      return false;
    }
    const bytes = new Uint8Array(text.length);
    // What is not ASCII becomes NUL, which no host holds.
    for (let i = 0; i < text.length; i++) {
      const code = text.charCodeAt(i);
      bytes[i] = code < 0x80 ? code : 0;
    }
    return this.setAuthority(bytes, 0, bytes.length, fallbackPort);
  }

  /**
   * Reads an address as on the wire. Allocates nothing, unless a name is the text of an address.
   *
   * @returns bytes read, or what {@linkcode addressLength} says; `BAD_ADDRESS` for what is no name
   */
  readSocks(bytes: Uint8Array, at: number, length: number): number {
    const size = addressLength(bytes, at, at + length);
    if (size <= 0) return size;
    const port = addressPort(bytes, at, size);
    if (bytes[at] === AddressType.name) {
      return this.setHost(bytes, at + 2, size - 4, port) ? size : BAD_ADDRESS;
    }
    readIpAddress(bytes, at, this.ip, 0);
    this.nameLength = 0;
    this.port = port;
    return size;
  }

  /** Bytes {@linkcode writeSocks} takes. */
  get socksLength(): number {
    if (this.nameLength > 0) return 1 + 1 + this.nameLength + 2;
    return isIpv4Mapped(this.ip) ? 7 : 19;
  }

  /** Writes the address as on the wire; returns its length, 0 when it does not fit. */
  writeSocks(out: Uint8Array, at: number): number {
    const { nameLength, port } = this;
    if (nameLength === 0) return writeIpAddress(out, at, out.length, this.ip, 0, port);
    return writeNameAddress(out, at, out.length, this.nameBytes, nameLength, port);
  }

  /** `host:port`, `192.0.2.1:80`, `[2001:db8::1]:443`. */
  toString(): string {
    return `${this.host}:${this.port}`;
  }

  /** The name, or the address, in brackets when it is IPv6. */
  get host(): string {
    if (this.nameLength > 0) return this.name;
    const text = formatIp(this.ip);
    return text.includes(":") ? `[${text}]` : text;
  }
}

function parseBracketed(bytes: Uint8Array, at: number, length: number): Uint8Array | undefined {
  if (length > 45) return undefined;
  const text = latin1(bytes, at, length);
  return text.includes(":") ? parseIp(text) : undefined;
}

/** Offset of the colon before the port, or -1; one inside brackets is none. */
function lastColon(bytes: Uint8Array, at: number, length: number): number {
  for (let i = length - 1; i >= 0; i--) {
    if (bytes[at + i] === COLON) return i;
    if (bytes[at + i] === CLOSE_BRACKET) return -1;
  }
  return -1;
}
