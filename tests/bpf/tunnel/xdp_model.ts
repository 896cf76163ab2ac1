/**
 * What xdp_phantom promises, said a second time: by the meaning of the reasons in bpf/contract
 * and by the RFCs, not by its C. Slow and plain: each header narrows the view to what it carries,
 * so that nothing behind the packet's own end can be looked at.
 */

import { Limit, Reason, SessionFlag, TunnelLimit, Verdict } from "../../../ffi/bpf/layout.gen.ts";
import { PacketKind } from "../../../src/wire/packet.ts";
import { ipBytes } from "../../../src/base/ip.ts";
import { checksum, hex } from "../packets.ts";
import { type Header, showHeader } from "./header_model.ts";

/** How far into the frame a header of an IPv6 chain may begin. */
export const headerOffsetMax = 2047;

/** Addresses that we listen at: in the order of the program's look at them, and the others. */
export const OWN_FIRST: readonly string[] = ["192.0.2.2", "2001:db8::2", "192.0.2.3"];
export const OWN: readonly string[] = ["192.0.2.4", "2001:db8::4", "192.0.2.2"];

const own: ReadonlySet<string> = new Set([...OWN_FIRST, ...OWN].map((ip) => hex(ipBytes(ip))));

export interface Outcome {
  readonly verdict: Verdict;
  readonly reason: Reason;
}

/** What happens to a frame where `ports` are ours and nothing is looked into. */
export function modelOf(frame: Uint8Array, ports: ReadonlySet<number>): Outcome {
  return outcomeOf(parse(frame, ports).reason);
}

const DROPPED: ReadonlySet<Reason> = new Set([
  Reason.badChecksum,
  Reason.badUdp,
  Reason.short,
  Reason.junk,
  Reason.helloSourceLimit,
  Reason.helloTotalLimit,
  Reason.helloRepeated,
]);

function outcomeOf(reason: Reason): Outcome {
  return { reason, verdict: DROPPED.has(reason) ? Verdict.drop : Verdict.pass };
}

/** What the model keeps of a session: what may be compared with the kernel's entry. */
export interface ModelSession {
  packets: number;
  bytes: number;
  readonly flags: number;
}

/** The program with its filter on. Limits are left out: they are of time and have own tests. */
export class FilterModel {
  /** By the hex digits of their keys. */
  readonly sessions = new Map<string, ModelSession>();
  /** How often each has come, under a key. */
  readonly #salts = new Map<string, number>();
  readonly #ports: ReadonlySet<number>;
  /** Those of the windows that are accepted; none: everything passes. */
  readonly #keys: readonly Uint8Array[];

  /** Keys by window; without one for `present` there are none. */
  constructor(ports: ReadonlySet<number>, keys: ReadonlyMap<number, Uint8Array>, present: number) {
    this.#ports = ports;
    this.#keys = keys.has(present) ? acceptedOf(keys, present) : [];
  }

  take(frame: Uint8Array): Outcome {
    const { reason, key, payload } = parse(frame, this.#ports);
    if (reason !== Reason.listen) return outcomeOf(reason);
    if (payload!.length < 32) return outcomeOf(Reason.short);
    if (this.#keys.length === 0) return outcomeOf(Reason.noKeys);
    const shown = showHeader(payload!, this.#keys);
    if (shown === undefined) return outcomeOf(Reason.junk);
    if (shown.kind === PacketKind.hello && this.#isRepeated(payload!, shown.key)) {
      return outcomeOf(Reason.helloRepeated);
    }
    const known = this.sessions.get(key!);
    if (known !== undefined) {
      known.packets++;
      known.bytes += frame.length;
      return outcomeOf(Reason.session);
    }
    const flags = shown.kind === PacketKind.hello ? SessionFlag.hello : 0;
    this.sessions.set(key!, { packets: 1, bytes: frame.length, flags });
    return outcomeOf(Reason.sessionNew);
  }

  #isRepeated(hello: Uint8Array, key: Uint8Array): boolean {
    const salt = hex(hello.subarray(16, 32)) + hex(key);
    const turns = (this.#salts.get(salt) ?? 0) + 1;
    this.#salts.set(salt, turns);
    return turns > 2;
  }

  /** What a frame's header says; undefined for one that does not unmask. */
  shownOf(frame: Uint8Array): Header | undefined {
    const { payload } = parse(frame, this.#ports);
    return payload === undefined ? undefined : showHeader(payload, this.#keys);
  }
}

/** The keys of the present window, the one before and the one after, as far as they are there. */
function acceptedOf(keys: ReadonlyMap<number, Uint8Array>, present: number): Uint8Array[] {
  return [present, present - 1, present + 1]
    .flatMap((window) => keys.has(window) ? [keys.get(window)!] : []);
}

/** Where AF_XDP is beside the sockets. */
export interface DeliveryModel {
  readonly port: number;
  readonly workers: number;
  readonly ownerMask: number;
  /** HELLOs are the queue's worker's. */
  readonly hellos: boolean;
}

/**
 * Whether a frame of a queue, to one of our ports and let through, goes to AF_XDP; `shown` is
 * what its header says, where that was looked at.
 */
export function isDelivered(
  frame: Uint8Array,
  { port, workers, ownerMask, hellos }: DeliveryModel,
  queue: number,
  shown: Header | undefined,
): boolean {
  const isV4 = u16(frame, 12) === 0x0800 && frame[14] === 0x45;
  const isV6 = u16(frame, 12) === 0x86dd && frame[20] === 17;
  if (!isV4 && !isV6 || frame.length > TunnelLimit.xskFrameBytes) return false;
  if (u16(frame, (isV4 ? 34 : 54) + 2) !== port) return false;
  if (shown?.kind === PacketKind.hello) return hellos;
  if (workers === 1) return true;
  return shown !== undefined && workers > 0 &&
    ownerIn(shown.session, ownerMask) === queue % workers;
}

/** The worker that a session id names, by the mask of its lowest bits. */
export function ownerIn(session: number, ownerMask: number): number {
  return Number(BigInt(session) & BigInt(ownerMask));
}

interface Parsed {
  readonly reason: Reason;
  /** struct ph_session_key in hex, and what UDP carries; of what is ours and sound. */
  readonly key?: string;
  readonly payload?: Uint8Array;
}

function parse(frame: Uint8Array, ports: ReadonlySet<number>): Parsed {
  const found = reasonOf(frame, ports);
  return typeof found === "number" ? { reason: found } : found;
}

function reasonOf(frame: Uint8Array, ports: ReadonlySet<number>): Reason | Parsed {
  if (frame.length < 14) return Reason.badEthernet;
  let etherType = u16(frame, 12);
  let at = 14;
  // IEEE 802.1Q: a tag is two bytes of its own and the type of what follows.
  for (let tags = 0; etherType === 0x8100 || etherType === 0x88a8; tags++) {
    if (tags === Limit.vlanTags) return Reason.tooDeep;
    if (frame.length < at + 4) return Reason.badEthernet;
    etherType = u16(frame, at + 2);
    at += 4;
  }
  if (etherType === 0x0800) return ipv4Reason(frame.subarray(at), ports);
  if (etherType === 0x86dd) return ipv6Reason(frame, at, ports);
  return Reason.notIp;
}

/** RFC 791 */
function ipv4Reason(rest: Uint8Array, ports: ReadonlySet<number>): Reason | Parsed {
  if (rest.length < 20 || rest[0]! >> 4 !== 4) return Reason.badIp;
  const headerLength = (rest[0]! & 15) * 4;
  const totalLength = u16(rest, 2);
  if (headerLength < 20 || headerLength > totalLength) return Reason.badIp;
  if (totalLength > rest.length) return Reason.badIp;
  if (rest[9] !== 17) return Reason.notUdp;
  const flags = rest[6]! >> 5;
  const fragmentOffset = u16(rest, 6) & 0x1fff;
  if ((flags & 1) === 1 || fragmentOffset !== 0) return Reason.fragment;
  const addresses = [mapped(rest.subarray(12, 16)), mapped(rest.subarray(16, 20))];
  const found = udpReason(
    rest.subarray(headerLength, totalLength),
    ports,
    addresses.join(""),
    "04",
  );
  const isOurs = found === Reason.badUdp || typeof found === "object";
  // RFC 1071: with its own checksum in it, a header sums up to 0.
  const isSumRight = checksum(rest.subarray(0, headerLength)) === 0;
  return isOurs && !isSumRight ? Reason.badChecksum : found;
}

/** RFC 8200; jumbograms (RFC 2675), whose payload length is 0, are not followed. */
function ipv6Reason(frame: Uint8Array, at: number, ports: ReadonlySet<number>): Reason | Parsed {
  const packet = frame.subarray(at);
  if (packet.length < 40 || packet[0]! >> 4 !== 6) return Reason.badIp;
  const payloadLength = u16(packet, 4);
  if (40 + payloadLength > packet.length) return Reason.badIp;
  let carried = packet.subarray(40, 40 + payloadLength);
  let next = packet[6]!;
  for (let followed = 0; isExtension(next); followed++) {
    const offset = carried.byteOffset - frame.byteOffset;
    if (followed === Limit.ipv6Extensions || offset > headerOffsetMax) return Reason.tooDeep;
    if (carried.length < 8) return Reason.badIp;
    // RFC 6946: only one with an offset, or with more to come, is a part of something.
    if (next === 44 && (u16(carried, 2) >> 3 !== 0 || (carried[3]! & 1) === 1)) {
      return Reason.fragment;
    }
    const length = extensionLength(next, carried);
    if (length > carried.length) return Reason.badIp;
    next = carried[0]!;
    carried = carried.subarray(length);
  }
  if (next !== 17) return Reason.notUdp;
  if (carried.byteOffset - frame.byteOffset > headerOffsetMax) return Reason.tooDeep;
  return udpReason(carried, ports, hex(packet.subarray(8, 40)), "06");
}

function isExtension(protocol: number): boolean {
  return [0, 43, 44, 51, 60].includes(protocol);
}

function extensionLength(protocol: number, header: Uint8Array): number {
  if (protocol === 44) return 8;
  // RFC 4302: in 4 bytes, "minus 2". RFC 8200: in 8 bytes, not counting the first 8.
  return protocol === 51 ? (header[1]! + 2) * 4 : (header[1]! + 1) * 8;
}

/** RFC 768; bytes of the packet behind the datagram are allowed (RFC 9868 puts options there). */
function udpReason(
  carried: Uint8Array,
  ports: ReadonlySet<number>,
  addresses: string,
  family: string,
): Reason | Parsed {
  if (carried.length < 8) return Reason.badIp;
  if (!ports.has(u16(carried, 2)) || !own.has(addresses.slice(32))) return Reason.notListening;
  const length = u16(carried, 4);
  if (length < 8 || length > carried.length) return Reason.badUdp;
  return {
    reason: Reason.listen,
    key: `${addresses}${hex(carried.subarray(0, 4))}11${family}0000`,
    payload: carried.subarray(8, length),
  };
}

function mapped(address: Uint8Array): string {
  return `00000000000000000000ffff${hex(address)}`;
}

function u16(bytes: Uint8Array, at: number): number {
  return bytes[at]! << 8 | bytes[at + 1]!;
}

/** Whether drop_junk keeps a datagram, UDP header first, under these keys. */
export function socketModel(
  datagram: Uint8Array,
  keys: ReadonlyMap<number, Uint8Array>,
  present: number,
): boolean {
  return showHeader(datagram.subarray(8), acceptedOf(keys, present)) !== undefined;
}

/** The key (in hex) of the session that a frame that leaves is counted in, where there is one. */
export function egressModel(frame: Uint8Array, ports: ReadonlySet<number>): string | undefined {
  if (frame.length < 14) return undefined;
  const packet = frame.subarray(14);
  const etherType = u16(frame, 12);
  let addresses: string;
  let carried: Uint8Array;
  if (etherType === 0x0800) {
    if (packet.length < 28 || packet[0] !== 0x45 || packet[9] !== 17) return undefined;
    if ((u16(packet, 6) & 0x1fff) !== 0) return undefined;
    addresses = mapped(packet.subarray(16, 20)) + mapped(packet.subarray(12, 16));
    carried = packet.subarray(20);
  } else if (etherType === 0x86dd) {
    if (packet.length < 48 || packet[0]! >> 4 !== 6 || packet[6] !== 17) return undefined;
    addresses = hex(packet.subarray(24, 40)) + hex(packet.subarray(8, 24));
    carried = packet.subarray(40);
  } else return undefined;
  if (!ports.has(u16(carried, 0))) return undefined;
  const turned = hex(carried.subarray(2, 4)) + hex(carried.subarray(0, 2));
  return `${addresses}${turned}11${etherType === 0x0800 ? "04" : "06"}0000`;
}
