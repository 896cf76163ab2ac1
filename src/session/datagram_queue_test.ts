import assert from "node:assert/strict";
import { Rng } from "../../tests/fuzz/rng.ts";
import { DatagramQueue } from "./datagram_queue.ts";

function push(queue: DatagramQueue, length: number, value: number): boolean {
  const at = queue.reserve(length);
  if (at < 0) return false;
  assert(at + length <= queue.memory.length);
  queue.memory.fill(value, at, at + length);
  queue.commit(length);
  return true;
}

function shift(queue: DatagramQueue): [length: number, value: number] {
  const { firstLength, firstAt } = queue;
  const frame = queue.memory.subarray(firstAt, firstAt + firstLength);
  assert(frame.every((byte) => byte === frame[0]));
  const result: [number, number] = [firstLength, frame[0]!];
  queue.shift();
  return result;
}

Deno.test("DatagramQueue takes exactly what fits", () => {
  const queue = new DatagramQueue(100);
  assert.equal(push(queue, 97, 1), false);
  assert(push(queue, 96, 1));
  assert.equal(push(queue, 1, 2), false);
  assert.deepEqual(shift(queue), [96, 1]);
  assert(push(queue, 46, 3) && push(queue, 46, 4));
  assert.equal(push(queue, 1, 5), false);
});

Deno.test("DatagramQueue skips an end that is too small, of any size", () => {
  for (let gap = 0; gap < 30; gap++) {
    const queue = new DatagramQueue(100);
    assert(push(queue, 40, 1) && push(queue, 52 - gap, 2));
    assert.deepEqual(shift(queue), [40, 1]);
    assert(push(queue, 30, 3));
    assert.deepEqual(shift(queue), [52 - gap, 2]);
    assert.deepEqual(shift(queue), [30, 3]);
    assert.equal(queue.count, 0);
  }
});

Deno.test("DatagramQueue has no memory until it is used, and gives it back", () => {
  const queue = new DatagramQueue(1000);
  assert.equal(queue.memory.length, 0);
  push(queue, 10, 1);
  queue.shrink();
  assert.equal(queue.memory.length, 1000);
  shift(queue);
  queue.shrink();
  assert.equal(queue.memory.length, 0);
  assert(push(queue, 10, 2));
  queue.release();
  assert.equal(queue.count, 0);
});

Deno.test("DatagramQueue agrees with a list on random use", () => {
  for (let seed = 1; seed <= 100; seed++) {
    const rng = new Rng(seed);
    const queue = new DatagramQueue(rng.int(60, 600));
    const model: [number, number][] = [];
    for (let step = 0; step < 400; step++) {
      if (rng.chance(0.5)) {
        const [length, value] = [rng.int(1, 60), rng.int(0, 255)];
        if (push(queue, length, value)) model.push([length, value]);
      } else if (model.length > 0) {
        assert.deepEqual(shift(queue), model.shift(), `seed ${seed}, step ${step}`);
      }
      assert.equal(queue.count, model.length);
    }
  }
});
