/** What of its packets xdp_phantom hands to AF_XDP, and what it lets pass to the UDP sockets. */

import assert from "node:assert/strict";
import { Delivery as DeliveryEntry, DeliveryFlag } from "../../../ffi/bpf/layout.gen.ts";
import { cString } from "../../../ffi/memory.ts";
import { PacketKind } from "../../../src/wire/packet.ts";
import { masked, testKeys, WINDOW } from "../../bpf/tunnel/keyed_packets.ts";
import { type Bytes, ethernet, frame, hopByHop, ipv4, ipv6, udp, vlan } from "../../bpf/packets.ts";
import { XdpHarness } from "../../bpf/tunnel/xdp_harness.ts";
import { DeliveryBed, INTERFACE, PORT } from "../../fixtures/delivery.ts";
import { libraries } from "../../fixtures/libraries.ts";

const libs = libraries();
const ignore = Deno.uid() !== 0;
const [DROP, PASS, REDIRECT] = [1, 2, 4];
const OTHER_PORT = PORT + 1;

interface Case {
  readonly says: string;
  readonly expected: number;
  /** @default {DATA of worker 0} */
  readonly frame?: Bytes;
  /** That it comes by; AF_XDP has 0 and 1 of three. @default {0} */
  readonly queue?: number;
  readonly changes?: Partial<DeliveryEntry>;
  /** @default {true} */
  readonly filters?: boolean;
}

function data(session: number, kind: number = PacketKind.data0): Bytes {
  return frame(ethernet(), ipv4(), udp({ to: PORT }), masked({ session, kind }));
}

const hello = data(0, PacketKind.hello);
const inside = masked({ session: 2 });
const cases: readonly Case[] = [
  { says: "DATA of the queue's worker", expected: REDIRECT },
  {
    says: "DATA of the queue's worker, another queue",
    frame: data(3),
    queue: 1,
    expected: REDIRECT,
  },
  { says: "DATA of another worker than the queue's", frame: data(3), expected: PASS },
  { says: "DATA of the other phase", frame: data(2, PacketKind.data1), expected: REDIRECT },
  { says: "RESET, which no client sends", frame: data(2, PacketKind.reset), expected: DROP },
  { says: "HELLO where each worker has a queue", frame: hello, expected: REDIRECT },
  {
    says: "HELLO where some worker has no queue",
    frame: hello,
    changes: { flags: 0 },
    expected: PASS,
  },
  { says: "a queue that nobody has", queue: 2, expected: PASS },
  { says: "another interface", changes: { ifindex: 1 }, expected: PASS },
  { says: "AF_XDP is off", changes: { ifindex: 0 }, expected: PASS },
  { says: "no workers", changes: { workers: 0 }, expected: PASS },
  {
    says: "one worker has everything",
    frame: data(3),
    changes: { workers: 1 },
    expected: REDIRECT,
  },
  {
    says: "a port of ours that is not the tunnel's",
    frame: frame(ethernet(), ipv4(), udp({ to: OTHER_PORT }), inside),
    expected: PASS,
  },
  {
    says: "IPv6",
    frame: frame(ethernet(), ipv6(), udp({ to: PORT }), inside),
    expected: REDIRECT,
  },
  {
    says: "IPv6 with an extension header",
    frame: frame(ethernet(), ipv6(), hopByHop(), udp({ to: PORT }), inside),
    expected: PASS,
  },
  {
    says: "IPv4 with options",
    frame: frame(ethernet(), ipv4({ options: [1, 1, 1, 0] }), udp({ to: PORT }), inside),
    expected: PASS,
  },
  {
    says: "a VLAN tag",
    frame: frame(ethernet(), vlan(), ipv4(), udp({ to: PORT }), inside),
    expected: PASS,
  },
  {
    says: "the longest frame",
    frame: frame(ethernet(), ipv4(), udp({ to: PORT }), masked({ session: 2, bytes: 1750 })),
    expected: REDIRECT,
  },
  {
    says: "longer than a frame of AF_XDP",
    frame: frame(ethernet(), ipv4(), udp({ to: PORT }), masked({ session: 2, bytes: 1751 })),
    expected: PASS,
  },
  { says: "no filter, and several workers", filters: false, expected: PASS },
  {
    says: "no filter, and one worker",
    filters: false,
    changes: { workers: 1 },
    expected: REDIRECT,
  },
];

function context(frame: Bytes, ifindex: number, queue: number): Bytes {
  // struct xdp_md: data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex
  return new Uint8Array(Uint32Array.of(0, frame.length, 0, ifindex, queue, 0).buffer);
}

Deno.test({
  name: "packets go to AF_XDP, or pass, as they should",
  ignore,
  async fn(t) {
    using bed = new DeliveryBed({ queues: 3 });
    using port = bed.openPort([0, 1]);
    using harness = new XdpHarness([PORT, OTHER_PORT]);
    harness.setKeys(testKeys(WINDOW), WINDOW);
    [0, 1].forEach((queue) => port.enter(queue, harness.map("xsks").fd, queue));
    const index = bed.server.enter(() => libs.native.symbols.ph_ifindex(cString(INTERFACE)));
    for (const { says, expected, frame = data(2), queue = 0, changes, filters = true } of cases) {
      await t.step(says, () => {
        harness.configure(filters ? {} : { flags: 0 });
        const entry = { ifindex: index, workers: 2, ownerMask: 1, port: PORT };
        const value = new Uint8Array(DeliveryEntry.size);
        DeliveryEntry.write(new DataView(value.buffer), 0, {
          ...{ ...entry, flags: DeliveryFlag.hellos },
          ...changes,
        });
        harness.map("delivery").set(new Uint8Array(4), value);
        const run = { data: frame, context: context(frame, index, queue) };
        assert.equal(bed.server.enter(() => harness.program.run(run).value), expected);
      });
    }
    await t.step("AF_XDP's sockets have closed", () => {
      const value = new Uint8Array(DeliveryEntry.size);
      const entry = { ifindex: index, workers: 1, ownerMask: 0, port: PORT, flags: 0 };
      DeliveryEntry.write(new DataView(value.buffer), 0, entry);
      harness.map("delivery").set(new Uint8Array(4), value);
      const run = { data: data(2), context: context(data(2), index, 0) };
      const act = () => bed.server.enter(() => harness.program.run(run).value);
      assert.equal(act(), REDIRECT);
      port.close();
      assert.equal(act(), PASS);
    });
  },
});
