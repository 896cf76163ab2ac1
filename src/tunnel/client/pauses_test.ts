import assert from "node:assert/strict";
import { Pauses } from "./pauses.ts";

Deno.test("each failure makes the next pause longer, up to the last; success ends them", () => {
  const pauses = new Pauses([10, 20]);
  assert.ok(pauses.notBefore < 0);
  const until = [0, 0, 0].map(() => {
    pauses.begin(1000);
    return pauses.notBefore;
  });
  assert.deepEqual(until, [1010, 1020, 1020]);
  pauses.end();
  assert.ok(pauses.notBefore < 0);
  pauses.begin(0);
  assert.equal(pauses.notBefore, 10);
});
