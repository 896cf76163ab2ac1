/**
 * xdp_phantom with its filter on, drop_junk and tc_egress against models of them: frames that
 * unmask, nearly do and do not. PHANTOM_FUZZ_CASES=80000 is five million frames, in about five
 * minutes.
 */

import assert from "node:assert/strict";
import { Reason, TunnelLimit } from "../../ffi/bpf/layout.gen.ts";
import { keyOfIndex } from "../../ffi/bpf/map.ts";
import { BpfObject } from "../../ffi/bpf/object.ts";
import { masked, testKeys, WINDOW } from "../bpf/tunnel/keyed_packets.ts";
import { type Bytes, ethernet, frame, hex, ipv4, ipv6, padded, udp } from "../bpf/packets.ts";
import { casePorts } from "../bpf/tunnel/xdp_cases.ts";
import {
  counterChanges,
  counterIndex,
  outcomeText,
  XdpHarness,
} from "../bpf/tunnel/xdp_harness.ts";
import { keptWindows } from "../bpf/tunnel/xdp_keyed_cases.ts";
import { egressModel, FilterModel, socketModel } from "../bpf/tunnel/xdp_model.ts";
import { bpfObject, libraries } from "../fixtures/libraries.ts";
import { randomFrame } from "./filter_frames.ts";
import { fuzz, type Rng } from "./rng.ts";

const isRoot = Deno.uid() === 0;
const cases = 800;
const framesInCase = 64;
/** The kernel's clock goes on: keys are given anew, and sessions forgotten, every so many cases. */
const casesInRound = 40;
/** A test run with a socket buffer takes nothing shorter than its IP header. */
const skbBytesMin = 60;
const keys = testKeys(...keptWindows);
const present = WINDOW & (TunnelLimit.maskKeys - 1);
const portList = [...casePorts];

/** What the table holds, with what stands in front of it. */
function checkSessions(harness: XdpHarness, model: FilterModel): void {
  const found = harness.sessions();
  const pending = harness.pending();
  assert.equal(found.size, model.sessions.size);
  for (const [key, { packets, bytes, flags }] of model.sessions) {
    const value = found.get(key);
    assert.ok(value !== undefined, key);
    const more = pending.get(key) ?? { packets: 0, bytes: 0n };
    assert.equal(value.packetsIn + more.packets, packets, key);
    assert.equal(value.bytesIn + more.bytes, BigInt(bytes), key);
    assert.equal(value.flags, flags, key);
  }
}

function startRound(harness: XdpHarness): FilterModel {
  harness.forget();
  harness.setKeys(keys, WINDOW);
  return new FilterModel(casePorts, keys, WINDOW);
}

// Loaded before a test counts what it opens: a library stays.
if (isRoot) libraries();

function test(name: string, run: () => void): void {
  Deno.test({ name: `${name}${isRoot ? "" : " (needs root)"}`, ignore: !isRoot, fn: run });
}

test("xdp_phantom with keys agrees with its model", () => {
  using harness = new XdpHarness(casePorts);
  harness.configure({ present });
  let model = startRound(harness);
  const seen = new Map<Reason, number>();
  let frames = 0;
  fuzz({ cases }, (rng) => {
    if (frames % (casesInRound * framesInCase) === 0) model = startRound(harness);
    const before = harness.counters();
    const expected = before.slice();
    for (let i = 0; i < framesInCase; i++) {
      const bytes = randomFrame(rng);
      const outcome = model.take(bytes);
      const result = harness.run(bytes);
      const said = `${outcomeText(outcome)}: ${hex(bytes)}`;
      assert.equal(result?.verdict, outcome.verdict, said);
      assert.ok(isSame(result!.frame, bytes), `the frame changed: ${said}`);
      expected[counterIndex(outcome)]! += 1;
      expected[counterIndex(outcome) + 1]! += bytes.length;
      seen.set(outcome.reason, (seen.get(outcome.reason) ?? 0) + 1);
    }
    frames += framesInCase;
    assert.deepEqual(counterChanges(expected, harness.counters()), []);
    if (frames % (casesInRound * framesInCase) === 0) checkSessions(harness, model);
  });
  if (frames < cases * framesInCase) return;
  for (
    const reason of [
      Reason.short,
      Reason.junk,
      Reason.session,
      Reason.sessionNew,
      Reason.badChecksum,
    ]
  ) {
    assert.ok((seen.get(reason) ?? 0) / frames > 0.01, `too few of reason ${reason}`);
  }
});

function isSame(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

test("drop_junk agrees with its model", () => {
  using harness = new XdpHarness(casePorts);
  using object = new BpfObject(libraries(), "steer", bpfObject("steer"));
  object.load();
  harness.configure({ present });
  let count = 0;
  fuzz({ cases }, (rng) => {
    if (count++ % casesInRound === 0) {
      harness.setKeys(keys, WINDOW);
      for (const rows of harness.maskKeys()) object.map("mask_keys").setMany(rows);
      object.map("config").set(keyOfIndex(0), harness.config());
    }
    for (let i = 0; i < framesInCase; i++) {
      const data = padded(randomFrame(rng), skbBytesMin);
      const { value } = object.program("drop_junk").run({ data });
      const kept = socketModel(data.subarray(14), keys, WINDOW);
      assert.equal(value, kept ? data.length - 14 : 0, hex(data));
    }
  });
});

test("tc_egress agrees with its model, and makes no entries", () => {
  using harness = new XdpHarness(casePorts);
  using object = new BpfObject(libraries(), "tc_egress", bpfObject("tc_egress"));
  object.reuse("sessions", harness.map("sessions"));
  object.reuse("listen_ports", harness.map("listen_ports"));
  object.load();
  harness.configure({ present });
  startRound(harness);
  let counted = 0;
  // Some entries: those of packets that come in as the answers go out.
  const entries = Array.from({ length: 40 }, (_, i) => {
    const ports = { from: 1000 + (i & 3), to: portList[i % portList.length]! };
    const lower = i % 2 === 0 ? ipv4() : ipv6();
    harness.run(frame(ethernet(), lower, udp(ports), masked({ bytes: 40 })));
    const back = { from: ports.to, to: ports.from };
    const from = i % 2 === 0 ? ipv4({ from: "192.0.2.1", to: "198.51.100.1" }) : ipv6();
    return frame(ethernet(), from, udp(back), masked({ bytes: 60 }));
  });
  fuzz({ cases: cases / 4 }, (rng) => {
    const known = harness.sessions();
    const expected = new Map([...known].map(([key, value]) => [key, { ...value }]));
    for (let i = 0; i < framesInCase; i++) {
      let data = reversedFrame(rng, known, entries);
      if (rng.chance(0.5)) data = rng.mutate(data, rng.int(1, 3));
      data = padded(data, skbBytesMin);
      const { value } = object.program("tc_egress").run({ data });
      assert.equal(value | 0, -1);
      const entry = expected.get(egressModel(data, casePorts) ?? "");
      if (entry === undefined) continue;
      entry.packetsOut++;
      entry.bytesOut += BigInt(data.length);
      counted++;
    }
    assert.deepEqual(harness.sessions(), expected);
  });
  assert.ok(counted > 0);
});

/** The answer to a session that is there, or one of others. */
function reversedFrame(
  rng: Rng,
  known: ReadonlyMap<string, unknown>,
  others: readonly Bytes[],
): Bytes {
  if (rng.chance(0.2)) return rng.pick(others);
  const key = Uint8Array.fromHex(rng.pick([...known.keys()]));
  const view = new DataView(key.buffer);
  const ports = { from: view.getUint16(34), to: view.getUint16(32) };
  const ip = (at: number) => [...key.subarray(at, at + 16)];
  const text4 = (at: number) => ip(at).slice(12).join(".");
  const text6 = (at: number) =>
    Array.from({ length: 8 }, (_, i) => view.getUint16(at + 2 * i).toString(16)).join(":");
  const lower = key[37] === 4
    ? ipv4({ from: text4(16), to: text4(0) })
    : ipv6({ from: text6(16), to: text6(0) });
  return frame(ethernet(), lower, udp(ports), masked({ bytes: rng.int(32, 100) }));
}
