/**
 * What xdp_phantom promises, said a second time: by the meaning of the reasons in bpf/phantom.h
 * and by the RFCs, not by its C. Slow and plain: each header narrows the view to what it carries,
 * so that nothing behind the packet's own end can be looked at.
 */

import { Limit, Reason, Verdict } from "../../ffi/layout.gen.ts";

/** How far into the frame a header of an IPv6 chain may begin. */
export const headerOffsetMax = 2047;

export interface Outcome {
  readonly verdict: Verdict;
  readonly reason: Reason;
}

/** What happens to a frame where `ports` are ours. */
export function modelOf(frame: Uint8Array, ports: ReadonlySet<number>): Outcome {
  const reason = reasonOf(frame, ports);
  const verdict = reason === Reason.badUdp ? Verdict.drop : Verdict.pass;
  return { verdict, reason };
}

function reasonOf(frame: Uint8Array, ports: ReadonlySet<number>): Reason {
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
function ipv4Reason(rest: Uint8Array, ports: ReadonlySet<number>): Reason {
  if (rest.length < 20 || rest[0]! >> 4 !== 4) return Reason.badIp;
  const headerLength = (rest[0]! & 15) * 4;
  const totalLength = u16(rest, 2);
  if (headerLength < 20 || headerLength > totalLength) return Reason.badIp;
  if (totalLength > rest.length) return Reason.badIp;
  if (rest[9] !== 17) return Reason.notUdp;
  const flags = rest[6]! >> 5;
  const fragmentOffset = u16(rest, 6) & 0x1fff;
  if ((flags & 1) === 1 || fragmentOffset !== 0) return Reason.fragment;
  return udpReason(rest.subarray(headerLength, totalLength), ports);
}

/** RFC 8200; jumbograms (RFC 2675), whose payload length is 0, are not followed. */
function ipv6Reason(frame: Uint8Array, at: number, ports: ReadonlySet<number>): Reason {
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
  return udpReason(carried, ports);
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
function udpReason(carried: Uint8Array, ports: ReadonlySet<number>): Reason {
  if (carried.length < 8) return Reason.badIp;
  if (!ports.has(u16(carried, 2))) return Reason.notListening;
  const length = u16(carried, 4);
  return length < 8 || length > carried.length ? Reason.badUdp : Reason.listen;
}

function u16(bytes: Uint8Array, at: number): number {
  return bytes[at]! << 8 | bytes[at + 1]!;
}
