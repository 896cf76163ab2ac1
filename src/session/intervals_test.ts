import assert from "node:assert/strict";
import { Rng } from "../../tests/fuzz/rng.ts";
import { Intervals } from "./intervals.ts";

function list(set: Intervals): number[][] {
  return Array.from({ length: set.count }, (_, i) => [set.start(i), set.end(i)]);
}

Deno.test("Intervals.add() joins what touches and keeps the rest sorted", () => {
  const set = new Intervals(10);
  set.add(10, 20);
  set.add(30, 40);
  set.add(0, 5);
  assert.deepEqual(list(set), [[0, 5], [10, 20], [30, 40]]);
  set.add(20, 30);
  assert.deepEqual(list(set), [[0, 5], [10, 40]]);
  set.add(4, 11);
  assert.deepEqual(list(set), [[0, 40]]);
});

Deno.test("Intervals refuses one range more than its maximum, and changes nothing", () => {
  const set = new Intervals(2);
  assert(set.add(0, 1) && set.add(2, 3));
  assert.equal(set.add(4, 5), false);
  assert(set.add(3, 4));
  assert.deepEqual(list(set), [[0, 1], [2, 4]]);
  assert(set.add(1, 2));
  assert(set.add(10, 20));
  assert.equal(set.remove(12, 15), false);
  assert.deepEqual(list(set), [[0, 4], [10, 20]]);
});

Deno.test("Intervals agrees with a set of numbers on random operations", () => {
  for (let seed = 1; seed <= 50; seed++) {
    const rng = new Rng(seed);
    const set = new Intervals(100);
    const model = new Set<number>();
    for (let step = 0; step < 300; step++) {
      const start = rng.int(0, 180);
      const end = start + rng.int(0, 20);
      if (rng.chance(0.6)) {
        set.add(start, end);
        for (let n = start; n < end; n++) model.add(n);
      } else {
        set.remove(start, end);
        for (let n = start; n < end; n++) model.delete(n);
      }
      for (let i = 0; i + 1 < set.count; i++) assert(set.end(i) < set.start(i + 1), `seed ${seed}`);
      for (let n = 0; n < 200; n++) {
        assert.equal(set.covers(n, n + 1), model.has(n), `seed ${seed}, step ${step}, number ${n}`);
      }
      const from = rng.int(0, 199);
      let expected = from;
      while (model.has(expected)) expected++;
      assert.equal(set.endOfRangeAt(from), expected);
    }
  }
});
