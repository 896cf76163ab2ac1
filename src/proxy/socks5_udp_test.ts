import assert from "node:assert/strict";
import { encodeAddress } from "../wire/address.ts";
import { UdpHeaderReader, writeUdpHeader } from "./socks5_udp.ts";
import { Target } from "./target.ts";

Deno.test("what is written is read", () => {
  const reader = new UdpHeaderReader();
  const target = new Target();
  const wire = new Uint8Array(64);
  const cases: [string, number][] = [["192.0.2.1", 10], ["2001:db8::1", 22]];
  for (const [text, size] of cases) {
    const address = encodeAddress(text, 53)!;
    const length = writeUdpHeader(wire, 4, address, 0, address.length);
    assert.equal(length, size);
    assert.ok(reader.read(wire, 4, length + 5));
    assert.deepEqual([reader.dataAt, reader.dataLength], [4 + size, 5]);
    assert.equal(target.readSocks(wire, reader.addressAt, reader.addressLength), size - 3);
    assert.equal(target.port, 53);
    const copy = new Uint8Array(64);
    const copied = writeUdpHeader(copy, 0, wire, reader.addressAt, reader.addressLength);
    assert.deepEqual(copy.subarray(0, copied), wire.subarray(4, 4 + size));
    assert.ok(reader.read(wire, 4, length), "an empty datagram is one");
  }
});

Deno.test("fragments and malformed headers are dropped and counted", () => {
  const reader = new UdpHeaderReader();
  const good = [0, 0, 0, 1, 192, 0, 2, 1, 0, 53];
  for (const fragment of [1, 0x80, 0xff]) {
    const bytes = Uint8Array.from(good);
    bytes[2] = fragment;
    assert.equal(reader.read(bytes, 0, bytes.length), false);
  }
  assert.deepEqual([reader.fragments, reader.malformed], [3, 0]);
  const bad = [
    ...[[], [0], [0, 0, 0], [1, ...good.slice(1)], [0, 1, ...good.slice(2)], good.slice(0, 9)],
    ...[[0, 0, 0, 2, 1, 1, 1, 1, 0, 53], [0, 0, 0, 3, 0, 0, 53], [...good.slice(0, 8), 0, 0]],
  ];
  for (const bytes of bad) {
    assert.equal(reader.read(Uint8Array.from(bytes), 0, bytes.length), false);
  }
  assert.deepEqual([reader.fragments, reader.malformed], [3, bad.length]);
});
