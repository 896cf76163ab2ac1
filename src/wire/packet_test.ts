import assert from "node:assert/strict";
import { Rng } from "../../tests/fuzz/rng.ts";
import { PACKET_BYTES_MIN } from "./limits.ts";
import {
  ACCEPT_BYTES_MIN,
  dataKind,
  Direction,
  headerKind,
  headerSession,
  HELLO_BYTES_MIN,
  isData,
  maskHeader,
  PacketKind,
  phaseOf,
  RESET_BYTES,
  unmaskHeader,
  writeHeader,
} from "./packet.ts";
import { SIP_KEY_WORDS, sipKey } from "./siphash.ts";

function keysOf(...keys: readonly Uint8Array[]): Uint32Array {
  const words = new Uint32Array(keys.length * SIP_KEY_WORDS);
  keys.forEach((key, i) => sipKey(key, 0, words, i * SIP_KEY_WORDS));
  return words;
}

Deno.test("a header is written and read, up to the largest number", () => {
  const bytes = new Uint8Array(20);
  for (const number of [0, 1, 2 ** 31, 2 ** 32 - 1, 2 ** 32, 2 ** 48 - 1]) {
    writeHeader(bytes, 4, 0xfedc_ba98_7654, PacketKind.data1, number);
    assert.equal(headerSession(bytes, 4), 0xfedc_ba98_7654);
    assert.equal(headerKind(bytes, 4), PacketKind.data1);
    const view = new DataView(bytes.buffer);
    assert.equal(view.getBigUint64(12), BigInt(number));
  }
  assert.equal(bytes.toHex(), "00000000" + "fedcba987654" + "05000000" + "ffffffffffff");
});

Deno.test("the sizes of the packets are those of the protocol", () => {
  assert.deepEqual([HELLO_BYTES_MIN, ACCEPT_BYTES_MIN, RESET_BYTES], [
    40 + 52 + 16,
    32 + 80 + 16,
    32 + 37 + 16,
  ]);
  assert.deepEqual([dataKind(0), dataKind(1)], [3, 5]);
  assert.deepEqual([1, 2, 3, 4, 5].filter(isData), [3, 5]);
  assert.deepEqual([phaseOf(3), phaseOf(5)], [0, 1]);
});

Deno.test("unmaskHeader() finds the key of the mask, and leaves junk as it was", () => {
  const rng = new Rng(17);
  const keys = keysOf(rng.bytes(16), rng.bytes(16), rng.bytes(16));
  for (let i = 0; i < 300; i++) {
    const at = rng.int(0, 5);
    const length = rng.int(PACKET_BYTES_MIN, 200);
    const bytes = rng.bytes(at + length);
    const which = rng.int(0, 2);
    const direction = rng.pick([Direction.toServer, Direction.toClient]);
    const kind = rng.pick(direction === Direction.toServer ? [1, 3, 5] : [2, 3, 4, 5]);
    writeHeader(bytes, at, rng.u32() * 1000, kind as PacketKind, rng.u32() * 1000);
    const clear = bytes.slice();
    maskHeader(bytes, at, direction, keys, which * SIP_KEY_WORDS);
    assert.notDeepEqual(bytes, clear);
    assert.deepEqual(bytes.slice(at + 16), clear.slice(at + 16));
    const masked = bytes.slice();
    assert.equal(unmaskHeader(bytes, at, length, direction, keys, which), -1, "not among the keys");
    assert.deepEqual(bytes, masked);
    assert.equal(unmaskHeader(bytes, at, length, direction, keys, 3), which);
    assert.deepEqual(bytes, clear);
    const junk = rng.bytes(length);
    const before = junk.slice();
    assert.equal(unmaskHeader(junk, 0, length, direction, keys, 3), -1);
    assert.deepEqual(junk, before);
  }
});

Deno.test("unmaskHeader() refuses short packets, and kinds of the other direction", () => {
  const keys = keysOf(new Uint8Array(16));
  const isShown = (kind: number, direction: Direction, to = direction): boolean => {
    const bytes = new Uint8Array(PACKET_BYTES_MIN);
    bytes[6] = kind;
    maskHeader(bytes, 0, direction, keys, 0);
    assert.equal(unmaskHeader(bytes, 0, 31, to, keys, 1), -1);
    assert.equal(unmaskHeader(bytes, 1, 32, to, keys, 1), -1, "beyond the array");
    return unmaskHeader(bytes, 0, 32, to, keys, 1) === 0;
  };
  const { toServer, toClient } = Direction;
  const kinds = [0, 1, 2, 3, 4, 5, 6, 255];
  assert.deepEqual(kinds.filter((kind) => isShown(kind, toServer)), [1, 3, 5]);
  assert.deepEqual(kinds.filter((kind) => isShown(kind, toClient)), [2, 3, 4, 5]);
  assert.deepEqual(kinds.filter((kind) => isShown(kind, toClient, toServer)), [], "sent back");
});

Deno.test("every bit of header and sample counts", () => {
  const rng = new Rng(18);
  const keys = keysOf(rng.bytes(16));
  for (const direction of Object.values(Direction)) {
    const bytes = rng.bytes(100);
    writeHeader(bytes, 0, rng.u32() * 5000, PacketKind.data1, rng.u32() * 900);
    maskHeader(bytes, 0, direction, keys, 0);
    for (let bit = 0; bit < 8 * 32; bit++) {
      const flipped = bytes.slice();
      flipped[bit >> 3]! ^= 1 << (bit & 7);
      assert.equal(unmaskHeader(flipped, 0, 100, direction, keys, 1), -1, `bit ${bit}`);
    }
  }
});
