/**
 * Hostile descriptors against the native library: whatever offsets, lengths and keys stand in them,
 * nothing outside the arena is touched. The strength of it comes from running it against a
 * sanitised build (PHANTOM_NATIVE); else the guard bytes about the arena are what it has.
 */

import assert from "node:assert/strict";
import { AeadBatch, AeadTable, aeadTagBytes } from "../../ffi/aead.ts";
import { endpoint, routeTo } from "../../ffi/endpoint.ts";
import { UdpFlag, udpGroMax, UdpInbox, UdpOutbox, UdpSocket } from "../../ffi/udp.ts";
import { testNative } from "../native.ts";
import { fuzz, type Rng } from "./rng.ts";

const native = testNative();
const cases = 1000;
const guardBytes = 256;
const guard = 0xa5;
const resultsAllowed = new Set([0, -2, -22, -74]);

/** An arena between guards, in one buffer. */
function guarded(length: number): { whole: Uint8Array; arena: Uint8Array<ArrayBuffer> } {
  const whole = new Uint8Array(length + 2 * guardBytes).fill(guard);
  return { whole, arena: whole.subarray(guardBytes, guardBytes + length).fill(0) };
}

function assertGuards(whole: Uint8Array): void {
  const ends = [whole.subarray(0, guardBytes), whole.subarray(whole.length - guardBytes)];
  for (const end of ends) assert.ok(end.every((byte) => byte === guard));
}

/** Mostly about the edges: of zero, of the arena, of 2^32. */
function hostile(rng: Rng, arenaBytes: number): number {
  const edge = rng.pick([0, arenaBytes, arenaBytes - aeadTagBytes, 0x8000_0000, 0xffff_ffff]);
  if (rng.chance(0.25)) return rng.u32();
  if (rng.chance(0.33)) return rng.int(0, arenaBytes);
  return (edge + rng.int(-16, 16)) >>> 0;
}

Deno.test("AeadTable stays in its arena for any operations", () => {
  let sealedInAll = 0;
  fuzz({ cases }, (rng) => {
    using table = new AeadTable(native, 4);
    const keys = [1, 2, 3, 4].map(() => table.addKey(rng.bytes(32)));
    table.removeKey(rng.pick(keys));
    const { whole, arena } = guarded(rng.int(0, 8192));
    const at = () => hostile(rng, arena.length);
    const batch = new AeadBatch(32);
    while (!batch.isFull) {
      const key = rng.chance(0.25) ? rng.u32() : rng.pick(keys);
      const [aad, aadBytes] = rng.chance(0.5) ? [0, 0] : [at(), at()];
      batch.add(key, rng.u32(), aad, aadBytes, at(), at());
    }
    const before = arena.slice();
    assert.equal(table.open(batch, arena), 0);
    assert.deepEqual(arena, before);
    const sealed = table.seal(batch, arena);
    const results = Array.from({ length: batch.count }, (_, i) => batch.result(i));
    assert.ok(results.every((result) => resultsAllowed.has(result)));
    assert.equal(results.filter((result) => result === 0).length, sealed);
    assertGuards(whole);
    sealedInAll += sealed;
  });
  assert.notEqual(sealedInAll, 0);
});

Deno.test("UdpSocket.send() stays in its arena for any entries", () => {
  const ip = new Uint8Array(16).with(10, 255).with(11, 255).with(12, 127).with(15, 1);
  using server = new UdpSocket(native, { local: endpoint(ip, 0) });
  using client = new UdpSocket(native, { local: endpoint(ip, 0) });
  using cutting = new UdpSocket(native, { local: endpoint(ip, 0), gso: false });
  // Only ever to ourselves: a random address would be somebody's.
  const route = routeTo(server.local);
  const inbox = new UdpInbox({ slots: 64 });
  let received = 0;
  fuzz({ cases }, (rng) => {
    const { arena } = guarded(rng.int(0, 70_000));
    const at = () => hostile(rng, arena.length);
    const outbox = new UdpOutbox(arena);
    for (let entries = rng.int(0, 64); entries > 0; entries--) {
      outbox.add(route, at(), at(), rng.pick([0, at(), rng.int(0, 3000)]));
    }
    const sent = rng.pick([client, cutting]).send(outbox);
    assert.ok(sent >= 0 && sent <= outbox.count);
    while (server.receive(inbox) > 0) {
      received += inbox.count;
      for (let i = 0; i < inbox.count; i++) {
        const end = inbox.offset(i) + inbox.length(i);
        assert.ok(end <= (inbox.message(i) + 1) * inbox.slotBytes);
        assert.ok(inbox.bytes(i).every((byte) => byte === 0));
      }
    }
  });
  assert.notEqual(received, 0);
});

Deno.test("ph_udp_recv, ph_udp_send and ph_udp_open refuse any other hostile argument", () => {
  const { symbols } = native;
  const arena = new Uint8Array(4096);
  const messages = new Uint32Array(64 * 12);
  const spans = new Uint32Array(64 * 128 * 4);
  const edges = [0, 1, 63, 64, 65, 4096, 4097, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff];
  fuzz({ cases }, (rng) => {
    const [flags, slotBytes, slots] = [rng.int(0, 127), rng.pick(edges), rng.pick(edges)];
    const spanMax = rng.int(0, 300);
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
    const entries = rng.pick(edges);
    const sends = Uint32Array.from({ length: 64 * 16 }, () => hostile(rng, arena.length));
    const features = Uint32Array.of(rng.u32());
    const sent = symbols.ph_udp_send(-1, features, arena, arena.length, sends, entries);
    if (entries > 64) assert.equal(sent, -22);
    else assert.ok(sent === entries || sent === -9);
    const asked = Uint32Array.of(rng.u32() | 128);
    const opened = symbols.ph_udp_open(new Uint32Array(6), asked, rng.pick(edges), rng.pick(edges));
    assert.equal(opened, -22);
  });
});
