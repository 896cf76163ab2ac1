/** xdp_phantom by its table: what it says, counts and reports of each frame. */

import assert from "node:assert/strict";
import { type Event, EventKind, Limit, Reason, Verdict } from "../../../ffi/bpf/layout.gen.ts";
import { monotonicMs } from "../../../ffi/loop.ts";
import { ipBytes } from "../../../src/base/ip.ts";
import { libraries } from "../../fixtures/libraries.ts";
import { Rng } from "../../fuzz/rng.ts";
import { type Bytes, ethernet, frame, hex, ipv4, ipv6, payload, udp, vlan } from "../packets.ts";
import { casePorts, type XdpCase, xdpCases } from "./xdp_cases.ts";
import {
  counterChanges,
  counterIndex,
  frameBytesMin,
  outcomeText,
  XdpHarness,
} from "./xdp_harness.ts";
import { modelOf, OWN } from "./xdp_model.ts";

const NEVER_NS = 0xffff_ffff_ffff_ffffn;
const INTERVAL_NS = BigInt(Limit.eventIntervalNs);

const all: readonly XdpCase[] = [...xdpCases.values()].flat();
const malformed = frame(ethernet(), ipv4(), udp({ length: 9 }));

// Loaded before a test counts what it opens: a library stays.
libraries();

for (const [about, cases] of xdpCases) {
  Deno.test(`xdp_phantom answers by the table: ${about}`, async (t) => {
    using harness = new XdpHarness(casePorts);
    for (const one of cases) {
      await t.step(one.name, () => checkCase(harness, one));
    }
  });
}

function checkCase(harness: XdpHarness, one: XdpCase): void {
  const before = harness.counters();
  const result = harness.run(one.frame);
  if (result === undefined) return assert.ok(one.frame.length < frameBytesMin);
  const expected = before.slice();
  expected[counterIndex(one)]! += 1;
  expected[counterIndex(one) + 1]! += one.frame.length;
  const after = harness.counters();
  assert.deepEqual(
    counterChanges(before, after),
    counterChanges(before, expected),
    `counters of ${hex(one.frame)}`,
  );
  assert.equal(result.verdict, one.verdict);
  assert.equal(hex(result.frame), hex(one.frame), "the frame changed");
}

Deno.test("the table has every reason, and no case twice", () => {
  const reasons = new Set(all.map(({ reason }) => reason));
  // Those from SHORT on are of the filter (xdp_filter_test.ts), but for one; LET_GO is below.
  assert.equal(reasons.size, Reason.short + 1);
  for (const cases of xdpCases.values()) {
    assert.equal(new Set(cases.map(({ name }) => name)).size, cases.length);
  }
});

Deno.test("the model answers by the table", () => {
  for (const one of all) {
    const outcome = outcomeText(modelOf(one.frame, casePorts));
    assert.equal(outcome, outcomeText(one), `${one.name}: ${hex(one.frame)}`);
  }
});

Deno.test("xdp_phantom listens on exactly the ports whose bits are set", () => {
  const rng = new Rng(1);
  const ours = new Set([0, 63, 64, 65535, ...Array.from({ length: 60 }, () => rng.int(0, 65535))]);
  const near = [-64, -32, -1, 0, 1, 32, 64];
  const tried = new Set([...ours].flatMap((port) => near.map((by) => (port + by) & 0xffff)));
  using harness = new XdpHarness(ours);
  for (const port of tried) {
    const reason = ours.has(port) ? Reason.listen : Reason.notListening;
    const bytes = frame(ethernet(), ipv4(), udp({ to: port }));
    checkCase(harness, { name: `port ${port}`, frame: bytes, verdict: Verdict.pass, reason });
  }
});

Deno.test("of a machine's own addresses all are ours where it listens at all of a family", () => {
  using harness = new XdpHarness(casePorts);
  const reasonAt = (to: string) => {
    const lower = to.includes(":") ? ipv6({ to }) : ipv4({ to });
    const bytes = frame(ethernet(), lower, udp({ length: 7 }), payload(20));
    return harness.run(bytes)!.verdict === Verdict.drop;
  };
  const all = ["192.0.2.2", "192.0.2.4", "192.0.2.9", "2001:db8::4", "2001:db8::9"];
  const claims: readonly [number, readonly string[], readonly boolean[]][] = [
    [1 << 4 | 1 << 6, [], [true, true, false, true, false]],
    [1 << 4, [], [true, true, false, false, false]],
    [1 << 6, [], [false, false, false, true, false]],
    [0, ["192.0.2.9"], [false, false, true, false, false]],
    [0, ["2001:db8::9"], [false, false, false, false, true]],
    [0, [], [false, false, false, false, false]],
  ];
  for (const [families, first, expected] of claims) {
    harness.claim({ families, first });
    assert.deepEqual(all.map(reasonAt), expected, `${families} ${first}`);
  }
});

Deno.test("everything passes once nobody runs for our ports any more", async () => {
  using harness = new XdpHarness(casePorts);
  const cases = all.filter(({ reason }) => reason !== Reason.notListening);
  const now = () => monotonicMs(libraries().native);
  const letGo = { verdict: Verdict.pass, reason: Reason.letGo };
  const isOurs = ({ reason }: XdpCase) =>
    [Reason.listen, Reason.badUdp, Reason.badChecksum].includes(reason as 3);
  harness.claim({ aliveUntilMs: 0 });
  for (const one of cases) checkCase(harness, isOurs(one) ? { ...one, ...letGo } : one);
  const aliveUntilMs = now() + 1000;
  harness.claim({ aliveUntilMs });
  const [ours] = cases.filter(({ reason }) => reason === Reason.badUdp);
  for (let dropped = 0;; dropped++) {
    const [began, { verdict }, ended] = [now(), harness.run(ours!.frame)!, now()];
    // The program's clock goes by ticks, of 10 ms at most.
    if (verdict === Verdict.drop) assert.ok(began < aliveUntilMs + 10, `${began - aliveUntilMs}`);
    else {
      assert.ok(ended >= aliveUntilMs && dropped > 0);
      break;
    }
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
});

Deno.test("xdp_phantom answers the same and counts nothing with stats_enabled 0", () => {
  using harness = new XdpHarness(casePorts, { statsEnabled: false });
  const before = harness.counters();
  for (const one of all) {
    const result = harness.run(one.frame);
    if (result !== undefined) assert.equal(result.verdict, one.verdict, one.name);
  }
  assert.deepEqual(counterChanges(before, harness.counters()), []);
});

// ---- events ----

function openGates(harness: XdpHarness): void {
  for (const kind of [EventKind.malformed, EventKind.checksum]) harness.setGates(0n, kind);
}

/** Runs one frame with every gate open; its event. */
function eventOf(harness: XdpHarness, bytes: Bytes): Event {
  openGates(harness);
  harness.run(bytes);
  const events = harness.events();
  assert.equal(events.length, 1);
  return events[0]!;
}

function checkEvent(event: Event, expected: Partial<Event>): void {
  const { timeNs, ...rest } = event;
  assert.ok(timeNs > 0n);
  // BPF_PROG_TEST_RUN lets a frame come from the loopback interface, whose index is 1.
  const common = { kind: EventKind.malformed, ifindex: 1, protocol: 17, value: 8n };
  assert.deepEqual(rest, { ...common, ...expected });
}

Deno.test("xdp_phantom reports a bad length over IPv4 with mapped addresses", () => {
  using harness = new XdpHarness(casePorts);
  const from = "198.51.100.7";
  const to = OWN[0]!;
  const datagram = udp({ from: 1234, to: 54321, length: 7 });
  for (const tags of [[], [vlan()], [vlan(), vlan()]]) {
    const options = [7, 7, 4, 10, 0, 0, 1];
    const bytes = frame(ethernet(), ...tags, ipv4({ from, to, options }), datagram, payload(5));
    checkEvent(eventOf(harness, bytes), {
      srcIp: ipBytes(`::ffff:${from}`),
      dstIp: ipBytes(`::ffff:${to}`),
      srcPort: 1234,
      dstPort: 54321,
      family: 4,
    });
  }
});

Deno.test("xdp_phantom reports a bad length over IPv6", () => {
  using harness = new XdpHarness(casePorts);
  const from = "2001:db8:1:2:3:4:5:6";
  const to = OWN[1]!;
  const bytes = frame(ethernet(), ipv6({ from, to }), udp({ from: 65535, to: 65535, length: 0 }));
  checkEvent(eventOf(harness, bytes), {
    srcIp: ipBytes(from),
    dstIp: ipBytes(to),
    srcPort: 65535,
    dstPort: 65535,
    family: 6,
  });
});

Deno.test("xdp_phantom reports a wrong checksum, at most one an interval", () => {
  using harness = new XdpHarness(casePorts);
  const bytes = frame(ethernet(), ipv4({ checksum: 1 }), udp(), payload(5));
  checkEvent(eventOf(harness, bytes), {
    kind: EventKind.checksum,
    value: BigInt(Reason.badChecksum),
    srcIp: ipBytes("192.0.2.1"),
    dstIp: ipBytes("192.0.2.2"),
    srcPort: 40000,
    dstPort: 443,
    family: 4,
  });
  harness.setGates(NEVER_NS, EventKind.checksum);
  harness.run(bytes, 10);
  assert.deepEqual(harness.events(), []);
  const suppressed = harness.gates(EventKind.checksum).map((gate) => gate.suppressed);
  assert.equal(suppressed.reduce((sum, one) => sum + one, 0n), 10n);
});

Deno.test("xdp_phantom reports the dropped frames and no others", () => {
  using harness = new XdpHarness(casePorts);
  for (const one of all) {
    openGates(harness);
    if (harness.run(one.frame) === undefined) continue;
    const kinds = one.verdict !== Verdict.drop
      ? []
      : [one.reason === Reason.badChecksum ? EventKind.checksum : EventKind.malformed];
    assert.deepEqual(harness.events().map(({ kind }) => kind), kinds, one.name);
    assert.ok(harness.gates().every(({ suppressed }) => suppressed === 0n), one.name);
  }
});

Deno.test("an event closes the gate of its CPU for the interval", () => {
  using harness = new XdpHarness(casePorts);
  const { timeNs } = eventOf(harness, malformed);
  const closed = harness.gates().filter(({ nextNs }) => nextNs !== 0n);
  assert.deepEqual(closed, [{ nextNs: timeNs + INTERVAL_NS, suppressed: 0n }]);
});

Deno.test("a closed gate suppresses events and counts them, and drops go on", () => {
  using harness = new XdpHarness(casePorts);
  harness.setGates(NEVER_NS);
  const before = harness.counters();
  harness.run(malformed, 1000);
  assert.deepEqual(harness.events(), []);
  assert.equal(suppressedIn(harness), 1000n);
  assert.ok(harness.gates().every(({ nextNs }) => nextNs === NEVER_NS));
  assert.deepEqual(counterChanges(before, harness.counters()), [
    `drop bad_udp: 1000 packets, ${1000 * malformed.length} bytes`,
  ]);
});

Deno.test("events of a flood come at most one a CPU and interval, and come again", () => {
  using harness = new XdpHarness(casePorts);
  const events: Event[] = [];
  let sent = 0n;
  const deadline = performance.now() + 10_000;
  for (; events.length < harness.cpus + 2; sent += 100n) {
    assert.ok(performance.now() < deadline, `only ${events.length} events`);
    harness.run(malformed, 100);
    events.push(...harness.events());
  }
  const times = events.map(({ timeNs }) => timeNs);
  // Of one more than there are CPUs, two are of the same CPU.
  for (let i = harness.cpus; i < times.length; i++) {
    assert.ok(times[i]! - times[i - harness.cpus]! >= INTERVAL_NS);
  }
  assert.equal(suppressedIn(harness), sent - BigInt(times.length));
});

Deno.test("what a full ring has no room for is counted, and does not close the gate", () => {
  const eventRingBytes = 1 << 16;
  using harness = new XdpHarness(casePorts, { eventRingBytes });
  const sent = 2 * eventRingBytes / 64;
  let suppressed = 0n;
  for (let i = 0; i < sent; i++) {
    harness.setGates(0n);
    harness.run(malformed);
    const lost = suppressedIn(harness);
    const nextOpen = harness.gates().every(({ nextNs }) => nextNs === 0n);
    assert.equal(nextOpen, lost === 1n);
    suppressed += lost;
  }
  const events = harness.events();
  assert.ok(events.length > 0 && events.length <= eventRingBytes / 64);
  assert.equal(BigInt(events.length) + suppressed, BigInt(sent));
  eventOf(harness, malformed);
});

function suppressedIn(harness: XdpHarness): bigint {
  return harness.gates().reduce((sum, gate) => sum + gate.suppressed, 0n);
}
