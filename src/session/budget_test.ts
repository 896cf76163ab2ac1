import assert from "node:assert/strict";
import { Rng } from "../../tests/fuzz/rng.ts";
import { Budget } from "./budget.ts";

const PAGE = 4096;

Deno.test("Budget gives out all of its memory, and not a page more", () => {
  const budget = new Budget(7 * PAGE + 100);
  assert.equal(budget.max, 7 * PAGE);
  const blocks = Array.from({ length: 7 }, () => budget.take(1));
  assert.deepEqual(new Set(blocks), new Set([0, 1, 2, 3, 4, 5, 6].map((page) => page * PAGE)));
  assert.equal(budget.take(1), -1);
  assert.equal(budget.refusals, 1);
  for (const block of blocks) budget.give(block, 1);
  assert.equal(budget.used, 0);
  assert.equal(budget.take(4 * PAGE), 0, "neighbours join again");
});

Deno.test("Budget refuses a block above its largest", () => {
  const budget = new Budget(64 << 20);
  assert(budget.take(16 << 20) >= 0);
  assert.equal(budget.take((16 << 20) + 1), -1);
  assert.equal(Budget.blockBytes(4097), 2 * PAGE);
  assert.equal(Budget.blockBytes(0), PAGE);
});

Deno.test("blocks never overlap, and come back whole, in any order", () => {
  for (let seed = 1; seed <= 30; seed++) {
    const rng = new Rng(seed);
    const pages = rng.int(1, 300);
    const budget = new Budget(pages * PAGE);
    const owner = new Int32Array(pages).fill(-1);
    const blocks: { at: number; bytes: number }[] = [];
    let used = 0;
    for (let step = 0; step < 500; step++) {
      if (rng.chance(0.55)) {
        const bytes = Math.ceil((40 * PAGE) ** rng.float());
        const at = budget.take(bytes);
        if (at < 0) continue;
        blocks.push({ at, bytes });
        used += Budget.blockBytes(bytes);
        for (let page = at / PAGE; page * PAGE < at + bytes; page++) {
          assert.equal(owner[page], -1, `seed ${seed}: page ${page} twice`);
          owner[page] = step;
        }
      } else if (blocks.length > 0) {
        const [{ at, bytes }] = blocks.splice(rng.int(0, blocks.length - 1), 1) as [
          typeof blocks[0],
        ];
        budget.give(at, bytes);
        used -= Budget.blockBytes(bytes);
        owner.fill(-1, at / PAGE, Math.ceil((at + bytes) / PAGE));
      }
      assert.equal(budget.used, used);
    }
    for (const { at, bytes } of blocks) budget.give(at, bytes);
    const largest = 2 ** Math.floor(Math.log2(pages)) * PAGE;
    assert.equal(budget.take(Math.min(largest, 16 << 20)) >= 0, true, `seed ${seed}: in pieces`);
  }
});

Deno.test("what is free after much was in use is named to the system, and nothing else", () => {
  const budget = new Budget(64 << 20);
  const kept = Array.from({ length: 100 }, () => budget.take(PAGE));
  const blocks = Array.from({ length: 40 }, () => budget.take(1 << 20));
  const sweep = (): Set<number> => {
    const named = new Set<number>();
    for (let i = 0; i < 10; i++) {
      budget.sweep((at, bytes) => {
        for (let page = at; page < at + bytes; page += PAGE) named.add(page);
      });
    }
    return named;
  };
  assert.equal(sweep().size, 0, "most of it is in use");
  for (const block of blocks.slice(1)) budget.give(block, 1 << 20);
  const named = sweep();
  assert(named.size > 39 * 256 - 256, `${named.size}`);
  for (const page of kept) assert(!named.has(page));
  for (let page = blocks[0]!; page < blocks[0]! + (1 << 20); page += PAGE) {
    assert(!named.has(page));
  }
  assert.equal(sweep().size, 0, "once");
});
