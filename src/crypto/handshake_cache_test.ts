import assert from "node:assert/strict";
import { seededPrimitives } from "../../tests/fixtures/handshake.ts";
import { Rng } from "../../tests/fuzz/rng.ts";
import { HANDSHAKE_KEEP_MS } from "../wire/limits.ts";
import { HandshakeCache } from "./handshake_cache.ts";

const server = new Uint8Array(32);
const alice = new Uint8Array(8).fill(1);
const bob = new Uint8Array(8).fill(2);

Deno.test("HandshakeCache tells entries apart by session, key and user", () => {
  const cache = new HandshakeCache(seededPrimitives(1), 10);
  const key = new Uint8Array(32).fill(9);
  const slot = cache.add(0xffff_ffff_fffe, key, alice, 0xffff_ffff_ffff, server, 1);
  assert.equal(cache.find(0xffff_ffff_fffe, key, alice), slot);
  assert.equal(cache.serverSession(slot), 0xffff_ffff_ffff);
  assert.equal(cache.find(0xffff_ffff_fffd, key, alice), -1);
  assert.equal(cache.find(0xffff_ffff_fffe, key, bob), -1);
  assert.equal(cache.find(0xffff_ffff_fffe, new Uint8Array(32).fill(8), alice), -1);
});

Deno.test("HandshakeCache refuses more than it has room for, and forgets nobody for it", () => {
  const cache = new HandshakeCache(seededPrimitives(2), 3);
  const keys = [0, 1, 2, 3].map((fill) => new Uint8Array(32).fill(fill));
  const slots = keys.map((key) => cache.add(1, key, alice, 1, server, 1));
  assert.deepEqual(slots, [0, 1, 2, -1]);
  assert.equal(cache.refused, 1);
  cache.release(1, 1000);
  cache.release(1, 5000);
  cache.release(0, 2000);
  assert.equal(cache.add(1, keys[3]!, alice, 1, server, 1), -1, "released, and still remembered");
  assert.equal(cache.expire(1000 + HANDSHAKE_KEEP_MS - 1), 0);
  assert.equal(cache.expire(1000 + HANDSHAKE_KEEP_MS), 1);
  assert.equal(cache.find(1, keys[1]!, alice), -1);
  assert.equal(cache.find(1, keys[0]!, alice), 0);
  assert.equal(cache.add(1, keys[3]!, alice, 1, server, 1), 1);
  assert.equal(cache.isReleased(1), false);
  assert.equal(cache.expire(Infinity), 1);
  assert.equal(cache.count, 2);
});

Deno.test("HandshakeCache keeps more entries than it makes room for at a time", () => {
  const cache = new HandshakeCache(seededPrimitives(4), 10_000);
  const keyOf = (n: number) => new Uint8Array(new Uint32Array(8).fill(n).buffer);
  const count = 9000;
  for (let n = 0; n < count; n++) {
    assert.equal(cache.add(n, keyOf(n), alice, n, keyOf(n + 1), 1), n);
  }
  for (const n of [0, 1, 4095, 4096, 4097, 8191, 8192, count - 1]) {
    const slot = cache.find(n, keyOf(n), alice);
    assert.equal(slot, n);
    assert.equal(cache.serverSession(slot), n);
    assert.deepEqual(cache.serverPublic(slot), keyOf(n + 1));
    assert.equal(cache.name(slot).length, 6 + 32 + 8);
  }
  assert.equal(cache.find(count, keyOf(count), alice), -1);
});

Deno.test("HandshakeCache agrees with a Map under random use", () => {
  const rng = new Rng(3);
  const cache = new HandshakeCache(seededPrimitives(3), 50);
  const keys = Array.from({ length: 200 }, () => rng.bytes(32));
  const model = new Map<number, { slot: number; releasedAt: number }>();
  for (let now = 0; now < 200_000; now += rng.int(1, 60)) {
    const which = rng.int(0, keys.length - 1);
    const entry = model.get(which);
    assert.equal(cache.find(5, keys[which]!, alice), entry?.slot ?? -1);
    if (entry === undefined) {
      const slot = cache.add(5, keys[which]!, alice, which + 1, server, 1);
      assert.equal(slot === -1, model.size === 50);
      if (slot >= 0) model.set(which, { slot, releasedAt: Infinity });
    } else {
      assert.equal(cache.serverSession(entry.slot), which + 1);
      if (entry.releasedAt === Infinity) {
        cache.release(entry.slot, now);
        entry.releasedAt = now;
      }
    }
    cache.expire(now);
    for (const [key, { releasedAt }] of model) {
      if (releasedAt + HANDSHAKE_KEEP_MS <= now) model.delete(key);
    }
    assert.equal(cache.count, model.size);
  }
});
