import assert from "node:assert/strict";
import { TokenBucket } from "./token_bucket.ts";

Deno.test("TokenBucket holds its rate whatever is asked of it", () => {
  const bucket = new TokenBucket(1_000_000);
  let taken = 0;
  for (let now = 0; now < 10_000; now += 0.25) {
    for (let i = 0; i < 5; i++) if (bucket.take(now, 1400)) taken += 1400;
  }
  assert.ok(Math.abs(taken - 10_250_000) < 10_000, String(taken));
  assert.ok(bucket.refusedBytes > taken / 2);
});

Deno.test("TokenBucket says when, and lets a piece larger than its burst through at last", () => {
  const bucket = new TokenBucket(1000, 100);
  assert.ok(bucket.take(0, 100));
  assert.ok(!bucket.take(0, 50));
  assert.equal(bucket.next(0, 50), 50);
  assert.ok(bucket.take(50, 50));
  assert.ok(!bucket.take(149, 500));
  assert.ok(bucket.take(150, 500));
  assert.equal(bucket.available(150), 0);
  assert.equal(bucket.next(150, 1), 150 + 401);
});

Deno.test("TokenBucket charges for what has already come", () => {
  const bucket = new TokenBucket(1000, 100);
  bucket.charge(0, 1100);
  assert.ok(!bucket.take(999, 1));
  assert.ok(bucket.take(1001, 1));
  bucket.charge(1001, 1e12);
  assert.ok(bucket.next(1001, 1) <= 1001 + 10_002);
});

Deno.test("TokenBucket without a rate limits nothing; a new rate holds at once", () => {
  const bucket = new TokenBucket(0);
  assert.ok(bucket.unlimited && bucket.take(0, 1e12));
  assert.equal(bucket.available(0), Infinity);
  bucket.setRate(10, 1000, 10);
  assert.ok(!bucket.unlimited);
  assert.ok(bucket.take(10, 10));
  assert.ok(!bucket.take(10, 10));
  bucket.setRate(20, 0);
  assert.ok(bucket.take(20, 1e9));
});
