import assert from "node:assert/strict";
import { medianInterval } from "./pairs.ts";

Deno.test("the interval of a median leaves out what a sign test may", () => {
  const upTo = (n: number) => Array.from({ length: n }, (_, i) => n - i);
  // The ranks of tables: 15 → 4th and 12th, 20 → 6th and 15th, 6 → the ends.
  assert.deepEqual(medianInterval(upTo(15)), { low: 4, median: 8, high: 12 });
  assert.deepEqual(medianInterval(upTo(20)), { low: 6, median: 10.5, high: 15 });
  assert.deepEqual(medianInterval(upTo(6)), { low: 1, median: 3.5, high: 6 });
  assert.deepEqual(medianInterval([5]), { low: 5, median: 5, high: 5 });
});
