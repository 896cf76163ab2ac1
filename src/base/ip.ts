/** IP addresses as 16 bytes; IPv4 is kept as IPv4-mapped IPv6 (::ffff:a.b.c.d). */

/** The bytes of a well-formed IPv4 or IPv6 address (without zone); "" is ::, every address. */
export function ipBytes(text: string): Uint8Array {
  const bytes = new Uint8Array(16);
  if (text === "") return bytes;
  if (!text.includes(":")) {
    bytes.fill(0xff, 10, 12);
    bytes.set(octets(text), 12);
    return bytes;
  }
  const [head = "", tail] = text.split("::");
  const front = groupBytes(head);
  const back = tail === undefined ? [] : groupBytes(tail);
  const isWhole = tail === undefined ? front.length === 16 : front.length + back.length < 16;
  if (!isWhole) throw new SyntaxError(`Cannot read ${JSON.stringify(text)} as an IP address`);
  bytes.set(front);
  bytes.set(back, 16 - back.length);
  return bytes;
}

function groupBytes(text: string): number[] {
  if (text === "") return [];
  return text.split(":").flatMap((group) => {
    if (group.includes(".")) return octets(group);
    if (!/^[0-9a-fA-F]{1,4}$/.test(group)) {
      throw new SyntaxError(`Cannot read ${JSON.stringify(group)} as a group of an IPv6 address`);
    }
    const value = parseInt(group, 16);
    return [value >> 8, value & 0xff];
  });
}

function octets(text: string): number[] {
  const parts = text.split(".").map((part) => /^\d{1,3}$/.test(part) ? Number(part) : 256);
  if (parts.length !== 4 || parts.some((part) => part > 255)) {
    throw new SyntaxError(`Cannot read ${JSON.stringify(text)} as an IPv4 address`);
  }
  return parts;
}
