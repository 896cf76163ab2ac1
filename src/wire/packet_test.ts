import assert from "node:assert/strict";
import { Rng } from "../../tests/fuzz/rng.ts";
import { PACKET_BYTES_MIN } from "./limits.ts";
import {
  ACCEPT_BYTES_MIN,
  dataKind,
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
  for (const number of [0, 1, 2 ** 31, 2 ** 32 - 1, 2 ** 32, Number.MAX_SAFE_INTEGER]) {
    writeHeader(bytes, 4, 0xfedc_ba98, PacketKind.data1, number);
    assert.equal(headerSession(bytes, 4), 0xfedc_ba98);
    assert.equal(headerKind(bytes, 4), PacketKind.data1);
    const view = new DataView(bytes.buffer);
    assert.equal(view.getBigUint64(12), BigInt(number));
  }
  assert.equal(bytes.toHex(), "00000000" + "fedcba98" + "05000000" + "001fffffffffffff");
});

Deno.test("the sizes of the packets are those of the protocol", () => {
  assert.deepEqual([HELLO_BYTES_MIN, ACCEPT_BYTES_MIN, RESET_BYTES], [
    40 + 48 + 16,
    32 + 76 + 16,
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
    const kind = rng.pick([1, 2, 3, 4, 5]) as PacketKind;
    writeHeader(bytes, at, rng.u32(), kind, rng.u32() * 1000);
    const clear = bytes.slice();
    maskHeader(bytes, at, keys, which * SIP_KEY_WORDS);
    assert.notDeepEqual(bytes, clear);
    assert.deepEqual(bytes.slice(at + 16), clear.slice(at + 16));
    const masked = bytes.slice();
    assert.equal(unmaskHeader(bytes, at, length - 1, keys, which), -1, "not among the keys");
    assert.deepEqual(bytes, masked);
    assert.equal(unmaskHeader(bytes, at, length, keys, 3), which);
    assert.deepEqual(bytes, clear);
    const junk = rng.bytes(length);
    const before = junk.slice();
    assert.equal(unmaskHeader(junk, 0, length, keys, 3), -1);
    assert.deepEqual(junk, before);
  }
});

Deno.test("unmaskHeader() refuses short packets, unknown kinds, and bytes that aren't zero", () => {
  const keys = keysOf(new Uint8Array(16));
  const header = (kind: number, zero = 0): Uint8Array => {
    const bytes = new Uint8Array(PACKET_BYTES_MIN);
    bytes[4] = kind;
    bytes[7] = zero;
    maskHeader(bytes, 0, keys, 0);
    return bytes;
  };
  for (const kind of [1, 2, 3, 4, 5]) assert.equal(unmaskHeader(header(kind), 0, 32, keys, 1), 0);
  for (const kind of [0, 6, 255]) assert.equal(unmaskHeader(header(kind), 0, 32, keys, 1), -1);
  assert.equal(unmaskHeader(header(1, 1), 0, 32, keys, 1), -1);
  assert.equal(unmaskHeader(header(1), 0, 31, keys, 1), -1);
  assert.equal(unmaskHeader(header(1), 1, 32, keys, 1), -1, "beyond the array");
});
