import assert from "node:assert/strict";
import { parseBtf } from "../../ffi/bpf/btf.ts";
import type { BpfMap, MapRows } from "../../ffi/bpf/map.ts";
import { BtfBuilder, KIND } from "../../tests/fixtures/btf_builder.ts";
import {
  copyEntries,
  isSameLayout,
  type MapTypes,
  mapTypesOf,
  type Move,
  planCopy,
} from "./map_migration.ts";

/** Fields by name, each with its size in bytes, one behind the other. */
type Fields = Readonly<Record<string, 1 | 2 | 4 | 8>>;

/** The types of a map `flows` as an object declares them. */
function typesOf(key: Fields, value: Fields, before = 0): MapTypes {
  const builder = new BtfBuilder();
  // Types of others in front, so that ids differ.
  for (let i = 0; i < before; i++) builder.int(`other${i}`, 4);
  const pointers = [["flow_key", key], ["flow_value", value]] as const;
  const members = pointers.map(([name, fields]) => pointerTo(builder, name, fields));
  const map = builder.struct("", 16, [["key", members[0]!, 0], ["value", members[1]!, 64]]);
  builder.add(KIND.var, { name: "flows", sizeOrType: map, tail: [1] });
  return mapTypesOf(parseBtf(builder.bytes()), "flows")!;
}

function pointerTo(builder: BtfBuilder, name: string, fields: Fields): number {
  let bits = 0;
  const members = Object.entries(fields).map(([field, size]) => {
    const at = bits;
    bits += 8 * size;
    return [field, builder.int(`u${8 * size}`, size), at] as const;
  });
  return builder.add(KIND.ptr, { sizeOrType: builder.struct(name, bits / 8, members) });
}

const KEY: Fields = { number: 4, kind: 4 };

Deno.test("mapTypesOf() finds no types of a map that there is not", () => {
  const builder = new BtfBuilder();
  builder.int("u32", 4);
  assert.equal(mapTypesOf(parseBtf(builder.bytes()), "flows"), undefined);
});

Deno.test("isSameLayout() looks at names, types and places, and not at ids", () => {
  const one = typesOf(KEY, { first: 8, count: 4, mark: 4 });
  assert.ok(isSameLayout(one, typesOf(KEY, { first: 8, count: 4, mark: 4 }, 5)));
  for (
    const other of [
      { first: 8, count: 4, sign: 4 },
      { first: 8, mark: 4, count: 4 },
      { first: 8, count: 8 },
      { first: 8, count: 4 },
    ] satisfies Fields[]
  ) {
    assert.ok(!isSameLayout(one, typesOf(KEY, other)), JSON.stringify(other));
  }
  assert.ok(!isSameLayout(one, typesOf({ number: 8 }, { first: 8, count: 4, mark: 4 })));
});

Deno.test("planCopy() moves fields by name and type, wherever they stand", () => {
  const from = typesOf(KEY, { first: 8, count: 4, mark: 4 });
  const to = typesOf(KEY, { mark: 4, added: 4, count: 8, first: 8 });
  const { key, value } = planCopy(from, to)!;
  assert.deepEqual(key, [{ from: 0, to: 0, size: 4 }, { from: 4, to: 4, size: 4 }]);
  // `count` has another type, and `added` is new.
  assert.deepEqual(value, [{ from: 12, to: 0, size: 4 }, { from: 0, to: 16, size: 8 }]);
});

Deno.test("planCopy() refuses keys with other fields, and values with none in common", () => {
  const value: Fields = { first: 8 };
  const from = typesOf(KEY, value);
  for (const key of [{ number: 4 }, { number: 4, kind: 4, more: 4 }, { number: 8 }] as Fields[]) {
    assert.equal(planCopy(from, typesOf(key, value)), undefined, JSON.stringify(key));
  }
  assert.equal(planCopy(from, typesOf(KEY, { last: 8 })), undefined);
});

/** A map of 4-byte keys in plain memory. */
class MemoryMap {
  readonly info;
  readonly slotSize: number;
  readonly cpus: number;
  readonly entries = new Map<number, Uint8Array>();

  constructor(valueSize: number, maxEntries: number, cpus = 1) {
    this.info = { keySize: 4, valueSize, maxEntries } as BpfMap["info"];
    this.cpus = cpus;
    this.slotSize = valueSize * cpus;
  }

  *batches(): Generator<MapRows> {
    for (const [key, value] of this.entries) {
      yield { keys: new Uint8Array(Uint32Array.of(key).buffer), values: value.slice(), count: 1 };
    }
  }

  add(key: Uint8Array, value: Uint8Array): "added" | "present" | "full" {
    const number = new DataView(key.buffer).getUint32(0, true);
    if (this.entries.has(number)) return "present";
    if (this.entries.size === this.info.maxEntries) return "full";
    this.entries.set(number, value.slice());
    return "added";
  }
}

const WHOLE_KEY: readonly Move[] = [{ from: 0, to: 0, size: 4 }];

Deno.test("copyEntries() leaves what is there, and tells what had no room", () => {
  const [from, to] = [new MemoryMap(2, 8), new MemoryMap(4, 3)];
  for (let i = 0; i < 5; i++) from.entries.set(i, Uint8Array.of(i, 100 + i));
  to.entries.set(1, Uint8Array.of(9, 9, 9, 9));
  const plan = { key: WHOLE_KEY, value: [{ from: 1, to: 3, size: 1 }] };
  assert.deepEqual(copyEntries(from, to, plan), { entries: 2, lost: 2 });
  assert.deepEqual([...to.entries], [
    [1, Uint8Array.of(9, 9, 9, 9)],
    [0, Uint8Array.of(0, 0, 0, 100)],
    [2, Uint8Array.of(0, 0, 0, 102)],
  ]);
});

Deno.test("copyEntries() moves the values of each CPU to its own place", () => {
  const [from, to] = [new MemoryMap(8, 1, 2), new MemoryMap(16, 1, 2)];
  from.entries.set(7, Uint8Array.from({ length: 16 }, (_, i) => i));
  copyEntries(from, to, { key: WHOLE_KEY, value: [{ from: 4, to: 8, size: 4 }] });
  const value = to.entries.get(7)!;
  assert.deepEqual([...value.subarray(8, 12)], [4, 5, 6, 7]);
  assert.deepEqual([...value.subarray(24, 28)], [12, 13, 14, 15]);
  assert.equal(value.reduce((sum, byte) => sum + byte, 0), 22 + 54);
});
