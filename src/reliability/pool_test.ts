import assert from "node:assert/strict";
import { Pool } from "./pool.ts";

/** Has one holder take all that it gets. */
function fill(pool: Pool): number {
  let held = 0;
  while (pool.admits(held)) {
    held++;
    pool.used++;
  }
  return held;
}

Deno.test("a Pool leaves something for whoever comes late", () => {
  const pool = new Pool(3000, 4);
  const held = Array.from({ length: 12 }, () => fill(pool));
  assert.equal(held[0], 1000);
  assert(held.every((count) => count > 4), held.join());
  assert(pool.used < pool.max);
});

Deno.test("a Pool gives each holder the same where all ask in turn", () => {
  const pool = new Pool(3000, 4);
  const held = new Array<number>(8).fill(0);
  for (let turn = 0; turn < 1000; turn++) {
    for (let i = 0; i < held.length; i++) {
      if (!pool.admits(held[i]!)) continue;
      held[i]!++;
      pool.used++;
    }
  }
  assert(held.every((count) => count >= 298 && count <= 300), held.join());
});

Deno.test("a Pool that is used up gives each holder its few", () => {
  const pool = new Pool(100, 4);
  pool.used = 100;
  assert(pool.admits(3) && !pool.admits(4));
  assert(pool.admits(0, 0, 4) && !pool.admits(0, 0, 5));
});

Deno.test("a Pool with a reserve has the few for each, whatever the greedy hold", () => {
  const pool = new Pool(800, 2, 1 / 8);
  for (let i = 0; i < 20; i++) fill(pool);
  assert(pool.used <= 740, `${pool.used}`);
  assert(pool.isShort);
  assert.equal(fill(pool), 2);
});

Deno.test("a Pool counts holders of a group together, beyond the few of each", () => {
  const pool = new Pool(3000, 4);
  pool.used = 1000;
  assert(pool.admits(500, 999) && !pool.admits(500, 1000));
  assert(pool.admits(3, 1000) && !pool.admits(4, 1000));
});
