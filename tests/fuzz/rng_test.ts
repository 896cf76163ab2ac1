import assert from "node:assert/strict";
import { fuzz, Rng } from "./rng.ts";

Deno.test("Rng repeats itself from the same seed and differs from another", () => {
  const draw = (seed: number) => {
    const rng = new Rng(seed);
    return Array.from({ length: 8 }, () => rng.u32());
  };
  assert.deepEqual(draw(1), draw(1));
  assert.notDeepEqual(draw(1), draw(2));
  assert.ok(draw(0).some((value) => value !== 0));
});

Deno.test("Rng.int() reaches both ends evenly", () => {
  const rng = new Rng(7);
  const counts = [0, 0, 0, 0];
  for (let i = 0; i < 40_000; i++) {
    const value = rng.int(0, 3);
    counts[value] = (counts[value] ?? 0) + 1;
  }
  for (const count of counts) assert.ok(Math.abs(count - 10_000) < 500, String(counts));
});

Deno.test("Rng.mutate() leaves its input alone and copes with nothing", () => {
  const rng = new Rng(7);
  const input = rng.bytes(64);
  const before = Uint8Array.from(input);
  let changed = 0;
  for (let i = 0; i < 500; i++) {
    if (rng.mutate(input).join() !== before.join()) changed += 1;
    rng.mutate(new Uint8Array());
    rng.mutateText("", ["x"]);
  }
  assert.deepEqual(input, before);
  assert.ok(changed > 450);
  assert.throws(() => rng.pick([]), RangeError);
});

Deno.test("fuzz() names the seed of the failing case", () => {
  const failing = () => {
    throw new Error("found");
  };
  assert.throws(() => fuzz({ seed: 10, cases: 5 }, failing), (error) => {
    assert.ok(error instanceof Error);
    assert.match(error.message, /PHANTOM_FUZZ_SEED=\d+ PHANTOM_FUZZ_CASES=1$/);
    return true;
  });
});
