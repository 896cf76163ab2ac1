/** Restarts and upgrades of the XDP plane: what is in its maps lives on, and no packet is lost. */

import assert from "node:assert/strict";
import { SessionKey, SessionValue } from "../../../ffi/bpf/layout.gen.ts";
import { type BpfMap, createMap, openPinnedMap } from "../../../ffi/bpf/map.ts";
import { BpfMapType } from "../../../ffi/bpf/libbpf.gen.ts";
import { type PlaneOptions, unloadPlane, type XdpPlane } from "../../../src/tunnel/kernel/plane.ts";
import type { ObjectPins } from "../../../src/kernel/pins.ts";
import { masked } from "../../bpf/tunnel/keyed_packets.ts";
import { type PinnedIds, pinnedIds, remaining, Sender } from "../../fixtures/kernel.ts";
import { libraries } from "../../fixtures/libraries.ts";
import {
  compileEdited,
  filterPart,
  PLANE_PORT,
  PlaneBench,
  versionOf,
} from "../../fixtures/plane.ts";
import { assertNothingLost, underLoad } from "../../fixtures/under_load.ts";
import {
  OURS,
  packetsOf,
  packetsUntil,
  PORT,
  SERVER_IP,
  ServerBench,
} from "../../fixtures/server.ts";

const libs = libraries();
const ignore = Deno.uid() !== 0;
if (ignore) console.log("upgrade_test.ts: skipped, network namespaces need root");

/** A test with a bench of its own. */
function test(name: string, act: (bench: PlaneBench) => Promise<void> | void): void {
  Deno.test({
    name,
    ignore,
    async fn() {
      using bench = new PlaneBench();
      await act(bench);
    },
  });
}

/**
 * Our program with one more map, `flows`: what a version has of it, the next one has with other
 * fields. Layouts are told apart by their number here.
 */
const FLOWS = {
  key: "__u32 number; __u16 kind; __u16 pad;",
  value: "__u64 first; __u32 count; __u8 mark[4];",
  type: "LRU_HASH",
  size: 4096,
};

type Flows = typeof FLOWS;

function versionWith(
  bench: PlaneBench,
  layout: string,
  changes: Partial<Flows> = {},
): Pick<PlaneOptions, "code" | "layout"> {
  const { key, value, type, size } = { ...FLOWS, ...changes };
  const declared = `
struct flow_key { ${key} };
struct flow_value { ${value} };
struct {
	__uint(type, BPF_MAP_TYPE_${type});
	__type(key, struct flow_key);
	__type(value, struct flow_value);
	__uint(max_entries, ${size});
} flows SEC(".maps");
#endif
`;
  const object = compileEdited(
    bench.folder,
    (text, name) => name === "maps/sessions.h" ? text.replace(/#endif\s*$/, declared) : text,
  );
  return versionOf(object, layout);
}

const KEY_BYTES = 8;

/** Writes `count` flows as FLOWS has them. */
function fill(map: BpfMap, count: number): void {
  for (let i = 0; i < count; i++) {
    const [key, value] = [new Uint8Array(KEY_BYTES), new Uint8Array(16)];
    new DataView(key.buffer).setUint32(0, i, true);
    new DataView(key.buffer).setUint16(4, 7, true);
    const view = new DataView(value.buffer);
    view.setBigUint64(0, 1000n + BigInt(i), true);
    view.setUint32(8, i * 3, true);
    value.set([1, 2, 3, i & 255], 12);
    assert.equal(map.add(key, value), "added");
  }
}

/** The flows by number, each as hex digits. */
function flowsIn(map: BpfMap): Map<number, string> {
  const flows = new Map<number, string>();
  for (const key of map.keys()) {
    flows.set(new DataView(key.buffer).getUint32(0, true), map.get(key)!.toHex());
  }
  return flows;
}

function mapPins({ pins }: PlaneBench): ObjectPins {
  return pins.object("xdp_phantom");
}

/** A hash as the pins have it. */
function hash(layout: string): string {
  return layout.padStart(16, "0");
}

test("a map whose own layout is unchanged goes over to another version as it is", (bench) => {
  const first = bench.start(versionWith(bench, "1"));
  fill(first.map("flows"), 500);
  const { id } = first.map("flows").info;
  const flows = flowsIn(first.map("flows"));
  first.close();
  const second = bench.start(versionWith(bench, "2"));
  assert.equal(second.map("flows").info.id, id);
  assert.ok(second.adopted.includes("flows") && second.adopted.includes("sessions"));
  // What an index means is the program's own: never taken over.
  assert.ok(!second.adopted.includes("stats"));
  assert.deepEqual(flowsIn(second.map("flows")), flows);
  assert.ok(second.interfaces()[0]!.swapped);
  assert.deepEqual(mapPins(bench).layouts(), [hash("2")]);
  second.close();
});

test("entries of a changed layout move field by field, by name and type", (bench) => {
  const first = bench.start(versionWith(bench, "1"));
  fill(first.map("flows"), 1000);
  const ids = pinnedIds(bench.pins.path);
  first.close();
  // In another order, one field more, `count` of another type.
  const changed = { value: "__u8 mark[4]; __u32 added; __u64 count; __u64 first;" };
  const second = bench.start(versionWith(bench, "2", changed));
  const flows = flowsIn(second.map("flows"));
  assert.equal(flows.size, 1000);
  for (const [number, hex] of flows) {
    const view = new DataView(Uint8Array.fromHex(hex).buffer);
    assert.deepEqual([...new Uint8Array(view.buffer, 0, 4)], [1, 2, 3, number & 255]);
    assert.equal(view.getUint32(4, true), 0);
    assert.equal(view.getBigUint64(8, true), 0n);
    assert.equal(view.getBigUint64(16, true), 1000n + BigInt(number));
  }
  assert.match(bench.line("event=map_migrated"), /map=flows entries=1000 /);
  second.close();
  return remaining({ maps: { flows: ids.maps["flows"]! }, links: [], programs: [] })
    .then((left) => assert.deepEqual(left, []));
});

test("keys of another layout are never misread: the map starts empty and says so", (bench) => {
  const first = bench.start(versionWith(bench, "1"));
  fill(first.map("flows"), 10);
  first.close();
  for (
    const [layout, key] of [["2", "__u64 number;"], ["3", "__u32 number; __u16 kind;"]] as const
  ) {
    const next = bench.start(versionWith(bench, layout, { key }));
    assert.equal(flowsIn(next.map("flows")).size, 0);
    assert.match(bench.line("event=map_not_migrated"), /WARN .*map=flows/);
    next.close();
  }
});

test("maps of a version that left no types start empty", (bench) => {
  const first = bench.start(versionWith(bench, "1"));
  fill(first.map("flows"), 10);
  Deno.removeSync(`${mapPins(bench).maps(hash("1"))}/ph_types`);
  first.close();
  const second = bench.start(versionWith(bench, "2"));
  assert.equal(flowsIn(second.map("flows")).size, 0);
  second.close();
});

test("a map of another size keeps its entries, as far as there is room", (bench) => {
  const first = bench.start(versionWith(bench, "1", { type: "HASH" }));
  fill(first.map("flows"), 1000);
  const before = flowsIn(first.map("flows"));
  first.close();
  const larger = bench.start(versionWith(bench, "1", { type: "HASH", size: 8192 }));
  assert.deepEqual(flowsIn(larger.map("flows")), before);
  assert.match(bench.line("event=map_resized"), /map=flows before=4096 now=8192/);
  assert.ok(!mapPins(bench).mapNames(hash("1")).some((name) => name.endsWith("-old")));
  larger.close();
  const smaller = bench.start(versionWith(bench, "1", { type: "HASH", size: 600 }));
  const kept = flowsIn(smaller.map("flows"));
  assert.equal(kept.size, 600);
  for (const [number, value] of kept) assert.equal(value, before.get(number));
  assert.match(bench.line("event=map_migrated_partly"), /WARN .*map=flows entries=600 lost=400/);
  smaller.close();
});

test("a start that died on the way loses nothing", (bench) => {
  const first = bench.start(versionWith(bench, "1"));
  fill(first.map("flows"), 100);
  first.close();
  // As left by a start with another size that did not get to its swap.
  const folder = mapPins(bench).maps(hash("1"));
  Deno.renameSync(`${folder}/flows`, `${folder}/flows-old`);
  {
    const shape = { name: "flows", type: BpfMapType.lruHash, keySize: 8, valueSize: 16 };
    using half = createMap(libs, { ...shape, maxEntries: 2048 });
    half.pin(`${folder}/flows`);
  }
  const second = bench.start(versionWith(bench, "1", { size: 2048 }));
  assert.equal(flowsIn(second.map("flows")).size, 100);
  assert.deepEqual(mapPins(bench).mapNames(hash("1")).filter((one) => /-/.test(one)), []);
  second.close();
});

test("what comes into the old map until the swap moves too", (bench) => {
  const first = bench.start(versionWith(bench, "1"));
  fill(first.map("flows"), 100);
  first.close();
  const folder = mapPins(bench).maps(hash("1"));
  using old = openPinnedMap(libs, `${folder}/flows`)!;
  // The plane logs once it has moved the entries, and before it swaps the program.
  const lines = bench.lines;
  const push = lines.push.bind(lines);
  lines.push = (...items: string[]) => {
    if (items.some((line) => line.includes("a map of another version is taken over map=flows"))) {
      const key = new Uint8Array(KEY_BYTES);
      key.set([0xff, 0xff]);
      old.set(key, new Uint8Array(16));
    }
    return push(...items);
  };
  const changed = { value: "__u64 first; __u64 count;" };
  const second = bench.start(versionWith(bench, "2", changed));
  assert.equal(flowsIn(second.map("flows")).size, 101);
  assert.match(bench.line("event=map_migrated_late"), /map=flows entries=1 /);
  second.close();
});

test("a map too large for the machine is a message, and what runs goes on", (bench) => {
  const first = bench.start();
  const { programId } = first.interfaces()[0]!;
  first.close();
  const huge = versionWith(bench, "1", { type: "HASH", size: 0x7fff_ffff });
  assert.throws(() => bench.start(huge), /load BPF object xdp_phantom: E(2BIG|NOMEM|INVAL)/);
  assert.equal(bench.pinnedLink().info().programId, programId);
  const again = bench.start();
  assert.ok(again.interfaces()[0]!.swapped);
  again.close();
});

const CYCLES = 200;
const SESSIONS = 1000;
/** With other work on the machine: alone it takes 6 s, most of them grace periods. */
const TIME_MAX_MS = 180_000;

function merge(all: PinnedIds, more: PinnedIds): PinnedIds {
  const maps = Object.entries(more.maps).map(([name, id]) => [`${name} ${id}`, id]);
  return {
    maps: { ...all.maps, ...Object.fromEntries(maps) },
    links: [...new Set([...all.links, ...more.links])],
    programs: [...new Set([...all.programs, ...more.programs])],
  };
}

/** Sessions of others, made at time 1. */
function fillSessions(map: BpfMap, count: number): void {
  for (let i = 0; i < count; i++) {
    const [key, value] = [new Uint8Array(SessionKey.size), new Uint8Array(SessionValue.size)];
    new DataView(key.buffer).setUint32(0, i + 1);
    new DataView(value.buffer).setBigUint64(SessionValue.offset.createdNs, 1n, true);
    assert.equal(map.add(key, value), "added");
  }
}

/** When the sessions were made, oldest first. */
function sessionsIn(map: BpfMap): bigint[] {
  const times: bigint[] = [];
  for (const { values, count } of map.batches()) {
    const view = new DataView(values.buffer);
    for (let row = 0; row < count; row++) {
      const at = row * SessionValue.size + SessionValue.offset.createdNs;
      times.push(view.getBigUint64(at, true));
    }
  }
  return times.sort((a, b) => a < b ? -1 : a > b ? 1 : 0);
}

function openDescriptors(): number {
  return [...Deno.readDirSync("/proc/self/fd")].length;
}

test(`${CYCLES} starts and upgrades under load lose and leak nothing`, async (bench) => {
  const versions = [
    versionWith(bench, "1"),
    versionWith(bench, "1", { size: 5000 }),
    versionWith(bench, "2", {
      value: "__u8 mark[4]; __u32 added; __u64 first; __u32 count; __u32 z;",
    }),
    versionWith(bench, "3"),
  ];
  const start = (version: number) => bench.start({ ...versions[version], parts: [filterPart] });
  let plane: XdpPlane = start(0);
  fill(plane.map("flows"), SESSIONS);
  fillSessions(plane.map("sessions"), SESSIONS);
  let probed: bigint[] = [];
  const link = pinnedIds(bench.pins.path).links;
  let ids: PinnedIds = { maps: {}, links: [], programs: [] };
  let descriptors = 0;
  const began = performance.now();
  bench.namespace.ip("addr", "add", `${SERVER_IP}/24`, "dev", "va");
  bench.peer.ip("addr", "add", "198.51.100.2/24", "dev", "vb");
  // What the filter takes for a packet of a session, and what is none of its business.
  const ports = { [PLANE_PORT]: masked({ bytes: 40 }), [PLANE_PORT + 1]: new Uint8Array(8) };
  const streams = await underLoad(bench.peer, bench.namespace, ports, async () => {
    for (let i = 1; i <= CYCLES; i++) {
      ids = merge(ids, pinnedIds(bench.pins.path));
      plane.close();
      // Each version twice: a restart and an upgrade.
      plane = start((i >> 1) % versions.length);
      assert.deepEqual(plane.interfaces().map(({ swapped }) => swapped), [true]);
      assert.equal(flowsIn(plane.map("flows")).size, SESSIONS, `cycle ${i}`);
      // The probe's own session has been there since its first packet, and no other came.
      const made = sessionsIn(plane.map("sessions"));
      if (probed.length === 0) probed = made;
      assert.deepEqual(made, probed, `cycle ${i}`);
      if (i === 20) descriptors = openDescriptors();
      // The descriptors of the process that sends, and of what reads it, are there all the time.
      await new Promise((resolve) => setTimeout(resolve, 0));
    }
  });
  const ms = performance.now() - began;
  assertNothingLost(streams);
  assert.ok(ms < TIME_MAX_MS, `${ms} ms`);
  assert.deepEqual(pinnedIds(bench.pins.path).links, link);
  // `first` has been in all versions.
  const view = (hex: string) => new DataView(Uint8Array.fromHex(hex).buffer);
  assert.deepEqual([probed.length, probed.filter((one) => one === 1n).length], [
    SESSIONS + 1,
    SESSIONS,
  ]);
  plane.close();
  plane = bench.start(versions[0]);
  for (const [number, hex] of flowsIn(plane.map("flows"))) {
    assert.equal(view(hex).getBigUint64(0, true), 1000n + BigInt(number));
    assert.equal(view(hex).getUint32(8, true), number * 3);
  }
  ids = merge(ids, pinnedIds(bench.pins.path));
  plane.close();
  assert.ok(descriptors > 0 && openDescriptors() <= descriptors);
  unloadPlane(libs, bench.pins);
  assert.deepEqual(await remaining(ids), []);
  const sent = streams.reduce((sum, one) => sum + one.sent, 0);
  console.log(`${Math.round(ms)} ms, ${sent} packets, ${ids.programs.length} programs`);
});

/** PHANTOM_KILLS=200 for the long run: minutes. */
const KILLS = Number(Deno.env.get("PHANTOM_KILLS") ?? 10);

Deno.test({
  name: `${KILLS} times kill -9 and start of the server under load lose and leak nothing`,
  ignore,
  async fn() {
    using bench = new ServerBench();
    const config = bench.config();
    using sender = new Sender(bench.client);
    await (await bench.start(config)).kill("SIGKILL");
    const first = pinnedIds(bench.pins());
    let ids = first;
    let count = 0;
    const streams = await underLoad(
      bench.client,
      bench.server,
      { [PORT + 1]: new Uint8Array(8) },
      async () => {
        for (let i = 0; i < KILLS; i++) {
          await using server = await bench.start(config);
          await server.until("swapped=true");
          // Also while nobody runs the packets are counted.
          sender.send(SERVER_IP, PORT, Array(7).fill(new Uint8Array(9)));
          assert.equal(await server.kill("SIGKILL"), 137);
          sender.send(SERVER_IP, PORT, Array(7).fill(new Uint8Array(9)));
          count += 14;
          ids = merge(ids, pinnedIds(bench.pins()));
        }
      },
    );
    assertNothingLost(streams);
    const last = pinnedIds(bench.pins());
    assert.deepEqual([last.maps, last.links], [first.maps, first.links]);
    assert.equal(await packetsUntil(count, OURS, () => bench.status()), count);
    assert.equal(packetsOf(await bench.status(), OURS), count);
    const { code } = await bench.phantom("unload", "-c", config);
    assert.equal(code, 0);
    assert.deepEqual(await remaining(ids), []);
  },
});
