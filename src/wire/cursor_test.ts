import assert from "node:assert/strict";
import { Reader, VARINT_MAX, varintBytes, Writer } from "./cursor.ts";

// RFC 9000 §A.1, and the edges of each size.
const VARINTS: readonly (readonly [string, number])[] = [
  ["9d7f3e7d", 494_878_333],
  ["7bbd", 15_293],
  ["25", 37],
  ["00", 0],
  ["3f", 63],
  ["4040", 64],
  ["7fff", 16_383],
  ["80004000", 16_384],
  ["bfffffff", 2 ** 30 - 1],
  ["c000000040000000", 2 ** 30],
  ["c00000017fffffff", 2 ** 32 + 2 ** 31 - 1],
  ["c01fffffffffffff", VARINT_MAX],
];

Deno.test("varints are written in as few bytes as RFC 9000 allows, and read again", () => {
  for (const [hex, value] of VARINTS) {
    const writer = new Writer(new Uint8Array(8));
    writer.varint(value);
    assert.equal(writer.failed, false);
    assert.equal(writer.bytes.subarray(0, writer.at).toHex(), hex);
    assert.equal(varintBytes(value), hex.length / 2);
    const reader = new Reader(Uint8Array.fromHex(hex));
    assert.equal(reader.varint(), value);
    assert.equal(reader.left, 0);
    assert.equal(reader.failed, false);
  }
});

Deno.test("Reader.varint() takes longer spellings and refuses what a double can't hold", () => {
  assert.equal(new Reader(Uint8Array.fromHex("4025")).varint(), 37);
  assert.equal(new Reader(Uint8Array.fromHex("c000000000000025")).varint(), 37);
  for (const hex of ["c020000000000000", "ffffffffffffffff"]) {
    const reader = new Reader(Uint8Array.fromHex(hex));
    assert.equal(reader.varint(), 0);
    assert.equal(reader.failed, true);
  }
});

Deno.test("integers go through Writer and Reader, big-endian", () => {
  const bytes = new Uint8Array(15);
  const writer = new Writer(bytes);
  writer.u8(0xfe);
  writer.u16(0xfedc);
  writer.u32(0xfedc_ba98);
  writer.u64(VARINT_MAX);
  assert.equal(bytes.toHex(), "fe" + "fedc" + "fedcba98" + "001fffffffffffff");
  const reader = new Reader(bytes);
  assert.deepEqual(
    [reader.u8(), reader.u16(), reader.u32(), reader.u64()],
    [0xfe, 0xfedc, 0xfedc_ba98, VARINT_MAX],
  );
  reader.reset(Uint8Array.fromHex("0020000000000000"), 0, 8);
  assert.equal(reader.u64(), 0);
  assert.equal(reader.failed, true);
});

Deno.test("Reader fails past its end, once and for all, and gives zeros", () => {
  const bytes = new Uint8Array(16).fill(0xff);
  const reads: ((reader: Reader) => number)[] = [
    (reader) => reader.u8(),
    (reader) => reader.u16(),
    (reader) => reader.u32(),
    (reader) => reader.u64(),
    (reader) => reader.varint(),
  ];
  for (const read of reads) {
    const reader = new Reader(bytes, 4, 4);
    assert.equal(read(reader), 0);
    assert.equal(reader.failed, true);
  }
  const reader = new Reader(bytes, 0, 3);
  reader.u32();
  assert.equal(reader.u8(), 0, "what is behind a failure is not read");
  reader.reset(bytes, 0, 17);
  assert.equal(reader.failed, true);
  reader.reset(bytes, 0, 16);
  assert.equal(reader.skip(17), 0);
  assert.equal(reader.failed, true);
  const target = new Uint8Array(4);
  reader.reset(bytes, 0, 3);
  reader.copyTo(target, 0, 4);
  assert.equal(reader.failed, true);
  assert.equal(target.toHex(), "00000000");
});

Deno.test("Writer writes nothing past its end, and says so", () => {
  const writes: ((writer: Writer) => void)[] = [
    (writer) => writer.u16(1),
    (writer) => writer.u32(1),
    (writer) => writer.u64(1),
    (writer) => writer.varint(64),
    (writer) => writer.varint(2 ** 20),
    (writer) => writer.varint(2 ** 40),
    (writer) => writer.copy(new Uint8Array([1, 2]), 0, 2),
    (writer) => writer.fill(1, 2),
  ];
  for (const write of writes) {
    const bytes = new Uint8Array(20).fill(7);
    const writer = new Writer(bytes, 3, 4);
    write(writer);
    assert.equal(writer.failed, true);
    assert.equal(writer.at, 3);
    assert.ok(bytes.every((byte) => byte === 7));
  }
  assert.equal(new Writer(new Uint8Array(4), 2, 5).failed, true);
});

Deno.test("bytes are copied in and out, short and long", () => {
  for (const length of [0, 1, 48, 49, 300]) {
    const source = Uint8Array.from({ length }, (_, i) => i);
    const arena = new Uint8Array(2 * length);
    arena.set(source);
    new Writer(arena, length).copy(arena, 0, length);
    assert.deepEqual(arena.slice(length), source);
    const read = new Uint8Array(length);
    new Reader(arena, length).copyTo(read, 0, length);
    assert.deepEqual(read, source);
  }
});
