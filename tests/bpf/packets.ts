/**
 * Frames out of layers: frame(ethernet(), vlan(), ipv4(), udp({ to: 53 }), payload).
 *
 * Each layer fills in what follows from those around it (lengths, protocol numbers, checksums),
 * and takes any of that as an option, so that a frame can also contradict itself.
 */

import { ipBytes } from "../../src/base/ip.ts";

export type Bytes = Uint8Array<ArrayBuffer>;

export const EtherType = {
  ipv4: 0x0800,
  arp: 0x0806,
  vlan: 0x8100,
  ipv6: 0x86dd,
  mpls: 0x8847,
  serviceVlan: 0x88a8,
  lldp: 0x88cc,
  oldServiceVlan: 0x9100,
} as const;

/** IPv4's protocol numbers, which are IPv6's next headers. */
export const Protocol = {
  hopByHop: 0,
  icmp: 1,
  ipInIp: 4,
  tcp: 6,
  udp: 17,
  ipv6InIp: 41,
  routing: 43,
  fragment: 44,
  gre: 47,
  esp: 50,
  auth: 51,
  icmpv6: 58,
  none: 59,
  destination: 60,
  sctp: 132,
  udpLite: 136,
  experiment: 253,
} as const;

/** Who speaks to whom, as a checksum covers it. */
interface Addresses {
  readonly from: Bytes;
  readonly to: Bytes;
}

export interface Layer {
  /** What an Ethernet header or a tag in front of it says. */
  readonly etherType?: number;
  /** What an IP header in front of it says. */
  readonly protocol?: number;
  readonly addresses?: Addresses;
  /** The layer and what it carries. `addresses` are those of the IP header around it. */
  encode(inner: Bytes, next: Layer | undefined, addresses: Addresses | undefined): Bytes;
}

/** The bytes of a frame, from its layers in order; bytes stand for themselves. */
export function frame(...parts: readonly (Layer | Bytes)[]): Bytes {
  const layers = parts.map((part) => part instanceof Uint8Array ? raw(part) : part);
  const around: (Addresses | undefined)[] = [];
  for (const layer of layers) around.push(layer.addresses ?? around.at(-1));
  return layers.reduceRight<Bytes>(
    (inner, layer, i) => layer.encode(inner, layers[i + 1], around[i]),
    new Uint8Array(0),
  );
}

/** `length` bytes that are easy to tell apart. */
export function payload(length: number): Bytes {
  return Uint8Array.from({ length }, (_, i) => i);
}

/** With zeros behind it up to `length`, as Ethernet does up to 60. */
export function padded(bytes: Bytes, length = 60, filler = 0): Bytes {
  const whole = new Uint8Array(Math.max(length, bytes.length)).fill(filler);
  whole.set(bytes);
  return whole;
}

/** The first `length` bytes; from the end when negative. */
export function cut(bytes: Bytes, length: number): Bytes {
  return bytes.slice(0, length);
}

export function concat(...parts: readonly Uint8Array[]): Bytes {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

export function hex(bytes: Uint8Array): string {
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

function raw(bytes: Bytes): Layer {
  return { encode: (inner) => concat(bytes, inner) };
}

// ---- link layer ----

export interface EthernetOptions {
  readonly to?: readonly number[];
  readonly from?: readonly number[];
  readonly etherType?: number;
}

export function ethernet(options: EthernetOptions = {}): Layer {
  const { to = [2, 0, 0, 0, 0, 2], from = [2, 0, 0, 0, 0, 1], etherType } = options;
  return {
    encode(inner, next) {
      return concat(Uint8Array.from([...to, ...from]), typeOf(next, etherType), inner);
    },
  };
}

export interface VlanOptions {
  readonly id?: number;
  readonly priority?: number;
  /** What the tag says of what follows it. */
  readonly etherType?: number;
}

/** An 802.1Q tag. */
export function vlan(options: VlanOptions = {}): Layer {
  return tag(EtherType.vlan, options);
}

/** An 802.1ad tag: the outer one of QinQ. */
export function serviceVlan(options: VlanOptions = {}): Layer {
  return tag(EtherType.serviceVlan, options);
}

/** A tag that calls itself `own`. */
export function tag(own: number, options: VlanOptions = {}): Layer {
  const { id = 1, priority = 0, etherType } = options;
  return {
    etherType: own,
    encode: (inner, next) => concat(u16(priority << 13 | id), typeOf(next, etherType), inner),
  };
}

function typeOf(next: Layer | undefined, etherType: number | undefined): Bytes {
  return u16(etherType ?? next?.etherType ?? 0xffff);
}

// ---- IPv4 ----

export interface Ipv4Options {
  readonly from?: string;
  readonly to?: string;
  readonly version?: number;
  /** Header length in 32-bit words. */
  readonly ihl?: number;
  readonly totalLength?: number;
  readonly id?: number;
  readonly dontFragment?: boolean;
  readonly moreFragments?: boolean;
  /** The bit that RFC 791 wants 0. */
  readonly reserved?: boolean;
  /** In units of 8 bytes. */
  readonly fragmentOffset?: number;
  readonly ttl?: number;
  readonly protocol?: number;
  readonly checksum?: number;
  /** Filled up to a multiple of 4 with end-of-options. */
  readonly options?: readonly number[];
}

export function ipv4(options: Ipv4Options = {}): Layer {
  const { from = "192.0.2.1", to = "192.0.2.2" } = options;
  const addresses = { from: ipv4Bytes(from), to: ipv4Bytes(to) };
  return {
    etherType: EtherType.ipv4,
    protocol: Protocol.ipInIp,
    addresses,
    encode(inner, next) {
      const extra = options.options ?? [];
      const length = 20 + Math.ceil(extra.length / 4) * 4;
      const header = new Uint8Array(length);
      const view = new DataView(header.buffer);
      view.setUint8(0, (options.version ?? 4) << 4 | (options.ihl ?? length / 4));
      view.setUint16(2, options.totalLength ?? length + inner.length);
      view.setUint16(4, options.id ?? 0);
      view.setUint16(6, fragmentField(options));
      view.setUint8(8, options.ttl ?? 64);
      view.setUint8(9, options.protocol ?? next?.protocol ?? Protocol.experiment);
      header.set(addresses.from, 12);
      header.set(addresses.to, 16);
      header.set(extra, 20);
      view.setUint16(10, options.checksum ?? checksum(header));
      return concat(header, inner);
    },
  };
}

function fragmentField(options: Ipv4Options): number {
  const { reserved = false, dontFragment = false, moreFragments = false } = options;
  return Number(reserved) << 15 | Number(dontFragment) << 14 | Number(moreFragments) << 13 |
    (options.fragmentOffset ?? 0);
}

function ipv4Bytes(text: string): Bytes {
  return Uint8Array.from(ipBytes(text).subarray(12));
}

// ---- IPv6 ----

export interface Ipv6Options {
  readonly from?: string;
  readonly to?: string;
  readonly version?: number;
  readonly trafficClass?: number;
  readonly flowLabel?: number;
  readonly payloadLength?: number;
  readonly nextHeader?: number;
  readonly hopLimit?: number;
}

export function ipv6(options: Ipv6Options = {}): Layer {
  const { from = "2001:db8::1", to = "2001:db8::2" } = options;
  const addresses = {
    from: Uint8Array.from(ipBytes(from)),
    to: Uint8Array.from(ipBytes(to)),
  };
  return {
    etherType: EtherType.ipv6,
    protocol: Protocol.ipv6InIp,
    addresses,
    encode(inner, next) {
      const header = new Uint8Array(40);
      const view = new DataView(header.buffer);
      const { version = 6, trafficClass = 0, flowLabel = 0 } = options;
      view.setUint32(0, version << 28 | trafficClass << 20 | flowLabel);
      view.setUint16(4, options.payloadLength ?? inner.length);
      view.setUint8(6, options.nextHeader ?? next?.protocol ?? Protocol.none);
      view.setUint8(7, options.hopLimit ?? 64);
      header.set(addresses.from, 8);
      header.set(addresses.to, 24);
      return concat(header, inner);
    },
  };
}

export interface ExtensionOptions {
  readonly nextHeader?: number;
  /** What the header says of its length, in its own unit. */
  readonly length?: number;
  /** How long it is in truth, in bytes. */
  readonly bytes?: number;
}

export function hopByHop(options: ExtensionOptions = {}): Layer {
  return extension(Protocol.hopByHop, options);
}

export function routing(options: ExtensionOptions = {}): Layer {
  return extension(Protocol.routing, options);
}

export function destination(options: ExtensionOptions = {}): Layer {
  return extension(Protocol.destination, options);
}

/** Of those that count their length in 8 bytes behind the first 8. Options are all Pad1. */
export function extension(protocol: number, options: ExtensionOptions = {}): Layer {
  const { bytes = 8, length = bytes / 8 - 1, nextHeader } = options;
  return {
    protocol,
    encode(inner, next) {
      const header = new Uint8Array(bytes);
      header[0] = nextHeader ?? next?.protocol ?? Protocol.none;
      header[1] = length;
      return concat(header, inner);
    },
  };
}

/** An authentication header, which counts in 4 bytes. */
export function auth(options: ExtensionOptions = {}): Layer {
  const { bytes = 24, length = bytes / 4 - 2 } = options;
  return extension(Protocol.auth, { ...options, bytes, length });
}

export interface FragmentOptions {
  readonly nextHeader?: number;
  /** In units of 8 bytes. */
  readonly offset?: number;
  readonly more?: boolean;
  /** The two bits between offset and flag, which are ignored. */
  readonly reserved?: number;
  readonly id?: number;
}

/** An IPv6 fragment header; without options an atomic one. */
export function fragment(options: FragmentOptions = {}): Layer {
  const { offset = 0, more = false, reserved = 0, id = 0x1234, nextHeader } = options;
  return {
    protocol: Protocol.fragment,
    encode(inner, next) {
      const header = new Uint8Array(8);
      const view = new DataView(header.buffer);
      view.setUint8(0, nextHeader ?? next?.protocol ?? Protocol.none);
      view.setUint16(2, offset << 3 | reserved << 1 | Number(more));
      view.setUint32(4, id);
      return concat(header, inner);
    },
  };
}

// ---- transport ----

export interface UdpOptions {
  readonly from?: number;
  readonly to?: number;
  readonly length?: number;
  readonly checksum?: number;
}

export function udp(options: UdpOptions = {}): Layer {
  const { from = 40000, to = 443, length } = options;
  return {
    protocol: Protocol.udp,
    encode(inner, _next, addresses) {
      const bytes = concat(u16(from), u16(to), u16(length ?? 8 + inner.length), u16(0), inner);
      // 0 means none, so a sum that comes out as 0 is sent as its other form.
      const sum = transportChecksum(bytes, Protocol.udp, addresses) || 0xffff;
      return withChecksum(bytes, 6, options.checksum ?? sum);
    },
  };
}

export interface TcpOptions {
  readonly from?: number;
  readonly to?: number;
  readonly sequence?: number;
  readonly acknowledgement?: number;
  /** Header length in 32-bit words. */
  readonly dataOffset?: number;
  /** FIN 1, SYN 2, RST 4, PSH 8, ACK 16 */
  readonly flags?: number;
  readonly window?: number;
  readonly checksum?: number;
  readonly options?: readonly number[];
}

export function tcp(options: TcpOptions = {}): Layer {
  return {
    protocol: Protocol.tcp,
    encode(inner, _next, addresses) {
      const extra = options.options ?? [];
      const length = 20 + Math.ceil(extra.length / 4) * 4;
      const header = new Uint8Array(length);
      const view = new DataView(header.buffer);
      view.setUint16(0, options.from ?? 40000);
      view.setUint16(2, options.to ?? 443);
      view.setUint32(4, options.sequence ?? 1);
      view.setUint32(8, options.acknowledgement ?? 0);
      view.setUint8(12, (options.dataOffset ?? length / 4) << 4);
      view.setUint8(13, options.flags ?? 2);
      view.setUint16(14, options.window ?? 0xffff);
      header.set(extra, 20);
      const bytes = concat(header, inner);
      const sum = options.checksum ?? transportChecksum(bytes, Protocol.tcp, addresses);
      return withChecksum(bytes, 16, sum);
    },
  };
}

export interface IcmpOptions {
  readonly type?: number;
  readonly code?: number;
  /** The second half of the 8-byte header. */
  readonly rest?: number;
  readonly checksum?: number;
}

/** ICMP, by default an echo request. */
export function icmp(options: IcmpOptions = {}): Layer {
  return icmpOf(Protocol.icmp, 8, options);
}

/** ICMPv6, by default an echo request. */
export function icmpv6(options: IcmpOptions = {}): Layer {
  return icmpOf(Protocol.icmpv6, 128, options);
}

function icmpOf(protocol: number, echo: number, options: IcmpOptions): Layer {
  const { type = echo, code = 0, rest = 0 } = options;
  return {
    protocol,
    encode(inner, _next, addresses) {
      const bytes = concat(Uint8Array.of(type, code, 0, 0), u16(rest >>> 16), u16(rest), inner);
      const sum = protocol === Protocol.icmp
        ? checksum(bytes)
        : transportChecksum(bytes, protocol, addresses);
      return withChecksum(bytes, 2, options.checksum ?? sum);
    },
  };
}

// ---- checksums (RFC 1071) ----

/** Of bytes in which the checksum's own field is 0. */
export function checksum(...parts: readonly Uint8Array[]): number {
  const bytes = concat(...parts, new Uint8Array(1));
  let sum = 0;
  for (let at = 0; at + 1 < bytes.length; at += 2) sum += bytes[at]! << 8 | bytes[at + 1]!;
  while (sum > 0xffff) sum = (sum & 0xffff) + Math.floor(sum / 0x10000);
  return ~sum & 0xffff;
}

/** A copy whose first IPv4 header, tags before it or not, has the checksum that it should have. */
export function withRightSum(bytes: Bytes): Bytes {
  const copy = bytes.slice();
  const view = new DataView(copy.buffer);
  let at = 14;
  while (
    at <= copy.length &&
    [EtherType.vlan, EtherType.serviceVlan].some((type) => type === typeBefore(view, at))
  ) {
    at += 4;
  }
  if (at + 20 > copy.length || typeBefore(view, at) !== EtherType.ipv4) return copy;
  const end = at + 4 * (copy[at]! & 15);
  if (end < at + 20 || end > copy.length) return copy;
  view.setUint16(at + 10, 0);
  view.setUint16(at + 10, checksum(copy.subarray(at, end)));
  return copy;
}

/** The EtherType in front of `at`; 0 behind the frame's end. */
function typeBefore(view: DataView, at: number): number {
  return at <= view.byteLength ? view.getUint16(at - 2) : 0;
}

/** With the pseudo-header, whose fields sum up the same for IPv4 and IPv6; 0 outside of IP. */
function transportChecksum(
  bytes: Uint8Array,
  protocol: number,
  addresses: Addresses | undefined,
): number {
  if (addresses === undefined) return 0;
  return checksum(addresses.from, addresses.to, u16(bytes.length), u16(protocol), bytes);
}

function withChecksum(bytes: Bytes, at: number, value: number): Bytes {
  new DataView(bytes.buffer).setUint16(at, value);
  return bytes;
}

function u16(value: number): Bytes {
  return Uint8Array.of(value >>> 8, value);
}
