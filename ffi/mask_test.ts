import assert from "node:assert/strict";
import { Rng } from "../tests/fuzz/rng.ts";
import { testNative } from "../tests/native.ts";
import { AeadBatch, AeadTable, aeadTagBytes } from "./aead.ts";
import { endpoint, routeTo } from "./endpoint.ts";
import {
  type Direction,
  maskKeyBytes,
  maskKeysMax,
  packetBytesMin,
  PacketHeaders,
  PacketMask,
  type PacketSpans,
  sipHash,
  toClient,
  toServer,
} from "./mask.ts";
import { UdpInbox, UdpOutbox, UdpSocket } from "./udp.ts";

const native = testNative();
const word64 = 0xffff_ffff_ffff_ffffn;

/** SipHash-2-4 as its paper has it: our oracle. */
function sipHashByPaper(key: Uint8Array, data: Uint8Array): Uint8Array<ArrayBuffer> {
  const rotate = (x: bigint, bits: bigint) => (x << bits | x >> (64n - bits)) & word64;
  const keys = new DataView(key.buffer, key.byteOffset);
  const [k0, k1] = [keys.getBigUint64(0, true), keys.getBigUint64(8, true)];
  let v0 = k0 ^ 0x736f6d6570736575n;
  let v1 = k1 ^ 0x646f72616e646f6dn;
  let v2 = k0 ^ 0x6c7967656e657261n;
  let v3 = k1 ^ 0x7465646279746573n;
  const rounds = (count: number) => {
    for (; count > 0; count--) {
      v0 = (v0 + v1) & word64;
      v1 = rotate(v1, 13n) ^ v0;
      v0 = rotate(v0, 32n);
      v2 = (v2 + v3) & word64;
      v3 = rotate(v3, 16n) ^ v2;
      v0 = (v0 + v3) & word64;
      v3 = rotate(v3, 21n) ^ v0;
      v2 = (v2 + v1) & word64;
      v1 = rotate(v1, 17n) ^ v2;
      v2 = rotate(v2, 32n);
    }
  };
  const padded = new Uint8Array(data.length - data.length % 8 + 8);
  padded.set(data);
  padded[padded.length - 1] = data.length;
  const blocks = new DataView(padded.buffer);
  for (let at = 0; at < padded.length; at += 8) {
    const block = blocks.getBigUint64(at, true);
    v3 ^= block;
    rounds(2);
    v0 ^= block;
  }
  v2 ^= 0xffn;
  rounds(4);
  const out = new Uint8Array(8);
  new DataView(out.buffer).setBigUint64(0, v0 ^ v1 ^ v2 ^ v3, true);
  return out;
}

interface Header {
  readonly session: bigint;
  readonly kind: number;
  readonly number: bigint;
}

/** A packet in clear: its header, then random bytes. */
function packetOf(rng: Rng, { session, kind, number }: Header, length: number) {
  const packet = rng.bytes(length);
  const view = new DataView(packet.buffer);
  view.setBigUint64(0, session << 16n | BigInt(kind) << 8n);
  view.setBigUint64(8, number);
  return packet;
}

/** A packet on the wire, as the protocol has it. */
function masked(
  key: Uint8Array,
  packet: Uint8Array,
  direction: Direction = toServer,
): Uint8Array<ArrayBuffer> {
  const sample = packet.slice(16, 32);
  const hash = (...rest: number[]) => sipHashByPaper(key, Uint8Array.from([...sample, ...rest]));
  const [a, b] = [hash(direction), hash(2 + direction)];
  const wire = Uint8Array.from(packet);
  for (let i = 0; i < 7; i++) wire[i]! ^= a[i]!;
  for (let i = 0; i < 6; i++) wire[10 + i]! ^= b[i]!;
  wire.set(hash(...wire.slice(0, 7), 4 + direction, ...wire.slice(10, 16)).subarray(0, 3), 7);
  return wire;
}

function joined(parts: readonly Uint8Array[]): Uint8Array {
  return Uint8Array.from(parts.flatMap((part) => [...part]));
}

/** Packets one behind the other, with a byte between. */
function spansOf(packets: readonly Uint8Array[]): PacketSpans {
  const bytes = packets.flatMap((packet) => [...packet, 0xee]);
  const spans = new Uint32Array(4 * packets.length);
  let offset = 0;
  packets.forEach((packet, i) => {
    spans.set([offset, packet.length, i, 0], 4 * i);
    offset += packet.length + 1;
  });
  return { arena: Uint8Array.from(bytes), spans, count: packets.length };
}

Deno.test("sipHash() gives the vectors of the reference implementation", () => {
  const vectors = [
    ...["310e0edd47db6f72", "fd67dc93c539f874", "5a4fa9d909806c0d", "2d7efbd796666785"],
    ...["b7877127e09427cf", "8da699cd64557618", "cee3fe586e46c9cb", "37d1018bf50002ab"],
    ...["6224939a79f5f593", "b0e4a90bdf82009e", "f3b9dd94c5bb5d7a", "a7ad6b22462fb3f4"],
    ...["fbe50e86bc8f1e75", "903d84c02756ea14", "eef27a8e90ca23f7", "e545be4961ca29a1"],
  ];
  const bytes = Uint8Array.from({ length: 16 }, (_, i) => i);
  const out = new Uint8Array(8);
  vectors.forEach((vector, length) => {
    sipHash(native, bytes, bytes.subarray(0, length), out);
    assert.equal(out.toHex(), vector);
    assert.equal(sipHashByPaper(bytes, bytes.subarray(0, length)).toHex(), vector);
  });
});

Deno.test("sipHash() equals the paper's for every length up to 300", () => {
  const rng = new Rng(24);
  const out = new Uint8Array(8);
  for (let length = 0; length <= 300; length++) {
    const [key, data] = [rng.bytes(16), rng.bytes(length)];
    sipHash(native, key, data, out);
    assert.deepEqual(out, sipHashByPaper(key, data), `length ${length}`);
  }
});

const kinds = { [toServer]: [1, 3, 5], [toClient]: [2, 3, 4, 5] };

Deno.test("PacketMask.unmask() shows a packet of any kind, window, number and size", () => {
  const rng = new Rng(1);
  const keys = [1, 2, 3].map(() => rng.bytes(maskKeyBytes));
  const most = 0xffff_ffff_ffffn;
  for (const direction of [toServer, toClient] as const) {
    const mask = new PacketMask(native, direction === toServer ? toClient : toServer);
    mask.setKeys(joined(keys));
    const cases = Array.from({ length: 400 }, (_, i) => ({
      header: {
        kind: kinds[direction][i % kinds[direction].length]!,
        session: rng.pick([0n, 1n, 0x8000_0000n, most, BigInt(rng.u32()) << 15n]),
        number: rng.pick([0n, 1n, 0xffff_ffffn, 1n << 32n, most, BigInt(rng.u32()) << 14n]),
      },
      window: i % 3,
      length: rng.pick([32, 33, 47, 48, 64, 1200, 1500]),
    }));
    const clear = cases.map(({ header, length }) => packetOf(rng, header, length));
    const packets = spansOf(
      clear.map((packet, i) => masked(keys[cases[i]!.window]!, packet, direction)),
    );
    const headers = new PacketHeaders(cases.length);
    assert.equal(mask.unmask(packets, headers), cases.length);
    assert.deepEqual(packets.arena, spansOf(clear).arena);
    cases.forEach(({ header, window }, i) => {
      assert.equal(headers.kind(i), header.kind);
      assert.equal(headers.session(i), Number(header.session));
      assert.equal(headers.window(i), window);
      assert.equal(headers.number(i), Number(header.number));
    });
  }
});

Deno.test("PacketMask.unmask() calls junk what no window fits or goes the other way", () => {
  const rng = new Rng(2);
  const keys = [1, 2, 3].map(() => rng.bytes(maskKeyBytes));
  const mask = new PacketMask(native, toClient);
  mask.setKeys(joined(keys));
  const good = { session: 7n, kind: 3, number: 9n };
  const junk = [0, 2, 4, 6, 7, 0x83, 255].map((kind) =>
    masked(keys[0]!, packetOf(rng, { ...good, kind }, 64))
  );
  const sent = masked(keys[0]!, packetOf(rng, good, 64));
  const flipped = Array.from({ length: 8 * 32 }, (_, bit) => {
    const packet = sent.slice();
    packet[bit >> 3]! ^= 1 << (bit & 7);
    return packet;
  });
  const short = masked(keys[0]!, packetOf(rng, good, packetBytesMin));
  const packets = spansOf([
    ...junk,
    ...flipped,
    masked(keys[0]!, packetOf(rng, good, 64), toClient),
    masked(rng.bytes(16), packetOf(rng, good, 64)),
    rng.bytes(1500),
    new Uint8Array(64),
    ...[31, 17, 16, 15, 1, 0].map((length) => short.subarray(0, length)),
    short,
  ]);
  const before = packets.arena.slice();
  const headers = new PacketHeaders(packets.count);
  headers.words.fill(0xffff_ffff);
  assert.equal(mask.unmask(packets, headers), 1);
  const last = packets.count - 1;
  assert.ok(headers.words.subarray(0, 6 * last).every((word) => word === 0));
  assert.equal(headers.kind(last), 3);
  const from = packets.spans[4 * last]!;
  assert.deepEqual(packets.arena.subarray(0, from), before.subarray(0, from));
});

Deno.test("PacketMask.unmask() calls junk what was cut off, or is not in the arena", () => {
  const rng = new Rng(3);
  const key = rng.bytes(maskKeyBytes);
  const mask = new PacketMask(native, toClient);
  mask.setKeys(key);
  const arena = masked(key, packetOf(rng, { session: 1n, kind: 5, number: 1n }, 64));
  const high = 0xffff_ffff;
  const wrong = [
    [0, 64, 0, 1],
    [0, 65, 0, 0],
    [1, 64, 0, 0],
    [64, 32, 0, 0],
    [33, 32, 0, 0],
    [high, 32, 0, 0],
    [high - 31, 32, 0, 0],
    [0, high, 0, 0],
    [high, high, 0, 0],
  ];
  const before = arena.slice();
  const headers = new PacketHeaders(wrong.length);
  const spans = Uint32Array.from(wrong.flat());
  assert.equal(mask.unmask({ arena, spans, count: wrong.length }, headers), 0);
  assert.deepEqual(arena, before);
  assert.equal(mask.unmask({ arena, spans: Uint32Array.of(0, 64, 0, 0), count: 1 }, headers), 1);
});

Deno.test("PacketMask hides what an AeadBatch sealed, and it comes back over UDP", () => {
  const rng = new Rng(4);
  const ip = new Uint8Array(16).with(10, 255).with(11, 255).with(12, 127).with(15, 1);
  using socket = new UdpSocket(native, { local: endpoint(ip, 0) });
  using table = new AeadTable(native, 1);
  const key = table.addKey(rng.bytes(32));
  const maskKeys = [1, 2, 3].map(() => rng.bytes(maskKeyBytes));
  const [sender, receiver] = [new PacketMask(native, toServer), new PacketMask(native, toClient)];
  sender.setKeys(joined(maskKeys));
  // The receiver's clock is a window ahead.
  receiver.setKeys(joined([rng.bytes(maskKeyBytes), maskKeys[0]!, rng.bytes(maskKeyBytes)]));
  const [count, size] = [20, 200];
  const slot = 16 + size + aeadTagBytes;
  const outbox = new UdpOutbox(new Uint8Array(count * slot));
  const batch = new AeadBatch(count);
  for (let i = 0; i < count; i++) {
    const header = { session: 0xdead_beef_5eedn, kind: 3, number: BigInt(i) };
    outbox.arena.set(packetOf(rng, header, 16 + size), i * slot);
    batch.add(key, i, i * slot, 16, i * slot + 16, size);
  }
  const clear = outbox.arena.slice();
  assert.equal(table.seal(batch, outbox.arena), count);
  const sealed = outbox.arena.slice();
  assert.equal(sender.maskSealed(batch, outbox.arena), count);
  for (let i = 0; i < count; i++) {
    const expected = masked(maskKeys[0]!, sealed.subarray(i * slot, (i + 1) * slot));
    assert.deepEqual(outbox.arena.subarray(i * slot, (i + 1) * slot), expected);
  }
  outbox.add(routeTo(socket.local), 0, outbox.arena.length, slot);
  assert.equal(socket.send(outbox), 1);
  const inbox = new UdpInbox();
  const headers = new PacketHeaders(inbox.spanMax);
  assert.equal(socket.receive(inbox), count);
  assert.equal(receiver.unmask(inbox, headers), count);
  batch.clear();
  for (let i = 0; i < count; i++) {
    assert.deepEqual([headers.kind(i), headers.session(i), headers.window(i)], [
      3,
      0xdead_beef_5eed,
      1,
    ]);
    const at = inbox.offset(i);
    batch.add(key, headers.number(i), at, 16, at + 16, inbox.length(i) - 32);
  }
  assert.equal(table.open(batch, inbox.arena), count);
  const opened = inbox.bytes(7).subarray(0, 16 + size);
  assert.deepEqual(opened, clear.subarray(7 * slot, 7 * slot + 16 + size));
});

Deno.test("PacketMask.maskAt() hides the packets at offsets that lie in the arena", () => {
  const rng = new Rng(5);
  const key = rng.bytes(maskKeyBytes);
  const mask = new PacketMask(native, toServer);
  mask.setKeys(key);
  const arena = rng.bytes(128);
  const before = arena.slice();
  const offsets = Uint32Array.of(96, 3, 97, 128, 0xffff_ffff, 0xffff_ffe0, 0);
  assert.equal(mask.maskAt(offsets, 6, arena), 2);
  assert.deepEqual(arena.subarray(96), masked(key, before.subarray(96)));
  assert.deepEqual(arena.subarray(3, 96), masked(key, before.subarray(3, 96)));
  assert.deepEqual(arena.subarray(0, 3), before.subarray(0, 3));
  assert.equal(mask.maskAt(offsets, 0, arena), 0);
});

Deno.test("PacketMask takes 1 to 8 keys of 16 bytes, and hides nothing before", () => {
  const mask = new PacketMask(native, toClient);
  const arena = new Uint8Array(64);
  const spans = Uint32Array.of(0, 64, 0, 0);
  const headers = new PacketHeaders(1);
  assert.equal(mask.unmask({ arena, spans, count: 1 }, headers), 0);
  assert.throws(() => mask.maskAt(Uint32Array.of(0), 1, arena), {
    message: "Cannot mask packets as no key has been set",
  });
  for (const bytes of [0, 15, 17, (maskKeysMax + 1) * maskKeyBytes]) {
    assert.throws(() => mask.setKeys(new Uint8Array(bytes)), RangeError);
  }
  for (const count of [0, -1, 1.5, 3, maskKeysMax + 1]) {
    assert.throws(() => mask.setKeys(new Uint8Array(40), count), RangeError);
  }
  assert.throws(() => mask.setKeys(new Uint8Array(40), 3), {
    message: "Cannot set mask keys as they must be 1 to 8 of 16 bytes: " +
      "current value is 3 in 40 bytes",
  });
  // The last of eight is found, and fewer keys later are really fewer.
  const rng = new Rng(6);
  const keys = Array.from({ length: maskKeysMax }, () => rng.bytes(maskKeyBytes));
  const packet = masked(keys[7]!, packetOf(rng, { session: 1n, kind: 1, number: 1n }, 64));
  mask.setKeys(joined(keys));
  assert.equal(mask.unmask({ arena: packet.slice(), spans, count: 1 }, headers), 1);
  assert.equal(headers.window(0), 7);
  mask.setKeys(joined(keys), 7);
  assert.equal(mask.unmask({ arena: packet.slice(), spans, count: 1 }, headers), 0);
});

Deno.test("PacketMask refuses more packets than its buffers hold, and more keys than 8", () => {
  const mask = new PacketMask(native, toClient);
  const arena = new Uint8Array(64);
  mask.setKeys(new Uint8Array(maskKeyBytes));
  const headers = new PacketHeaders(1);
  for (const [words, count] of [[8, 2], [4, 2], [3, 1]]) {
    const spans = new Uint32Array(words!);
    assert.throws(() => mask.unmask({ arena, spans, count: count! }, headers), RangeError);
  }
  assert.throws(() => mask.maskAt(new Uint32Array(2), 3, arena), { code: "EINVAL" });
  const keys = new Uint8Array(1024);
  const spans = new Uint32Array(4);
  const { symbols } = native;
  for (const count of [maskKeysMax + 1, 0xffff_ffff]) {
    assert.equal(symbols.ph_unmask(arena, 64, spans, 1, keys, count, 0, headers.words), -22);
  }
  for (const [first, stride, n] of [[4, 1, 1], [0, 0xffff_ffff, 2], [0xffff_ffff, 0, 1]]) {
    assert.equal(symbols.ph_mask(arena, 64, keys, 0, spans, 4, first!, stride!, n!), -22);
  }
  assert.equal(symbols.ph_unmask(arena, 64, spans, 1, keys, 1, 2, headers.words), -22);
  assert.equal(symbols.ph_mask(arena, 64, keys, 2, spans, 4, 0, 1, 1), -22);
  assert.throws(() => sipHash(native, keys, keys, arena), RangeError);
  assert.throws(() => sipHash(native, keys.subarray(0, 16), keys, arena.subarray(57)), RangeError);
});
