import assert from "node:assert/strict";
import { encodeAddress } from "./address.ts";
import { Writer } from "./cursor.ts";
import {
  ackFrameBytes,
  AckRanges,
  ackRangesThatFit,
  CloseCode,
  closeFrameBytes,
  datagramFrameBytes,
  ECHO_FRAME_BYTES,
  FrameReader,
  FRAMES_BAD,
  FRAMES_END,
  FrameType,
  isAckEliciting,
  openFrameBytes,
  pairFrameBytes,
  pathStatusFrameBytes,
  singleFrameBytes,
  streamDataThatFits,
  streamFrameBytes,
  writeAck,
  writeAssocEnd,
  writeClose,
  writeDatagram,
  writeFin,
  writeMaxData,
  writeMaxStream,
  writeOpen,
  writeOpened,
  writePadding,
  writePathChallenge,
  writePathResponse,
  writePathStatus,
  writePing,
  writePong,
  writeRates,
  writeRst,
  writeStream,
} from "./frames.ts";
import { ACK_RANGES_MAX, CLOSE_REASON_BYTES_MAX } from "./limits.ts";

const address = encodeAddress("192.0.2.1", 80)!;
const name = encodeAddress("example.org", 443)!;
const data = new TextEncoder().encode("hello");

function rangesOf(...pairs: readonly (readonly [number, number])[]): AckRanges {
  const ranges = new AckRanges();
  for (const [largest, smallest] of pairs) assert.ok(ranges.add(largest, smallest));
  return ranges;
}

interface Case {
  readonly name: string;
  readonly write: (w: Writer) => boolean;
  readonly hex: string;
  readonly bytes: number;
  readonly fields: Readonly<Partial<Record<keyof FrameReader, unknown>>>;
}

const ranges = rangesOf([1000, 990], [988, 988], [100, 0]);
const CASES: readonly Case[] = [
  {
    name: "padding",
    write: (w) => writePadding(w, 3),
    hex: "000000",
    bytes: 3,
    fields: { length: 3 },
  },
  ...([
    ["ping", writePing, "01"],
    ["pong", writePong, "02"],
    ["pathChallenge", writePathChallenge, "0d"],
    ["pathResponse", writePathResponse, "0e"],
  ] as const).map(([name, write, type]) => ({
    name,
    write: (w: Writer) => write(w, 0xfedc_ba98, 0x7654_3210),
    hex: type + "fedcba9876543210",
    bytes: ECHO_FRAME_BYTES,
    fields: { echoHigh: 0xfedc_ba98, echoLow: 0x7654_3210 },
  })),
  {
    name: "ack",
    write: (w) => writeAck(w, ranges, 3, 25_000),
    // 1000 down to 990; 988 alone (gap 0); 100 down to 0 (gap 988 - 100 - 2).
    hex: "03" + "43e8" + "800061a8" + "02" + "0a" + "0000" + "43764064",
    bytes: ackFrameBytes(ranges, 3, 25_000),
    fields: { delayUs: 25_000 },
  },
  {
    name: "open",
    write: (w) => writeOpen(w, 70, 1, name, 0, name.length),
    hex: "04" + "4046" + "01" + "030b6578616d706c652e6f726701bb",
    bytes: openFrameBytes(70, name.length),
    fields: { stream: 70, kind: 1, addressAt: 4, addressLength: name.length },
  },
  {
    name: "opened",
    write: (w) => writeOpened(w, 0, 4, address, 0, address.length),
    hex: "05" + "00" + "04" + "01c00002010050",
    bytes: openFrameBytes(0, address.length),
    fields: { stream: 0, code: 4, addressAt: 3, addressLength: 7 },
  },
  {
    name: "stream",
    write: (w) => writeStream(w, 1, 2 ** 32, data, 0, 5),
    hex: "06" + "01" + "c000000100000000" + "05" + "68656c6c6f",
    bytes: streamFrameBytes(1, Float64Array.of(2 ** 32), 5),
    fields: { stream: 1, offset: 2 ** 32, length: 5, dataAt: 11 },
  },
  {
    name: "fin",
    write: (w) => writeFin(w, 1, 16_384),
    hex: "070180004000",
    bytes: pairFrameBytes(1, 16_384),
    fields: { stream: 1, final: 16_384 },
  },
  {
    name: "rst",
    write: (w) => writeRst(w, 64, 2),
    hex: "08404002",
    bytes: pairFrameBytes(64, 2),
    fields: { stream: 64, code: 2 },
  },
  {
    name: "maxData",
    write: (w) => writeMaxData(w, 16 << 20),
    hex: "0981000000",
    bytes: singleFrameBytes(16 << 20),
    fields: { max: 16 << 20 },
  },
  {
    name: "maxStream",
    write: (w) => writeMaxStream(w, 3, 1 << 20),
    hex: "0a0380100000",
    bytes: pairFrameBytes(3, 1 << 20),
    fields: { stream: 3, max: 1 << 20 },
  },
  {
    name: "datagram",
    write: (w) => writeDatagram(w, 9, address, 0, address.length, data, 1, 3),
    hex: "0b" + "09" + "01c00002010050" + "03" + "656c6c",
    bytes: datagramFrameBytes(9, address.length, 3),
    fields: { assoc: 9, addressAt: 2, addressLength: 7, length: 3, dataAt: 10 },
  },
  {
    name: "assocEnd",
    write: (w) => writeAssocEnd(w, 9),
    hex: "0c09",
    bytes: singleFrameBytes(9),
    fields: { assoc: 9 },
  },
  {
    name: "pathStatus",
    write: (w) => writePathStatus(w, 300, true),
    hex: "0f412c01",
    bytes: pathStatusFrameBytes(300),
    fields: { sequence: 300, isActive: true },
  },
  {
    name: "close",
    write: (w) => writeClose(w, 9, data),
    hex: "1009" + "05" + "68656c6c6f",
    bytes: closeFrameBytes(9, 5),
    fields: { code: 9, length: 5, dataAt: 3 },
  },
  {
    name: "rates",
    write: (w) => writeRates(w, 100_000, 0),
    hex: "2a800186a000",
    bytes: pairFrameBytes(100_000, 0),
    fields: { upKbps: 100_000, downKbps: 0 },
  },
];

Deno.test("every frame is written as in the table, and read again", () => {
  assert.deepEqual(CASES.map((one) => one.name).sort(), Object.keys(FrameType).sort());
  for (const { name, write, hex, bytes, fields } of CASES) {
    const writer = new Writer(new Uint8Array(bytes));
    assert.equal(write(writer), true, name);
    assert.equal(writer.bytes.toHex(), hex, name);
    assert.equal(writer.room, 0, `${name}: its size function tells its size`);
    const reader = new FrameReader();
    reader.reset(writer.bytes, 0, bytes);
    const type = FrameType[name as keyof typeof FrameType];
    assert.equal(reader.next(), type, name);
    for (const [field, value] of Object.entries(fields)) {
      assert.equal(reader[field as keyof FrameReader], value, `${name}.${field}`);
    }
    assert.equal(reader.next(), FRAMES_END);
    assert.equal(reader.next(), FRAMES_END);
  }
});

Deno.test("a writer writes its whole frame or nothing", () => {
  for (const { name, write, bytes } of CASES) {
    for (let room = 0; room < bytes; room++) {
      const target = new Uint8Array(bytes + 4).fill(0xee);
      const writer = new Writer(target, 2, 2 + room);
      assert.equal(write(writer), false, `${name} in ${room}`);
      assert.equal(writer.at, 2);
      assert.equal(writer.failed, false);
      assert.ok(target.every((byte) => byte === 0xee));
    }
  }
});

Deno.test("FrameReader reads a packet of all frames, and refuses each that is cut short", () => {
  const reader = new FrameReader();
  for (const { name, hex } of CASES) {
    if (name === "padding") continue;
    const bytes = Uint8Array.fromHex(hex);
    for (let length = 1; length < bytes.length; length++) {
      reader.reset(bytes, 0, length);
      assert.equal(reader.next(), FRAMES_BAD, `${name} of ${length} bytes`);
      assert.equal(reader.error, CloseCode.badFrame, name);
      assert.equal(reader.next(), FRAMES_BAD, "and goes on saying so");
    }
  }
  const all = Uint8Array.fromHex("ff" + CASES.map(({ hex }) => hex).join("") + "ff");
  reader.reset(all, 1, all.length - 2);
  for (const { name } of CASES) {
    assert.equal(reader.next(), FrameType[name as keyof typeof FrameType]);
    if (name === "ack") {
      assert.deepEqual([...reader.ranges.values.subarray(0, 6)], [1000, 990, 988, 988, 100, 0]);
      assert.equal(reader.ranges.count, 3);
    }
    if (name === "stream") {
      const { dataAt, length } = reader;
      assert.deepEqual(all.slice(dataAt, dataAt + length), data);
    }
  }
  assert.equal(reader.next(), FRAMES_END);
});

Deno.test("FrameReader refuses what can't be, with the code for it", () => {
  const bad: readonly (readonly [string, string, CloseCode])[] = [
    ["a type that there is not", "11", CloseCode.unknownFrame],
    ["a type that there is not", "ff", CloseCode.unknownFrame],
    ["a kind of stream that there is not", "040002" + "01c00002010050", CloseCode.badFrame],
    ["an address of an unknown type", "040001" + "02c00002010050", CloseCode.badFrame],
    ["a name of no bytes", "040001" + "03000050", CloseCode.badFrame],
    ["a varint above 2^53 - 1", "09ffffffffffffffff", CloseCode.badFrame],
    ["data that ends above 2^53 - 1", "0600c01fffffffffffff01aa", CloseCode.overLimit],
    ["a status that there is not", "0f0002", CloseCode.badFrame],
    ["a first range below zero", "0305000006", CloseCode.badFrame],
    ["a gap below zero", "030a0001090000", CloseCode.badFrame],
    ["a range below zero", "030a0001000009", CloseCode.badFrame],
    ["too many ranges", "030a00410000", CloseCode.overLimit],
    ["a reason that is too long", "1000" + "4101" + "61".repeat(257), CloseCode.overLimit],
  ];
  const reader = new FrameReader();
  for (const [why, hex, code] of bad) {
    const bytes = Uint8Array.fromHex(hex);
    reader.reset(bytes, 0, bytes.length);
    assert.equal(reader.next(), FRAMES_BAD, why);
    assert.equal(reader.error, code, why);
  }
  reader.reset(new Uint8Array(4), 2, 3);
  assert.equal(reader.next(), FRAMES_BAD, "more than the array holds");
});

Deno.test("a range of an ACK may end at zero, and there are at most ACK_RANGES_MAX", () => {
  const reader = new FrameReader();
  reader.reset(Uint8Array.fromHex("030a00010800" + "00"), 0, 7);
  assert.equal(reader.next(), FrameType.ack);
  assert.deepEqual([...reader.ranges.values.subarray(0, 4)], [10, 2, 0, 0]);

  const most = new AckRanges();
  for (let i = ACK_RANGES_MAX; i > 0; i--) assert.ok(most.add(2 * i, 2 * i));
  assert.equal(most.add(0, 0), false);
  const writer = new Writer(new Uint8Array(2000));
  assert.ok(writeAck(writer, most, ACK_RANGES_MAX, 0));
  reader.reset(writer.bytes, 0, writer.at);
  assert.equal(reader.next(), FrameType.ack);
  assert.equal(reader.ranges.count, ACK_RANGES_MAX);
  assert.deepEqual(reader.ranges.values, most.values);
});

Deno.test("AckRanges takes ranges from the top down, each with a gap", () => {
  const some = rangesOf([10, 8]);
  assert.equal(some.add(7, 7), false, "touches");
  assert.equal(some.add(9, 1), false, "overlaps");
  assert.equal(some.add(5, 6), false, "upside down");
  assert.equal(some.add(5, -1), false);
  assert.ok(some.add(6, 0));
  some.clear();
  assert.equal(some.count, 0);
  assert.equal(writeAck(new Writer(new Uint8Array(9)), some, 0, 0), false);
});

Deno.test("ackRangesThatFit() gives what fits, and the most of it but for one byte", () => {
  const many = new AckRanges();
  for (let i = 200; i > 0; i--) many.add(5000 * i, 5000 * i - i);
  assert.equal(ackRangesThatFit(new AckRanges(), 0, 100), 0);
  for (let room = 0; room < 1000; room++) {
    const count = ackRangesThatFit(many, 400, room);
    if (count > 0) assert.ok(ackFrameBytes(many, count, 400) <= room);
    if (count < many.count) assert.ok(ackFrameBytes(many, count + 1, 400) > room - 1);
  }
});

Deno.test("streamDataThatFits() fills its room", () => {
  for (
    const room of [0, 1, 3, 4, 5, 60, 66, 67, 68, 69, 70, 1400, 16_380, 16_387, 16_388, 17_000]
  ) {
    const length = streamDataThatFits(room, 3, Float64Array.of(100));
    if (length > 0) assert.ok(streamFrameBytes(3, Float64Array.of(100), length) <= room, `${room}`);
    assert.ok(streamFrameBytes(3, Float64Array.of(100), length + 1) > room, `${room}`);
  }
});

Deno.test("writeClose() cuts a reason that is too long", () => {
  const writer = new Writer(new Uint8Array(1000));
  assert.ok(writeClose(writer, 1, new Uint8Array(999).fill(0x61)));
  const reader = new FrameReader();
  reader.reset(writer.bytes, 0, writer.at);
  assert.equal(reader.next(), FrameType.close);
  assert.equal(reader.length, CLOSE_REASON_BYTES_MAX);
});

Deno.test("what is acknowledged follows the protocol", () => {
  const types = Object.values(FrameType);
  assert.deepEqual(types.filter((type) => !isAckEliciting(type)), [0x00, 0x03, 0x10]);
});
