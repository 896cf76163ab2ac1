import assert from "node:assert/strict";
import { FrameRecords, NO_RECORD } from "./frame_records.ts";

Deno.test("FrameRecords keeps values, across growth and reuse", () => {
  const records = new FrameRecords(5000);
  const taken = Array.from({ length: 5000 }, (_, i) => records.take(i & 0xff, i, 2 ** 40 + i, 7));
  assert.equal(records.take(1, 1, 1, 1), NO_RECORD);
  assert.equal(records.refused, 1);
  taken.forEach((record, i) => {
    assert.equal(records.kind(record), i & 0xff);
    assert.equal(records.stream(record), i);
    assert.equal(records.offset(record), 2 ** 40 + i);
    assert.equal(records.length(record), 7);
    assert.equal(records.next(record), NO_RECORD);
  });
  records.release(taken[17]!);
  assert.equal(records.used, 4999);
  assert.equal(records.take(2, 3, 4, 5), taken[17]);
  records.link(taken[0]!, taken[17]!);
  assert.equal(records.next(taken[0]!), taken[17]);
});
