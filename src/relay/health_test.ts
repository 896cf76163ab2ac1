import assert from "node:assert/strict";
import { Health } from "./health.ts";

Deno.test("Health falls after so many failures in a row, and rises after so many successes", () => {
  const health = new Health({ fall: 3, rise: 2 });
  assert.ok(health.isUp);
  assert.deepEqual([false, false].map((good) => health.tell(good)), [false, false]);
  assert.ok(!health.tell(true) && health.isUp);
  assert.deepEqual([false, false, false].map((good) => health.tell(good)), [false, false, true]);
  assert.ok(!health.isUp);
  assert.deepEqual([true, false, true].map((good) => health.tell(good)), [false, false, false]);
  assert.ok(health.tell(true) && health.isUp);
});

Deno.test("Health follows each check where one is enough", () => {
  const health = new Health({ fall: 1, rise: 1 });
  for (const good of [false, true, false]) {
    assert.ok(health.tell(good));
    assert.equal(health.isUp, good);
  }
});
