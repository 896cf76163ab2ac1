/** What xdp_phantom must say of which frame: the table of its tests. */

import { Reason, Verdict } from "../../../ffi/bpf/layout.gen.ts";
import {
  auth,
  type Bytes,
  concat,
  cut,
  destination,
  ethernet,
  EtherType,
  fragment,
  frame,
  hopByHop,
  icmp,
  icmpv6,
  ipv4,
  type Ipv4Options,
  ipv6,
  type Layer,
  padded,
  payload,
  Protocol,
  routing,
  serviceVlan,
  tag,
  tcp,
  udp,
  type UdpOptions,
  vlan,
} from "../packets.ts";
import { type Outcome, OWN, OWN_FIRST } from "./xdp_model.ts";

export interface XdpCase extends Outcome {
  readonly name: string;
  readonly frame: Bytes;
}

/** The ports that are ours in every case. udp() sends to the first. */
export const casePorts: ReadonlySet<number> = new Set([443, 54321, 65535]);

type Part = Layer | Bytes;

const DATA = payload(20);
const BROADCAST = [255, 255, 255, 255, 255, 255];
const IP4_AT = 14;
const UDP4_AT = 34;
const IP6_AT = 14;
const UDP6_AT = 54;

function passes(reason: Reason, name: string, bytes: Bytes): XdpCase {
  return { name, frame: bytes, verdict: Verdict.pass, reason };
}

function drops(name: string, bytes: Bytes): XdpCase {
  return { name, frame: bytes, verdict: Verdict.drop, reason: Reason.badUdp };
}

function wrongSum(name: string, bytes: Bytes): XdpCase {
  return { name, frame: bytes, verdict: Verdict.drop, reason: Reason.badChecksum };
}

/** With one bit of a byte turned. */
function turned(bytes: Bytes, at: number): Bytes {
  const copy = bytes.slice();
  copy[at]! ^= 1 << at % 8;
  return copy;
}

function over4(options: Ipv4Options, ...parts: Part[]): Bytes {
  return frame(ethernet(), ipv4(options), ...parts);
}

function v4(...parts: Part[]): Bytes {
  return over4({}, ...parts);
}

function v6(...parts: Part[]): Bytes {
  return frame(ethernet(), ipv6(), ...parts);
}

/** An IPv6 packet that says `length` and `next` of itself, whatever it carries. */
function claims6(length: number, next: number, ...parts: Part[]): Bytes {
  return frame(ethernet(), ipv6({ payloadLength: length, nextHeader: next }), ...parts);
}

function times(count: number, layer: Layer): Layer[] {
  return Array.from({ length: count }, () => layer);
}

const four = v4(udp(), DATA);
const six = v6(udp(), DATA);

const link: XdpCase[] = [
  ...[1, 13].map((length) =>
    passes(Reason.badEthernet, `a frame of ${length} bytes`, cut(four, length))
  ),
  passes(Reason.notIp, "ARP", padded(frame(ethernet({ etherType: EtherType.arp }), DATA))),
  passes(Reason.notIp, "LLDP", frame(ethernet({ etherType: EtherType.lldp }), DATA)),
  passes(Reason.notIp, "MPLS", frame(ethernet({ etherType: EtherType.mpls }), DATA)),
  passes(Reason.notIp, "an 802.3 length", frame(ethernet({ etherType: 38 }), payload(38))),
  passes(Reason.notIp, "EtherType 0", frame(ethernet({ etherType: 0 }), DATA)),
  passes(Reason.notIp, "EtherType 0xffff", frame(ethernet({ etherType: 0xffff }), DATA)),
  passes(Reason.notIp, "IPv4's type, byte-swapped", frame(ethernet({ etherType: 8 }), ipv4())),
  passes(Reason.notIp, "IPv6's type, byte-swapped", frame(ethernet({ etherType: 0xdd86 }), ipv6())),
  passes(Reason.notIp, "a header and nothing else", frame(ethernet({ etherType: EtherType.arp }))),
  passes(Reason.listen, "multicast", frame(ethernet({ to: [51, 51, 0, 0, 0, 1] }), ipv6(), udp())),
  passes(Reason.listen, "broadcast", frame(ethernet({ to: BROADCAST }), ipv4(), udp())),
];

const oneTag = frame(ethernet(), vlan(), ipv4(), udp(), DATA);
const twoTags = frame(ethernet(), serviceVlan(), vlan(), ipv6(), udp(), DATA);
const threeTags = frame(ethernet(), serviceVlan(), vlan(), vlan(), ipv4(), udp(), DATA);

const tags: XdpCase[] = [
  passes(Reason.listen, "one tag, IPv4", oneTag),
  passes(Reason.listen, "one tag, IPv6", frame(ethernet(), vlan(), ipv6(), udp(), DATA)),
  passes(Reason.listen, "one 802.1ad tag", frame(ethernet(), serviceVlan(), ipv4(), udp())),
  passes(
    Reason.listen,
    "a priority tag",
    frame(ethernet(), vlan({ id: 0, priority: 7 }), ipv4(), udp()),
  ),
  passes(Reason.listen, "QinQ, IPv6", twoTags),
  passes(Reason.listen, "QinQ, IPv4", frame(ethernet(), serviceVlan(), vlan(), ipv4(), udp())),
  passes(Reason.listen, "two 802.1Q tags", frame(ethernet(), vlan(), vlan(), ipv4(), udp())),
  passes(
    Reason.listen,
    "two 802.1ad tags",
    frame(ethernet(), serviceVlan(), serviceVlan(), ipv6(), udp()),
  ),
  passes(Reason.listen, "QinQ inside out", frame(ethernet(), vlan(), serviceVlan(), ipv4(), udp())),
  drops(
    "two tags before a bad length",
    frame(ethernet(), vlan(), vlan(), ipv6(), udp({ length: 0 })),
  ),
  passes(Reason.tooDeep, "three tags", threeTags),
  passes(Reason.tooDeep, "four tags", frame(ethernet(), ...times(4, vlan()), ipv4(), udp())),
  passes(Reason.tooDeep, "three tags, cut before the third", cut(threeTags, 22)),
  passes(Reason.notIp, "a tag before ARP", frame(ethernet(), vlan({ etherType: 0x806 }), DATA)),
  passes(
    Reason.notIp,
    "two tags before ARP",
    frame(ethernet(), vlan(), vlan({ etherType: EtherType.arp }), DATA),
  ),
  passes(
    Reason.notIp,
    "an old QinQ tag",
    frame(ethernet(), tag(EtherType.oldServiceVlan), ipv4(), udp()),
  ),
  passes(
    Reason.notIp,
    "an old QinQ tag behind a tag",
    frame(ethernet(), vlan(), tag(EtherType.oldServiceVlan), ipv4(), udp()),
  ),
  ...[14, 15, 17].map((length) =>
    passes(Reason.badEthernet, `one tag, cut to ${length}`, cut(oneTag, length))
  ),
  passes(Reason.badIp, "one tag, cut behind it", cut(oneTag, 18)),
  ...[14, 17, 18, 21].map((length) =>
    passes(Reason.badEthernet, `two tags, cut to ${length}`, cut(twoTags, length))
  ),
  passes(Reason.badIp, "two tags, cut behind them", cut(twoTags, 22)),
  passes(Reason.badEthernet, "three tags, cut in the second", cut(threeTags, 21)),
];

const ip4: XdpCase[] = [
  passes(Reason.listen, "UDP with data", four),
  passes(Reason.listen, "UDP without data", v4(udp())),
  passes(Reason.listen, "UDP without data, padded to 60", padded(v4(udp()))),
  passes(Reason.listen, "UDP without data, padded with ones", padded(v4(udp()), 60, 0xff)),
  passes(Reason.listen, "a full frame of 1514 bytes", v4(udp(), payload(1472))),
  passes(Reason.listen, "time to live 0", over4({ ttl: 0 }, udp(), DATA)),
  ...[0, 3, 5, 6, 15].map((version) =>
    passes(Reason.badIp, `version ${version}`, over4({ version }, udp(), DATA))
  ),
  passes(
    Reason.badIp,
    "an IPv6 packet by the type of IPv4",
    frame(ethernet({ etherType: EtherType.ipv4 }), ipv6(), udp()),
  ),
  ...[0, 1, 4].map((ihl) => passes(Reason.badIp, `IHL ${ihl}`, over4({ ihl }, udp(), DATA))),
  ...[[1], [7, 4, 0, 0], new Array(36).fill(1), new Array(40).fill(1)].map((options) =>
    passes(Reason.listen, `${options.length} bytes of options`, over4({ options }, udp(), DATA))
  ),
  drops(
    "40 bytes of options before a bad length",
    over4({ options: new Array(40).fill(1) }, udp({ length: 29 }), DATA),
  ),
  passes(
    Reason.notListening,
    "IHL 6 of a header without options",
    over4({ ihl: 6 }, udp({ length: 9 }), Uint8Array.of(1, 2, 3, 4)),
  ),
  passes(Reason.badIp, "IHL beyond the total length", over4({ ihl: 13 }, udp(), DATA)),
  passes(
    Reason.badIp,
    "IHL beyond the total length, within the padding",
    padded(over4({ ihl: 8 }, udp()), 80),
  ),
  passes(Reason.badIp, "IHL that leaves 0 bytes", over4({ ihl: 12 }, udp(), DATA)),
  passes(Reason.badIp, "IHL that leaves 4 bytes", over4({ ihl: 11 }, udp(), DATA)),
  passes(Reason.badIp, "IHL 15 and a frame that ends before", over4({ ihl: 15 }, udp(), DATA)),
];

const ip4Lengths: XdpCase[] = [
  ...[0, 1, 19, 20, 21, 27].map((totalLength) =>
    passes(Reason.badIp, `total length ${totalLength}`, over4({ totalLength }, udp(), DATA))
  ),
  passes(
    Reason.listen,
    "total length 28, the datagram's too",
    over4({ totalLength: 28 }, udp({ length: 8 }), DATA),
  ),
  drops("total length 28, the datagram's 28", over4({ totalLength: 28 }, udp(), DATA)),
  drops("total length one short", over4({ totalLength: 47 }, udp(), DATA)),
  passes(Reason.badIp, "total length one beyond", over4({ totalLength: 49 }, udp(), DATA)),
  passes(
    Reason.listen,
    "total length one more, within the padding",
    padded(over4({ totalLength: 49 }, udp(), DATA), 80),
  ),
  passes(
    Reason.listen,
    "total length up to the end of the padding",
    padded(over4({ totalLength: 66 }, udp(), DATA), 80),
  ),
  passes(
    Reason.badIp,
    "total length one beyond the padding",
    padded(over4({ totalLength: 67 }, udp(), DATA), 80),
  ),
  passes(Reason.badIp, "total length 65535", over4({ totalLength: 65535 }, udp(), DATA)),
  passes(Reason.badIp, "TCP, total length one beyond", over4({ totalLength: 41 }, tcp())),
  passes(Reason.badIp, "TCP, total length 19", over4({ totalLength: 19 }, tcp())),
  ...[0, 1, 7].map((length) =>
    passes(
      Reason.badIp,
      `a datagram of ${length} bytes`,
      padded(over4({ protocol: Protocol.udp }, cut(frame(udp()), length))),
    )
  ),
  ...[IP4_AT, IP4_AT + 1, UDP4_AT - 1, UDP4_AT, UDP4_AT + 7, UDP4_AT + 8, four.length - 1].map(
    (length) => passes(Reason.badIp, `cut to ${length}`, cut(four, length)),
  ),
  passes(
    Reason.badIp,
    "cut inside its options",
    cut(over4({ options: [1, 1, 1, 1] }, udp()), UDP4_AT + 3),
  ),
];

const ip4Protocols: XdpCase[] = [
  passes(Reason.notUdp, "TCP", padded(v4(tcp()))),
  passes(Reason.notUdp, "TCP with data, to our port", v4(tcp({ to: 443, flags: 24 }), DATA)),
  passes(Reason.notUdp, "ICMP", v4(icmp(), DATA)),
  passes(Reason.notUdp, "an ICMP error about our datagram", v4(icmp({ type: 3 }), ipv4(), udp())),
  passes(Reason.notUdp, "IPv4 in IPv4", v4(ipv4(), udp(), DATA)),
  passes(Reason.notUdp, "IPv6 in IPv4", v4(ipv6(), udp(), DATA)),
  ...(["gre", "esp", "auth", "sctp", "udpLite", "experiment", "hopByHop"] as const).map((name) =>
    passes(Reason.notUdp, `protocol ${name}`, over4({ protocol: Protocol[name] }, DATA))
  ),
  passes(Reason.notUdp, "protocol 255", over4({ protocol: 255 }, udp())),
  passes(Reason.notUdp, "TCP in a packet of nothing else", over4({ protocol: Protocol.tcp })),
  passes(Reason.listen, "don't fragment", over4({ dontFragment: true }, udp(), DATA)),
  passes(Reason.listen, "the reserved bit", over4({ reserved: true }, udp(), DATA)),
  passes(Reason.fragment, "the first fragment", over4({ moreFragments: true }, udp(), DATA)),
  passes(
    Reason.fragment,
    "the first fragment, don't fragment",
    over4({ moreFragments: true, dontFragment: true }, udp(), DATA),
  ),
  passes(
    Reason.fragment,
    "the first fragment, with a length of the whole",
    over4({ moreFragments: true }, udp({ length: 4000 }), DATA),
  ),
  passes(
    Reason.fragment,
    "a fragment in the middle",
    over4({ moreFragments: true, fragmentOffset: 185, protocol: Protocol.udp }, DATA),
  ),
  ...[1, 256, 8191].map((fragmentOffset) =>
    passes(
      Reason.fragment,
      `the last fragment, at ${fragmentOffset}`,
      over4({ fragmentOffset, protocol: Protocol.udp }, DATA),
    )
  ),
  passes(
    Reason.fragment,
    "a last fragment of 4 bytes",
    padded(over4({ fragmentOffset: 1, protocol: Protocol.udp }, payload(4))),
  ),
  passes(Reason.notUdp, "a fragment of TCP", over4({ moreFragments: true }, tcp(), DATA)),
  passes(Reason.badIp, "a fragment, IHL 4", over4({ moreFragments: true, ihl: 4 }, udp())),
];

/** The same over IPv4 and IPv6: both answer by the ports and by the datagram's length. */
function udpCases(family: string, over: (...parts: Part[]) => Bytes): XdpCase[] {
  const to = (port: number) => over(udp({ to: port }), DATA);
  const says = (options: UdpOptions) => over(udp(options), DATA);
  return [
    ...[0, 1, 7].map((length) => drops(`${family}: length ${length}`, says({ length }))),
    ...[8, 9, 27, 28].map((length) =>
      passes(Reason.listen, `${family}: length ${length} of 28`, says({ length }))
    ),
    ...[29, 256, 65535].map((length) =>
      drops(`${family}: length ${length} of 28`, says({ length }))
    ),
    drops(`${family}: length 29 of 28, within the padding`, padded(says({ length: 29 }), 100)),
    drops(`${family}: length 9 of 8, within the padding`, padded(over(udp({ length: 9 })), 80)),
    passes(Reason.listen, `${family}: length 8 of 8`, over(udp({ length: 8 }))),
    drops(`${family}: length 7 of 8`, over(udp({ length: 7 }))),
    passes(
      Reason.notListening,
      `${family}: length 0, to another port`,
      says({ to: 444, length: 0 }),
    ),
    passes(Reason.listen, `${family}: no checksum`, says({ checksum: 0 })),
    passes(Reason.listen, `${family}: a wrong checksum`, says({ checksum: 0xbad })),
    passes(Reason.notListening, `${family}: from our port`, says({ from: 443, to: 40000 })),
    passes(Reason.listen, `${family}: from port 0`, says({ from: 0 })),
    ...[443, 54321, 65535].map((port) =>
      passes(Reason.listen, `${family}: to port ${port}`, to(port))
    ),
    ...[0, 1, 442, 444, 54320, 54322, 65534].map((port) =>
      passes(Reason.notListening, `${family}: to port ${port}`, to(port))
    ),
    // 54321 is bit 49 of word 848; these are the ends of its word and the same bit elsewhere.
    ...[54272, 54335, 54257, 54385, 49].map((port) =>
      passes(Reason.notListening, `${family}: to port ${port}`, to(port))
    ),
    passes(Reason.notListening, `${family}: to port 443, byte-swapped`, to(0xbb01)),
  ];
}

const ip6: XdpCase[] = [
  passes(Reason.listen, "UDP with data", six),
  passes(Reason.listen, "UDP without data", v6(udp())),
  passes(Reason.listen, "padding behind it", padded(six, 100, 0xff)),
  passes(
    Reason.listen,
    "traffic class and flow label",
    frame(ethernet(), ipv6({ trafficClass: 255, flowLabel: 0xfffff, hopLimit: 0 }), udp(), DATA),
  ),
  ...[0, 4, 5, 7, 15].map((version) =>
    passes(Reason.badIp, `version ${version}`, frame(ethernet(), ipv6({ version }), udp(), DATA))
  ),
  passes(
    Reason.badIp,
    "an IPv4 packet by the type of IPv6",
    frame(ethernet({ etherType: EtherType.ipv6 }), ipv4(), udp(), DATA),
  ),
  ...[0, 1, 7].map((length) =>
    passes(Reason.badIp, `payload length ${length}`, claims6(length, Protocol.udp, udp(), DATA))
  ),
  passes(
    Reason.listen,
    "payload length 8, the datagram's too",
    claims6(8, Protocol.udp, udp({ length: 8 }), DATA),
  ),
  drops("payload length 8, the datagram's 28", claims6(8, Protocol.udp, udp(), DATA)),
  drops("payload length one short", claims6(27, Protocol.udp, udp(), DATA)),
  passes(Reason.badIp, "payload length one beyond", claims6(29, Protocol.udp, udp(), DATA)),
  passes(
    Reason.listen,
    "payload length up to the end of the padding",
    padded(claims6(46, Protocol.udp, udp(), DATA), 100),
  ),
  passes(
    Reason.badIp,
    "payload length one beyond the padding",
    padded(claims6(47, Protocol.udp, udp(), DATA), 100),
  ),
  passes(Reason.badIp, "payload length 65535", claims6(65535, Protocol.udp, udp(), DATA)),
  passes(Reason.badIp, "TCP, payload length one beyond", claims6(21, Protocol.tcp, tcp())),
  ...[IP6_AT, IP6_AT + 1, UDP6_AT - 1, UDP6_AT, UDP6_AT + 7, UDP6_AT + 8, six.length - 1].map(
    (length) => passes(Reason.badIp, `cut to ${length}`, cut(six, length)),
  ),
];

const jumboOption = Uint8Array.of(0, 0, 0xc2, 4, 0, 1, 0, 0);

const ip6Protocols: XdpCase[] = [
  passes(Reason.notUdp, "TCP", v6(tcp())),
  passes(Reason.notUdp, "ICMPv6", v6(icmpv6(), DATA)),
  passes(
    Reason.notUdp,
    "an ICMPv6 error about our datagram",
    v6(icmpv6({ type: 1 }), ipv6(), udp()),
  ),
  passes(Reason.notUdp, "no next header", v6()),
  passes(Reason.notUdp, "no next header, padded", padded(v6())),
  passes(Reason.notUdp, "no next header and bytes behind", claims6(20, Protocol.none, DATA)),
  passes(Reason.notUdp, "IPv6 in IPv6", v6(ipv6(), udp(), DATA)),
  passes(Reason.notUdp, "IPv4 in IPv6", v6(ipv4(), udp(), DATA)),
  ...(["gre", "esp", "sctp", "udpLite", "icmp", "experiment"] as const).map((name) =>
    passes(Reason.notUdp, `next header ${name}`, claims6(20, Protocol[name], DATA))
  ),
  // Not extension headers to us: mobility, HIP, shim6.
  ...[135, 139, 140, 255].map((next) =>
    passes(Reason.notUdp, `next header ${next}`, claims6(20, next, DATA))
  ),
  ...[0, 1, 4, 7].flatMap((length) => [
    passes(Reason.notUdp, `GRE of ${length} bytes`, claims6(length, Protocol.gre, payload(length))),
    passes(Reason.notUdp, `TCP of ${length} bytes`, claims6(length, Protocol.tcp, payload(length))),
    passes(
      Reason.notUdp,
      `an unknown protocol of ${length} bytes, padded`,
      padded(claims6(length, Protocol.experiment, payload(length)), 80),
    ),
  ]),
  passes(
    Reason.badIp,
    "a jumbogram",
    claims6(0, Protocol.hopByHop, setNext(jumboOption, 17), udp()),
  ),
  passes(Reason.badIp, "payload length 0 before UDP", claims6(0, Protocol.udp, udp())),
  passes(Reason.notUdp, "payload length 0 before TCP", claims6(0, Protocol.tcp, tcp())),
];

function setNext(header: Bytes, next: number): Bytes {
  const copy = header.slice();
  copy[0] = next;
  return copy;
}

const extensions: XdpCase[] = [
  passes(Reason.listen, "hop-by-hop options", v6(hopByHop(), udp(), DATA)),
  passes(Reason.listen, "a routing header", v6(routing({ bytes: 24 }), udp(), DATA)),
  passes(Reason.listen, "destination options", v6(destination(), udp(), DATA)),
  passes(Reason.listen, "an authentication header", v6(auth(), udp(), DATA)),
  passes(
    Reason.listen,
    "all of them, in RFC 8200's order",
    v6(hopByHop(), destination(), routing(), fragment(), auth(), destination(), udp(), DATA),
  ),
  passes(
    Reason.listen,
    "two tags before them",
    frame(ethernet(), vlan(), vlan(), ipv6(), hopByHop(), auth(), udp(), DATA),
  ),
  passes(Reason.notListening, "to another port behind options", v6(destination(), udp({ to: 1 }))),
  drops("a bad length behind options", v6(destination(), udp({ length: 29 }), DATA)),
  drops("a bad length behind all of them", v6(hopByHop(), auth(), udp({ length: 7 }), DATA)),
  passes(Reason.notUdp, "TCP behind options", v6(hopByHop(), tcp())),
  passes(Reason.notUdp, "ICMPv6 behind options, as MLD sends", v6(hopByHop(), icmpv6())),
  passes(Reason.notUdp, "nothing behind options", v6(destination())),
  passes(
    Reason.notUdp,
    "a short GRE behind options",
    v6(destination({ nextHeader: 47 }), payload(4)),
  ),
  ...[16, 24, 256, 1024].map((bytes) =>
    passes(Reason.listen, `options of ${bytes} bytes`, v6(destination({ bytes }), udp(), DATA))
  ),
  ...[8, 12, 16, 24, 28, 1028].map((bytes) =>
    passes(Reason.listen, `an authentication header of ${bytes} bytes`, v6(auth({ bytes }), udp()))
  ),
  passes(
    Reason.badIp,
    "an authentication header that counts in 8 bytes",
    v6(auth({ bytes: 24, length: 40 }), udp(), DATA),
  ),
  ...times(8, destination()).map((_, i) =>
    passes(Reason.listen, `${i + 1} extension headers`, v6(...times(i + 1, destination()), udp()))
  ),
  drops("8 extension headers and a bad length", v6(...times(8, auth()), udp({ length: 9 }))),
  passes(Reason.notUdp, "8 extension headers and TCP", v6(...times(8, destination()), tcp())),
  passes(Reason.notUdp, "8 extension headers and nothing", v6(...times(8, destination()))),
  passes(Reason.tooDeep, "9 extension headers", v6(...times(9, destination()), udp(), DATA)),
  passes(Reason.tooDeep, "9 extension headers and TCP", v6(...times(9, destination()), tcp())),
  passes(
    Reason.tooDeep,
    "8 extension headers and a fragment",
    v6(...times(8, destination()), fragment({ offset: 1 }), DATA),
  ),
  passes(
    Reason.tooDeep,
    "9 extension headers, the ninth beyond the packet",
    v6(...times(7, destination()), destination({ nextHeader: Protocol.destination })),
  ),
];

const extensionLengths: XdpCase[] = [
  ...([["hop-by-hop options", 0], ["a routing header", 43], ["a fragment header", 44], [
    "an authentication header",
    51,
  ], ["destination options", 60]] as const).flatMap(([name, next]) =>
    [0, 1, 7].flatMap((length) => [
      passes(Reason.badIp, `${name} of ${length} bytes`, claims6(length, next, payload(length))),
      // What stands in the padding is no header, whatever it looks like.
      passes(
        Reason.badIp,
        `${name} of ${length} bytes, the rest in the padding`,
        claims6(length, next, Uint8Array.of(17, 0, 255, 255, 0, 0, 0, 0), udp(), DATA),
      ),
    ])
  ),
  passes(Reason.badIp, "options that fill the packet", claims6(8, 60, destination(), udp(), DATA)),
  passes(
    Reason.badIp,
    "options and 7 bytes of UDP",
    padded(claims6(15, 60, destination(), udp(), DATA)),
  ),
  passes(
    Reason.listen,
    "options and 8 bytes of UDP",
    claims6(16, 60, destination(), udp({ length: 8 }), DATA),
  ),
  passes(
    Reason.badIp,
    "options longer than the packet",
    v6(destination({ length: 4 }), udp(), payload(16)),
  ),
  passes(
    Reason.badIp,
    "options just longer than the packet, within the padding",
    padded(claims6(28, 60, destination({ length: 3 }), udp(), payload(12)), 200),
  ),
  passes(
    Reason.badIp,
    "options just as long as the packet",
    v6(destination({ length: 3, nextHeader: 17 }), udp(), payload(16)),
  ),
  passes(
    Reason.badIp,
    "options of the greatest length in a short packet",
    v6(destination({ length: 255 }), udp(), DATA),
  ),
  passes(
    Reason.badIp,
    "the second header longer than what is left",
    v6(hopByHop(), destination({ length: 4 }), udp(), payload(16)),
  ),
  passes(
    Reason.badIp,
    "an authentication header longer than the packet",
    v6(auth({ bytes: 24, length: 255 }), udp(), DATA),
  ),
  ...[UDP6_AT + 1, UDP6_AT + 7, UDP6_AT + 8, UDP6_AT + 15, UDP6_AT + 16].map((length) =>
    passes(Reason.badIp, `options, cut to ${length}`, cut(v6(hopByHop(), udp(), DATA), length))
  ),
];

const fragments6: XdpCase[] = [
  passes(Reason.listen, "an atomic fragment", v6(fragment(), udp(), DATA)),
  passes(Reason.listen, "with reserved bits", v6(fragment({ reserved: 3 }), udp(), DATA)),
  drops("an atomic fragment with a bad length", v6(fragment(), udp({ length: 29 }), DATA)),
  passes(Reason.notUdp, "an atomic fragment of TCP", v6(fragment(), tcp())),
  passes(Reason.fragment, "the first fragment", v6(fragment({ more: true }), udp(), DATA)),
  passes(
    Reason.fragment,
    "a fragment in the middle",
    v6(fragment({ offset: 100, more: true, nextHeader: 17 }), DATA),
  ),
  ...[1, 32, 8191].map((offset) =>
    passes(
      Reason.fragment,
      `the last fragment, at ${offset}`,
      v6(fragment({ offset, nextHeader: 17 }), DATA),
    )
  ),
  passes(Reason.fragment, "behind options", v6(hopByHop(), fragment({ more: true }), udp(), DATA)),
  passes(
    Reason.fragment,
    "before options",
    v6(fragment({ more: true }), destination(), udp(), DATA),
  ),
  passes(Reason.fragment, "a fragment that carries nothing", v6(fragment({ offset: 1 }))),
  passes(Reason.listen, "two atomic fragments", v6(fragment(), fragment(), udp(), DATA)),
];

/** Destination options that, taken for a UDP header, are to our port and of a bad length. */
const disguised = concat(Uint8Array.of(Protocol.udp, 255, 1, 187, 0, 1), new Uint8Array(2042));

const depth: XdpCase[] = [
  passes(Reason.listen, "UDP at 2038", v6(destination({ bytes: 1984 }), udp(), DATA)),
  passes(Reason.listen, "UDP at 2046", v6(destination({ bytes: 1992 }), udp(), DATA)),
  passes(
    Reason.listen,
    "UDP at 2046 behind two tags",
    frame(ethernet(), vlan(), vlan(), ipv6(), destination({ bytes: 1984 }), udp(), DATA),
  ),
  passes(Reason.tooDeep, "UDP at 2054", v6(destination({ bytes: 2000 }), udp(), DATA)),
  passes(Reason.tooDeep, "UDP at 2102", v6(destination({ bytes: 2048 }), udp(), DATA)),
  passes(
    Reason.tooDeep,
    "UDP at 2110",
    v6(...[16, 2040].map((bytes) => destination({ bytes })), udp()),
  ),
  passes(
    Reason.tooDeep,
    "UDP at 2102, behind what looks like UDP",
    claims6(2076, Protocol.destination, disguised, udp(), DATA),
  ),
  passes(
    Reason.tooDeep,
    "options at 2102",
    v6(destination({ bytes: 2048 }), destination(), udp(), DATA),
  ),
  passes(Reason.notUdp, "TCP at 2102", v6(destination({ bytes: 2048 }), tcp(), DATA)),
  passes(Reason.listen, "UDP of 3000 bytes", v6(udp(), payload(3000))),
];

const OPTIONS = [7, 7, 4, 10, 0, 0, 1, 1];
const withOptions = over4({ options: OPTIONS }, udp(), DATA);
const allOptions = over4({ options: Array.from({ length: 40 }, (_, i) => i) }, udp(), DATA);
/** Its sum is right with a checksum of 0, and so with the other 0 of ones' complement. */
const zeroSum = { id: 0xf6b9 };

const ip4Checksums: XdpCase[] = [
  ...[0, 1, 0xdead, 0xffff].map((checksum) =>
    wrongSum(`checksum ${checksum}`, over4({ checksum }, udp(), DATA))
  ),
  // Type of service, id, flags, time to live, checksum, addresses.
  ...[1, 4, 5, 8, 10, 11, 12, 15].map((at) =>
    wrongSum(`byte ${at} of the header changed`, turned(four, IP4_AT + at))
  ),
  ...[20, 23, 27].map((at) =>
    wrongSum(`byte ${at} of a header with options changed`, turned(withOptions, IP4_AT + at))
  ),
  ...[20, 58, 59].map((at) =>
    wrongSum(`byte ${at} of a header of 60 bytes changed`, turned(allOptions, IP4_AT + at))
  ),
  passes(Reason.listen, "a byte behind the header changed", turned(four, UDP4_AT + 20)),
  passes(Reason.listen, "the sum's own 0", over4({ ...zeroSum, checksum: 0 }, udp(), DATA)),
  passes(Reason.listen, "the sum's other 0", over4({ ...zeroSum, checksum: 0xffff }, udp(), DATA)),
  wrongSum("a wrong checksum before a bad length", over4({ checksum: 7 }, udp({ length: 7 }))),
  wrongSum("a wrong checksum, padded", padded(over4({ checksum: 7 }, udp()))),
  wrongSum(
    "a wrong checksum behind a tag",
    frame(ethernet(), vlan(), ipv4({ checksum: 7 }), udp(), DATA),
  ),
  wrongSum(
    "a wrong checksum behind two tags",
    frame(ethernet(), serviceVlan(), vlan(), ipv4({ checksum: 7, options: OPTIONS }), udp(), DATA),
  ),
  // What is not ours is the stack's to judge.
  ...[16, 19].map((at) =>
    passes(Reason.notListening, `byte ${at}, of another address`, turned(four, IP4_AT + at))
  ),
  passes(Reason.notListening, "another port's", over4({ checksum: 7 }, udp({ to: 442 }), DATA)),
  passes(Reason.fragment, "a fragment's", over4({ checksum: 7, moreFragments: true }, udp(), DATA)),
  passes(Reason.notUdp, "TCP's", over4({ checksum: 7 }, tcp())),
];

const OTHERS = ["192.0.2.9", "192.0.3.2", "198.51.100.1", "0.0.0.0", "255.255.255.255"];
const OTHERS_6 = ["2001:db8::9", "2001:db9::2", "::1", "ff02::1", "::ffff:192.0.2.9"];

/** Our ports at addresses that are ours and that are not: others', or forwarded. */
const addresses: XdpCase[] = [
  ...[...new Set([...OWN_FIRST, ...OWN])].map((to) => {
    const lower = to.includes(":") ? ipv6({ to }) : ipv4({ to });
    return passes(Reason.listen, `to ${to}`, frame(ethernet(), lower, udp(), DATA));
  }),
  ...OTHERS.flatMap((to) => [
    passes(Reason.notListening, `to ${to}`, over4({ to }, udp(), DATA)),
    passes(Reason.notListening, `to ${to}, a bad length`, over4({ to }, udp({ length: 7 }), DATA)),
    passes(Reason.notListening, `to ${to}, a wrong sum`, over4({ to, checksum: 7 }, udp(), DATA)),
  ]),
  ...OTHERS_6.flatMap((to) => [
    passes(Reason.notListening, `to ${to}`, frame(ethernet(), ipv6({ to }), udp(), DATA)),
    passes(
      Reason.notListening,
      `to ${to}, a bad length`,
      frame(ethernet(), ipv6({ to }), udp({ length: 7 }), DATA),
    ),
  ]),
];

/** The cases by what they are about. */
export const xdpCases: ReadonlyMap<string, readonly XdpCase[]> = new Map([
  ["link layer", link],
  ["VLAN tags", tags],
  ["IPv4 header", ip4],
  ["IPv4 lengths", ip4Lengths],
  ["IPv4 header checksums", ip4Checksums],
  ["IPv4 protocols and fragments", ip4Protocols],
  ["addresses", addresses],
  ["UDP over IPv4", udpCases("IPv4", v4)],
  ["UDP over IPv6", udpCases("IPv6", v6)],
  ["IPv6 header", ip6],
  ["IPv6 next headers", ip6Protocols],
  ["IPv6 extension headers", extensions],
  ["IPv6 extension header lengths", extensionLengths],
  ["IPv6 fragments", fragments6],
  ["IPv6 depth", depth],
]);
