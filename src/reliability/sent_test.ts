import assert from "node:assert/strict";
import { NO_RECORD } from "./frame_records.ts";
import { SENT_SLOTS_MIN } from "./params.ts";
import { Flag, SentPackets, State } from "./sent.ts";

Deno.test("SentPackets keeps packets while the ring grows and wraps", () => {
  const sent = new SentPackets();
  for (let i = 0; i < 1000; i++) {
    const number = sent.push(i % 8, Flag.appLimited, State.inFlight, i);
    assert.equal(number, i);
    sent.describe(number, i / 2, i + 1, i + 2, Float64Array.of(2 ** 41 + i, i + 4, i + 5));
    if (i % 3 === 0) sent.base += 1;
  }
  for (let i = sent.base; i < sent.next; i++) {
    assert.equal(sent.path(i), i % 8);
    assert.equal(sent.flags(i), Flag.appLimited);
    assert.equal(sent.state(i), State.inFlight);
    assert.equal(sent.records(i), i);
    assert.deepEqual(
      [sent.time(i), sent.bytes(i), sent.sequence(i), sent.delivered(i), sent.deliveredTime(i)],
      [i / 2, i + 1, i + 2, 2 ** 41 + i, i + 4],
    );
    assert.equal(sent.firstSent(i), i + 5);
  }
  sent.addFlag(999, Flag.requeued);
  sent.setState(999, State.lost);
  assert.equal(sent.flags(999), Flag.appLimited | Flag.requeued);
  assert.equal(sent.state(999), State.lost);
  assert.equal(sent.path(999), 999 % 8);
  sent.base = sent.next;
  sent.shrink();
  assert.equal(sent.capacity, 0);
  // A ring that another one had before.
  const [left, taken] = [new SentPackets(), new SentPackets()];
  left.push(1, Flag.mtuProbe, State.inFlight, 7);
  left.base = left.next;
  left.shrink();
  assert.equal(taken.pass(), 0);
  assert.equal(taken.capacity, 0);
  assert.equal(taken.push(0, 0, State.quiet, NO_RECORD), 1);
  assert.equal(taken.capacity, SENT_SLOTS_MIN);
  assert.deepEqual([taken.flags(1), taken.state(1), taken.records(1)], [0, State.quiet, NO_RECORD]);
});

Deno.test("SentPackets.belowAcked() skips over acknowledged runs", () => {
  const sent = new SentPackets();
  for (let i = 0; i < 100; i++) sent.push(0, 0, State.inFlight, NO_RECORD);
  for (let i = 10; i <= 90; i++) {
    if (i === 50) continue;
    sent.setState(i, State.acked);
    sent.setOlder(i, i - 1);
  }
  assert.equal(sent.belowAcked(90), 50);
  assert.equal(sent.older(90), 50, "the way is kept");
  assert.equal(sent.belowAcked(49), 9);
  assert.equal(sent.belowAcked(5), 5);
});
