import assert from "node:assert/strict";
import { Epoll, EpollEvent } from "../../../ffi/loop.ts";
import { BpfObject } from "../../../ffi/bpf/object.ts";
import { eachRecord, EventRing } from "../../../ffi/bpf/ring.ts";
import { stayOnCpu } from "../../fixtures/affinity.ts";
import { bpfObject, libraries } from "../../fixtures/libraries.ts";

const libs = libraries();
const frame = new Uint8Array(64);
const XDP_DROP = 1;

function load(): BpfObject {
  return new BpfObject(libs, "testing", bpfObject("testing")).load();
}

/** Drains until nothing is left; the numbers of the events. */
function drainNumbers(ring: EventRing, buffer: Uint8Array<ArrayBuffer>): number[] {
  const numbers: number[] = [];
  const view = new DataView(buffer.buffer);
  for (let used = ring.drain(buffer); used > 0; used = ring.drain(buffer)) {
    eachRecord(view, used, (offset, length) => {
      assert.equal(length >= 64, true);
      numbers.push(Number(view.getBigUint64(offset, true)));
    });
  }
  return numbers;
}

Deno.test("EventRing drains every event, once and in order, across the ring's end", () => {
  using object = load();
  using ring = EventRing.ofRingBuffer(libs, object.map("ring"));
  const buffer = new Uint8Array(64 << 10);
  let expected = 0;
  // 4 MiB of ring, 72 bytes an event: some 58,000 fit, so ten rounds go around three times.
  for (let round = 0; round < 10; round++) {
    object.program("emit_ring").run({ data: frame, repeat: 20_000 });
    const numbers = drainNumbers(ring, buffer);
    assert.equal(numbers.length, 20_000);
    for (const number of numbers) assert.equal(number, expected++);
  }
});

Deno.test("EventRing takes records of every length and skips discarded ones", () => {
  using object = load();
  using ring = EventRing.ofRingBuffer(libs, object.map("ring"));
  object.program("emit_odd").run({ data: frame, repeat: 1000 });
  const buffer = new Uint8Array(1 << 20);
  const view = new DataView(buffer.buffer);
  const used = ring.drain(buffer);
  let number = 0;
  eachRecord(view, used, (offset, length) => {
    if (number % 5 === 4) number++;
    assert.equal(length, (number & 63) + 1);
    for (let i = 0; i < length; i++) assert.equal(buffer[offset + i], number & 0xff);
    number++;
  });
  assert.equal(number, 999);
});

Deno.test("EventRing.drain() stops at the end of the buffer and goes on there", () => {
  using object = load();
  using ring = EventRing.ofRingBuffer(libs, object.map("ring"));
  object.program("emit_ring").run({ data: frame, repeat: 10 });
  const three = new Uint8Array(3 * 72 + 71);
  assert.equal(ring.drain(three), 3 * 72);
  assert.equal(drainNumbers(ring, three).length, 7);
});

Deno.test("EventRing.drain() leaves a record that can't fit, and says so", () => {
  using object = load();
  using ring = EventRing.ofRingBuffer(libs, object.map("ring"));
  object.program("emit_ring").run({ data: frame });
  assert.throws(() => ring.drain(new Uint8Array(71)), /drain ring buffer ring: EMSGSIZE/);
  assert.equal(ring.drain(new Uint8Array(72)), 72);
  assert.equal(ring.drain(new Uint8Array(72)), 0);
});

Deno.test("a full ring buffer refuses new events and keeps the old", () => {
  using object = load();
  using ring = EventRing.ofRingBuffer(libs, object.map("ring"));
  const { value } = object.program("emit_ring").run({ data: frame, repeat: 100_000 });
  assert.equal(value, XDP_DROP);
  const numbers = drainNumbers(ring, new Uint8Array(1 << 20));
  assert.equal(numbers.length, Math.floor((1 << 22) / 72));
  assert.equal(numbers[0], 0);
});

Deno.test("EventRing drains a perf buffer, across its end, and counts what was lost", () => {
  // Each CPU has a buffer, and is drained in its turn: in order is what one CPU has told.
  using _stay = stayOnCpu();
  using object = load();
  using ring = EventRing.ofPerfBuffer(libs, object.map("perf"), 8);
  const buffer = new Uint8Array(64 << 10);
  let expected = 0;
  for (let round = 0; round < 40; round++) {
    object.program("emit_perf").run({ data: frame, repeat: 200 });
    const numbers = drainNumbers(ring, buffer);
    assert.equal(numbers.length, 200);
    for (const number of numbers) assert.equal(number, expected++);
  }
  assert.equal(ring.lost, 0n);
  object.program("emit_perf").run({ data: frame, repeat: 5000 });
  const kept = drainNumbers(ring, buffer).length;
  assert(kept > 0 && kept < 5000);
  // The kernel tells of a loss with the next record that finds room.
  object.program("emit_perf").run({ data: frame });
  drainNumbers(ring, buffer);
  assert.equal(Number(ring.lost), 5000 - kept);
});

Deno.test("EventRing.fd is readable exactly while there are events", () => {
  using object = load();
  for (const kind of ["ring", "perf"] as const) {
    using ring = kind === "ring"
      ? EventRing.ofRingBuffer(libs, object.map("ring"))
      : EventRing.ofPerfBuffer(libs, object.map("perf"), 8);
    using epoll = new Epoll(libs.native);
    epoll.add(ring.fd, EpollEvent.in, 9);
    assert.equal(epoll.wait(0), 0, kind);
    // emit_odd wakes, as programs with a reader that sleeps do.
    object.program(kind === "ring" ? "emit_odd" : "emit_perf").run({ data: frame });
    assert.equal(epoll.wait(1000), 1, kind);
    assert.equal(epoll.tag(0), 9);
    ring.drain(new Uint8Array(4096));
    assert.equal(epoll.wait(0), 0, kind);
  }
});

Deno.test("EventRing refuses other maps and wrong sizes, and use after close", () => {
  using object = load();
  assert.throws(() => EventRing.ofRingBuffer(libs, object.map("numbers")), /EINVAL/);
  assert.throws(() => EventRing.ofPerfBuffer(libs, object.map("ring")), /EINVAL/);
  assert.throws(() => EventRing.ofPerfBuffer(libs, object.map("perf"), 3), /EINVAL/);
  const ring = EventRing.ofRingBuffer(libs, object.map("ring"));
  ring.close();
  ring.close();
  assert.throws(() => ring.drain(new Uint8Array(8)), /Cannot use ring buffer ring as it is closed/);
});

Deno.test("eachRecord() refuses a batch that contradicts itself", () => {
  const view = new DataView(new ArrayBuffer(32));
  view.setUint32(0, 25, true);
  assert.throws(() => eachRecord(view, 32, () => {}), RangeError);
});
