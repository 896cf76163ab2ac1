import assert from "node:assert/strict";
import { CounterWatch } from "./counter_watch.ts";

/** The answers to a row of looks. */
function look(watch: CounterWatch, ...looks: readonly (readonly [number, number])[]): boolean[] {
  return looks.map(([received, counted]) => watch.isStill(received, counted));
}

Deno.test("CounterWatch tells once when many packets come and none is counted", () => {
  const watch = new CounterWatch();
  const looks = [[0, 50], [400, 50], [800, 50], [1000, 50], [1200, 50], [1400, 50]] as const;
  assert.deepEqual(look(watch, ...looks), [false, false, false, true, false, false]);
  // And again when it stays so.
  assert.deepEqual(look(watch, [1600, 50], [2200, 50]), [false, true]);
});

Deno.test("CounterWatch is content with counters that grow, and with silence", () => {
  const watch = new CounterWatch();
  assert.ok(!look(watch, [0, 0], [5000, 1], [10_000, 2], [15_000, 3]).includes(true));
  assert.ok(!look(watch, ...Array(50).fill([15_000, 3])).includes(true));
  // A thousand all at once, right after the counters' last look.
  assert.ok(!look(watch, [16_500, 4], [18_000, 4], [18_000, 5]).includes(true));
});

Deno.test("CounterWatch begins anew with interfaces that came or went", () => {
  const watch = new CounterWatch();
  assert.deepEqual(look(watch, [9000, 7], [9100, 7], [100, 7], [1000, 7]), Array(4).fill(false));
  watch.reset();
  assert.deepEqual(look(watch, [50_000, 7], [50_100, 7], [50_200, 7]), Array(3).fill(false));
});
