import assert from "node:assert/strict";
import { Rng } from "../../../tests/fuzz/rng.ts";
import { SaltLimit } from "./salt_limit.ts";

Deno.test("a salt is looked at twice, and not once more", () => {
  const rng = new Rng(1);
  const limit = new SaltLimit(() => rng.u32());
  const salt = rng.bytes(20);
  const seen = Array.from({ length: 5 }, () => limit.admits(salt, 4));
  assert.deepEqual(seen, [true, true, false, false, false]);
  assert.equal(limit.admits(salt, 3), true, "another one");
});

Deno.test("recorded salts stay refused while new ones come", () => {
  const rng = new Rng(2);
  const limit = new SaltLimit(() => rng.u32());
  const recorded = Array.from({ length: 500 }, () => rng.bytes(16));
  let admitted = 0;
  for (let round = 0; round < 20; round++) {
    for (const salt of recorded) if (limit.admits(salt, 0)) admitted++;
    for (let i = 0; i < 500; i++) assert.ok(limit.admits(rng.bytes(16), 0));
  }
  // As many as they may be, and of each that was pushed out a few more.
  assert.ok(admitted < 1.05 * 2 * recorded.length, `${admitted}`);
});
