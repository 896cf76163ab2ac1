import assert from "node:assert/strict";
import { ownerMask, ownerOf, sessionIdOf } from "./session_id.ts";

Deno.test("ownerMask() has the bits that tell so many workers apart", () => {
  assert.deepEqual([1, 2, 3, 4, 5, 8, 9].map(ownerMask), [0, 1, 3, 3, 7, 7, 15]);
});

Deno.test("a session id names its worker, and is random beside", () => {
  for (const workers of [1, 2, 3, 64]) {
    const mask = ownerMask(workers);
    for (let worker = 0; worker < workers; worker++) {
      for (const random of [0, 1, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff]) {
        const id = sessionIdOf(random, worker, mask);
        assert.equal(ownerOf(id, mask), worker);
        assert.equal((id & ~mask) >>> 0, (random & ~mask) >>> 0);
        assert.ok(id >= 0 && id <= 0xffff_ffff);
      }
    }
  }
});
