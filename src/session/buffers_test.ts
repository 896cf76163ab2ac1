import assert from "node:assert/strict";
import { Rng } from "../../tests/fuzz/rng.ts";
import type { NumberCell } from "../base/number_field.ts";
import { Budget, ByteRing } from "./byte_ring.ts";
import { ReceiveBuffer } from "./receive_buffer.ts";
import { Share } from "./share.ts";
import { SendBuffer } from "./send_buffer.ts";

const KIB = 1024;

function at(offset: number): NumberCell {
  return Float64Array.of(offset);
}

function picks(send: SendBuffer, room: number, newRoom: number): boolean {
  send.aim();
  return send.pick(room, newRoom);
}

Deno.test("ByteRing keeps what is stored when it grows, wherever it wraps", () => {
  const ring = new ByteRing(new Share(new Budget(1 << 20)));
  const source = crypto.getRandomValues(new Uint8Array(60 * KIB));
  const base = 2 ** 33 + 2 ** 31 + 3 * KIB + 17;
  assert(ring.reserve(base, base + 4000, base));
  ring.put(base | 0, source, 0, 4000);
  assert(ring.reserve(base, base + source.length, base + 4000));
  ring.put(base + 4000 | 0, source, 4000, source.length - 4000);
  const out = new Uint8Array(source.length);
  ring.take(base | 0, out, 0, out.length);
  assert.deepEqual(out, source);
});

Deno.test("a Budget bounds all rings together, and gets back what they release", () => {
  const budget = new Budget(104 * KIB);
  const [first, second] = [new ByteRing(new Share(budget)), new ByteRing(new Share(budget))];
  assert(first.reserve(0, 32 * KIB, 0));
  assert(second.reserve(0, 16 * KIB, 0));
  assert.equal(second.reserve(0, 16 * KIB + 1, 0), false);
  assert.equal(budget.refusals, 1);
  first.release();
  assert(second.reserve(0, 16 * KIB + 1, 0));
  assert.equal(budget.used, 32 * KIB);
  second.release();
  assert.equal(budget.used, 0);
});

Deno.test("SendBuffer takes no more than maximum, budget and the peer's limit let it", () => {
  const send = new SendBuffer(new Share(new Budget(1 << 20)), 10_000, 6000);
  assert.equal(send.write(new Uint8Array(20_000), 0, 20_000), 10_000);
  assert.equal(send.room, 0);
  assert(picks(send, 100_000, Infinity));
  assert.equal(send.pickedLength, 6000);
  send.takePicked(new Uint8Array(6000), 0);
  assert(send.isBlocked && !send.hasWork);
  send.limit = 7000;
  assert(picks(send, 100_000, 300));
  assert.equal(send.pickedLength, 300);
  const poor = new SendBuffer(new Share(new Budget(4 * KIB)), 1 << 20, Infinity);
  assert.equal(poor.write(new Uint8Array(20_000), 0, 20_000), 4 * KIB);
  assert.equal(poor.write(new Uint8Array(20_000), 0, 20_000), 0);
});

Deno.test("SendBuffer sends FIN behind all data, and again when it was lost", () => {
  const send = new SendBuffer(new Share(new Budget(1 << 20)), 1 << 20, Infinity);
  send.write(new Uint8Array(10), 0, 10);
  send.finish();
  assert.equal(send.write(new Uint8Array(1), 0, 1), 0);
  assert(!send.wantsFin);
  picks(send, 100, 100);
  send.takePicked(new Uint8Array(10), 0);
  assert(send.wantsFin);
  send.finSent();
  assert(!send.hasWork);
  send.finLost();
  assert(send.wantsFin);
  send.finSent();
  send.finAcked();
  assert(!send.isDone);
  send.acked(at(0), 10);
  assert(send.isDone);
  send.finLost();
  assert(!send.wantsFin);
});

Deno.test("ReceiveBuffer holds to one final size", () => {
  const receive = new ReceiveBuffer(new Share(new Budget(1 << 20)));
  assert(receive.admits(at(100)));
  assert.equal(receive.finish(99), false);
  assert(receive.finish(100));
  assert(receive.finish(100));
  assert.equal(receive.finish(101), false);
  assert.equal(receive.admits(at(101)), false);
  assert(receive.admits(at(100)));
});

Deno.test("ReceiveBuffer refuses, and does not lose, what the budget has no room for", () => {
  const receive = new ReceiveBuffer(new Share(new Budget(4 * KIB)));
  const bytes = new Uint8Array(8 * KIB);
  assert.equal(receive.keep(0, bytes, 0, 8 * KIB), false);
  assert.equal(receive.readable, 0);
  assert(receive.keep(0, bytes, 0, 4 * KIB));
  assert.equal(receive.readable, 4 * KIB);
});

/** A link that loses, repeats and reorders; returns what the reader got. */
function transfer(seed: number, total: number): { sent: Uint8Array; got: Uint8Array } {
  const rng = new Rng(seed);
  const budget = new Budget(1 << 22);
  const share = new Share(budget);
  const send = new SendBuffer(share, 64 * KIB, Infinity);
  const receive = new ReceiveBuffer(share);
  const sent = rng.bytes(total);
  const got = new Uint8Array(total);
  const flight: { offset: number; bytes: Uint8Array }[] = [];
  let [written, read, steps] = [0, 0, 0];
  while (read < total) {
    assert(++steps < 200_000, `seed ${seed}: no end`);
    if (written < total) {
      written += send.write(sent, written, Math.min(total - written, rng.int(1, 9000)));
    }
    if (picks(send, rng.int(1, 1400), Infinity)) {
      const bytes = new Uint8Array(send.pickedLength);
      const offset = send.pickedOffset[0]!;
      send.takePicked(bytes, 0);
      if (rng.chance(0.2)) send.lost(at(offset), bytes.length);
      else flight.push({ offset, bytes });
    }
    if (flight.length === 0 || rng.chance(0.4)) continue;
    const index = rng.chance(0.3) ? rng.int(0, flight.length - 1) : 0;
    const [packet] = rng.chance(0.1) ? [flight[index]!] : flight.splice(index, 1);
    const { offset, bytes } = packet!;
    assert(receive.admits(at(offset + bytes.length)));
    if (receive.isNext(offset)) {
      got.set(bytes, read);
      receive.advance(bytes.length);
      read += bytes.length;
    } else assert(receive.keep(offset, bytes, 0, bytes.length));
    while (receive.readable > 0) {
      const length = Math.min(receive.contiguous, rng.int(1, 3000));
      got.set(receive.memory.subarray(receive.index, receive.index + length), read);
      receive.consume(length);
      read += length;
    }
    // Late or early, and sometimes declared lost although it came.
    if (rng.chance(0.1)) send.lost(at(offset), bytes.length);
    send.acked(at(offset), bytes.length);
  }
  for (const { offset, bytes } of flight) send.acked(at(offset), bytes.length);
  send.acked(at(0), total);
  assert.equal(send.unacked, 0);
  receive.release();
  assert.equal(budget.used, 0, `seed ${seed}: memory is not given back`);
  return { sent, got };
}

Deno.test("over a bad link ReceiveBuffer reads what SendBuffer sent, once and in order", () => {
  for (let seed = 1; seed <= 30; seed++) {
    const { sent, got } = transfer(seed, 300_000);
    assert.deepEqual(got, sent, `seed ${seed}`);
  }
});

Deno.test("a ByteRing that little is left of gives most of its memory back", () => {
  const share = new Share(new Budget(16 << 20));
  const send = new SendBuffer(share, 1 << 20, Infinity);
  share.readAhead = 1 << 20;
  const bytes = new Rng(1).bytes(1 << 20);
  assert.equal(send.write(bytes, 0, bytes.length), bytes.length);
  for (let sent = 0; sent < bytes.length; sent += send.pickedLength) {
    picks(send, 1 << 20, Infinity);
    send.takePicked(new Uint8Array(1 << 20), 0);
  }
  const left = 70 * KIB;
  for (let offset = 0; offset < bytes.length - left; offset += KIB) send.acked(at(offset), KIB);
  assert.equal(share.held, 256 * KIB);
  send.lost(at(bytes.length - left), left);
  picks(send, left, 0);
  const out = new Uint8Array(left);
  send.takePicked(out, 0);
  assert.deepEqual(out, bytes.subarray(bytes.length - left));
  send.acked(at(bytes.length - left), left);
  assert.deepEqual([share.held, share.unsent], [0, 0]);
});

Deno.test("SendBuffer takes little ahead of a path that takes little, together with others", () => {
  const share = new Share(new Budget(64 << 20));
  const bytes = new Uint8Array(8 << 20);
  const write = () => new SendBuffer(share, 16 << 20, Infinity).write(bytes, 0, bytes.length);
  assert.equal(write(), 64 * KIB);
  share.readAhead = 1 << 20;
  assert.equal(write(), (1 << 20) - 64 * KIB);
  assert.equal(write(), 64 * KIB);
  share.readAhead = 64 << 20;
  assert.equal(write(), 4 << 20);
  share.isSilent = true;
  assert.equal(write(), 0);
});
