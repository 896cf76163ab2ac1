import assert from "node:assert/strict";
import { Rng } from "../../tests/fuzz/rng.ts";
import {
  FORMER_OWNER,
  HandshakeClaim,
  HANDSHAKES_MAX,
  ReplayMemory,
  replayMemory,
  RestingMemory,
  SaltVerdict,
} from "./replay_memory.ts";

const SALTS_MAX = 1_000_000;
const { fresh, replay, full, old } = SaltVerdict;
const rng = new Rng(11);
const memory = () => replayMemory(() => rng.int(0, 0xffff_ffff));
const user = new Uint8Array(8);

function claim(worker: ReplayMemory, session: number, key: Uint8Array, now: number): number {
  return worker.claimHandshake(session, key, user, now);
}

/** Claims by threads of the same names; what each was told, by name. */
async function claimed(
  shared: SharedArrayBuffer,
  threads: number,
  work: { salts?: number; handshakes?: number; seed: number; isShared: boolean },
): Promise<Int8Array[]> {
  const code = new URL("../../tests/fixtures/replay_claims_worker.ts", import.meta.url);
  return await Promise.all(Array.from({ length: threads }, (_, index) => {
    const worker = new Worker(code, { type: "module" });
    const told = Promise.withResolvers<Int8Array>();
    worker.onmessage = ({ data }) => told.resolve(data);
    worker.onerror = (event) => told.reject(new Error(event.message));
    worker.postMessage({ shared, index, threads, ...work });
    return told.promise.finally(() => worker.terminate());
  }));
}

Deno.test("all of it takes 28 MiB at most", () => {
  assert.ok(memory().byteLength <= 28 << 20);
  assert.ok(HANDSHAKES_MAX > 1_000_000);
});

Deno.test("of all workers the first one gets a salt, and no other ever", () => {
  const shared = memory();
  const workers = [0, 1, 2].map((index) => new ReplayMemory(shared, index));
  for (let i = 0; i < 20_000; i++) {
    const salt = rng.bytes(16);
    const window = 100 + rng.int(0, 2);
    assert.equal(workers[rng.int(0, 2)]!.claimSalt(0, window, salt, 0), fresh);
    for (const worker of workers) assert.equal(worker.claimSalt(0, window, salt, 0), replay);
  }
});

Deno.test("threads that bring the same salts and handshakes: each is fresh once", async () => {
  const count = 4000;
  for (const threads of [2, 16]) {
    const work = { salts: count, handshakes: count, seed: threads, isShared: true };
    const told = await claimed(memory(), threads, work);
    for (let i = 0; i < count; i++) {
      assert.equal(told.filter((verdicts) => verdicts[i] === fresh).length, 1);
      const claims = told.map((verdicts) => verdicts[count + i]!);
      assert.equal(claims.filter((one) => one === HandshakeClaim.isNew).length, 1);
      // Busy: one that had the lock lost its core.
      const others: number[] = [HandshakeClaim.another, HandshakeClaim.busy];
      assert.equal(claims.filter((one) => others.includes(one)).length, threads - 1);
    }
  }
});

for (const threads of [1, 2, 16]) {
  Deno.test(`a window takes a million salts of ${threads} workers, and no more`, async () => {
    const shared = memory();
    const salts = SALTS_MAX / threads + 1000;
    const told = await claimed(shared, threads, { salts, seed: 90 + threads, isShared: false });
    const count = (verdict: number): number =>
      told.reduce((sum, list) => sum + list.filter((one) => one === verdict).length, 0);
    assert.equal(count(fresh), SALTS_MAX);
    assert.ok(count(replay) <= 10, `${count(replay)} new salts were taken for old ones`);
    assert.equal(count(full), 1000 * threads - count(replay));
    const one = new ReplayMemory(shared, 0);
    assert.equal(one.claimSalt(0, 1, rng.bytes(16), 0), full);
    assert.equal(one.claimSalt(0, 2, rng.bytes(16), 0), fresh);
  });
}

Deno.test("the first 100,000 salts of a window are never taken for old ones", () => {
  const one = new ReplayMemory(memory(), 0);
  for (let i = 0; i < 100_000; i++) assert.equal(one.claimSalt(0, 1, rng.bytes(16), 0), fresh);
});

Deno.test("a window's slice is used again for a later one, and never for an earlier one", () => {
  const one = new ReplayMemory(memory(), 0);
  const salt = rng.bytes(16);
  assert.equal(one.claimSalt(0, 100, salt, 0), fresh);
  assert.equal(one.claimSalt(0, 104, salt, 0), fresh);
  assert.equal(one.claimSalt(0, 104, salt, 0), replay);
  assert.equal(one.claimSalt(0, 100, rng.bytes(16), 0), old);
});

Deno.test("when time begins anew nothing can be told for 90 s, and old windows come again", () => {
  const shared = memory();
  const one = new ReplayMemory(shared, 0);
  const late = new ReplayMemory(shared, 1);
  assert.ok(one.canTell(0));
  const salt = rng.bytes(16);
  assert.equal(one.claimSalt(0, 1000, salt, 0), fresh);
  for (let beginning = 1; beginning <= 20; beginning++) {
    const now = beginning * 100_000;
    new RestingMemory(shared).startOver(now);
    assert.ok(!one.canTell(now + 89_999) && one.canTell(now + 90_000));
    // A worker that has not heard of it yet does no harm.
    if (beginning % 2 === 0) late.claimSalt(beginning - 1, 1000 - 4 * beginning + 4, salt, 0);
    const window = 1000 - 4 * beginning;
    assert.equal(one.claimSalt(beginning, window, salt, 0), fresh);
    assert.equal(one.claimSalt(beginning, window, salt, 0), replay);
    assert.equal(late.claimSalt(beginning - 1, window + 4, rng.bytes(16), 0), old);
  }
});

Deno.test("a handshake is had by one worker, until 90 s after the last HELLO that named it", () => {
  const shared = memory();
  const [one, two] = [new ReplayMemory(shared, 1), new ReplayMemory(shared, 2)];
  const key = rng.bytes(32);
  const session = 0xffff_1234_5678;
  assert.equal(claim(one, session, key, 0), HandshakeClaim.isNew);
  assert.equal(claim(one, session, key, 50_000), HandshakeClaim.known);
  assert.equal(claim(two, session, key, 140_000), HandshakeClaim.another);
  assert.equal(two.owner, 1);
  // A clock that is a moment behind.
  assert.equal(claim(two, session, key, 139_000), HandshakeClaim.another);
  assert.equal(claim(two, session, key, 231_000), HandshakeClaim.isNew);
  assert.equal(claim(one, session, key, 231_000), HandshakeClaim.another);
  assert.equal(one.owner, 2);
  // Half a year later: the seconds have gone round.
  assert.equal(claim(one, session, key, 231_000 + 2 ** 23 * 1000), HandshakeClaim.isNew);
});

Deno.test("a handshake differs by session, key and user, in each of their bits", () => {
  const one = new ReplayMemory(memory(), 1);
  const [key, id] = [rng.bytes(32), rng.bytes(8)];
  assert.equal(one.claimHandshake(1, key, id, 0), HandshakeClaim.isNew);
  for (let bit = 1; bit < 48; bit++) assert.equal(one.claimHandshake(1 + 2 ** bit, key, id, 0), 0);
  for (const bytes of [key, id]) {
    for (let bit = 0; bit < 8 * bytes.length; bit++) {
      bytes[bit >> 3]! ^= 1 << (bit & 7);
      assert.equal(one.claimHandshake(1, key, id, 0), HandshakeClaim.isNew);
      bytes[bit >> 3]! ^= 1 << (bit & 7);
    }
  }
  assert.equal(one.claimHandshake(1, key, id, 0), HandshakeClaim.known);
});

Deno.test("a claim that was refused later can be given up, and anybody has it anew", () => {
  const shared = memory();
  const [one, two] = [new ReplayMemory(shared, 1), new ReplayMemory(shared, 2)];
  const key = rng.bytes(32);
  claim(one, 5, key, 0);
  one.forgetHandshake();
  assert.equal(claim(two, 5, key, 0), HandshakeClaim.isNew);
  assert.equal(claim(one, 5, key, 0), HandshakeClaim.another);
  // Not what somebody else has.
  one.forgetHandshake();
  assert.equal(claim(one, 5, key, 0), HandshakeClaim.another);
});

Deno.test("handshakes without a place are told so, and places come free again", () => {
  const one = new ReplayMemory(memory(), 1);
  const key = rng.bytes(32);
  let [held, without] = [0, 0];
  for (let i = 1; i <= 1_500_000; i++) {
    if (claim(one, i, key, 1000) === HandshakeClaim.noRoom) without++;
    else held++;
    if (i === 500_000) assert.equal(without, 0);
  }
  assert.ok(held > 0.95 * HANDSHAKES_MAX && held <= HANDSHAKES_MAX, `${held}`);
  assert.equal(one.counts.noRoom, without);
  assert.equal(claim(one, 2_000_000, key, 92_000), HandshakeClaim.isNew);
});

Deno.test("handshakes of before a restart belong to who is named them first", () => {
  const former = memory();
  const resting = new RestingMemory(former);
  const key = rng.bytes(32);
  for (let i = 0; i < 1000; i++) claim(new ReplayMemory(former, i % 4), i, key, 50_000);
  const shared = memory();
  new Int32Array(shared).set(resting.key);
  const next = new RestingMemory(shared);
  let count = 0;
  for (const { low, high, ageS } of resting.handshakes(60_000)) {
    assert.equal(ageS, 10);
    next.adoptHandshake({ low, high, ageS: ageS + 20 }, 500_000);
    count++;
  }
  assert.equal(count, 1000);
  const workers = [0, 1].map((index) => new ReplayMemory(shared, index));
  for (let i = 0; i < 1000; i++) {
    const [first, second] = [workers[i % 2]!, workers[(i + 1) % 2]!];
    if (i === 999) continue;
    assert.equal(claim(first, i, key, 559_000), HandshakeClaim.beforeRestart);
    assert.equal(claim(first, i, key, 559_000), HandshakeClaim.known);
    assert.equal(claim(second, i, key, 559_000), HandshakeClaim.another);
    assert.equal(second.owner, i % 2);
  }
  assert.equal(claim(workers[0]!, 999, key, 561_000), HandshakeClaim.isNew);
  assert.ok(FORMER_OWNER > 64);
});
