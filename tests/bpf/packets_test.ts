/** The packet builder: what it fills in by itself. */

import assert from "node:assert/strict";
import {
  type Bytes,
  destination,
  ethernet,
  fragment,
  frame,
  hex,
  icmp,
  icmpv6,
  ipv4,
  ipv6,
  payload,
  Protocol,
  serviceVlan,
  tcp,
  udp,
  vlan,
} from "./packets.ts";

/** Whether the 16-bit words sum up to 0 in ones' complement, in which 0xffff is 0 too. */
function sumsToZero(bytes: Uint8Array): boolean {
  return BigInt(`0x${hex(bytes)}${bytes.length % 2 === 1 ? "00" : ""}`) % 0xffffn === 0n;
}

/** A transport's bytes behind its pseudo-header (RFC 8200, 8.1; for IPv4 the sum is the same). */
function withPseudoHeader(addresses: Uint8Array, protocol: number, bytes: Uint8Array): Bytes {
  const header = new Uint8Array([...addresses, 0, 0, 0, 0, 0, 0, 0, protocol]);
  new DataView(header.buffer).setUint32(addresses.length, bytes.length);
  return new Uint8Array([...header, ...bytes]);
}

Deno.test("frame() builds a known frame", () => {
  const from = "192.168.0.1";
  const to = "192.168.0.199";
  const header = ipv4({ from, to, dontFragment: true, totalLength: 0x73, protocol: 17 });
  assert.equal(hex(frame(header)), "45000073000040004011b861c0a80001c0a800c7");
  const tags = frame(ethernet(), serviceVlan({ id: 0xabc, priority: 7 }), vlan(), ipv6());
  assert.equal(hex(tags.subarray(0, 22)), "02000000000202000000000188a8eabc8100000186dd");
});

Deno.test("frame() chains next headers and lengths", () => {
  const bytes = frame(ipv6(), destination({ bytes: 16 }), fragment(), udp(), payload(3));
  assert.equal(hex(bytes.subarray(4, 8)), "0023" + "3c" + "40");
  assert.deepEqual([bytes[40], bytes[41], bytes[56]], [Protocol.fragment, 1, Protocol.udp]);
  assert.equal(hex(bytes.subarray(64)), `9c4001bb000b${hex(bytes.subarray(70, 72))}000102`);
});

Deno.test("frame() fills in checksums that a receiver accepts", () => {
  for (const data of [0, 1, 20, 1001].map(payload)) {
    for (const [layer, protocol] of [[udp(), 17], [tcp(), 6], [icmpv6(), 58]] as const) {
      const six = frame(ipv6(), layer, data);
      const checked = withPseudoHeader(six.subarray(8, 40), protocol, six.subarray(40));
      assert.ok(sumsToZero(checked), hex(six));
    }
    for (const [layer, protocol] of [[udp(), 17], [tcp(), 6]] as const) {
      const four = frame(ipv4({ options: [7, 3, 4] }), layer, data);
      const checked = withPseudoHeader(four.subarray(12, 20), protocol, four.subarray(24));
      assert.ok(sumsToZero(four.subarray(0, 24)) && sumsToZero(checked), hex(four));
    }
    assert.ok(sumsToZero(frame(ipv4(), icmp(), data).subarray(20)));
  }
});
