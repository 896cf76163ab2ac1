import assert from "node:assert/strict";
import { seededPrimitives } from "../../tests/fixtures/handshake.ts";
import { Rng } from "../../tests/fuzz/rng.ts";
import { ReplayFilter, ReplayVerdict } from "./replay_filter.ts";
import { SaltLru } from "./salt_lru.ts";

const primitives = seededPrimitives(1);

/** A salt that is different for each number. */
function salt(number: number, into: Uint8Array = new Uint8Array(16)): Uint8Array {
  new DataView(into.buffer).setFloat64(4, number);
  return into;
}

function filterOf(exact: number, slice: number): ReplayFilter {
  return new ReplayFilter(primitives, 0, { exact, slice });
}

Deno.test("ReplayFilter takes a salt once, also when the exact part has forgotten it", () => {
  const filter = filterOf(10, 1000);
  for (let i = 0; i < 100; i++) {
    assert.equal(filter.admit(5, salt(i), 0), ReplayVerdict.fresh);
    assert.equal(filter.admit(5, salt(i), 0), ReplayVerdict.replay);
  }
  assert.deepEqual(filter.counts, { fresh: 100, exact: 100, bloom: 0, full: 0, old: 0 });
  for (let i = 0; i < 90; i++) assert.equal(filter.admit(5, salt(i), 0), ReplayVerdict.replay);
  assert.equal(filter.counts.bloom, 90);
  assert.equal(filter.counts.exact, 100);
});

Deno.test("ReplayFilter refuses the HELLO beyond a window's room, in that window only", () => {
  const filter = filterOf(10, 20);
  for (let i = 0; i < 20; i++) assert.equal(filter.admit(5, salt(i), 0), ReplayVerdict.fresh);
  assert.equal(filter.admit(5, salt(20), 0), ReplayVerdict.full);
  assert.equal(filter.admit(5, salt(3), 0), ReplayVerdict.replay);
  assert.equal(filter.admit(6, salt(20), 0), ReplayVerdict.fresh);
  assert.equal(filter.counts.full, 1);
});

Deno.test("ReplayFilter forgets windows that left, and has no room for too many", () => {
  const filter = filterOf(1, 100);
  for (let w = 5; w < 9; w++) assert.equal(filter.admit(w, salt(w), 0), ReplayVerdict.fresh);
  assert.equal(filter.admit(9, salt(9), 0), ReplayVerdict.full);
  filter.advance(7);
  assert.equal(filter.admit(6, salt(6), 0), ReplayVerdict.old);
  assert.equal(filter.admit(9, salt(5), 0), ReplayVerdict.fresh, "a slice is used again, empty");
  assert.equal(filter.admit(8, salt(8), 0), ReplayVerdict.replay);
  filter.advance(3);
  assert.equal(filter.oldest, 7);
});

Deno.test("a record survives a restart, and a damaged one is refused", () => {
  const filter = filterOf(10, 100);
  filter.advance(4);
  for (let i = 0; i < 50; i++) filter.admit(5 + i % 2, salt(i), 0);
  const record = filter.save();
  const restored = new ReplayFilter(seededPrimitives(77), 1000, { exact: 10, slice: 26 });
  assert.equal(restored.canTell(1000), false);
  for (const at of [0, 3, 20, record.length >> 1, record.length - 1]) {
    const damaged = record.slice();
    damaged[at]! ^= 1;
    assert.equal(restored.restore(damaged), false);
  }
  for (const length of [0, 32, 65, record.length - 1]) {
    assert.equal(restored.restore(record.slice(0, length)), false);
  }
  assert.equal(restored.canTell(90_999), false);
  assert.equal(restored.restore(record), true);
  assert.equal(restored.canTell(1000), true);
  assert.equal(restored.oldest, 4);
  for (let i = 0; i < 50; i++) {
    assert.equal(restored.admit(5 + i % 2, salt(i), 0), ReplayVerdict.replay);
  }
  assert.deepEqual([restored.counts.exact, restored.counts.bloom], [10, 40]);
  assert.equal(restored.admit(5, salt(50), 0), ReplayVerdict.fresh);
  assert.equal(restored.admit(5, salt(51), 0), ReplayVerdict.full, "counts are kept");
  assert.throws(() => restored.restore(record), TypeError);
});

Deno.test("without a record ReplayFilter can't tell for 90 s", () => {
  const filter = new ReplayFilter(primitives, 500);
  assert.equal(filter.canTell(500), false);
  assert.equal(filter.canTell(90_499), false);
  assert.equal(filter.canTell(90_500), true);
});

Deno.test("a full slice takes a new salt for an old one at most once in 100,000", () => {
  const filter = filterOf(1, 1_000_000);
  const bytes = new Uint8Array(16);
  for (let i = 0; i < 1_000_000; i++) filter.admit(5, salt(i, bytes), 0);
  // Salts that hit while it filled up were not recorded.
  const before = filter.counts.bloom;
  const probes = 3_000_000;
  for (let i = 0; i < probes; i++) filter.admit(5, salt(1e9 + i, bytes), 0);
  const rate = (filter.counts.bloom - before) / probes;
  console.log(`false positives: ${rate} when full, ${before} of 1,000,000 while filling`);
  assert.ok(filter.counts.fresh >= 999_990);
  assert.ok(rate <= 1e-5, `${rate}`);
});

Deno.test("SaltLru agrees with a naive list under random use", () => {
  const rng = new Rng(5);
  const lru = new SaltLru(40);
  let model: number[] = [];
  for (let i = 0; i < 20_000; i++) {
    const number = rng.int(0, 100);
    // Few different hashes, so that chains form and are taken apart.
    const hash = number % 7 * 0x2000_0001;
    const held = lru.has(salt(number), 0, hash);
    assert.equal(held, model.includes(number));
    model = [...model.filter((one) => one !== number), number];
    if (!held) lru.add(salt(number), 0, hash);
    if (model.length > 40) model.shift();
    assert.equal(lru.count, model.length);
  }
  const all = new Uint8Array(40 * 16);
  assert.equal(lru.copyTo(all, 0), all.length);
  model.forEach((number, i) => assert.deepEqual(all.slice(16 * i, 16 * i + 16), salt(number)));
});
