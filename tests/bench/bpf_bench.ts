/**
 * What the border to BPF costs, and how many frames the XDP program sees to, on one core:
 * `deno run -A tests/bench/bpf_bench.ts [--json] [calls] [maps] [rings] [xdp] [filter]`, as root,
 * after `make bpf lib`; without a name all of them, in about a minute.
 */

import { attachXdp } from "../../ffi/bpf/xdp_link.ts";
import {
  Config,
  ConfigFlag,
  MaskKey,
  Reason,
  TunnelLimit,
  Verdict,
} from "../../ffi/bpf/layout.gen.ts";
import { monotonicMs } from "../../ffi/loop.ts";
import { keyOfIndex } from "../../ffi/bpf/map.ts";
import { cString } from "../../ffi/memory.ts";
import { BpfObject } from "../../ffi/bpf/object.ts";
import type { BpfProgram } from "../../ffi/bpf/program.ts";
import { eachRecord, EventRing } from "../../ffi/bpf/ring.ts";
import { masked, testKey, WINDOW } from "../bpf/tunnel/keyed_packets.ts";
import { type Bytes, ethernet, frame, ipv4, ipv6, payload, udp } from "../bpf/packets.ts";
import { OWN_FIRST } from "../bpf/tunnel/xdp_model.ts";
import { claim } from "../fixtures/claim.ts";
import { bpfObject, libraries } from "../fixtures/libraries.ts";
import { Namespace } from "../fixtures/netns.ts";
import { type Figure, leastNs, printFigures } from "./figures.ts";

const libs = libraries();
const PORT = 54321;
const LIVE_RUNS = 6;
const LIVE_FRAMES = 4_000_000;

function open(name: string): BpfObject {
  return new BpfObject(libs, name, bpfObject(name));
}

function mapFigures(): Figure[] {
  using object = open("testing").load();
  const map = object.map("numbers");
  const count = 50_000;
  const rows = map.rows(count);
  const keys = new Uint32Array(rows.keys.buffer);
  for (let i = 0; i < count; i++) keys[i] = i;
  rows.count = count;
  const key = new Uint8Array(Uint32Array.of(4711).buffer);
  const value = new Uint8Array(8);
  const write = leastNs(5, () => map.setMany(rows)) / count;
  const batch = map.rows(8192);
  let seen = 0;
  const read = leastNs(5, () => {
    seen = 0;
    for (const { count } of map.batches({ rows: batch })) seen += count;
  }) / count;
  if (seen !== count) throw new Error(`read ${seen} of ${count} entries`);
  const tallies = object.map("tallies");
  const sumRows = tallies.rows(64);
  return [
    {
      name: "hash map look-up, single",
      unit: "ns",
      value: leastNs(2e5, () => map.read(key, value)),
    },
    { name: "hash map look-up, batched", unit: "ns an entry", value: read },
    { name: "hash map update, batched", unit: "ns an entry", value: write },
    {
      name: "per-CPU sum, 64 entries of 2 counters",
      unit: "µs",
      value: leastNs(2e4, () => tallies.sums(sumRows)) / 1e3,
    },
  ];
}

function ringFigures(): Figure[] {
  using object = open("testing").load();
  using ring = EventRing.ofRingBuffer(libs, object.map("ring"));
  const buffer = new Uint8Array(1 << 20);
  const view = new DataView(buffer.buffer);
  const emit = object.program("emit_ring");
  const frame = new Uint8Array(64);
  const count = 50_000;
  let best = Infinity;
  let bestRead = Infinity;
  for (let run = 0; run < 20; run++) {
    for (const reads of [false, true]) {
      emit.run({ data: frame, repeat: count });
      let events = 0;
      let sum = 0;
      const start = performance.now();
      for (let used = ring.drain(buffer); used > 0; used = ring.drain(buffer)) {
        if (!reads) events += used / 72;
        else {
          eachRecord(view, used, (offset) => {
            events++;
            sum += view.getUint32(offset, true);
          });
        }
      }
      const ms = performance.now() - start;
      if (events !== count || (reads && sum === 0)) {
        throw new Error(`drained ${events} of ${count}`);
      }
      if (reads) bestRead = Math.min(bestRead, ms);
      else best = Math.min(best, ms);
    }
  }
  return [
    { name: "ring buffer drain, 64 B events", unit: "M/s", value: count / best / 1e3, aim: "≥ 2" },
    { name: "... and each one read", unit: "M/s", value: count / bestRead / 1e3, aim: "≥ 2" },
  ];
}

/** A 64-byte UDP frame to our port. */
function udpFrame(): Uint8Array<ArrayBuffer> {
  const frame = new Uint8Array(64);
  frame.set([0x08, 0x00, 0x45], 12);
  frame[17] = 50;
  frame[23] = 17;
  frame.set([PORT >> 8, PORT & 0xff], 36);
  frame[39] = 30;
  return frame;
}

function listen(object: BpfObject): void {
  const key = new Uint8Array(Uint32Array.of(PORT >> 6).buffer);
  object.map("listen_ports").set(
    key,
    new Uint8Array(BigUint64Array.of(1n << BigInt(PORT & 63), 0n, 0n).buffer),
  );
  claim((name) => object.map(name), { first: ["0.0.0.0", ...OWN_FIRST] });
}

/** Best of several runs of all in turn, so that a slow moment of the machine hits each alike. */
function bestRates(runs: Readonly<Record<string, () => void>>): Record<string, number> {
  const best: Record<string, number> = {};
  for (let round = 0; round < LIVE_RUNS; round++) {
    for (const [name, run] of Object.entries(runs)) {
      const start = performance.now();
      run();
      const rate = LIVE_FRAMES / (performance.now() - start) / 1e3;
      best[name] = Math.max(best[name] ?? 0, rate);
    }
  }
  return best;
}

function xdpFigures(): Figure[] {
  using namespace = new Namespace();
  namespace.veth("va", "vb");
  return namespace.enter(() => {
    const index = (name: string) => libs.native.symbols.ph_ifindex(cString(name));
    using generator = open("bench");
    generator.setConstant("out_ifindex", index("va"));
    generator.load();
    using dropping = open("xdp_phantom_drop").load();
    listen(dropping);
    const program = dropping.program("xdp_phantom");
    const drop = generator.program("drop");
    const data = udpFrame();
    const live = (run: BpfProgram, batch = 256) =>
      run.run({ data, live: true, repeat: LIVE_FRAMES, batch });
    const through = (receiver: BpfProgram) => {
      using _link = attachXdp(libs, receiver, index("vb"), "native");
      live(generator.program("send"));
    };
    const rates = bestRates({
      drop: () => live(drop),
      phantom: () => live(program),
      vethDrop: () => through(drop),
      vethPhantom: () => through(program),
    });
    const sums = dropping.map("stats").sums();
    const counted = sums[2 * (Verdict.pass * Reason.count + Reason.listen)]!;
    if (counted < LIVE_RUNS * LIVE_FRAMES) throw new Error(`counted only ${counted} frames`);
    const single = (run: BpfProgram) =>
      Math.min(...Array.from({ length: 10 }, () => run.run({ data, repeat: 1e6 }).durationNs));
    return [
      { name: "live frames: plain drop", unit: "Mpps", value: rates["drop"]! },
      {
        name: "live frames: parse, look-up, count",
        unit: "Mpps",
        value: rates["phantom"]!,
        aim: "≥ 15",
      },
      { name: "... as a share of plain drop", unit: "", value: rates["phantom"]! / rates["drop"]! },
      { name: "through a veth pair: plain drop", unit: "Mpps", value: rates["vethDrop"]! },
      {
        name: "through a veth pair: parse, look-up, count",
        unit: "Mpps",
        value: rates["vethPhantom"]!,
      },
      {
        name: "... as a share of plain drop",
        unit: "",
        value: rates["vethPhantom"]! / rates["vethDrop"]!,
      },
      { name: "test run: empty program", unit: "ns", value: single(generator.program("pass")) },
      { name: "test run: parse, look-up, count", unit: "ns", value: single(program) },
    ];
  });
}

/** Keys of three windows, and the filter on. */
function giveKeys(object: BpfObject): void {
  const config = new Uint8Array(Config.size);
  const view = new DataView(config.buffer);
  view.setUint32(Config.offset.flags, ConfigFlag.filter, true);
  view.setUint32(Config.offset.present, WINDOW % TunnelLimit.maskKeys, true);
  object.map("config").set(keyOfIndex(0), config);
  const now = BigInt(Math.round(monotonicMs(libs.native) * 1e6));
  for (const by of [-1, 0, 1]) {
    const window = WINDOW + by;
    const key = new DataView(testKey(window).buffer);
    const value = new Uint8Array(MaskKey.size);
    MaskKey.write(new DataView(value.buffer), 0, {
      window: BigInt(window),
      beginNs: now + BigInt(by) * 30_000_000_000n,
      k0: key.getBigUint64(0, true),
      k1: key.getBigUint64(8, true),
    });
    object.map("mask_keys").set(keyOfIndex(window % TunnelLimit.maskKeys), value);
  }
}

const over4 = (...parts: Bytes[]) =>
  frame(ethernet(), ipv4(), udp({ from: 4711, to: PORT }), ...parts);
const over6 = (...parts: Bytes[]) =>
  frame(ethernet(), ipv6(), udp({ from: 4711, to: PORT }), ...parts);

/** The frames that the filter tells apart. A packet that can unmask makes a frame of 74 bytes. */
const filterFrames: Readonly<Record<string, Bytes>> = {
  "64 B, too short to be a packet": over4(payload(22)),
  "junk, 74 B": over4(payload(32)),
  "session hit, 74 B": over4(masked()),
  "session hit, IPv6, 94 B": over6(masked()),
  "session hit, 1400 B": over4(masked({ bytes: 1358 })),
  "session hit of the window before": over4(masked({ window: WINDOW - 1 })),
  "session hit of the window after": over4(masked({ window: WINDOW + 1 })),
};

function aimOf(name: string): { aim?: string } {
  if (name.startsWith("junk")) return { aim: "≤ 130" };
  return name.includes("the window") || !name.startsWith("session") ? {} : { aim: "≤ 50" };
}

/** Program time by test runs, and rates by live frames, what passes dropped; on one core. */
function filterFigures(): Figure[] {
  using generator = open("bench");
  generator.setConstant("out_ifindex", 1);
  generator.load();
  using dropping = open("xdp_phantom_drop");
  dropping.setConstant("relay_enabled", 0);
  dropping.load();
  listen(dropping);
  const program = dropping.program("xdp_phantom");
  const single = (run: BpfProgram, data: Bytes) => {
    const runs = Array.from({ length: 10 }, () => run.run({ data, repeat: 5e5 }).durationNs);
    return Math.min(...runs);
  };
  const live = (data: Bytes, run = program) => () =>
    run.run({ data, live: true, repeat: LIVE_FRAMES, batch: 256 });
  giveKeys(dropping);
  const names = Object.keys(filterFrames);
  const empty = single(generator.program("pass"), filterFrames[names[0]!]!);
  const times = names.map((name): Figure => ({
    name: `program time: ${name}`,
    unit: "ns, an empty one's taken off",
    value: single(program, filterFrames[name]!) - empty,
    ...aimOf(name),
  }));
  giveKeys(dropping);
  const kinds = names.slice(0, 3);
  const rates = bestRates({
    ...Object.fromEntries(kinds.map((name) => [name, live(filterFrames[name]!)])),
    plain: live(filterFrames[kinds[2]!]!, generator.program("drop")),
  });
  return [
    { name: "test run: empty program, taken off", unit: "ns", value: empty },
    ...times,
    { name: "live frames: plain drop, 74 B", unit: "Mpps", value: rates["plain"]! },
    ...kinds.map((name): Figure => ({
      name: `live frames: ${name}`,
      unit: "Mpps",
      value: rates[name]!,
      aim: name.startsWith("session") ? "≥ 9" : "≥ 6",
    })),
  ];
}

function callFigures(): Figure[] {
  const { ph_abi } = libs.native.symbols;
  return [{ name: "FFI call that does nothing", unit: "ns", value: leastNs(1e7, () => ph_abi()) }];
}

const parts = {
  calls: callFigures,
  maps: mapFigures,
  rings: ringFigures,
  xdp: xdpFigures,
  filter: filterFigures,
} as const;
const asked = Deno.args.filter((arg) => arg in parts) as (keyof typeof parts)[];
const chosen = asked.length > 0 ? asked : Object.keys(parts) as (keyof typeof parts)[];
printFigures(chosen.flatMap((name) => parts[name]()));
