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
import { ReplayMemory, replayMemory, RestingMemory } from "./replay_memory.ts";
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

const memory = () => replayMemory(() => 7);

/** The gate of a worker; `now` counts by the boot clock. */
function gateFor({ primitives, tskd, users }: Handshake, shared = memory(), worker = 0) {
  const cache = new HandshakeCache(seededPrimitives(10), 4);
  const replays = new ReplayMemory(shared, worker);
  const gate = new HelloGate(primitives, tskd, users, replays, cache);
  const opened = new HelloOpened();
  const receive = (packet: Bytes, bootMs: number): HelloVerdict => {
    const copy = packet.slice();
    const clock = { unixMs: UNIX_MS, bootMs, beginning: 0 };
    return gate.receive(copy, 0, copy.length, tskd.current, clock, opened);
  };
  return { gate, cache, opened, receive };
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
  // The cache has forgotten it while the memory, which a HELLO named since, has not.
  assert.equal(receive(helloPacket(given), now + 80_000), HelloVerdict.notRun);
  assert.equal(receive(helloPacket(given), now + 172_000), HelloVerdict.fresh);
  first[50]! ^= 1;
  assert.equal(receive(first, now), HelloVerdict.drop);
  assert.equal(gate.dropped.tag, 1);
});

Deno.test("HelloGate holds 0-RTT frames back while it can't tell a replay", () => {
  const shared = memory();
  new RestingMemory(shared).startOver(1000);
  for (
    const [seed, bootMs, verdict] of [
      [8, 1000, HelloVerdict.held],
      [9, 90_999, HelloVerdict.held],
      [10, 91_000, HelloVerdict.fresh],
    ] as const
  ) {
    const given = handshake(seed);
    const { receive } = gateFor(given, shared);
    const packet = helloPacket(given);
    assert.equal(receive(packet, bootMs), verdict);
    assert.equal(receive(packet, bootMs), HelloVerdict.drop, "what came since is known");
  }
});

Deno.test("HelloGate leaves a handshake to the worker that has it, until it gives it up", () => {
  const given = handshake(11);
  const shared = memory();
  const [one, two] = [gateFor(given, shared, 1), gateFor(given, shared, 2)];
  assert.equal(one.receive(helloPacket(given), 0), HelloVerdict.fresh);
  assert.equal(two.receive(helloPacket(given), 0), HelloVerdict.another);
  assert.equal(two.gate.owner, 1);
  const { clientSession, clientPublic } = one.opened;
  const { gate, cache, opened } = one;
  assert.equal(gate.receiveHandedOver(opened), HelloVerdict.drop, "it has no session yet");
  cache.add(clientSession, clientPublic, given.user.id, 77, new Uint8Array(32), 1);
  assert.equal(gate.receiveHandedOver(opened), HelloVerdict.repeated);
  cache.settle(gate.slot);
  assert.equal(gate.receiveHandedOver(opened), HelloVerdict.drop, "its client has answered");
  const refused = handshake(12);
  const [three, four] = [gateFor(refused, shared, 3), gateFor(refused, shared, 4)];
  assert.equal(three.receive(helloPacket(refused), 0), HelloVerdict.fresh);
  three.gate.forget();
  assert.equal(four.receive(helloPacket(refused), 0), HelloVerdict.fresh);
});

Deno.test("HelloGate never runs what may have run before a restart", () => {
  const given = handshake(13);
  const former = memory();
  gateFor(given, former).receive(helloPacket(given), 0);
  const shared = memory();
  const resting = new RestingMemory(former);
  for (const one of resting.handshakes(0)) new RestingMemory(shared).adoptHandshake(one, 0);
  const { gate, receive } = gateFor(given, shared);
  assert.equal(receive(helloPacket(given), 0), HelloVerdict.notRun);
  gate.forget();
  assert.equal(receive(helloPacket(given), 0), HelloVerdict.notRun);
});
