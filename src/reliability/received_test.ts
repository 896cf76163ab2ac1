import assert from "node:assert/strict";
import { Rng } from "../../tests/fuzz/rng.ts";
import { ACK_ONLY_PACKETS_MAX, ACK_RANGES_MAX, MAX_ACK_DELAY_MS } from "./params.ts";
import { ACK_LIST_LENGTH, ReceivedNumbers } from "./received.ts";

function rangesOf(received: ReceivedNumbers): number[][] {
  const list = new Float64Array(ACK_LIST_LENGTH);
  const count = received.fill(list);
  return Array.from({ length: count }, (_, i) => [list[2 * i]!, list[2 * i + 1]!]);
}

Deno.test("ReceivedNumbers joins what touches and refuses what it has", () => {
  const received = new ReceivedNumbers();
  for (const number of [0, 1, 2, 5, 9]) assert.ok(received.insert(0, number, true));
  assert.deepEqual(rangesOf(received), [[9, 9], [5, 5], [0, 2]]);
  for (const number of [0, 2, 5, 9]) assert.ok(!received.insert(0, number, true));
  for (const number of [4, 6, 3]) assert.ok(received.insert(0, number, true));
  assert.deepEqual(rangesOf(received), [[9, 9], [0, 6]]);
  assert.equal(received.largest, 9);
});

Deno.test("ReceivedNumbers equals a set, whatever the order", () => {
  for (let seed = 1; seed <= 200; seed++) {
    const rng = new Rng(seed);
    const received = new ReceivedNumbers();
    const seen = new Set<number>();
    for (let i = 0; i < 300; i++) {
      const number = rng.int(0, 120);
      assert.equal(received.insert(i, number, true), !seen.has(number), `seed ${seed}`);
      seen.add(number);
    }
    const expected: number[][] = [];
    for (const number of [...seen].sort((a, b) => b - a)) {
      const last = expected.at(-1);
      if (last?.[0] === number + 1) last[0] = number;
      else expected.push([number, number]);
    }
    assert.deepEqual(rangesOf(received), expected, `seed ${seed}`);
  }
});

Deno.test("ReceivedNumbers of many sessions keep apart, whoever had the memory before", () => {
  const rng = new Rng(7);
  const all = Array.from({ length: 40 }, () => ({ received: new ReceivedNumbers(), seen: [0] }));
  for (const { received } of all) received.insert(0, 0, true);
  for (let i = 0; i < 20_000; i++) {
    const one = rng.pick(all);
    const number = rng.int(0, 30);
    assert.equal(one.received.insert(i, number, true), !one.seen.includes(number));
    one.seen.push(number);
    assert.equal(one.received.largest, Math.max(...one.seen));
    if (!rng.chance(0.03)) continue;
    one.received.release();
    assert.equal(one.received.largest, -1);
    one.received = new ReceivedNumbers();
    one.seen.length = 0;
  }
});

Deno.test("ReceivedNumbers keeps a bounded number of ranges and refuses what it forgot", () => {
  const received = new ReceivedNumbers();
  for (let i = 0; i < ACK_RANGES_MAX; i++) received.insert(0, 2 * i + 10, true);
  assert.equal(rangesOf(received).length, ACK_RANGES_MAX);
  assert.equal(received.rangesDropped, 0);
  assert.ok(!received.insert(0, 3, true), "older than the oldest of a full list");
  assert.ok(received.insert(0, 1000, true));
  assert.equal(rangesOf(received).length, ACK_RANGES_MAX);
  assert.equal(received.rangesDropped, 1);
  assert.ok(!received.insert(0, 10, true), "forgotten counts as seen");
  assert.equal(rangesOf(received).at(-1)![0], 12);
});

Deno.test("ReceivedNumbers asks for an ACK at the second packet, in time, and at a gap", () => {
  const received = new ReceivedNumbers();
  assert.equal(received.nextTimeout(), Infinity);
  received.insert(100, 0, true);
  assert.ok(received.ackWaiting && !received.ackDue(100));
  assert.equal(received.nextTimeout(), 100 + MAX_ACK_DELAY_MS);
  assert.ok(received.ackDue(100 + MAX_ACK_DELAY_MS));
  received.insert(110, 1, true);
  assert.ok(received.ackDue(110));
  received.onAckSent(true);
  assert.ok(!received.ackWaiting);
  received.insert(120, 3, true);
  assert.ok(received.ackDue(120), "a gap");
  received.onAckSent(true);
  received.insert(130, 2, true);
  assert.ok(received.ackDue(130), "out of order");
  assert.equal(received.ackDelay(130), 10);
});

Deno.test("ReceivedNumbers never acknowledges an ACK by itself", () => {
  const received = new ReceivedNumbers();
  for (let i = 0; i < 10; i++) received.insert(i, 2 * i, false);
  assert.ok(!received.ackWaiting);
});

Deno.test("ReceivedNumbers drops ranges whose ACK arrived, and asks for that now and then", () => {
  const received = new ReceivedNumbers();
  for (const number of [0, 2, 4, 6]) received.insert(0, number, true);
  for (let i = 0; i < ACK_ONLY_PACKETS_MAX; i++) {
    assert.ok(!received.wantsPing());
    received.onAckSent(false);
  }
  assert.ok(received.wantsPing());
  received.onAckSent(true);
  assert.ok(!received.wantsPing());
  received.onAckAcked(4);
  assert.deepEqual(rangesOf(received), [[6, 6]]);
  received.onAckAcked(6);
  assert.deepEqual(rangesOf(received), [[6, 6]], "the largest stays");
  assert.ok(!received.insert(0, 3, true));
});
