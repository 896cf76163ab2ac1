// What an IP address is for: public, or one of the kinds a proxy must not reach by default.
//
// Only addresses that are globally reachable unicast pass (IANA special-purpose registries).
// An IPv4 address inside an IPv6 one is judged as what it is: the network would unwrap it too.

import { isIpv4Mapped } from "../base/ip.ts";

export const AddressClass = {
  PUBLIC: 0,
  UNSPECIFIED: 1,
  LOOPBACK: 2,
  PRIVATE: 3,
  LINK_LOCAL: 4,
  SHARED: 5,
  METADATA: 6,
  MULTICAST: 7,
  BROADCAST: 8,
  DOCUMENTATION: 9,
  BENCHMARKING: 10,
  RESERVED: 11,
  LOCAL_NAT64: 12,
} as const;

/** No IPv4 address inside. */
export const NO_IPV4 = -1;

const {
  PUBLIC,
  UNSPECIFIED,
  LOOPBACK,
  PRIVATE,
  LINK_LOCAL,
  SHARED,
  METADATA,
  MULTICAST,
  BROADCAST,
  DOCUMENTATION,
  BENCHMARKING,
  RESERVED,
  LOCAL_NAT64,
} = AddressClass;

/** The class of 16 bytes, IPv4 as IPv4-mapped. Allocates nothing. */
export function classify(ip: Uint8Array, at = 0): number {
  if (isIpv4Mapped(ip, at)) return classifyIpv4(readU32(ip, at + 12));
  const own = classifyIpv6(ip, at);
  if (own !== PUBLIC) return own;
  const inner = embeddedIpv4(ip, at);
  if (inner === NO_IPV4) return PUBLIC;
  const innerClass = classifyIpv4(inner);
  if (innerClass !== PUBLIC || !isTeredo(ip, at)) return innerClass;
  // Teredo names its server as well, to which the packets go first.
  return classifyIpv4(readU32(ip, at + 4));
}

/** The class of an IPv4 address as a number. */
function classifyIpv4(ip: number): number {
  const a = ip >>> 24;
  const b = (ip >>> 16) & 0xff;
  const c = (ip >>> 8) & 0xff;
  if (isMetadataIpv4(ip)) return METADATA;
  if (a === 0) return UNSPECIFIED;
  if (a === 10) return PRIVATE;
  if (a === 100) return (b & 0xc0) === 64 ? SHARED : PUBLIC;
  if (a === 127) return LOOPBACK;
  if (a === 169) return b === 254 ? LINK_LOCAL : PUBLIC;
  if (a === 172) return (b & 0xf0) === 16 ? PRIVATE : PUBLIC;
  if (a === 192) return classify192(b, c);
  if (a === 198) {
    if ((b & 0xfe) === 18) return BENCHMARKING;
    return b === 51 && c === 100 ? DOCUMENTATION : PUBLIC;
  }
  if (a === 203) return b === 0 && c === 113 ? DOCUMENTATION : PUBLIC;
  if (a < 224) return PUBLIC;
  if (a < 240) return MULTICAST;
  return ip >>> 0 === 0xffffffff ? BROADCAST : RESERVED;
}

function classify192(b: number, c: number): number {
  if (b === 168) return PRIVATE;
  if (b === 0) return c === 0 ? RESERVED : c === 2 ? DOCUMENTATION : PUBLIC;
  // The 6to4 relays, withdrawn.
  return b === 88 && c === 99 ? RESERVED : PUBLIC;
}

function isMetadataIpv4(ip: number): boolean {
  switch (ip >>> 0) {
    case 0xa9fea9fe: // 169.254.169.254: most clouds
    case 0xa9fea9fd: // 169.254.169.253: AWS resolver
    case 0xa9feaa02: // 169.254.170.2: AWS task credentials
    case 0xa9feaa17: // 169.254.170.23: AWS pod identity
    case 0xa9fe2a2a: // 169.254.42.42: Scaleway
    case 0xa9fe0017: // 169.254.0.23: Tencent
    case 0x646464c8: // 100.100.100.200: Alibaba
    case 0xc00000c0: // 192.0.0.192: Oracle
    case 0xa83f8110: // 168.63.129.16: Azure
      return true;
    default:
      return false;
  }
}

function classifyIpv6(ip: Uint8Array, at: number): number {
  const a = readU32(ip, at);
  const b = readU32(ip, at + 4);
  const c = readU32(ip, at + 8);
  const d = readU32(ip, at + 12);
  const first = a >>> 16;
  if (a === 0 && b === 0 && c === 0) {
    // The rest are IPv4-compatible: deprecated, whatever is inside.
    return d === 0 ? UNSPECIFIED : d === 1 ? LOOPBACK : embeddedClass(d);
  }
  if (a === 0x0064ff9b) {
    if (b >>> 16 === 1) return LOCAL_NAT64;
    return b === 0 && c === 0 ? PUBLIC : RESERVED;
  }
  if (isMetadataIpv6(a, b, c, d)) return METADATA;
  if ((first & 0xfe00) === 0xfc00) return PRIVATE;
  if ((first & 0xffc0) === 0xfe80) return LINK_LOCAL;
  if ((first & 0xffc0) === 0xfec0) return PRIVATE;
  if (first >>> 8 === 0xff) return MULTICAST;
  // Everything routed is in 2000::/3.
  if (first >>> 13 !== 1) return RESERVED;
  if (a === 0x20010db8 || (first === 0x3fff && (a & 0xf000) === 0)) return DOCUMENTATION;
  if (a === 0x20010002 && b >>> 16 === 0) return BENCHMARKING;
  // ORCHID, ORCHIDv2: names of keys, no places.
  const orchid = a & 0xfffffff0;
  return orchid === 0x20010010 || orchid === 0x20010020 ? RESERVED : PUBLIC;
}

function embeddedClass(ipv4: number): number {
  const inner = classifyIpv4(ipv4);
  return inner === PUBLIC ? RESERVED : inner;
}

function isMetadataIpv6(a: number, b: number, c: number, d: number): boolean {
  if (c !== 0) return false;
  // fd00:ec2::254 and ::253, ::23 (AWS).
  if (a === 0xfd000ec2 && b === 0) return d === 0x254 || d === 0x253 || d === 0x23;
  // fd20:ce::254 (Google), fd00:c1::a9fe:a9fe (Oracle), fd00:42::42 (Scaleway).
  if (a === 0xfd2000ce && b === 0) return d === 0x254;
  if (a === 0xfd0000c1 && b === 0) return d === 0xa9fea9fe;
  return a === 0xfd000042 && b === 0 && d === 0x42;
}

/** The IPv4 address that a NAT64, 6to4, Teredo, ISATAP or IPv4-compatible one leads to. */
export function embeddedIpv4(ip: Uint8Array, at = 0): number {
  const a = readU32(ip, at);
  if (a === 0 && readU32(ip, at + 4) === 0 && readU32(ip, at + 8) === 0) {
    const last = readU32(ip, at + 12);
    return last > 1 ? last : NO_IPV4;
  }
  if (a === 0x0064ff9b && readU32(ip, at + 4) === 0 && readU32(ip, at + 8) === 0) {
    return readU32(ip, at + 12);
  }
  if (a >>> 16 === 0x2002) return readU32(ip, at + 2);
  // Teredo keeps the client's address inverted.
  if (isTeredo(ip, at)) return ~readU32(ip, at + 12) >>> 0;
  const isatap = readU32(ip, at + 8);
  if (isatap === 0x00005efe || isatap === 0x02005efe) return readU32(ip, at + 12);
  return NO_IPV4;
}

function isTeredo(ip: Uint8Array, at: number): boolean {
  return readU32(ip, at) === 0x20010000;
}

function readU32(bytes: Uint8Array, at: number): number {
  return (((bytes[at] ?? 0) << 24) | ((bytes[at + 1] ?? 0) << 16) | ((bytes[at + 2] ?? 0) << 8) |
    (bytes[at + 3] ?? 0)) >>> 0;
}
