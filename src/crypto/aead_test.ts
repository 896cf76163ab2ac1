import assert from "node:assert/strict";
import { AeadBatch as NativeBatch, AeadTable } from "../../ffi/aead.ts";
import { AEAD_NO_KEY, PortableAead, PortableBatch } from "../../tests/fixtures/portable_aead.ts";
import { Rng } from "../../tests/fuzz/rng.ts";
import { testNative } from "../../tests/native.ts";
import type { Aead, AeadBatch } from "./aead.ts";

const native = testNative();

Deno.test("PortableAead and the native table do the same, byte for byte", () => {
  const rng = new Rng(1);
  using table = new AeadTable(native, 4);
  using portable = new PortableAead(4);
  // Both are one thing to their callers.
  const pair: readonly (readonly [Aead, AeadBatch])[] = [
    [table, new NativeBatch(64)],
    [portable, new PortableBatch(64)],
  ];
  for (let i = 0; i < 4; i++) {
    const key = rng.bytes(32);
    assert.deepEqual(pair.map(([aead]) => aead.addKey(key, 1)), [i, i]);
  }
  for (let round = 0; round < 60; round++) {
    const arenas = pair.map(() => new Uint8Array(64 * 1500));
    const plain = rng.bytes(arenas[0]!.length);
    for (const arena of arenas) arena.set(plain);
    pair.forEach(([, batch]) => batch.clear());
    for (let i = 0; i < 64; i++) {
      const key = rng.chance(0.05) ? rng.u32() : rng.int(0, 3);
      const number = rng.pick([0, i, rng.u32(), 2 ** 32 + i, 2 ** 53 - 1 - i]);
      const textAt = rng.chance(0.05) ? rng.u32() : i * 1500 + rng.int(0, 40);
      const [aadBytes, length] = [rng.int(0, 48), rng.int(0, 1400)];
      for (const [, batch] of pair) batch.add(key, number, i * 1500, aadBytes, textAt, length);
    }
    const compare = (run: "seal" | "open"): void => {
      const counts = pair.map(([aead, batch], i) => aead[run](batch, arenas[i]!));
      assert.equal(counts[1], counts[0]);
      assert.deepEqual(arenas[1], arenas[0]);
      for (let i = 0; i < 64; i++) assert.equal(pair[1]![1].result(i), pair[0]![1].result(i));
      assert.deepEqual(pair[1]![1].ops, pair[0]![1].ops);
    };
    compare("seal");
    for (let i = 0; i < 20; i++) {
      const at = rng.int(0, plain.length - 1);
      for (const arena of arenas) arena[at]! ^= 1;
    }
    compare("open");
  }
});

Deno.test("either AEAD works with the other's batch", () => {
  using table = new AeadTable(native, 1);
  using portable = new PortableAead(1);
  const key = new Rng(2).bytes(32);
  const arena = new Uint8Array(100);
  const batch = new NativeBatch(1);
  batch.add(portable.addKey(key), 3, 0, 10, 10, 74);
  assert.equal(portable.seal(batch, arena), 1);
  assert.equal(table.addKey(key), 0);
  assert.equal(table.open(batch, arena), 1);
  assert.ok(arena.subarray(0, 84).every((byte) => byte === 0));
});

Deno.test("PortableAead refuses a removed key, also when its slot is used again", () => {
  using portable = new PortableAead(1);
  const batch = new PortableBatch(1);
  const old = portable.addKey(new Uint8Array(32));
  batch.add(old, 0, 0, 0, 0, 1);
  assert.equal(batch.isFull, true);
  assert.throws(() => batch.add(old, 0, 0, 0, 0, 1), RangeError);
  assert.throws(() => portable.addKey(new Uint8Array(32)), RangeError);
  assert.throws(() => portable.addKey(new Uint8Array(31)), RangeError);
  const seen = new Set<number>();
  for (let id = old, i = 0; i < 2048; i++) {
    seen.add(id);
    portable.removeKey(id);
    assert.throws(() => portable.removeKey(id), RangeError);
    id = portable.addKey(new Uint8Array(32));
    assert.ok(id >= 0);
    if (i === 2046) break;
    assert.equal(portable.seal(batch, new Uint8Array(17)), 0);
    assert.equal(batch.result(0), AEAD_NO_KEY);
  }
  assert.equal(seen.size, 2047);
  batch.clear();
  assert.throws(() => batch.add(0, 2 ** 53, 0, 0, 0, 0), RangeError);
  assert.throws(() => new PortableAead(0), RangeError);
});
