/**
 * IP addresses: 16 bytes, IPv4 as IPv4-mapped IPv6 (::ffff:a.b.c.d), and their text. The one place
 * that reads and writes it, strictly: no zones, no leading zeros, no numbers that stand for four.
 */

const GROUPS = 8;
const OCTET = /^(?:0|[1-9]\d{0,2})$/;
const GROUP = /^[0-9a-fA-F]{1,4}$/;
const TEXT_MAX = 45;

/** Whether 16 bytes hold an IPv4 address (::ffff:0:0/96). */
export function isIpv4Mapped(ip: Uint8Array, at = 0): boolean {
  for (let i = 0; i < 10; i++) if (ip[at + i] !== 0) return false;
  return ip[at + 10] === 0xff && ip[at + 11] === 0xff;
}

/** Whether a text is a dotted IPv4 address. */
export function isIpv4(text: string): boolean {
  return !text.includes(":") && parseIp(text) !== undefined;
}

/** Whether a text is an IPv6 address, without brackets. */
export function isIpv6(text: string): boolean {
  return text.includes(":") && parseIp(text) !== undefined;
}

/** The address a text stands for, or undefined. */
export function parseIp(text: string): Uint8Array<ArrayBuffer> | undefined {
  if (text.length > TEXT_MAX) return undefined;
  return text.includes(":") ? parseIpv6(text) : parseIpv4(text);
}

/** The address a text stands for; "" is ::, every address. */
export function ipBytes(text: string): Uint8Array<ArrayBuffer> {
  const ip = text === "" ? new Uint8Array(16) : parseIp(text);
  if (ip === undefined) {
    throw new SyntaxError(`Cannot read ${JSON.stringify(text)} as an IP address`);
  }
  return ip;
}

function parseIpv4(text: string): Uint8Array<ArrayBuffer> | undefined {
  const ip = new Uint8Array(16);
  ip.fill(0xff, 10, 12);
  return readOctets(text, ip, 12) ? ip : undefined;
}

function readOctets(text: string, out: Uint8Array, at: number): boolean {
  const octets = text.split(".", 5);
  if (octets.length !== 4) return false;
  return octets.every((octet, i) => {
    out[at + i] = Number(octet);
    return OCTET.test(octet) && Number(octet) <= 255;
  });
}

function parseIpv6(text: string): Uint8Array<ArrayBuffer> | undefined {
  const halves = text.split("::", 3);
  if (halves.length > 2) return undefined;
  const head = readGroups(halves[0] ?? "", halves.length === 1);
  const tail = halves.length === 2 ? readGroups(halves[1] ?? "", true) : [];
  if (head === undefined || tail === undefined) return undefined;
  const length = head.length + tail.length;
  // "::" stands for at least one group.
  if (halves.length === 1 ? length !== GROUPS * 2 : length > (GROUPS - 1) * 2) return undefined;
  const ip = new Uint8Array(16);
  ip.set(head);
  ip.set(tail, 16 - tail.length);
  return ip;
}

function readGroups(text: string, isLast: boolean): number[] | undefined {
  if (text === "") return [];
  const bytes: number[] = [];
  const groups = text.split(":", GROUPS + 1);
  for (const [i, group] of groups.entries()) {
    if (isLast && i === groups.length - 1 && group.includes(".")) {
      const octets = new Uint8Array(4);
      if (!readOctets(group, octets, 0)) return undefined;
      bytes.push(...octets);
      continue;
    }
    if (!GROUP.test(group)) return undefined;
    const value = parseInt(group, 16);
    bytes.push(value >> 8, value & 0xff);
  }
  return bytes;
}

/** The text of an address: dotted for IPv4, RFC 5952 for IPv6. */
export function formatIp(ip: Uint8Array, at = 0): string {
  if (isIpv4Mapped(ip, at)) return ip.subarray(at + 12, at + 16).join(".");
  const groups: number[] = [];
  for (let i = 0; i < GROUPS; i++) {
    groups.push(((ip[at + i * 2] ?? 0) << 8) | (ip[at + i * 2 + 1] ?? 0));
  }
  const [start, length] = longestZeros(groups);
  const hex = groups.map((group) => group.toString(16));
  if (length < 2) return hex.join(":");
  return `${hex.slice(0, start).join(":")}::${hex.slice(start + length).join(":")}`;
}

function longestZeros(groups: readonly number[]): [start: number, length: number] {
  let best: [number, number] = [0, 0];
  let start = 0;
  for (let i = 0; i <= groups.length; i++) {
    if (groups[i] === 0) continue;
    if (i - start > best[1]) best = [start, i - start];
    start = i + 1;
  }
  return best;
}
