import assert from "node:assert/strict";
import { Budget } from "./budget.ts";
import { CLOSED_RANGES_MAX, STREAMS_MAX } from "./limits.ts";
import { StreamTable } from "./stream_table.ts";

Deno.test("StreamTable hands out streams first come first served, each once", () => {
  const table = new StreamTable(new Budget(0));
  const streams = Array.from({ length: 40 }, (_, id) => table.add(id));
  for (const stream of streams) table.wake(stream);
  table.wake(streams[5]!);
  assert.equal(table.waiting, 40);
  const first = Array.from({ length: 20 }, () => table.dequeue().id);
  assert.deepEqual(first, streams.slice(0, 20).map(({ id }) => id));
  // The ring has gone round when it has to grow.
  for (const stream of streams) table.wake(stream);
  const rest = Array.from({ length: 40 }, () => table.dequeue().id);
  assert.deepEqual(rest.slice(0, 21), [...streams.slice(20).map(({ id }) => id), 0]);
  assert.equal(table.waiting, 0);
});

Deno.test("StreamTable.shrink() keeps what is there, and what comes after is as before", () => {
  const table = new StreamTable(new Budget(0));
  const [one, two] = [table.add(1), table.add(2)];
  table.wake(two);
  table.shrink();
  assert.deepEqual([table.count, table.waiting, table.get(1)], [2, 1, one]);
  assert.equal(table.dequeue(), two);
  assert(table.remove(one) && table.remove(two));
  table.shrink();
  assert.deepEqual([table.count, table.waiting, table.isClosed(2)], [0, 0, true]);
  const three = table.add(3);
  table.wake(three);
  assert.deepEqual([table.get(3), table.dequeue()], [three, three]);
});

Deno.test("waking a stream ends a stall, queueing it does not", () => {
  const table = new StreamTable(new Budget(0));
  const stream = table.add(0);
  table.isStalled = true;
  table.enqueue(stream);
  assert(table.isStalled);
  table.wake(stream);
  assert(!table.isStalled);
});

Deno.test("StreamTable is full at its maximum", () => {
  const table = new StreamTable(new Budget(0));
  for (let id = 0; id < STREAMS_MAX - 1; id++) table.add(id);
  assert(!table.isFull);
  table.add(STREAMS_MAX - 1);
  assert(table.isFull);
});

Deno.test("StreamTable remembers which streams are over, up to a number of ranges", () => {
  const table = new StreamTable(new Budget(0));
  for (let i = 0; i < CLOSED_RANGES_MAX; i++) assert(table.remove(table.add(2 * i)));
  assert(table.isClosed(0) && !table.isClosed(1) && table.isClosed(2));
  assert.equal(table.remove(table.add(2 * CLOSED_RANGES_MAX)), false);
  assert(table.remove(table.add(1)));
  assert(table.isClosed(1));
  assert.equal(table.count, 0);
});

Deno.test("clear() gives back what all streams hold", () => {
  const budget = new Budget(1 << 20);
  const table = new StreamTable(budget);
  for (let id = 0; id < 3; id++) {
    const stream = table.add(id);
    stream.send.write(new Uint8Array(5000), 0, 5000);
    stream.receive.keep(10, new Uint8Array(10), 0, 10);
    table.wake(stream);
  }
  assert(budget.used > 0);
  table.clear();
  assert.deepEqual([budget.used, table.count, table.waiting], [0, 0, 0]);
});
