/**
 * xdp_phantom against the model of it: frames that are valid, nearly so and not at all must get
 * the verdict that the model gives, and move the counters by what the model adds up.
 */

import assert from "node:assert/strict";
import { Reason } from "../../ffi/bpf/layout.gen.ts";
import {
  auth,
  type Bytes,
  cut,
  destination,
  ethernet,
  fragment,
  frame,
  hex,
  hopByHop,
  icmpv6,
  ipv4,
  ipv6,
  type Layer,
  padded,
  routing,
  serviceVlan,
  tcp,
  udp,
  vlan,
  withRightSum,
} from "../bpf/packets.ts";
import { xdpCases } from "../bpf/tunnel/xdp_cases.ts";
import {
  counterChanges,
  counterIndex,
  frameBytesMin,
  outcomeText,
  XdpHarness,
} from "../bpf/tunnel/xdp_harness.ts";
import { modelOf, type Outcome } from "../bpf/tunnel/xdp_model.ts";
import { libraries } from "../fixtures/libraries.ts";
import { fuzz, type Rng } from "./rng.ts";

const isRoot = Deno.uid() === 0;
const batches = 1000;
const framesInBatch = 64;
const frameBytesMax = 3000;
const ports: ReadonlySet<number> = new Set([0, 53, 443, 54321, 65535]);
const portList = [...ports];
const known: readonly Bytes[] = [...xdpCases.values()].flat()
  .map((one) => one.frame)
  .filter(({ length }) => length < 200);

/** Mostly undefined, for what the builder fills in. */
function seldom<T>(rng: Rng, value: () => T): T | undefined {
  return rng.chance(0.04) ? value() : undefined;
}

/** `options` without those that are left to the builder. */
function given<T extends object>(options: { [K in keyof T]: T[K] | undefined }): T {
  const kept = Object.entries(options).filter(([, value]) => value !== undefined);
  return Object.fromEntries(kept) as T;
}

/** A number about `middle`, or any of 16 bits. */
function about(rng: Rng, middle: number): number {
  return rng.chance(0.2) ? rng.int(0, 0xffff) : Math.max(0, middle + rng.int(-10, 10));
}

function randomTags(rng: Rng): Layer[] {
  const count = rng.pick([0, 0, 0, 0, 1, 1, 2, 2, 3]);
  return Array.from(
    { length: count },
    () => rng.pick([vlan, serviceVlan])({ id: rng.int(0, 4095) }),
  );
}

function randomIpv4(rng: Rng): Layer {
  return ipv4(given({
    version: seldom(rng, () => rng.int(0, 15)),
    ihl: seldom(rng, () => rng.int(0, 15)),
    totalLength: seldom(rng, () => about(rng, 48)),
    dontFragment: rng.chance(0.3),
    moreFragments: rng.chance(0.05),
    fragmentOffset: seldom(rng, () => rng.int(0, 0x1fff)),
    protocol: seldom(rng, () => rng.int(0, 255)),
    options: rng.chance(0.2) ? [...rng.bytes(rng.int(0, 40))] : undefined,
  }));
}

function randomExtension(rng: Rng): Layer {
  const nextHeader = seldom(rng, () => rng.pick([0, 6, 17, 43, 44, 51, 59, 60, 135, 255]));
  const length = seldom(rng, () => rng.int(0, 20));
  const bytes = rng.chance(0.02) ? rng.int(1, 255) * 8 : rng.int(1, 6) * 8;
  if (rng.chance(0.2)) {
    const offset = rng.chance(0.1) ? rng.int(0, 0x1fff) : 0;
    const more = rng.chance(0.1);
    return fragment(given({ nextHeader, offset, more, reserved: rng.int(0, 3) }));
  }
  if (rng.chance(0.25)) {
    return auth(given({ nextHeader, length, bytes: rng.int(2, 20) * 4 }));
  }
  return rng.pick([hopByHop, routing, destination])(given({ nextHeader, length, bytes }));
}

function randomIpv6(rng: Rng): Layer[] {
  const header = ipv6(given({
    version: seldom(rng, () => rng.int(0, 15)),
    payloadLength: seldom(rng, () => about(rng, 28)),
    nextHeader: seldom(rng, () => rng.int(0, 255)),
  }));
  const count = rng.pick([0, 0, 1, 2, 3, 7, 8, 9, 10]);
  return [header, ...Array.from({ length: count }, () => randomExtension(rng))];
}

function randomTransport(rng: Rng): Layer {
  if (rng.chance(0.1)) return rng.pick([() => tcp(), () => icmpv6()])();
  const to = rng.chance(0.7) ? rng.pick(portList) : rng.pick(portList) + rng.int(-65, 65);
  return udp(given({
    to: to & 0xffff,
    length: rng.chance(0.15) ? about(rng, 28) : undefined,
    checksum: seldom(rng, () => 0),
  }));
}

function randomPacket(rng: Rng): Bytes {
  const network = rng.chance(0.4) ? [randomIpv4(rng)] : randomIpv6(rng);
  const etherType = seldom(
    rng,
    () => rng.pick([0x0800, 0x86dd, 0x8100, 0x88a8, rng.int(0, 0xffff)]),
  );
  return frame(
    ethernet(given({ etherType })),
    ...randomTags(rng),
    ...network,
    randomTransport(rng),
    rng.bytes(rng.int(0, 40)),
  );
}

/** Makes the first IP header's length agree with the frame, so that a change goes deeper. */
function withTrueLength(bytes: Bytes): Bytes {
  const view = new DataView(bytes.buffer);
  if (bytes.length >= 34 && view.getUint16(12) === 0x0800) view.setUint16(16, bytes.length - 14);
  if (bytes.length >= 54 && view.getUint16(12) === 0x86dd) view.setUint16(18, bytes.length - 54);
  return bytes;
}

function randomFrame(rng: Rng): Bytes {
  if (rng.chance(0.02)) return rng.bytes(rng.int(frameBytesMin, 200));
  let bytes = rng.chance(0.5) ? randomPacket(rng) : rng.pick(known);
  if (rng.chance(0.5)) bytes = rng.mutate(bytes, rng.int(1, 4));
  if (rng.chance(0.1)) bytes = cut(bytes, rng.int(0, bytes.length));
  if (rng.chance(0.3)) bytes = withTrueLength(bytes.slice());
  if (rng.chance(0.9)) bytes = withRightSum(bytes);
  // Behind the packet, where nothing may look, stands what would be something.
  if (rng.chance(0.2)) bytes = padded(bytes, rng.int(20, 120), rng.pick([0, 17, 44, 60, 255]));
  return cut(padded(bytes, frameBytesMin), frameBytesMax);
}

/** One frame alone: what the program and the model say of it, when they differ. */
function disagreement(harness: XdpHarness, bytes: Bytes): string | undefined {
  const expected = modelOf(bytes, ports);
  const before = harness.counters();
  const result = harness.run(bytes);
  const after = harness.counters();
  const changes = counterChanges(before, after);
  const wanted = [`${outcomeText(expected)}: 1 packets, ${bytes.length} bytes`];
  const sameFrame = result !== undefined && hex(result.frame) === hex(bytes);
  const same = result?.verdict === expected.verdict && changes.join() === wanted.join();
  if (same && sameFrame) return undefined;
  const said = `program: ${changes.join("; ")}${sameFrame ? "" : "; and changed the frame"}`;
  return `${said}\nmodel: ${outcomeText(expected)}\nframe: ${hex(bytes)}`;
}

/** The whole batch at once; only when it disagrees are its frames looked at one by one. */
function checkBatch(harness: XdpHarness, frames: readonly Bytes[]): Outcome[] {
  const before = harness.counters();
  const expected = before.slice();
  let verdictsAgree = true;
  const outcomes = frames.map((bytes) => {
    const outcome = modelOf(bytes, ports);
    const index = counterIndex(outcome);
    expected[index]! += 1;
    expected[index + 1]! += bytes.length;
    verdictsAgree &&= harness.run(bytes)?.verdict === outcome.verdict;
    return outcome;
  });
  const changes = counterChanges(expected, harness.counters());
  if (verdictsAgree && changes.length === 0) return outcomes;
  for (const bytes of frames) {
    const difference = disagreement(harness, bytes);
    if (difference !== undefined) assert.fail(`the program is not the model\n${difference}`);
  }
  assert.fail(`the counters are off, though by no frame alone: ${changes.join("; ")}`);
}

// Loaded before the test counts what it opens: a library stays.
if (isRoot) libraries();

Deno.test({
  name: `xdp_phantom agrees with its model${isRoot ? "" : " (needs root)"}`,
  ignore: !isRoot,
  fn() {
    using harness = new XdpHarness(ports);
    const seen = new Map<Reason, number>();
    let frames = 0;
    fuzz({ cases: batches }, (rng) => {
      const batch = Array.from({ length: framesInBatch }, () => randomFrame(rng));
      for (const { reason } of checkBatch(harness, batch)) {
        seen.set(reason, (seen.get(reason) ?? 0) + 1);
      }
      frames += batch.length;
    });
    // A generator that no longer reaches a reason tests less than it seems to.
    if (frames < batches * framesInBatch) return;
    const reasons = Array.from({ length: Reason.short }, (_, reason) => reason as Reason);
    for (const reason of [...reasons, Reason.badChecksum]) {
      const share = (seen.get(reason) ?? 0) / frames;
      assert.ok(share > 0.002, `reason ${reason} is ${share} of all frames`);
    }
  },
});
