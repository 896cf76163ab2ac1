/**
 * Hostile descriptors against the native library: whatever offsets, lengths and keys stand in them,
 * nothing outside the arena is touched. The strength of it comes from running it against a
 * sanitised build (PHANTOM_NATIVE); else the guard bytes about the arena are what it has.
 * PHANTOM_FUZZ_SEED repeats a run, PHANTOM_FUZZ_ROUNDS makes it longer.
 */

import assert from "node:assert/strict";
import { AeadBatch, AeadTable, aeadTagBytes } from "../../ffi/aead.ts";
import { endpoint, routeTo } from "../../ffi/endpoint.ts";
import { UdpFlag, udpGroMax, UdpInbox, UdpOutbox, UdpSocket } from "../../ffi/udp.ts";
import { type Seeded, seeded, testNative } from "../native.ts";

const native = testNative();
const seed = Number(Deno.env.get("PHANTOM_FUZZ_SEED") ?? 20_250_101);
const rounds = Number(Deno.env.get("PHANTOM_FUZZ_ROUNDS") ?? 1000);
const guardBytes = 256;
const guard = 0xa5;
const resultsAllowed = new Set([0, -2, -22, -74]);

/** An arena between guards, in one buffer. */
function guarded(length: number): { whole: Uint8Array; arena: Uint8Array<ArrayBuffer> } {
  const whole = new Uint8Array(length + 2 * guardBytes).fill(guard);
  return { whole, arena: whole.subarray(guardBytes, guardBytes + length).fill(0) };
}

function assertGuards(whole: Uint8Array, why: string): void {
  const ends = [whole.subarray(0, guardBytes), whole.subarray(whole.length - guardBytes)];
  for (const end of ends) assert.ok(end.every((byte) => byte === guard), why);
}

/** Mostly about the edges: of zero, of the arena, of 2^32. */
function hostile(random: Seeded, arenaBytes: number): number {
  const near = [0, arenaBytes, arenaBytes - aeadTagBytes, 0x8000_0000, 0xffff_ffff];
  switch (random.int(4)) {
    case 0:
      return random.int(2 ** 32);
    case 1:
      return random.int(arenaBytes + 1);
    default:
      return (near[random.int(near.length)]! + random.int(33) - 16) >>> 0;
  }
}

Deno.test(`AeadTable stays in its arena for any operations (seed ${seed})`, () => {
  const random = seeded(seed);
  using table = new AeadTable(native, 16);
  const keys = Array.from({ length: 16 }, () => table.addKey(random.bytes(32)));
  const batch = new AeadBatch(32);
  for (let round = 0; round < rounds; round++) {
    const { whole, arena } = guarded(random.int(8192));
    const why = `seed ${seed}, round ${round}`;
    const which = random.int(keys.length);
    if (random.int(8) === 0) {
      table.removeKey(keys[which]!);
      keys[which] = table.addKey(random.bytes(32));
    }
    batch.clear();
    while (!batch.isFull) {
      const key = random.int(4) === 0 ? random.int(2 ** 32) : keys[random.int(keys.length)]!;
      const [aad, aadBytes, text, textBytes] = Array.from(
        { length: 4 },
        () => hostile(random, arena.length),
      );
      const aadAt = random.int(2) === 0 ? [0, 0] : [aad!, aadBytes!];
      batch.add(key, random.int(2 ** 32), aadAt[0]!, aadAt[1]!, text!, textBytes!);
    }
    const before = arena.slice();
    const opened = table.open(batch, arena);
    assert.equal(opened, 0, why);
    assert.deepEqual(arena, before, why);
    const sealed = table.seal(batch, arena);
    const results = Array.from({ length: batch.count }, (_, i) => batch.result(i));
    assert.ok(results.every((result) => resultsAllowed.has(result)), why);
    assert.equal(results.filter((result) => result === 0).length, sealed, why);
    assertGuards(whole, why);
  }
});

Deno.test(`UdpSocket.send() stays in its arena for any entries (seed ${seed})`, () => {
  const random = seeded(seed + 1);
  const ip = new Uint8Array(16).with(10, 255).with(11, 255).with(12, 127).with(15, 1);
  using server = new UdpSocket(native, { local: endpoint(ip, 0) });
  using client = new UdpSocket(native, { local: endpoint(ip, 0) });
  using cutting = new UdpSocket(native, { local: endpoint(ip, 0), gso: false });
  // Only ever to ourselves: a random address would be somebody's.
  const route = routeTo(server.local);
  const inbox = new UdpInbox({ slots: 64 });
  for (let round = 0; round < rounds; round++) {
    const { arena } = guarded(random.int(70_000));
    const outbox = new UdpOutbox(arena);
    while (!outbox.isFull && random.int(16) !== 0) {
      const segment = [0, hostile(random, arena.length), random.int(3000)][random.int(3)]!;
      outbox.add(route, hostile(random, arena.length), hostile(random, arena.length), segment);
    }
    const why = `seed ${seed}, round ${round}`;
    const sent = (random.int(2) === 0 ? client : cutting).send(outbox);
    assert.ok(sent >= 0 && sent <= outbox.count, why);
    while (server.receive(inbox) > 0) {
      for (let i = 0; i < inbox.count; i++) {
        const end = inbox.offset(i) + inbox.length(i);
        assert.ok(end <= (inbox.message(i) + 1) * inbox.slotBytes, why);
        assert.ok(inbox.bytes(i).every((byte) => byte === 0), why);
      }
    }
  }
});

Deno.test(`ph_udp_* refuse any other hostile argument (seed ${seed})`, () => {
  const random = seeded(seed + 2);
  const { symbols } = native;
  const arena = new Uint8Array(4096);
  const messages = new Uint32Array(64 * 12);
  const spans = new Uint32Array(64 * 128 * 4);
  const sends = new Uint32Array(64 * 16);
  const edges = [0, 1, 63, 64, 65, 4096, 4097, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff];
  const edge = () => edges[random.int(edges.length)]!;
  for (let round = 0; round < rounds; round++) {
    const [flags, slotBytes, slots, spanMax] = [random.int(128), edge(), edge(), random.int(300)];
    const worst = (flags & UdpFlag.gro) === 0 ? 1 : udpGroMax;
    const isSound = slots >= 1 && slots <= 64 && slotBytes >= 1 && spanMax >= worst &&
      slots * slotBytes <= arena.length;
    const received = symbols.ph_udp_recv(
      // No descriptor is -1, so that what is not refused for its sizes is for this.
      -1,
      flags,
      arena,
      arena.length,
      slotBytes,
      slots,
      messages,
      spans,
      spanMax,
    );
    assert.equal(received, isSound ? -9 : -22);
    const n = edge();
    const features = Uint32Array.of(random.int(2 ** 32));
    for (let i = 0; i < sends.length; i++) sends[i] = hostile(random, arena.length);
    const sent = symbols.ph_udp_send(-1, features, arena, arena.length, sends, n);
    assert.ok(sent === -22 || sent === -9 || (n <= 64 && sent === n), `${sent}`);
    const local = new Uint32Array(6);
    const asked = Uint32Array.of(random.int(2 ** 32) | 128);
    assert.equal(symbols.ph_udp_open(local, asked, edge(), edge()), -22);
  }
});
