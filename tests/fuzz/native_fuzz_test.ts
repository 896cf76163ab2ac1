/**
 * Hostile descriptors against the native library: whatever offsets, lengths and keys stand in them,
 * nothing outside the arena is touched. The strength of it comes from running it against a
 * sanitised build (PHANTOM_NATIVE); else the guard bytes about the arena are what it has.
 */

import assert from "node:assert/strict";
import { AeadBatch, AeadTable, aeadTagBytes } from "../../ffi/aead.ts";
import { endpoint, routeTo } from "../../ffi/endpoint.ts";
import { maskKeyBytes, PacketHeaders, PacketMask, toClient, toServer } from "../../ffi/mask.ts";
import { NativePrimitives } from "../../ffi/primitives.ts";
import { tcpAgain, TcpListener, TcpSocket } from "../../ffi/tcp.ts";
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

Deno.test("PacketMask stays in its arena for any spans and offsets", () => {
  let hiddenInAll = 0;
  fuzz({ cases }, (rng) => {
    const { whole, arena } = guarded(rng.int(0, 4096));
    const at = () => hostile(rng, arena.length);
    const mask = new PacketMask(native, toClient);
    const hide = new PacketMask(native, toServer);
    const keys = rng.bytes(rng.int(1, 8) * maskKeyBytes);
    hide.setKeys(keys);
    mask.setKeys(keys);
    const count = rng.int(1, 64);
    const headers = new PacketHeaders(count);
    const spans = Uint32Array.from(
      { length: 4 * count },
      (_, i) => i % 4 === 3 ? rng.pick([0, 0, 1, rng.u32()]) : at(),
    );
    const before = arena.slice();
    assert.equal(mask.unmask({ arena, spans, count }, headers), 0);
    assert.deepEqual(arena, before);
    assert.ok(headers.words.every((word) => word === 0));
    const offsets = spans.filter((_, i) => i % 4 === 0);
    const fitting = offsets.filter((offset) => offset + 32 <= arena.length);
    if (fitting.length > 0) {
      const offset = fitting[0]!;
      arena[offset + 6] = 5;
      assert.equal(hide.maskAt(fitting, 1, arena), 1);
      const real = { arena, spans: Uint32Array.of(offset, 32, 0, 0), count: 1 };
      assert.equal(mask.unmask(real, headers), 1);
      assert.equal(headers.kind(0), 5);
    }
    const hidden = mask.maskAt(offsets, count, arena);
    assert.equal(hidden, fitting.length);
    hiddenInAll += hidden;
    assertGuards(whole);
  });
  assert.notEqual(hiddenInAll, 0);
});

Deno.test("ph_mask reads no word that is not there", () => {
  const { symbols } = native;
  const arena = new Uint8Array(64);
  const key = new Uint8Array(maskKeyBytes);
  const edges = [0, 1, 2, 7, 8, 9, 63, 64, 65, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff];
  fuzz({ cases }, (rng) => {
    const words = new Uint32Array(rng.int(0, 64)).fill(0xffff_ffff);
    const [first, stride] = [rng.pick(edges), rng.pick(edges)];
    // A stride of 0 is sound for any count, and long.
    const count = stride === 0 ? rng.int(0, 1000) : rng.pick(edges);
    const last = BigInt(first) + BigInt(stride) * BigInt(count - 1);
    const isSound = count === 0 || last < BigInt(words.length);
    const hidden = symbols.ph_mask(arena, 64, key, 0, words, words.length, first, stride, count);
    assert.equal(hidden, isSound ? 0 : -22);
  });
});

Deno.test("NativePrimitives seals and opens in the arena only", () => {
  const primitives = new NativePrimitives(native);
  let opened = 0;
  fuzz({ cases }, (rng) => {
    const { whole, arena } = guarded(rng.int(0, 8192));
    const at = () => hostile(rng, arena.length);
    const key = rng.bytes(32);
    const [aad, aadBytes] = rng.chance(0.5) ? [0, 0] : [at(), at()];
    const [text, textBytes] = [at(), at()];
    const before = arena.slice();
    assert.equal(primitives.aeadOpen(key, arena, aad, aadBytes, text, textBytes), false);
    assert.deepEqual(arena, before);
    const isSound = aad + aadBytes <= arena.length &&
      text + textBytes + aeadTagBytes <= arena.length &&
      (aadBytes === 0 || aad >= text + textBytes + aeadTagBytes || text >= aad + aadBytes);
    const seal = () => primitives.aeadSeal(key, arena, aad, aadBytes, text, textBytes);
    if (isSound) seal();
    else assert.throws(seal, { code: "EINVAL" });
    assert.equal(primitives.aeadOpen(key, arena, aad, aadBytes, text, textBytes), isSound);
    if (isSound) opened++;
    assertGuards(whole);
  });
  assert.notEqual(opened, 0);
});

Deno.test("TcpSocket stays in its arena for any offset and length", () => {
  const ip = new Uint8Array(16).with(10, 255).with(11, 255).with(12, 127).with(15, 1);
  using listener = new TcpListener(native, { local: endpoint(ip, 0) });
  using client = TcpSocket.connect(native, { peer: listener.local });
  const [server] = listener.accept();
  assert.ok(server);
  const drain = new Uint8Array(1 << 16);
  const moved = { read: 0, write: 0 };
  fuzz({ cases }, (rng) => {
    const { whole, arena } = guarded(rng.int(0, 8192));
    const at = () => hostile(rng, arena.length);
    for (const run of ["write", "read"] as const) {
      for (let i = 0; i < 32; i++) {
        const result = rng.pick([client, client, server])[run](arena, at(), at());
        assert.ok(result > 0 || [tcpAgain, -22].includes(result));
        if (result > 0) moved[run]++;
      }
      assertGuards(whole);
    }
    // Only what lay in an arena was ever written, and that is zero.
    for (const socket of [client, server]) {
      for (let got = 1; got > 0;) {
        got = socket.read(drain, 0, drain.length);
        assert.ok(drain.subarray(0, Math.max(0, got)).every((byte) => byte === 0));
      }
    }
  });
  server.close();
  assert.notEqual(moved.read, 0);
  assert.notEqual(moved.write, 0);
});

Deno.test("the calls of TCP refuse hostile arguments", () => {
  const { symbols } = native;
  const edges = [0, 1, 63, 64, 65, 0x7fff, 0x8000, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff];
  const addresses = new Uint32Array(12);
  const accepted = new Uint32Array(64 * 8);
  const device = new Uint8Array([0]);
  fuzz({ cases }, (rng) => {
    const [flags, seconds, max] = [rng.pick(edges), rng.pick(edges), rng.pick(edges)];
    const isSound = (flags & ~4) === 0 && seconds <= 0x7fff && max >= 1 && max <= 64;
    // No descriptor is -1, so that what is not refused for its sizes is for this.
    const taken = symbols.ph_tcp_accept(-1, flags, seconds, accepted, max);
    assert.equal(taken, isSound ? -9 : -22);
    const long = Math.max(0x8000, seconds);
    const wrong = (rng.u32() | 16) >>> 0;
    assert.equal(symbols.ph_tcp_listen(addresses, wrong, 1), -22);
    assert.equal(symbols.ph_tcp_connect(addresses, addresses, device, wrong, 0), -22);
    assert.equal(symbols.ph_tcp_connect(addresses, addresses, device, 0, long), -22);
    assert.equal(symbols.ph_tcp_listen(addresses, 0, 0 - rng.int(0, 0x7fff_ffff)), -22);
  });
  assert.equal(symbols.ph_tcp_result(-1), -9);
  assert.equal(symbols.ph_tcp_result(1 << 30), -9);
  assert.equal(symbols.ph_tcp_local(-1, addresses), -9);
  assert.equal(symbols.ph_tcp_finish(-1), -9);
});
