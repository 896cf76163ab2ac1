// Whatever the bytes: no decoder of the wire throws, hangs or reads beyond its packet; what one
// reads can be written and read again, the same; and no packet opens but the one that was sealed.

import assert from "node:assert/strict";
import { AcceptOpened, buildAccept, openAccept } from "../../src/crypto/accept.ts";
import { OpenResult } from "../../src/crypto/handshake.ts";
import { HelloOpened, openHello } from "../../src/crypto/hello.ts";
import { replayMemory } from "../../src/crypto/replay_memory.ts";
import { inherit, replayRecord } from "../../src/tunnel/server/replay_record.ts";
import { buildReset, openReset, ResetOpened } from "../../src/crypto/reset.ts";
import { isIpv4Mapped } from "../../src/base/ip.ts";
import { frameName } from "../fixtures/frames.ts";
import { addressBytes, encodeAddress } from "../../src/wire/address.ts";
import { addressText, parseAddress } from "../fixtures/address_text.ts";
import { Reader, Writer } from "../../src/wire/cursor.ts";
import * as f from "../../src/wire/frames.ts";
import { Direction, unmaskHeader } from "../../src/wire/packet.ts";
import { handshake, helloPacket, seededPrimitives, UNIX_MS } from "../fixtures/handshake.ts";
import { fuzz, type Rng } from "./rng.ts";

const T = f.FrameType;
const ADDRESSES = ["192.0.2.1", "2001:db8::1", "example.org", "x".repeat(255)]
  .map((host) => encodeAddress(host, 443)!);

function anyNumber(rng: Rng): number {
  const edge = rng.pick([0, 63, 64, 16_383, 16_384, 2 ** 30 - 1, 2 ** 30, 2 ** 32, 2 ** 53 - 1]);
  return rng.chance(0.5) ? edge : rng.int(0, 2000);
}

function randomAck(rng: Rng, w: Writer): boolean {
  const ranges = new f.AckRanges();
  let top = rng.pick([rng.int(0, 3000), 2 ** 53 - 1]);
  for (let i = rng.int(1, 12); i > 0 && top >= 0; i--) {
    const smallest = Math.max(0, top - rng.int(0, 100));
    ranges.add(top, smallest);
    top = smallest - 2 - rng.int(0, 100);
  }
  return f.writeAck(w, ranges, ranges.count, anyNumber(rng));
}

/** One random frame, by its own writer. */
function writeAny(rng: Rng, w: Writer): boolean {
  const [a, b] = [anyNumber(rng), anyNumber(rng)];
  const address = rng.pick(ADDRESSES);
  const data = rng.bytes(rng.int(0, 80));
  const offset = Math.min(b, 2 ** 53 - 100);
  return rng.pick([
    () => f.writePadding(w, rng.int(1, 9)),
    () => f.writePing(w, rng.u32(), rng.u32()),
    () => f.writePong(w, rng.u32(), rng.u32()),
    () => randomAck(rng, w),
    () => f.writeOpen(w, a, 1, address, 0, address.length),
    () => f.writeOpened(w, a, rng.int(0, 6), address, 0, address.length),
    () => f.writeStream(w, a, offset, data, 0, data.length),
    () => f.writeFin(w, a, b),
    () => f.writeRst(w, a, b),
    () => f.writeMaxData(w, a),
    () => f.writeMaxStream(w, a, b),
    () => f.writeDatagram(w, a, address, 0, address.length, data, 0, data.length),
    () => f.writeAssocEnd(w, a),
    () => f.writePathChallenge(w, rng.u32(), rng.u32()),
    () => f.writePathResponse(w, rng.u32(), rng.u32()),
    () => f.writePathStatus(w, a, rng.chance(0.5)),
    () => f.writeClose(w, a, data),
    () => f.writeRates(w, a, rng.u32()),
  ])();
}

/** Writes again the frame that was just read. */
function copyFrame(r: f.FrameReader, w: Writer): boolean {
  const { bytes } = r;
  switch (r.type) {
    case T.padding:
      return f.writePadding(w, r.length);
    case T.ping:
      return f.writePing(w, r.echoHigh, r.echoLow);
    case T.pong:
      return f.writePong(w, r.echoHigh, r.echoLow);
    case T.ack:
      return f.writeAck(w, r.ranges, r.ranges.count, r.delayUs);
    case T.open:
      return f.writeOpen(w, r.stream, r.kind, bytes, r.addressAt, r.addressLength);
    case T.opened:
      return f.writeOpened(w, r.stream, r.code, bytes, r.addressAt, r.addressLength);
    case T.stream:
      return f.writeStream(w, r.stream, r.offset, bytes, r.dataAt, r.length);
    case T.fin:
      return f.writeFin(w, r.stream, r.final);
    case T.rst:
      return f.writeRst(w, r.stream, r.code);
    case T.maxData:
      return f.writeMaxData(w, r.max);
    case T.maxStream:
      return f.writeMaxStream(w, r.stream, r.max);
    case T.datagram: {
      const { assoc, addressAt, addressLength, dataAt, length } = r;
      return f.writeDatagram(w, assoc, bytes, addressAt, addressLength, bytes, dataAt, length);
    }
    case T.assocEnd:
      return f.writeAssocEnd(w, r.assoc);
    case T.pathChallenge:
      return f.writePathChallenge(w, r.echoHigh, r.echoLow);
    case T.pathResponse:
      return f.writePathResponse(w, r.echoHigh, r.echoLow);
    case T.pathStatus:
      return f.writePathStatus(w, r.sequence, r.isActive);
    case T.rates:
      return f.writeRates(w, r.upKbps, r.downKbps);
    default:
      return f.writeClose(w, r.code, bytes.subarray(r.dataAt, r.dataAt + r.length));
  }
}

/** Reads all frames and writes them again; what was written, and how reading ended. */
function decode(bytes: Uint8Array, at: number, length: number): [Uint8Array, number] {
  const reader = new f.FrameReader();
  reader.reset(bytes, at, length);
  const writer = new Writer(new Uint8Array(length));
  let end = at;
  for (let count = 0; count <= length; count++) {
    const type = reader.next();
    if (type < 0) return [writer.bytes.subarray(0, writer.at), type];
    assert.equal(reader.frameAt, end, "frames stand without gaps");
    assert.ok(copyFrame(reader, writer), frameName(type));
    end = reader.bytes === bytes ? nextFrameAt(reader, at + length) : end;
  }
  throw new Error("more frames than bytes");
}

/** Where the frame behind the present one begins: found by a second reader. */
function nextFrameAt(reader: f.FrameReader, end: number): number {
  const probe = new f.FrameReader();
  probe.reset(reader.bytes, reader.frameAt, end - reader.frameAt);
  probe.next();
  return probe.next() === f.FRAMES_END ? end : probe.frameAt;
}

Deno.test("fuzz: frames are read, written and read again, the same", () => {
  const arena = new Uint8Array(400);
  fuzz({ seed: 1, cases: 60_000 }, (rng) => {
    let bytes = rng.bytes(rng.int(0, 60));
    const isOurs = rng.chance(0.85);
    if (isOurs) {
      const writer = new Writer(arena);
      for (let i = rng.int(1, 4); i > 0; i--) writeAny(rng, writer);
      bytes = arena.slice(0, writer.at);
    }
    const isMutated = isOurs && rng.chance(0.75);
    if (isMutated) bytes = rng.mutate(bytes);
    const [again, how] = decode(bytes, 0, bytes.length);
    if (isOurs && !isMutated) assert.deepEqual(again, bytes);
    assert.ok(how === f.FRAMES_END || how === f.FRAMES_BAD);
    const [third, end] = decode(again, 0, again.length);
    assert.equal(end, f.FRAMES_END);
    assert.deepEqual(third, again);
  });
});

Deno.test("fuzz: FrameReader never looks at, or tells of, bytes outside its packet", () => {
  fuzz({ seed: 2, cases: 30_000 }, (rng) => {
    const inner = rng.bytes(rng.int(0, 40));
    inner[0] = rng.chance(0.95) ? rng.int(0, 0x11) : T.rates;
    const [left, right] = [rng.int(0, 4), rng.int(0, 12)];
    const seen = [0, 1].map((fill) => {
      const bytes = new Uint8Array(left + inner.length + right).fill(fill * 0x7f);
      bytes.set(inner, left);
      return decode(bytes, left, inner.length);
    });
    assert.deepEqual(seen[0], seen[1]);
  });
});

Deno.test("fuzz: Reader stays inside, whatever it is asked for", () => {
  fuzz({ seed: 3, cases: 60_000 }, (rng) => {
    const bytes = rng.bytes(rng.int(0, 24));
    const end = rng.int(0, bytes.length);
    const reader = new Reader(bytes, rng.int(0, end), end);
    for (let i = 0; i < 6; i++) {
      const value = rng.pick([
        () => reader.u8(),
        () => reader.u16(),
        () => reader.u32(),
        () => reader.u64(),
        () => reader.varint(),
        () => reader.skip(rng.pick([0, 1, 7, -1, 2 ** 53])),
      ])();
      assert.ok(Number.isSafeInteger(value) && value >= 0);
      assert.ok(reader.at <= end && reader.at >= 0);
    }
  });
});

Deno.test("fuzz: addresses are read as text and written again, the same", () => {
  fuzz({ seed: 4, cases: 30_000 }, (rng) => {
    let bytes = rng.chance(0.3) ? rng.bytes(rng.int(0, 24)) : rng.mutate(rng.pick(ADDRESSES), 2);
    if (rng.chance(0.3)) bytes = Uint8Array.of(rng.pick([1, 3, 4]), ...bytes);
    const length = addressBytes(bytes, 0, bytes.length);
    assert.ok(length <= bytes.length);
    if (length === 0) return;
    const text = addressText(bytes, 0, length);
    // Some names are no text, and some look like an IP once they are; an IPv4 address may be said
    // as an IPv6 one.
    const again = text === undefined ? undefined : parseAddress(text);
    const isAmbiguous = bytes[0] === 4 ? isIpv4Mapped(bytes, 1) : bytes[0] === 3;
    if (!isAmbiguous || again?.[0] === bytes[0]) assert.deepEqual(again, bytes.slice(0, length));
  });
});

Deno.test("fuzz: junk is left as it was by unmaskHeader()", () => {
  const { tskd } = handshake(1);
  fuzz({ seed: 5, cases: 30_000 }, (rng) => {
    const bytes = rng.bytes(rng.int(0, 64));
    const before = bytes.slice();
    const { maskWords, maskCount } = tskd;
    const direction = rng.pick([Direction.toServer, Direction.toClient]);
    const which = unmaskHeader(bytes, 0, bytes.length, direction, maskWords, maskCount);
    assert.equal(which, -1);
    assert.deepEqual(bytes, before);
  });
});

Deno.test("fuzz: HELLO, ACCEPT and RESET open as they were sealed, and not otherwise", () => {
  const given = handshake(2);
  const { primitives, tskd, users, fields } = given;
  const arena = new Uint8Array(600);
  const hello = helloPacket(given);
  const acceptFields = {
    ...{ flags: 0, chosen: 1 as const, understood: 0 },
    ...{ timeMs: UNIX_MS, serverSession: 9, serverPublic: fields.clientPublic },
    ...{ resetToken: new Uint8Array(16), maxDatagram: 1452, idleS: 300, upKbps: 0, downKbps: 0 },
    frames: fields.frames,
  };
  const accept = arena.slice(
    0,
    buildAccept(primitives, tskd, fields, acceptFields, arena, 0, arena.length),
  );
  const resetFields = { timeMs: 1, session: 2, number: 3, token: new Uint8Array(16), reason: 0 };
  const reset = arena.slice(0, buildReset(primitives, tskd, resetFields, arena, 0));
  const w = tskd.current;
  const helloOpened = new HelloOpened();
  const acceptOpened = new AcceptOpened();
  const resetOpened = new ResetOpened();
  const kinds = [
    {
      packet: hello,
      open: (p: Uint8Array<ArrayBuffer>) =>
        openHello(primitives, tskd, users, p, 0, p.length, w, UNIX_MS, helloOpened),
    },
    {
      packet: accept,
      open: (p: Uint8Array<ArrayBuffer>) =>
        openAccept(primitives, tskd, fields, p, 0, p.length, w, acceptOpened),
    },
    {
      packet: reset,
      open: (p: Uint8Array<ArrayBuffer>) =>
        openReset(primitives, tskd, p, 0, p.length, w, resetOpened),
    },
  ];
  for (const { packet, open } of kinds) assert.equal(open(packet.slice()), OpenResult.ok);
  fuzz({ seed: 6, cases: 12_000 }, (rng) => {
    const { packet, open } = rng.pick(kinds);
    const bytes = rng.chance(0.1) ? rng.bytes(rng.int(0, 200)) : rng.mutate(packet, rng.int(1, 2));
    const isSame = bytes.length === packet.length && bytes.every((byte, i) => byte === packet[i]);
    assert.equal(open(bytes) === OpenResult.ok, isSame);
  });
});

Deno.test("fuzz: a replay record that was changed is refused", () => {
  const primitives = seededPrimitives(1);
  const memory = replayMemory(() => 7);
  const now = { unixMs: UNIX_MS, bootMs: 5000, bootId: new Uint8Array(16) };
  const sound = replayRecord(primitives, memory, now, []);
  fuzz({ seed: 7, cases: 3_000 }, (rng) => {
    const record = rng.chance(0.3) ? rng.bytes(rng.int(0, 200)) : rng.mutate(sound, 1);
    const isSame = record.length === sound.length && record.every((byte, i) => byte === sound[i]);
    assert.equal(inherit(primitives, record, memory, now) !== undefined, isSame);
  });
});
