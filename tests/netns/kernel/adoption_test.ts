/** Pins as earlier versions laid them out: taken over under load, and removed. */

import assert from "node:assert/strict";
import { BpfMapType } from "../../../ffi/bpf/libbpf.gen.ts";
import type { BpfLink } from "../../../ffi/bpf/link.ts";
import { attachTcx } from "../../../ffi/bpf/tc_link.ts";
import { attachXdp } from "../../../ffi/bpf/xdp_link.ts";
import { createMap } from "../../../ffi/bpf/map.ts";
import { BpfObject } from "../../../ffi/bpf/object.ts";
import { TYPES_MAP } from "../../../src/kernel/map_store.ts";
import { unloadPlane } from "../../../src/tunnel/kernel/plane.ts";
import { existing, type PinnedIds, pinnedIds, remaining } from "../../fixtures/kernel.ts";
import { bpfObject, libraries } from "../../fixtures/libraries.ts";
import { PLANE_PORT, PlaneBench } from "../../fixtures/plane.ts";
import { SERVER_IP } from "../../fixtures/server.ts";
import { assertNothingLost, underLoad } from "../../fixtures/under_load.ts";

const libs = libraries();
const ignore = Deno.uid() !== 0;
if (ignore) console.log("adoption_test.ts: skipped, network namespaces need root");

const HASH_BEFORE = "00000000000000aa";
const SESSIONS = 100;

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
 * What a process of an earlier version leaves of an instance: maps in `maps-<hash>/`, the XDP link
 * in `links/`, that of the program at the way out in `egress/`.
 */
function leaveAsBefore(bench: PlaneBench, instance: string, device: string): PinnedIds {
  const folder = `${bench.pinPath}/${instance}`;
  const maps = `${folder}/maps-${HASH_BEFORE}`;
  for (const name of [maps, `${folder}/links`, `${folder}/egress`]) {
    Deno.mkdirSync(name, { recursive: true, mode: 0o700 });
  }
  using object = new BpfObject(libs, "xdp_phantom", bpfObject("xdp_phantom"));
  object.setConstant("relay_enabled", 0);
  object.omit("perf_events");
  object.load();
  const ids: Record<string, number> = {};
  for (const { name } of object.shapes()) {
    object.map(name).pin(`${maps}/${name}`);
    ids[name] = object.map(name).info.id;
  }
  pinTypes(object, `${maps}/${TYPES_MAP}`);
  fillSessions(object);
  using egress = new BpfObject(libs, "tc_egress", bpfObject("tc_egress"));
  const shared = new Set(object.shapes().map(({ name }) => name));
  for (const { name } of egress.shapes()) {
    if (shared.has(name)) egress.reuse(name, object.map(name));
    else egress.omit(name);
  }
  egress.load();
  const ifindex = bench.ifindex(device);
  const links = bench.namespace.enter(() => [
    pinned(attachXdp(libs, object.program("xdp_phantom"), ifindex, "native"), "links"),
    pinned(attachTcx(libs, egress.program("tc_egress"), ifindex, "egress"), "egress"),
  ]);
  const programs = [object.program("xdp_phantom"), egress.program("tc_egress")];
  return { maps: ids, links, programs: programs.map((program) => program.info().id) };

  function pinned(link: BpfLink, kind: string): number {
    link.pin(`${folder}/${kind}/${device}`);
    const { id } = link.info();
    link.close();
    return id;
  }
}

function pinTypes(object: BpfObject, path: string): void {
  const bytes = object.btfBytes();
  const shape = { name: TYPES_MAP, type: BpfMapType.array, keySize: 4, maxEntries: 1 };
  using map = createMap(libs, { ...shape, valueSize: bytes.length });
  map.set(new Uint8Array(4), bytes);
  map.pin(path);
}

function fillSessions(object: BpfObject): void {
  const sessions = object.map("sessions");
  for (let i = 1; i <= SESSIONS; i++) {
    const key = new Uint8Array(sessions.info.keySize);
    new DataView(key.buffer).setUint32(0, i);
    sessions.set(key, new Uint8Array(sessions.slotSize).fill(i & 255));
  }
}

function namesIn(folder: string): string[] {
  return [...Deno.readDirSync(folder)].map(({ name }) => name).sort();
}

test("pins of an earlier version are taken over under load: nothing is lost", async (bench) => {
  bench.namespace.ip("addr", "add", `${SERVER_IP}/24`, "dev", "va");
  bench.peer.ip("addr", "add", "198.51.100.2/24", "dev", "vb");
  const before = leaveAsBefore(bench, "default", "va");
  const streams = await underLoad(
    bench.peer,
    bench.namespace,
    { [PLANE_PORT + 1]: new Uint8Array(8) },
    async () => {
      const plane = bench.start();
      assert.deepEqual(plane.interfaces().map(({ swapped }) => swapped), [true]);
      for (const name of ["sessions", "sources"]) {
        assert.ok(plane.adopted.includes(name), name);
        assert.equal(plane.map(name).info.id, before.maps[name]);
      }
      assert.equal(plane.map("sessions").count(), SESSIONS);
      await new Promise((resolve) => setTimeout(resolve, 100));
      plane.close();
    },
  );
  assertNothingLost(streams);
  const after = pinnedIds(bench.pins.path);
  assert.deepEqual(after.links.toSorted(), before.links.toSorted());
  assert.deepEqual(namesIn(bench.pins.path), ["hooks", "xdp_phantom"]);
  assert.deepEqual(namesIn(`${bench.pins.path}/hooks`), ["tc_egress", "xdp"]);
  // Once: what is there now is adopted as it is.
  bench.start().close();
  assert.deepEqual(pinnedIds(bench.pins.path).maps, after.maps);
  const replaced = Object.entries(before.maps).filter(([name, id]) => after.maps[name] !== id);
  const gone = { ...before, maps: Object.fromEntries(replaced), links: [] };
  assert.deepEqual(await remaining(gone), []);
});

test("unload takes off what an earlier version left, and of no other instance", async (bench) => {
  bench.namespace.veth("wa", "wb", bench.peer);
  const one = leaveAsBefore(bench, "default", "va");
  const other = leaveAsBefore(bench, "other", "wa");
  assert.deepEqual(unloadPlane(libs, bench.pins), ["va"]);
  assert.deepEqual(await remaining(one), []);
  assert.ok(!bench.pins.exists);
  const count = Object.keys(other.maps).length + other.links.length + other.programs.length;
  assert.equal(existing(other).length, count);
  const plane = bench.start({ instance: "other", interfaces: ["wa"] });
  assert.deepEqual(plane.interfaces().map(({ swapped }) => swapped), [true]);
  plane.close();
  assert.deepEqual(namesIn(`${bench.pinPath}/other`), ["hooks", "xdp_phantom"]);
});
