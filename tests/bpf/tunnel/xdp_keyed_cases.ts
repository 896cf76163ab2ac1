/** What xdp_phantom must say of frames whose headers it looks into: the table, second part. */

import { Reason, Verdict } from "../../../ffi/bpf/layout.gen.ts";
import { masked, type MaskedOptions, WINDOW } from "./keyed_packets.ts";
import {
  type Bytes,
  destination,
  ethernet,
  fragment,
  frame,
  hopByHop,
  ipv4,
  ipv6,
  type Layer,
  padded,
  payload,
  serviceVlan,
  udp,
  vlan,
} from "../packets.ts";
import type { XdpCase } from "./xdp_cases.ts";

/** The windows that there are keys of in most cases; WINDOW is the present one. */
export const keptWindows: readonly number[] = [-3, -2, -1, 0, 1, 2, 3, 4].map((by) => WINDOW + by);

type Part = Layer | Bytes;
type Stack = (...parts: Part[]) => Bytes;

const v4: Stack = (...parts) => frame(ethernet(), ipv4(), ...parts);
const v6: Stack = (...parts) => frame(ethernet(), ipv6(), ...parts);
const stacks = [["IPv4", v4], ["IPv6", v6]] as const;

function made(name: string, bytes: Bytes): XdpCase {
  return { name, frame: bytes, verdict: Verdict.pass, reason: Reason.sessionNew };
}

function junk(name: string, bytes: Bytes): XdpCase {
  return { name, frame: bytes, verdict: Verdict.drop, reason: Reason.junk };
}

function short(name: string, bytes: Bytes): XdpCase {
  return { name, frame: bytes, verdict: Verdict.drop, reason: Reason.short };
}

function passes(reason: Reason, name: string, bytes: Bytes): XdpCase {
  return { name, frame: bytes, verdict: Verdict.pass, reason };
}

function packet(stack: Stack, options: MaskedOptions = {}): Bytes {
  return stack(udp(), masked(options));
}

const windows = stacks.flatMap(([family, stack]) =>
  [-60, -17, -16, -15, -3, -2, -1, 0, 1, 2, 3, 15, 16, 17, 60].flatMap((by) =>
    [1, 3].map((kind) => {
      const bytes = packet(stack, { window: WINDOW + by, kind });
      const name = `${family}, kind ${kind}, window ${by < 0 ? by : `+${by}`}`;
      return Math.abs(by) <= 1 ? made(name, bytes) : junk(name, bytes);
    })
  )
);

const kinds = stacks.flatMap(([family, stack]) => [
  ...[1, 3, 5].flatMap((kind) =>
    [-1, 0, 1].map((by) =>
      made(
        `${family}, kind ${kind} of window ${by}`,
        packet(stack, { kind, window: WINDOW + by }),
      )
    )
  ),
  ...[0, 2, 4, 6, 7, 128, 255].flatMap((kind) =>
    [-1, 0, 1].map((by) =>
      junk(
        `${family}, kind ${kind}, which no client sends, of window ${by}`,
        packet(stack, { kind, window: WINDOW + by }),
      )
    )
  ),
  ...[1, 2, 3, 4, 5].map((kind) =>
    junk(`${family}, kind ${kind} sent back to its server`, packet(stack, { kind, from: 1 }))
  ),
  made(`${family}, session 0`, packet(stack, { session: 0 })),
  made(`${family}, session 2^48 - 1`, packet(stack, { session: 2 ** 48 - 1 })),
  made(`${family}, number 2^48 - 1`, packet(stack, { number: 2 ** 48 - 1 })),
  junk(`${family}, all zero`, stack(udp(), new Uint8Array(32))),
  junk(`${family}, all one`, stack(udp(), new Uint8Array(64).fill(255))),
  junk(`${family}, the header not masked`, stack(udp(), unmasked())),
]);

/** A header as it must never be on the wire. */
function unmasked(): Bytes {
  const bytes = payload(40);
  bytes.set([1, 2, 3, 4, 5, 6, 3, 0, 0, 0]);
  return bytes;
}

function flipped(bit: number): Bytes {
  const bytes = masked({ bytes: 40 });
  bytes[bit >> 3]! ^= 1 << (bit & 7);
  return bytes;
}

const lengths = stacks.flatMap(([family, stack]) => [
  ...[0, 1, 8, 16, 31].map((length) =>
    short(`${family}, ${length} bytes`, stack(udp(), masked({ bytes: 64 }).slice(0, length)))
  ),
  ...[32, 33, 34, 63, 512, 1200, 1452].map((bytes) =>
    made(`${family}, ${bytes} bytes`, packet(stack, { bytes }))
  ),
  short(
    `${family}, UDP says 31 bytes, and more follow in the packet`,
    stack(udp({ length: 8 + 31 }), masked({ bytes: 64 })),
  ),
  made(
    `${family}, UDP says 32 bytes, and more follow in the packet`,
    stack(udp({ length: 8 + 32 }), masked({ bytes: 64 })),
  ),
  made(`${family}, bytes behind the packet`, padded(packet(stack), 200, 7)),
  short(`${family}, the sample behind the packet`, padded(stack(udp(), payload(16)), 200, 7)),
  ...Array.from(
    { length: 8 * 32 },
    (_, bit) => junk(`${family}, bit ${bit} flipped`, stack(udp(), flipped(bit))),
  ),
  ...[32, 39].map((at) =>
    made(`${family}, byte ${at}, behind the sample, changed`, stack(udp(), flipped(8 * at)))
  ),
]);

const options = [1, 1, 1, 1, 7, 7, 4, 10, 0, 0, 1, 0];

/** What the lower layers can do; none of it hides a packet, none lets junk through. */
const layers: XdpCase[] = [
  ...[[vlan()], [serviceVlan()], [serviceVlan(), vlan()], [vlan(), vlan()]].flatMap((tags, i) => [
    made(`tags ${i}, IPv4`, frame(ethernet(), ...tags, ipv4(), udp(), masked())),
    made(`tags ${i}, IPv6`, frame(ethernet(), ...tags, ipv6(), udp(), masked())),
    junk(`tags ${i}, junk`, frame(ethernet(), ...tags, ipv4(), udp(), payload(40))),
  ]),
  passes(
    Reason.tooDeep,
    "three tags",
    frame(ethernet(), vlan(), vlan(), vlan(), ipv4(), udp(), masked()),
  ),
  made("IPv4 options", frame(ethernet(), ipv4({ options }), udp(), masked())),
  junk("IPv4 options, junk", frame(ethernet(), ipv4({ options }), udp(), payload(32))),
  short("IPv4 options, short", frame(ethernet(), ipv4({ options }), udp(), payload(31))),
  made("IPv6 hop-by-hop options", v6(hopByHop(), udp(), masked())),
  made("IPv6 destination options", v6(destination({ bytes: 64 }), udp(), masked())),
  made("two IPv6 extension headers", v6(hopByHop(), destination(), udp(), masked())),
  made("UDP at 2046", v6(destination({ bytes: 1992 }), udp(), masked())),
  junk("IPv6 extension headers, junk", v6(hopByHop(), destination(), udp(), payload(32))),
  junk("UDP at 2046, junk", v6(destination({ bytes: 1992 }), udp(), payload(32))),
  made("an atomic fragment", v6(fragment(), udp(), masked())),
  passes(Reason.fragment, "an IPv6 fragment", v6(fragment({ more: true }), udp(), masked())),
  passes(
    Reason.fragment,
    "an IPv4 fragment",
    frame(ethernet(), ipv4({ moreFragments: true }), udp(), masked()),
  ),
  // The stack looks at checksums: it knows which of them the card has looked at.
  made("a wrong checksum over IPv4", v4(udp({ checksum: 1 }), masked())),
  made("a wrong checksum over IPv6", v6(udp({ checksum: 1 }), masked())),
  made("no checksum over IPv4", v4(udp({ checksum: 0 }), masked())),
  made("no checksum over IPv6, which the stack drops", v6(udp({ checksum: 0 }), masked())),
  {
    name: "a bad length before a sound packet",
    frame: v4(udp({ length: 7 }), masked()),
    verdict: Verdict.drop,
    reason: Reason.badUdp,
  },
  passes(Reason.notListening, "a sound packet to another port", v4(udp({ to: 442 }), masked())),
  passes(Reason.notListening, "junk to another port", v4(udp({ to: 444 }), payload(32))),
  made("to the last port", v4(udp({ to: 65535 }), masked())),
  made("from port 0", v4(udp({ from: 0 }), masked())),
  made("from the very port", v4(udp({ from: 443, to: 443 }), masked())),
];

/** The cases by what they are about, with keptWindows. */
export const keyedCases: ReadonlyMap<string, readonly XdpCase[]> = new Map([
  ["windows", windows],
  ["kinds", kinds],
  ["lengths and changed bytes", lengths],
  ["lower layers", layers],
]);
