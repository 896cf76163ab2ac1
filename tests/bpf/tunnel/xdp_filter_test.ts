/** xdp_phantom with its filter on: keys and windows, limits, sessions, events. */

import assert from "node:assert/strict";
import {
  EventKind,
  Reason,
  SessionFlag,
  SessionKey,
  SessionState,
  SessionValue,
  TunnelLimit,
  Verdict,
} from "../../../ffi/bpf/layout.gen.ts";
import { monotonicMs } from "../../../ffi/loop.ts";
import { ipBytes } from "../../../src/base/ip.ts";
import { libraries } from "../../fixtures/libraries.ts";
import { masked, type MaskedOptions, testKey, testKeys, WINDOW } from "./keyed_packets.ts";
import { type Bytes, ethernet, frame, hex, ipv4, ipv6, payload, udp } from "../packets.ts";
import { casePorts, type XdpCase, xdpCases } from "./xdp_cases.ts";
import { counterChanges, counterIndex, outcomeText, XdpHarness } from "./xdp_harness.ts";
import { keptWindows, keyedCases } from "./xdp_keyed_cases.ts";
import { FilterModel } from "./xdp_model.ts";

const present = WINDOW & (TunnelLimit.maskKeys - 1);
const SECOND = 1_000_000_000n;
const keys = testKeys(...keptWindows);

// Loaded before a test counts what it opens: a library stays.
libraries();

/** A harness with keys and the filter on. */
function filtering(settings: Parameters<XdpHarness["configure"]>[0] = {}): XdpHarness {
  const harness = new XdpHarness(casePorts);
  harness.setKeys(keys, WINDOW);
  harness.configure({ present, ...settings });
  return harness;
}

function checkCase(harness: XdpHarness, one: XdpCase): void {
  const model = new FilterModel(casePorts, keys, WINDOW);
  assert.equal(outcomeText(model.take(one.frame)), outcomeText(one), "the model");
  const before = harness.counters();
  const expected = before.slice();
  expected[counterIndex(one)]! += 1;
  expected[counterIndex(one) + 1]! += one.frame.length;
  const result = harness.run(one.frame);
  const changes = counterChanges(before, harness.counters());
  assert.deepEqual(changes, counterChanges(before, expected), `counters of ${hex(one.frame)}`);
  assert.equal(result?.verdict, one.verdict);
  assert.equal(hex(result!.frame), hex(one.frame), "the frame changed");
  checkSessions(harness, model);
  harness.forget();
}

/** The table holds what the model holds, and nothing else. */
function checkSessions(harness: XdpHarness, model: FilterModel): void {
  const found = harness.sessions();
  assert.deepEqual([...found.keys()].sort(), [...model.sessions.keys()].sort());
  for (const [key, { packets, bytes, flags }] of model.sessions) {
    const value = found.get(key)!;
    assert.equal(value.packetsIn, packets, key);
    assert.equal(value.bytesIn, BigInt(bytes), key);
    assert.equal(value.flags, flags, key);
    assert.equal(value.state, SessionState.new, key);
    assert.equal(hex(value.peerIp), key.slice(0, 32));
    assert.equal(value.peerPort, parseInt(key.slice(64, 68), 16));
    assert.equal(value.bytesOut, 0n);
  }
}

for (const [about, cases] of keyedCases) {
  Deno.test(`xdp_phantom with keys answers by the table: ${about}`, async (t) => {
    assert.equal(new Set(cases.map(({ name }) => name)).size, cases.length);
    using harness = filtering();
    for (const one of cases) await t.step(one.name, () => checkCase(harness, one));
  });
}

Deno.test("with keys, the parser's table holds for all that is not ours and sound", () => {
  using harness = filtering();
  const model = new FilterModel(casePorts, keys, WINDOW);
  for (const one of [...xdpCases.values()].flat()) {
    const result = harness.run(one.frame);
    const outcome = model.take(one.frame);
    if (one.reason !== Reason.listen) assert.equal(outcome.reason, one.reason, one.name);
    if (result !== undefined) assert.equal(result.verdict, outcome.verdict, one.name);
  }
  checkSessions(harness, model);
});

// ---- keys ----

const data = (options: MaskedOptions = {}) => frame(ethernet(), ipv4(), udp(), masked(options));
const noise = frame(ethernet(), ipv4(), udp(), payload(64));

/** What one frame is counted as. */
function reasonOf(harness: XdpHarness, bytes: Bytes): Reason {
  const before = harness.counters();
  const result = harness.run(bytes);
  const after = harness.counters();
  for (let reason = 0; reason < Reason.count; reason++) {
    for (const verdict of [Verdict.pass, Verdict.drop]) {
      const at = counterIndex({ verdict, reason: reason as Reason });
      if (after[at]! === before[at]!) continue;
      assert.equal(result?.verdict, verdict);
      return reason as Reason;
    }
  }
  throw new Error("nothing was counted");
}

Deno.test("without a key for now everything passes, but what is too short", () => {
  using harness = new XdpHarness(casePorts);
  harness.configure({ present });
  assert.equal(reasonOf(harness, noise), Reason.noKeys);
  assert.equal(reasonOf(harness, data()), Reason.noKeys);
  assert.equal(reasonOf(harness, frame(ethernet(), ipv4(), udp(), payload(3))), Reason.short);
  // All that there is has run out, or has not begun.
  harness.setKeys(keys, WINDOW, 6 * 30_000);
  assert.equal(reasonOf(harness, noise), Reason.noKeys);
  harness.setKeys(keys, WINDOW, -4 * 30_000);
  assert.equal(reasonOf(harness, noise), Reason.noKeys);
  assert.equal(harness.sessions().size, 0);
});

Deno.test("with the filter off everything passes unseen", () => {
  using harness = filtering({ flags: 0 });
  assert.equal(reasonOf(harness, noise), Reason.listen);
  assert.equal(reasonOf(harness, data()), Reason.listen);
  assert.equal(harness.sessions().size, 0);
});

Deno.test("the program moves on to the next windows by itself, as long as there are keys", () => {
  using harness = filtering();
  for (const passed of [0, 1, 2, 3, 4]) {
    // What the control plane said of the present one stays as it was.
    harness.setKeys(keys, WINDOW, passed * 30_000 + 29_000);
    for (const by of [-2, -1, 0, 1, 2]) {
      const window = WINDOW + passed + by;
      const accepted = Math.abs(by) <= 1 && keys.has(window);
      const reason = reasonOf(harness, data({ window }));
      const about = `${passed} windows later, ${by}: ${reason}`;
      assert.equal(reason !== Reason.junk, accepted, about);
    }
  }
});

Deno.test("any hint of the present key will do", () => {
  using harness = filtering();
  for (let hint = 0; hint < TunnelLimit.maskKeys; hint++) {
    harness.configure({ present: hint });
    assert.notEqual(reasonOf(harness, data()), Reason.junk);
    assert.equal(reasonOf(harness, noise), Reason.junk);
  }
  harness.configure({ present: 0xffff_ffff });
  assert.equal(reasonOf(harness, data()), Reason.session);
});

Deno.test("a key that is left of an earlier round is no neighbour", () => {
  using harness = filtering();
  harness.setKeys(
    testKeys(WINDOW, WINDOW + 1 - TunnelLimit.maskKeys, WINDOW - 1 + TunnelLimit.maskKeys),
    WINDOW,
  );
  const left = [
    WINDOW + 1 - TunnelLimit.maskKeys,
    WINDOW - 1 + TunnelLimit.maskKeys,
    WINDOW - 1,
    WINDOW + 1,
  ];
  for (const window of left) assert.equal(reasonOf(harness, data({ window })), Reason.junk);
  assert.equal(reasonOf(harness, data()), Reason.sessionNew);
});

// ---- limits ----

/**
 * A share that lasts: longer than a test takes, and so much of this machine's age that sixteen can
 * have been saved up. The kernel's clock begins at boot, and so does what a source saves.
 */
const SHARE = BigInt(Math.floor(monotonicMs(libraries().native) * 1e6)) / 16n;

let hellos = 0;
/** Each has another salt. */
const freshHello = () => masked({ kind: 1, session: 0, bytes: 120, number: ++hellos });

const from4 = (i: number) => `198.51.${100 + (i >> 8)}.${i & 255}`;
const hello4 = (from: string, port = 1000) =>
  frame(
    ethernet(),
    ipv4({ from }),
    udp({ from: port }),
    freshHello(),
  );
const hello6 = (from: string, port = 1000) =>
  frame(
    ethernet(),
    ipv6({ from }),
    udp({ from: port }),
    freshHello(),
  );

function counted(harness: XdpHarness, frames: readonly Bytes[]): Map<Reason, number> {
  const counts = new Map<Reason, number>();
  for (const bytes of frames) {
    const reason = reasonOf(harness, bytes);
    counts.set(reason, (counts.get(reason) ?? 0) + 1);
  }
  return counts;
}

Deno.test("a HELLO's salt passes twice, from wherever and however changed", () => {
  using harness = filtering();
  const [salt, other] = [freshHello(), freshHello()];
  const copy = (i: number, bytes = salt) => {
    const packet = bytes.slice();
    // What is sealed by the AEAD alone.
    packet[40 + i % 80]! ^= 1 << i % 8;
    return frame(ethernet(), ipv4({ from: from4(i) }), udp({ from: 1000 + i }), packet);
  };
  assert.deepEqual([...counted(harness, Array.from({ length: 50 }, (_, i) => copy(i)))], [
    [Reason.sessionNew, 2],
    [Reason.helloRepeated, 48],
  ]);
  assert.deepEqual([...counted(harness, [51, 52, 53].map((i) => copy(i, other)))], [
    [Reason.sessionNew, 2],
    [Reason.helloRepeated, 1],
  ]);
  assert.equal(harness.sessions().size, 4);
  assert.equal(harness.events().filter(({ kind }) => kind === EventKind.flood).length > 0, true);
});

Deno.test("recorded HELLOs use up no limit", () => {
  using harness = filtering({
    ...{ helloSourceCostNs: SHARE, helloSourceRoomNs: 10n * SHARE },
    ...{ helloTotalCostNs: SHARE, helloTotalRoomNs: 10n * SHARE },
  });
  const recorded = hello4("198.51.100.7");
  harness.run(recorded, 2);
  for (let i = 0; i < 2000; i++) {
    const from = frame(ethernet(), ipv4({ from: from4(i), protocol: 17 }), recorded.slice(34));
    assert.equal(reasonOf(harness, from), Reason.helloRepeated);
  }
  const honest = Array.from({ length: 10 }, (_, i) => hello4("198.51.100.7", 2000 + i));
  assert.deepEqual([...counted(harness, honest)], [
    [Reason.sessionNew, 8],
    [Reason.helloSourceLimit, 2],
  ]);
});

Deno.test("a flood of one HELLO pushes no other out of the salts that are known", () => {
  using harness = filtering();
  const first = hello4("198.51.100.7");
  harness.run(first, 2);
  const flood = hello4("198.51.100.8");
  harness.run(flood, 300_000);
  assert.equal(harness.map("salts").count(), 4);
  assert.equal(reasonOf(harness, first), Reason.helloRepeated);
});

Deno.test("HELLOs of one source are limited, whatever their port; those of others are not", () => {
  using harness = filtering({ helloSourceCostNs: SHARE, helloSourceRoomNs: 5n * SHARE });
  const flood = Array.from({ length: 40 }, (_, i) => hello4("198.51.100.7", 1000 + i));
  const counts = counted(harness, flood);
  assert.deepEqual([...counts], [[Reason.sessionNew, 5], [Reason.helloSourceLimit, 35]]);
  assert.equal(reasonOf(harness, hello4("198.51.100.8")), Reason.sessionNew);
  // DATA goes on, and of the sources that were refused no session is left.
  assert.equal(reasonOf(harness, data()), Reason.sessionNew);
  assert.equal(harness.sessions().size, 7);
});

Deno.test("an IPv6 source is its /64", () => {
  using harness = filtering({ helloSourceCostNs: SHARE, helloSourceRoomNs: 2n * SHARE });
  const sources = ["2001:db8:1:2::1", "2001:db8:1:2:ffff::2", "2001:db8:1:2::3"];
  const counts = counted(harness, sources.map((from) => hello6(from)));
  assert.deepEqual([...counts], [[Reason.sessionNew, 2], [Reason.helloSourceLimit, 1]]);
  assert.equal(reasonOf(harness, hello6("2001:db8:1:3::1")), Reason.sessionNew);
});

Deno.test("HELLOs of all sources are limited, and what one had too many does not count", () => {
  using harness = filtering({
    helloSourceCostNs: SHARE,
    helloSourceRoomNs: SHARE,
    helloTotalCostNs: SHARE,
    helloTotalRoomNs: 10n * SHARE,
  });
  const own = Array.from({ length: 20 }, (_, i) => hello4("198.51.100.7", 1000 + i));
  assert.deepEqual([...counted(harness, own)], [
    [Reason.sessionNew, 1],
    [Reason.helloSourceLimit, 19],
  ]);
  const others = Array.from({ length: 20 }, (_, i) => hello4(from4(300 + i)));
  assert.deepEqual([...counted(harness, others)], [
    [Reason.sessionNew, 9],
    [Reason.helloTotalLimit, 11],
  ]);
});

Deno.test("a source that is refused gets its share again as time goes on", async () => {
  // One saved up.
  using harness = filtering({ helloSourceCostNs: SECOND / 50n, helloSourceRoomNs: SECOND / 50n });
  const costMs = 20;
  // The program's clock goes by ticks, of 10 ms at most.
  const tickMs = 10;
  const begin = performance.now();
  let [passed, refused, passedAt] = [0, 0, -Infinity];
  while (passed < 20 || refused < 20) {
    const before = performance.now();
    if (reasonOf(harness, hello4("198.51.100.7")) !== Reason.helloSourceLimit) {
      passedAt = performance.now();
      passed++;
    } else {
      refused++;
      assert.ok(before - passedAt < costMs + tickMs, `refused after ${before - passedAt} ms`);
    }
    const due = (performance.now() - begin + tickMs) / costMs;
    assert.ok(passed <= due + 1, `${passed} of ${due}`);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
});

Deno.test("new sessions of one source are limited; its packets pass none the less", () => {
  using harness = filtering({ newSourceCostNs: SHARE, newSourceRoomNs: 3n * SHARE });
  const ports = Array.from(
    { length: 10 },
    (_, i) => frame(ethernet(), ipv4(), udp({ from: 2000 + i }), masked()),
  );
  assert.deepEqual([...counted(harness, ports)], [
    [Reason.sessionNew, 3],
    [Reason.sessionLimit, 7],
  ]);
  assert.equal(harness.sessions().size, 3);
  assert.equal(reasonOf(harness, ports[0]!), Reason.session);
  assert.equal(reasonOf(harness, ports[9]!), Reason.sessionLimit);
});

Deno.test("a refused HELLO is an event, at most one a CPU and interval", () => {
  using harness = filtering({ helloSourceCostNs: SHARE, helloSourceRoomNs: SHARE });
  harness.run(hello4("198.51.100.7"));
  harness.events();
  for (let i = 0; i < 100; i++) harness.run(hello4("198.51.100.7"));
  const floods = harness.events().filter(({ kind }) => kind === EventKind.flood);
  assert.ok(floods.length >= 1 && floods.length <= 2 * harness.cpus, `${floods.length} events`);
  assert.equal(floods[0]!.value, BigInt(Reason.helloSourceLimit));
  assert.deepEqual(floods[0]!.srcIp, ipBytes("::ffff:198.51.100.7"));
  const suppressed = harness.gates(EventKind.flood)
    .reduce((sum, gate) => sum + gate.suppressed, 0n);
  assert.equal(suppressed, 100n - BigInt(floods.length));
});

// ---- sessions ----

function onlySession(harness: XdpHarness): SessionValue {
  const all = [...harness.sessions().values()];
  assert.equal(all.length, 1);
  return all[0]!;
}

Deno.test("an entry is made once, told once, and counts every packet", async () => {
  using harness = filtering();
  const first = frame(ethernet(), ipv6(), udp({ from: 700 }), masked({ session: 77, kind: 1 }));
  const bytes = frame(ethernet(), ipv6(), udp({ from: 700 }), masked({ session: 77 }));
  assert.equal(reasonOf(harness, first), Reason.sessionNew);
  const [event, ...more] = harness.events();
  assert.deepEqual(more, []);
  assert.equal(event!.kind, EventKind.new);
  assert.equal(event!.value, 77n);
  assert.equal(event!.srcPort, 700);
  assert.equal(onlySession(harness).flags, SessionFlag.hello);
  for (let i = 0; i < 9; i++) assert.equal(reasonOf(harness, bytes), Reason.session);
  // What a tick's packets bring is written when the next tick's first one comes.
  await nextTick();
  const counted = 100_000;
  harness.run(bytes, counted);
  await nextTick();
  harness.run(bytes);
  const value = onlySession(harness);
  assert.equal(value.packetsIn, 11 + counted);
  assert.equal(value.bytesIn, BigInt((11 + counted) * bytes.length));
  assert.ok(value.lastSeenNs - value.createdNs >= 20_000_000n);
  assert.deepEqual(harness.events(), []);
});

/** Waits until the kernel's clock has ticked at its slowest. */
function nextTick(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 30));
}

Deno.test("sessions that share a slot in front are told apart", async () => {
  using harness = filtering();
  // 600 of them have 512 slots.
  const frames = Array.from(
    { length: 600 },
    (_, i) => frame(ethernet(), ipv4({ from: from4(i) }), udp({ from: 3000 + i }), masked()),
  );
  const model = new FilterModel(casePorts, keys, WINDOW);
  for (let round = 0; round < 6; round++) {
    for (const bytes of frames) {
      harness.run(bytes);
      model.take(bytes);
    }
    if (round % 2 === 1) await nextTick();
  }
  await nextTick();
  for (const bytes of frames) {
    harness.run(bytes);
    model.take(bytes);
  }
  checkSessions(harness, model);
});

Deno.test("an entry that was thrown out comes back with the next tick", async () => {
  using harness = filtering();
  harness.run(data());
  harness.forget();
  await nextTick();
  assert.equal(reasonOf(harness, data()), Reason.sessionNew);
  assert.equal(harness.sessions().size, 1);
});

Deno.test("what is closing is counted but not kept, and a HELLO begins anew", async () => {
  using harness = filtering();
  const bytes = frame(ethernet(), ipv4(), udp(), masked());
  harness.run(bytes);
  const [key] = [...harness.sessions().keys()];
  const keyFields = SessionKey.read(new DataView(Uint8Array.fromHex(key!).buffer));
  const value = { ...onlySession(harness), state: SessionState.closing, lastSeenNs: 5n };
  await nextTick();
  harness.setSession(keyFields, value);
  assert.equal(reasonOf(harness, bytes), Reason.session);
  await nextTick();
  assert.equal(reasonOf(harness, bytes), Reason.session);
  const closing = onlySession(harness);
  assert.equal(closing.lastSeenNs, 5n);
  assert.equal(closing.packetsIn, 3);
  assert.equal(closing.state, SessionState.closing);
  harness.run(data({ kind: 1 }));
  assert.equal(onlySession(harness).state, SessionState.new);
  assert.ok(onlySession(harness).lastSeenNs > 5n);
});

Deno.test("a full table throws out the oldest and takes the new", () => {
  using harness = new XdpHarness(casePorts, { sessions: 1024 });
  harness.setKeys(keys, WINDOW);
  harness.configure({ present });
  for (let i = 0; i < 5000; i++) {
    const bytes = frame(
      ethernet(),
      ipv4({ from: from4(i % 256) }),
      udp({ from: 1000 + i }),
      masked(),
    );
    assert.equal(reasonOf(harness, bytes), Reason.sessionNew);
  }
  const { size } = harness.sessions();
  assert.ok(size > 500 && size <= 1024, `${size} entries`);
});

Deno.test("events come by the perf buffer where there is no ring buffer", () => {
  using harness = new XdpHarness(casePorts, { perf: true });
  harness.setKeys(keys, WINDOW);
  harness.configure({ present });
  harness.run(data({ session: 4711 }));
  harness.run(frame(ethernet(), ipv4(), udp({ length: 9 })));
  harness.run(frame(ethernet(), ipv4(), udp({ length: 7 })));
  const events = harness.events();
  assert.deepEqual(events.map(({ kind }) => kind), [EventKind.new, EventKind.malformed]);
  assert.equal(events[0]!.value, 4711n);
  assert.equal(events[1]!.value, BigInt(Reason.badUdp));
});

Deno.test("keys of tests differ", () => {
  const all = new Set(keptWindows.map((window) => hex(testKey(window))));
  assert.equal(all.size, keptWindows.length);
});
