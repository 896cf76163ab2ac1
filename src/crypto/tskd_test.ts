import assert from "node:assert/strict";
import { seededPrimitives } from "../../tests/fixtures/handshake.ts";
import type { Primitives } from "./primitives.ts";
import { Tskd, windowOf } from "./tskd.ts";

const psk = new Uint8Array(32).fill(7);
const primitives = seededPrimitives(1);

Deno.test("Tskd accepts the present window, the next and the one before, in this order", () => {
  const tskd = new Tskd(primitives, psk);
  assert.equal(tskd.accepts(0), false, "before the first tick");
  assert.equal(tskd.tick(300_000), true);
  assert.equal(tskd.tick(329_999), false);
  assert.deepEqual([8, 9, 10, 11, 12].map((w) => tskd.accepts(w)), [
    false,
    true,
    true,
    true,
    false,
  ]);
  assert.deepEqual([...tskd.maskWindows], [10, 11, 9]);
  assert.equal(tskd.maskCount, 3);
  assert.throws(() => tskd.windowKey(12), RangeError);
  assert.throws(() => tskd.windowKey(8), RangeError);
  assert.equal(tskd.tick(330_000), true);
  assert.deepEqual([...tskd.maskWindows], [11, 12, 10]);
});

Deno.test("Tskd does not go back below the highest window minus one", () => {
  const tskd = new Tskd(primitives, psk);
  tskd.tick(windowOf(3_000_000) * 30_000);
  tskd.tick(2_970_000);
  assert.equal(tskd.current, 99);
  assert.deepEqual([98, 99, 100, 101].map((w) => tskd.accepts(w)), [false, true, true, false]);
  assert.deepEqual([...tskd.maskWindows], [99, 100, -1]);
  assert.equal(tskd.maskCount, 2);
  tskd.tick(0);
  assert.equal(tskd.current, 99);
  assert.equal(tskd.oldest, 99);
  tskd.tick(3_030_000);
  assert.deepEqual([...tskd.maskWindows], [101, 102, 100]);
  assert.equal(new Tskd(primitives, psk, 50).tick(0), true);
  const restored = new Tskd(primitives, psk, 50);
  restored.tick(0);
  assert.equal(restored.current, 50, "the record of an earlier run counts");
});

Deno.test("Tskd that starts over goes back to any window, and forgets the keys of before", () => {
  const tskd = new Tskd(primitives, psk);
  tskd.tick(3_000_000);
  const late = tskd.windowKey(100);
  const key = late.slice();
  tskd.startOver();
  assert.equal(tskd.accepts(100), false);
  tskd.tick(330_000);
  assert.equal(tskd.current, 11);
  assert.deepEqual([...tskd.maskWindows], [11, 12, 10]);
  assert.notDeepEqual(late, key);
  const fresh = new Tskd(primitives, psk);
  fresh.tick(330_000);
  assert.deepEqual(tskd.windowKey(10), fresh.windowKey(10));
});

Deno.test("Tskd derives each key once, and ahead of its window", () => {
  let derived = 0;
  const counting: Primitives = {
    ...primitives,
    hkdf(...args) {
      derived++;
      return primitives.hkdf(...args);
    },
  };
  const tskd = new Tskd(counting, psk);
  tskd.tick(300_000);
  assert.equal(derived, 6);
  tskd.tick(324_999);
  assert.equal(derived, 6);
  tskd.tick(325_000);
  assert.equal(derived, 8);
  tskd.tick(329_999);
  tskd.tick(330_000);
  assert.equal(derived, 8, "the change itself derives nothing");
});

Deno.test("Tskd wipes keys that leave, and all of them in the end", () => {
  const tskd = new Tskd(primitives, psk);
  tskd.tick(300_000);
  const old = tskd.windowKey(9);
  const kept = tskd.windowKey(10);
  tskd.tick(330_000);
  assert.ok(old.every((byte) => byte === 0));
  assert.equal(tskd.windowKey(10), kept);
  tskd.tick(3_000_000);
  assert.ok(kept.every((byte) => byte === 0));
  const last = tskd.windowKey(100);
  tskd.wipe();
  assert.ok(last.every((byte) => byte === 0));
  assert.ok(tskd.maskWords.every((word) => word === 0));
  assert.equal(tskd.accepts(100), false);
  assert.throws(() => tskd.tick(3_000_000), TypeError);
  assert.throws(() => new Tskd(primitives, new Uint8Array(31)), RangeError);
});
