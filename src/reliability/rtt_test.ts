import assert from "node:assert/strict";
import { INITIAL_RTT_MS, MAX_ACK_DELAY_MS, RTT_MIN_WINDOW_MS } from "./params.ts";
import { RttEstimator } from "./rtt.ts";

Deno.test("RttEstimator starts with RFC 9002's guesses and takes the first sample whole", () => {
  const rtt = new RttEstimator();
  assert.equal(rtt.smoothed, INITIAL_RTT_MS);
  assert.equal(rtt.min, 0);
  rtt.update(0, 80, 20);
  assert.deepEqual([rtt.latest, rtt.smoothed, rtt.variance, rtt.min], [80, 80, 40, 80]);
  assert.equal(rtt.pto(), 80 + 160 + MAX_ACK_DELAY_MS);
  assert.equal(rtt.lossDelay(), 90);
});

Deno.test("RttEstimator takes the peer's delay off, but not below the minimum", () => {
  const rtt = new RttEstimator();
  rtt.update(0, 100, 0);
  rtt.update(1, 120, 20);
  assert.equal(rtt.smoothed, 100);
  rtt.update(2, 110, 20);
  assert.equal(rtt.smoothed, 101.25);
  rtt.update(3, 200, 1e9);
  assert.equal(rtt.smoothed, 101.25 * 0.875 + 175 * 0.125);
});

Deno.test("RttEstimator forgets an old minimum", () => {
  const rtt = new RttEstimator();
  rtt.update(0, 10, 0);
  rtt.update(RTT_MIN_WINDOW_MS, 50, 0);
  assert.equal(rtt.min, 10);
  rtt.update(2 * RTT_MIN_WINDOW_MS, 60, 0);
  assert.equal(rtt.min, 50);
  rtt.update(9 * RTT_MIN_WINDOW_MS, 70, 0);
  assert.equal(rtt.min, 70);
});
