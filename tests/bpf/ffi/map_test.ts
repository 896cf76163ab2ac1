import assert from "node:assert/strict";
import { BpfMapType } from "../../../ffi/bpf/libbpf.gen.ts";
import { BpfMap, createMap, openPinnedMap, possibleCpus } from "../../../ffi/bpf/map.ts";
import { BpfObject } from "../../../ffi/bpf/object.ts";
import { bpfObject, freshPinPath, libraries } from "../../fixtures/libraries.ts";

const libs = libraries();

function u32(value: number): Uint8Array<ArrayBuffer> {
  return new Uint8Array(Uint32Array.of(value).buffer);
}

function u64(value: bigint): Uint8Array<ArrayBuffer> {
  return new Uint8Array(BigUint64Array.of(value).buffer);
}

function hash(maxEntries = 10_000): BpfMap {
  return createMap(libs, {
    name: "test_hash",
    type: BpfMapType.hash,
    keySize: 4,
    valueSize: 8,
    maxEntries,
  });
}

function fill(map: BpfMap, count: number): void {
  const rows = map.rows(count);
  for (let i = 0; i < count; i++) {
    rows.keys.set(u32(i), 4 * i);
    rows.values.set(u64(BigInt(i) * 3n), 8 * i);
  }
  rows.count = count;
  map.setMany(rows);
}

function contents(
  map: BpfMap,
  options: Parameters<BpfMap["batches"]>[0] = {},
): Map<number, bigint> {
  const all = new Map<number, bigint>();
  for (const { keys, values, count } of map.batches(options)) {
    const keyView = new DataView(keys.buffer);
    const valueView = new DataView(values.buffer);
    for (let i = 0; i < count; i++) {
      all.set(keyView.getUint32(4 * i, true), valueView.getBigUint64(8 * i, true));
    }
  }
  return all;
}

Deno.test("BpfMap gets what was set, and tells a missing key from a failure", () => {
  using map = hash();
  assert.equal(map.get(u32(1)), undefined);
  map.set(u32(1), u64(0x1234_5678_9abc_def0n));
  assert.deepEqual(map.get(u32(1)), u64(0x1234_5678_9abc_def0n));
  assert.equal(map.delete(u32(1)), true);
  assert.equal(map.delete(u32(1)), false);
});

Deno.test("BpfMap.set() keeps to 'new' and 'existing'", () => {
  using map = hash();
  assert.throws(() => map.set(u32(1), u64(1n), "existing"), /ENOENT/);
  map.set(u32(1), u64(1n), "new");
  assert.throws(() => map.set(u32(1), u64(2n), "new"), /bpf_map_update_elem map test_hash: EEXIST/);
  map.set(u32(1), u64(3n), "existing");
  assert.deepEqual(map.get(u32(1)), u64(3n));
});

Deno.test("BpfMap refuses keys and values of another size", () => {
  using map = hash();
  assert.throws(() => map.get(new Uint8Array(3)), /its key has 4 bytes: current value has 3/);
  assert.throws(() => map.set(u32(1), new Uint8Array(7)), /its value has 8 bytes/);
  assert.throws(() => map.read(u32(1), new Uint8Array(9)), RangeError);
});

Deno.test("a full BpfMap says so, at its maximum and not before", () => {
  using map = hash(4);
  for (let i = 0; i < 4; i++) map.set(u32(i), u64(1n));
  assert.throws(() => map.set(u32(4), u64(1n)), /E2BIG/);
});

Deno.test("BpfMap.keys() walks all, also while they are deleted", () => {
  using map = hash();
  fill(map, 500);
  const seen = [...map.keys()].map((key) => new DataView(key.buffer).getUint32(0, true));
  assert.deepEqual(seen.toSorted((a, b) => a - b), Array.from({ length: 500 }, (_, i) => i));
  let deleted = 0;
  for (const key of map.keys()) if (map.delete(key)) deleted++;
  assert.equal(deleted, 500);
});

Deno.test("BpfMap.batches() reads everything, with large and with small buffers", () => {
  using map = hash();
  fill(map, 5000);
  for (const size of [10_000, 5000, 777, 64]) {
    const all = contents(map, { rows: map.rows(size) });
    assert.equal(all.size, 5000, `buffer of ${size}`);
    assert.equal(all.get(4999), 14_997n);
  }
});

Deno.test("BpfMap.batches() grows its buffer where one bucket does not fit", () => {
  using map = hash();
  fill(map, 5000);
  assert.equal(contents(map, { rows: map.rows(1) }).size, 5000);
});

Deno.test("BpfMap.batches({take}) empties the map", () => {
  using map = hash();
  fill(map, 1000);
  assert.equal(contents(map, { take: true }).size, 1000);
  assert.equal(contents(map).size, 0);
});

Deno.test("BpfMap.batches() falls back to single look-ups where the kernel has no batches", () => {
  const queueLike = createMap(libs, {
    name: "test_sockmap",
    type: BpfMapType.reuseportSockarray,
    keySize: 4,
    valueSize: 8,
    maxEntries: 8,
  });
  using map = queueLike;
  // No sockets in it: every key is walked and none has a value.
  assert.equal(contents(map).size, 0);
  using cgroups = createMap(libs, {
    name: "test_percpu",
    type: BpfMapType.percpuHash,
    keySize: 4,
    valueSize: 8,
    maxEntries: 8,
  });
  cgroups.set(u32(3), new Uint8Array(cgroups.slotSize).fill(1));
  assert.equal([...cgroups.batches()][0]?.count, 1);
});

Deno.test("BpfMap.deleteMany() takes its keys, and minds no missing one", () => {
  using map = hash();
  fill(map, 10);
  const rows = map.rows(3);
  rows.keys.set([...u32(2), ...u32(99), ...u32(3)]);
  rows.count = 3;
  map.deleteMany(rows);
  assert.deepEqual([...contents(map).keys()].toSorted((a, b) => a - b), [0, 1, 4, 5, 6, 7, 8, 9]);
});

Deno.test("BpfMap.sums() adds up all CPUs, beyond 32 bits", () => {
  using object = new BpfObject(libs, "testing", bpfObject("testing")).load();
  object.program("tally").run({ data: new Uint8Array(64), repeat: 1000 });
  const tallies = object.map("tallies");
  assert.equal(tallies.sums()[10], 1000);
  assert.equal(tallies.sums()[11], 1000 * 2 ** 32);
  const perCpu = new BigUint64Array(2 * possibleCpus(libs)).fill(2n ** 33n);
  tallies.set(u32(63), new Uint8Array(perCpu.buffer));
  assert.equal(tallies.sums()[126], possibleCpus(libs) * 2 ** 33);
  assert.throws(() => object.map("narrow_tallies").sums(), /not made of u64/);
});

Deno.test("BpfMap pads the slots of per-CPU values to 8 bytes", () => {
  using object = new BpfObject(libs, "testing", bpfObject("testing")).load();
  const map = object.map("narrow_tallies");
  assert.equal(map.info.valueSize, 4);
  assert.equal(map.slotSize, 8 * possibleCpus(libs));
  map.set(u32(1), new Uint8Array(map.slotSize).fill(7));
  assert.deepEqual(map.get(u32(1))?.subarray(0, 4), new Uint8Array(4).fill(7));
});

Deno.test("openPinnedMap() finds a pinned map again, and nothing where there is none", () => {
  const path = freshPinPath();
  assert.equal(openPinnedMap(libs, path), undefined);
  using map = hash();
  map.pin(path);
  try {
    map.set(u32(7), u64(49n));
    using again = openPinnedMap(libs, path);
    assert.deepEqual(again?.get(u32(7)), u64(49n));
    assert.equal(again?.info.id, map.info.id);
    assert.throws(() => map.pin(path), /pin .*phtest-.*EEXIST/);
  } finally {
    Deno.removeSync(path);
  }
});

Deno.test("createMap() tells what the kernel would not have", () => {
  assert.throws(
    () => createMap(libs, { name: "bad", type: 1, keySize: 0, valueSize: 8, maxEntries: 1 }),
    /create map bad: EINVAL/,
  );
});

Deno.test("a closed BpfMap is an error and not a crash", () => {
  const map = hash();
  const fd = map.fd;
  map.close();
  map.close();
  for (
    const use of [
      () => map.get(u32(1)),
      () => map.set(u32(1), u64(1n)),
      () => map.delete(u32(1)),
      () => [...map.keys()],
      () => [...map.batches()],
      () => map.setMany(map.rows(1)),
      () => map.pin("/sys/fs/bpf/never"),
    ]
  ) assert.throws(use, /Cannot use map test_hash as it is closed/);
  assert(fd > 2);
});
