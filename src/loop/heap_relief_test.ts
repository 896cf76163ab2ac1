import assert from "node:assert/strict";
import {
  BURST_FACTOR,
  BURST_MIN,
  GARBAGE_BYTES_MIN,
  HeapRelief,
  LIVE_MAX,
  LOOK_MS,
  SETTLE_MS,
} from "./heap_relief.ts";

const MIB = 1 << 20;

class Heap {
  bytes = 10 * MIB;
  done: string[] = [];
  #now = 0;
  readonly relief: HeapRelief;

  constructor(canCollect = true) {
    const collect = () => {
      this.done.push("collect");
      this.bytes = 12 * MIB;
    };
    this.relief = new HeapRelief({
      collect: canCollect ? collect : undefined,
      heapBytes: () => this.bytes,
      release: () => this.done.push("release"),
    });
  }

  /** So long, with a tick a quarter of a second. */
  live(count: number, ms = LOOK_MS): this {
    for (const end = this.#now + ms; this.#now < end; this.#now += 250) {
      this.relief.tick(this.#now, count);
    }
    return this;
  }
}

Deno.test("what a burst left is collected once it is over, twice, and given back", () => {
  const heap = new Heap().live(10);
  heap.bytes = 200 * MIB;
  heap.live(100_000, 60_000);
  assert.deepEqual(heap.done, []);
  heap.live(10);
  assert.deepEqual(heap.done, ["collect", "release"]);
  heap.live(10, SETTLE_MS);
  assert.deepEqual(heap.done.splice(0), ["collect", "release", "collect", "release"]);
  heap.live(10, SETTLE_MS);
  assert.deepEqual(heap.done.splice(0), ["release"]);
  // And that is all.
  heap.live(10, 60_000);
  assert.deepEqual(heap.done, []);
});

Deno.test("a worker with much that lives, or little garbage, is not stopped for it", () => {
  const busy = new Heap().live(50 * LIVE_MAX);
  busy.bytes = 500 * MIB;
  assert.deepEqual(busy.live(LIVE_MAX + 1, 60_000).done, []);
  assert.deepEqual(busy.live(LIVE_MAX).done, ["collect", "release"]);

  const clean = new Heap().live(100_000);
  clean.bytes = GARBAGE_BYTES_MIN - 1;
  assert.deepEqual(clean.live(0, 60_000).done, []);
});

Deno.test("a new burst is waited for before the second collection", () => {
  const heap = new Heap().live(100_000);
  heap.bytes = 500 * MIB;
  heap.live(0).live(100_000, 2 * SETTLE_MS);
  assert.deepEqual(heap.done.splice(0), ["collect", "release", "release"]);
  heap.bytes = 500 * MIB;
  assert.deepEqual(heap.live(0).done, ["collect", "release"]);
});

Deno.test("what comes and goes as ever is no burst", () => {
  const heap = new Heap();
  heap.bytes = 200 * MIB;
  heap.live(BURST_MIN + BURST_FACTOR * 1000 - 1).live(1000, 60_000);
  assert.deepEqual(heap.done, []);
  heap.live(BURST_MIN + BURST_FACTOR * 1000).live(1000);
  assert.deepEqual(heap.done, ["collect", "release"]);
});

Deno.test("an engine that can't be asked is left alone", () => {
  const heap = new Heap(false).live(100_000);
  heap.bytes = 500 * MIB;
  assert.deepEqual(heap.live(0, 60_000).done, []);
});
