/** bpf/lib/parse.h, as XDP programs use it and as those do that get a socket buffer. */

import assert from "node:assert/strict";
import { Reason } from "../../../ffi/bpf/layout.gen.ts";
import { BpfObject } from "../../../ffi/bpf/object.ts";
import { bpfObject, libraries } from "../../fixtures/libraries.ts";
import { randomFrame } from "../../fuzz/filter_frames.ts";
import { fuzz } from "../../fuzz/rng.ts";
import {
  type Bytes,
  cut,
  destination,
  ethernet,
  EtherType,
  fragment,
  frame,
  hex,
  hopByHop,
  icmp,
  icmpv6,
  ipv4,
  ipv6,
  padded,
  payload,
  Protocol,
  tcp,
  udp,
  vlan,
} from "../packets.ts";

/** The kernel makes no shorter socket buffers. */
const SKB_BYTES_MIN = 60;
const PROGRAMS = ["any", "tcp", "udp"] as const;

// Loaded before a test counts what it opens: a library stays.
libraries();

interface Found {
  readonly family: number;
  readonly protocol: number;
  readonly offset: number;
}

/** What a program found, or why it stopped. */
type Answer = Found | Reason;

function ask(object: BpfObject, program: string, data: Bytes): Answer {
  const value = object.program(program).run({ data }).value | 0;
  if (value < 0) return (-1 - value) as Reason;
  return { family: value >> 24, protocol: value >> 16 & 255, offset: value & 0xffff };
}

function open(kind: "xdp" | "skb"): BpfObject {
  return new BpfObject(libraries(), `parse_${kind}`, bpfObject(`parse_${kind}`)).load();
}

const found = (family: number, protocol: number, offset: number) => ({ family, protocol, offset });
const [v4, v6, body] = [ipv4(), ipv6(), payload(40)];
/** Each with what is answered to who wants anything, TCP, UDP. */
const cases: readonly [string, Bytes, Answer, Answer, Answer][] = [
  [
    "UDP over IPv4",
    frame(ethernet(), v4, udp(), body),
    found(4, Protocol.udp, 34),
    Reason.notUdp,
    found(4, Protocol.udp, 34),
  ],
  [
    "TCP over IPv4, with options of IP and two tags",
    frame(ethernet(), vlan(), vlan(), ipv4({ options: [1, 1, 1, 1] }), tcp(), body),
    found(4, Protocol.tcp, 46),
    found(4, Protocol.tcp, 46),
    Reason.notUdp,
  ],
  [
    "TCP over IPv6, behind two extension headers",
    frame(ethernet(), v6, hopByHop(), destination({ bytes: 16 }), tcp(), body),
    found(6, Protocol.tcp, 78),
    found(6, Protocol.tcp, 78),
    Reason.notUdp,
  ],
  [
    "UDP over IPv6, behind an extension header",
    frame(ethernet(), v6, hopByHop(), udp(), body),
    found(6, Protocol.udp, 62),
    Reason.notUdp,
    found(6, Protocol.udp, 62),
  ],
  [
    "ICMP",
    frame(ethernet(), v4, icmp(), body),
    found(4, Protocol.icmp, 34),
    Reason.notUdp,
    Reason.notUdp,
  ],
  [
    "ICMPv6",
    frame(ethernet(), v6, icmpv6(), body),
    found(6, Protocol.icmpv6, 54),
    Reason.notUdp,
    Reason.notUdp,
  ],
  [
    "a part of a TCP segment over IPv4",
    frame(ethernet(), ipv4({ fragmentOffset: 3 }), tcp(), body),
    Reason.fragment,
    Reason.fragment,
    Reason.notUdp,
  ],
  [
    "a part of a TCP segment over IPv6",
    frame(ethernet(), v6, fragment({ offset: 3 }), tcp(), body),
    Reason.fragment,
    Reason.fragment,
    Reason.fragment,
  ],
  [
    "too many extension headers",
    frame(ethernet(), v6, ...Array.from({ length: 9 }, () => destination()), tcp(), body),
    Reason.tooDeep,
    Reason.tooDeep,
    Reason.tooDeep,
  ],
  [
    "a frame that ends in its packet",
    cut(frame(ethernet(), v4, tcp(), body), 70),
    Reason.badIp,
    Reason.badIp,
    Reason.badIp,
  ],
  [
    "ARP",
    padded(frame(ethernet({ etherType: EtherType.arp }), body)),
    Reason.notIp,
    Reason.notIp,
    Reason.notIp,
  ],
];

Deno.test("parse_packet() finds what is wanted, in frames of XDP and in socket buffers", () => {
  using xdp = open("xdp");
  using skb = open("skb");
  for (const [name, data, ...answers] of cases) {
    for (const object of [xdp, skb]) {
      assert.deepEqual(PROGRAMS.map((one) => ask(object, one, data)), answers, name);
    }
  }
});

Deno.test("both kinds of programs read the same, and UDP is one of anything", () => {
  using xdp = open("xdp");
  using skb = open("skb");
  fuzz({ cases: 3000 }, (rng) => {
    const data = padded(randomFrame(rng), SKB_BYTES_MIN);
    const answers = PROGRAMS.map((one) => ask(xdp, one, data));
    assert.deepEqual(PROGRAMS.map((one) => ask(skb, one, data)), answers, hex(data));
    const [any, , udp] = answers;
    if (typeof udp === "object") assert.deepEqual(any, udp, hex(data));
    if (typeof any === "object" && any.protocol !== Protocol.udp) {
      assert.equal(udp, Reason.notUdp, hex(data));
    }
  });
});
