import assert from "node:assert/strict";
import { Rows } from "./rows.ts";

Deno.test("Rows never gives a row to two, and gives those that came back before new ones", () => {
  const rows = new Rows(3, 2, (length) => new Uint32Array(length));
  const taken = Array.from({ length: 10 }, () => rows.take());
  for (const [i, row] of taken.entries()) {
    const [block, at] = [rows.block(row), rows.at(row)];
    assert.equal(block.length, 12);
    assert.deepEqual([...block.subarray(at, at + 3)], [0, 0, 0]);
    block.fill(i + 1, at, at + 3);
  }
  for (const [i, row] of taken.entries()) {
    const at = rows.at(row);
    assert.deepEqual([...rows.block(row).subarray(at, at + 3)], [i + 1, i + 1, i + 1]);
  }
  assert.equal(new Set(taken).size, 10);
  rows.give(taken[7]!);
  rows.give(taken[2]!);
  assert.deepEqual([rows.take(), rows.take(), rows.take()].sort(), [2, 7, 10].sort());
});
