import assert from "node:assert/strict";
import { Rng } from "../../../tests/fuzz/rng.ts";
import { SharedSalts, sharedSaltsMemory } from "./shared_salts.ts";

const rng = new Rng(11);
const memory = () => sharedSaltsMemory(() => rng.int(0, 0xffff_ffff));

Deno.test("of all workers the first one gets a salt, and no other ever", () => {
  const shared = memory();
  const workers = [new SharedSalts(shared), new SharedSalts(shared), new SharedSalts(shared)];
  for (let i = 0; i < 20_000; i++) {
    const salt = rng.bytes(16);
    const window = 100 + rng.int(0, 2);
    const first = rng.int(0, 2);
    assert.ok(workers[first]!.claim(window, salt, 0));
    assert.ok(workers.every((worker) => !worker.claim(window, salt, 0)));
  }
});

Deno.test("a window's region is used again for a later one, and never for an earlier one", () => {
  const salts = new SharedSalts(memory());
  const salt = rng.bytes(16);
  assert.ok(salts.claim(100, salt, 0));
  assert.ok(salts.claim(104, salt, 0));
  assert.ok(!salts.claim(104, salt, 0));
  assert.ok(!salts.claim(100, rng.bytes(16), 0));
});

Deno.test("a region that is full refuses, and does not hang", () => {
  const salts = new SharedSalts(memory());
  let admitted = 0;
  for (let i = 0; i < 1_200_000; i++) admitted += Number(salts.claim(1, rng.bytes(16), 0));
  assert.ok(admitted > 900_000 && admitted <= 1 << 20, `${admitted}`);
});
