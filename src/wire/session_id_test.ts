import assert from "node:assert/strict";
import { ownerMask, ownerOf } from "./session_id.ts";

Deno.test("ownerMask() has the bits that tell so many workers apart", () => {
  assert.deepEqual([1, 2, 3, 4, 5, 8, 9].map(ownerMask), [0, 1, 3, 3, 7, 7, 15]);
});

Deno.test("ownerOf() reads the lowest bits of 48", () => {
  assert.equal(ownerOf(0xffff_ffff_fff5, 7), 5);
  assert.equal(ownerOf(0x8000_0000_0002, 3), 2);
});
