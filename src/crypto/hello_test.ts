import assert from "node:assert/strict";
import {
  type Handshake,
  handshake,
  helloPacket,
  seededPrimitives,
  UNIX_MS,
} from "../../tests/fixtures/handshake.ts";
import { HELLO_BYTES_MIN } from "../wire/packet.ts";
import { OpenResult } from "./handshake.ts";
import { HandshakeCache } from "./handshake_cache.ts";
import { buildHello, helloFramesThatFit, HelloOpened, openHello } from "./hello.ts";
import { HelloGate, HelloVerdict } from "./hello_gate.ts";
import { PARAMETERS_BYTES_MIN } from "./parameters.ts";
import type { Bytes } from "./primitives.ts";
import { ReplayFilter } from "./replay_filter.ts";
import { namedUser, soleUser, UserTable } from "./users.ts";

function open(given: Handshake, packet: Bytes, unixMs = UNIX_MS): OpenResult {
  const { primitives, tskd, users } = given;
  const copy = packet.slice();
  return openHello(
    primitives,
    tskd,
    users,
    copy,
    0,
    copy.length,
    tskd.current,
    unixMs,
    new HelloOpened(),
  );
}

Deno.test("a HELLO of an unknown user is refused", () => {
  const given = handshake(1);
  const packet = helloPacket(given);
  assert.equal(open(given, packet), OpenResult.ok);
  given.users.remove(given.user);
  assert.equal(open(given, packet), OpenResult.unknownUser);
});

Deno.test("one user can't seal a HELLO as another", () => {
  const given = handshake(2);
  const other = namedUser(given.primitives, "bob", new Uint8Array(32).fill(1));
  given.users.add(other);
  const fields = { ...given.fields, userId: other.id };
  assert.equal(open(given, helloPacket({ ...given, fields })), OpenResult.tag);
});

Deno.test("a HELLO may be 30 s off, and no more", () => {
  const given = handshake(3);
  for (
    const [timeMs, result] of [
      [UNIX_MS - 30_000, OpenResult.ok],
      [UNIX_MS + 30_000, OpenResult.ok],
      [UNIX_MS - 30_001, OpenResult.time],
      [UNIX_MS + 30_001, OpenResult.time],
    ] as const
  ) {
    const packet = helloPacket({ ...given, fields: { ...given.fields, timeMs } });
    assert.equal(open(given, packet), result);
  }
});

Deno.test("a HELLO with a session of zero, or too short, is refused", () => {
  const given = handshake(4);
  const fields = { ...given.fields, clientSession: 0 };
  assert.equal(open(given, helloPacket({ ...given, fields })), OpenResult.contents);
  const packet = helloPacket(given);
  assert.equal(open(given, packet.slice(0, HELLO_BYTES_MIN - 1)), OpenResult.shape);
  assert.equal(open(given, packet.slice(0, -1)), OpenResult.tag);
  packet[0] = 1;
  assert.equal(open(given, packet), OpenResult.shape, "its header's session must be zero");
});

Deno.test("frames come before padding, and what doesn't fit is not built", () => {
  const { primitives, tskd, fields } = handshake(5);
  const arena = new Uint8Array(2000);
  for (const room of [HELLO_BYTES_MIN + PARAMETERS_BYTES_MIN, 300, 1200]) {
    const frames = new Uint8Array(helloFramesThatFit(room));
    const length = buildHello(primitives, tskd, { ...fields, frames }, arena, 0, room);
    assert.equal(length, room);
    const more = new Uint8Array(frames.length + 1);
    assert.equal(buildHello(primitives, tskd, { ...fields, frames: more }, arena, 0, room), 0);
  }
  const lengths = new Set<number>();
  for (let i = 0; i < 300; i++) lengths.add(buildHello(primitives, tskd, fields, arena, 0, 1200));
  const least = HELLO_BYTES_MIN + PARAMETERS_BYTES_MIN + fields.frames.length;
  assert.ok(lengths.size > 100, "padding is of any length");
  assert.ok([...lengths].every((length) => length >= least && length <= least + 255));
});

Deno.test("UserTable holds each name once, and wipes the key of who leaves", () => {
  const { primitives, users, user } = handshake(6);
  assert.throws(() => users.add(namedUser(primitives, "alice", new Uint8Array(32))), RangeError);
  assert.throws(() => namedUser(primitives, "x", new Uint8Array(31)), RangeError);
  const sole = soleUser(new Uint8Array(32).fill(3));
  users.add(sole);
  assert.equal(users.find(new Uint8Array(9), 1), sole);
  assert.equal(users.size, 2);
  users.remove(user);
  assert.ok(user.key.every((byte) => byte === 0));
  users.remove(user);
  assert.equal(users.size, 1);
  assert.equal(new UserTable().find(sole.id, 0), undefined);
});

function gateFor(given: Handshake, now = 0) {
  const { primitives, tskd, users } = given;
  const filter = new ReplayFilter(seededPrimitives(9), now, { exact: 10, slice: 100 });
  const cache = new HandshakeCache(seededPrimitives(10), 4);
  const gate = new HelloGate(primitives, tskd, users, filter, cache);
  const opened = new HelloOpened();
  const receive = (packet: Bytes, at: number): HelloVerdict => {
    const copy = packet.slice();
    return gate.receive(copy, 0, copy.length, tskd.current, UNIX_MS, at, opened);
  };
  return { gate, filter, cache, opened, receive };
}

Deno.test("HelloGate lets a HELLO pass once, and tells a repeated one from a replay", () => {
  const given = handshake(7);
  const { gate, cache, opened, receive } = gateFor(given);
  const now = 90_000;
  const first = helloPacket(given);
  assert.equal(receive(first, now), HelloVerdict.fresh);
  assert.equal(opened.user, given.user);
  const { clientSession, clientPublic } = opened;
  const server = new Uint8Array(32).fill(5);
  const slot = cache.add(clientSession, clientPublic, given.user.id, 77, server, 1);
  assert.equal(receive(first, now), HelloVerdict.drop, "a replay");
  assert.equal(receive(helloPacket(given), now), HelloVerdict.repeated);
  assert.equal(gate.slot, slot);
  assert.equal(cache.serverSession(slot), 77);
  assert.deepEqual(cache.serverPublic(slot), server);
  cache.settle(slot);
  assert.equal(receive(helloPacket(given), now), HelloVerdict.drop, "its client has answered");
  cache.release(slot, now);
  assert.equal(receive(helloPacket(given), now), HelloVerdict.drop, "its session has gone");
  cache.expire(now + 90_000);
  assert.equal(receive(helloPacket(given), now), HelloVerdict.fresh);
  first[50]! ^= 1;
  assert.equal(receive(first, now), HelloVerdict.drop);
  assert.equal(gate.dropped[OpenResult.tag], 1);
});

Deno.test("HelloGate holds 0-RTT frames back while it can't tell a replay", () => {
  const given = handshake(8);
  const { receive } = gateFor(given, 1000);
  const packet = helloPacket(given);
  assert.equal(receive(packet, 1000), HelloVerdict.held);
  assert.equal(receive(packet, 1000), HelloVerdict.drop, "what came since the start is known");
  assert.equal(receive(helloPacket(given), 90_999), HelloVerdict.held);
  assert.equal(receive(helloPacket(given), 91_000), HelloVerdict.fresh);
});

Deno.test("HelloGate.advance() drops the windows that Tskd no longer accepts", () => {
  const given = handshake(9);
  const { gate, filter } = gateFor(given);
  given.tskd.tick(UNIX_MS + 60_000);
  gate.advance();
  assert.equal(filter.oldest, given.tskd.current - 1);
});
