import assert from "node:assert/strict";
import { CANDIDATES_MAX, HappyEyeballs, NO_ATTEMPT } from "./happy_eyeballs.ts";
import { OpenedCode } from "../wire/frames.ts";

/** Runs until it waits; returns what was started. */
function start(eyeballs: HappyEyeballs<string>, now: number): string[] {
  const started: string[] = [];
  for (let i = eyeballs.next(now); i !== NO_ATTEMPT; i = eyeballs.next(now)) {
    started.push(eyeballs.addressOf(i));
  }
  return started;
}

Deno.test("families take turns, 250 ms apart, the preferred one first", () => {
  const eyeballs = new HappyEyeballs<string>(0);
  eyeballs.onResolved(0, 6, ["6a", "6b", "6c"]);
  eyeballs.onResolved(0, 4, ["4a"]);
  const order: [number, string[]][] = [];
  for (let now = 0; now <= 1000; now += 250) order.push([now, start(eyeballs, now)]);
  assert.deepEqual(order, [[0, ["6a"]], [250, ["4a"]], [500, ["6b"]], [750, ["6c"]], [1000, []]]);
  assert.equal(eyeballs.nextTimeout(), 10_000);
});

Deno.test("nothing starts before its time, and nextTimeout() tells it", () => {
  const eyeballs = new HappyEyeballs<string>(100, { preferred: 4 });
  assert.equal(eyeballs.nextTimeout(), 10_100);
  eyeballs.onResolved(100, 4, ["4a", "4b"]);
  assert.equal(eyeballs.nextTimeout(), 100);
  assert.deepEqual(start(eyeballs, 100), ["4a"]);
  assert.equal(eyeballs.nextTimeout(), 350);
  assert.deepEqual(start(eyeballs, 349), []);
  assert.deepEqual(start(eyeballs, 350), ["4b"]);
});

Deno.test("the other family waits 50 ms for the preferred one", () => {
  const late = new HappyEyeballs<string>(0);
  late.onResolved(10, 4, ["4a"]);
  assert.equal(late.nextTimeout(), 60);
  assert.deepEqual(start(late, 59), []);
  assert.deepEqual(start(late, 60), ["4a"]);
  late.onResolved(70, 6, ["6a"]);
  assert.deepEqual(start(late, 309), []);
  assert.deepEqual(start(late, 310), ["6a"]);

  const soon = new HappyEyeballs<string>(0);
  soon.onResolved(10, 4, ["4a"]);
  soon.onResolved(20, 6, ["6a"]);
  assert.deepEqual(start(soon, 20), ["6a"]);

  const none = new HappyEyeballs<string>(0);
  none.onResolved(10, 4, ["4a"]);
  none.onResolved(20, 6, []);
  assert.deepEqual(start(none, 20), ["4a"]);
});

Deno.test("a failed attempt lets the next one start at once", () => {
  const eyeballs = new HappyEyeballs<string>(0);
  eyeballs.onResolved(0, 4, ["4a", "4b"]);
  eyeballs.onResolved(0, 6, ["6a"]);
  assert.deepEqual(start(eyeballs, 0), ["6a"]);
  eyeballs.onFailed(0, OpenedCode.refused);
  assert.deepEqual(start(eyeballs, 5), ["4a"]);
  eyeballs.onFailed(1, OpenedCode.unreachable);
  assert.deepEqual(start(eyeballs, 6), ["4b"]);
  assert.equal(eyeballs.state, "running");
  eyeballs.onFailed(2, OpenedCode.refused);
  assert.deepEqual([eyeballs.state, eyeballs.code], ["failed", OpenedCode.refused]);
  assert.equal(eyeballs.nextTimeout(), Infinity);
});

Deno.test("the first to connect wins, the others are cancelled", () => {
  const eyeballs = new HappyEyeballs<string>(0);
  eyeballs.onResolved(0, 6, ["6a", "6b"]);
  eyeballs.onResolved(0, 4, ["4a"]);
  for (const now of [0, 250, 500]) start(eyeballs, now);
  eyeballs.onFailed(0, OpenedCode.refused);
  assert.equal(eyeballs.onConnected(0), false);
  assert.equal(eyeballs.onConnected(1), true);
  assert.deepEqual([eyeballs.state, eyeballs.winner, eyeballs.code], [
    "connected",
    1,
    OpenedCode.ok,
  ]);
  assert.deepEqual(eyeballs.cancelled(), [2]);
  assert.equal(eyeballs.onConnected(2), false);
  assert.equal(eyeballs.next(9999), NO_ATTEMPT);
});

Deno.test("no address at all is a name not found; a partial answer is not yet", () => {
  const eyeballs = new HappyEyeballs<string>(0);
  eyeballs.onResolved(5, 6, []);
  assert.equal(eyeballs.state, "running");
  eyeballs.onResolved(6, 4, []);
  assert.deepEqual([eyeballs.state, eyeballs.code], ["failed", OpenedCode.nameNotFound]);
});

Deno.test("a first family that failed waits for the second", () => {
  const eyeballs = new HappyEyeballs<string>(0);
  eyeballs.onResolved(0, 6, ["6a"]);
  start(eyeballs, 0);
  eyeballs.onFailed(0, OpenedCode.unreachable);
  assert.equal(eyeballs.state, "running");
  eyeballs.onResolved(400, 4, ["4a"]);
  assert.deepEqual(start(eyeballs, 400), ["4a"]);
});

Deno.test("time is up for all attempts together", () => {
  const eyeballs = new HappyEyeballs<string>(0, { timeoutMs: 1000 });
  eyeballs.onResolved(0, 6, ["6a"]);
  eyeballs.onResolved(0, 4, []);
  start(eyeballs, 0);
  assert.equal(eyeballs.nextTimeout(), 1000);
  assert.deepEqual(start(eyeballs, 1000), []);
  assert.deepEqual([eyeballs.state, eyeballs.code], ["failed", OpenedCode.timedOut]);
  assert.deepEqual(eyeballs.cancelled(), [0]);
});

Deno.test("one family only, and abort()", () => {
  const eyeballs = new HappyEyeballs<string>(0, { preferred: 4, only: true });
  eyeballs.onResolved(0, 6, ["6a"]);
  eyeballs.onResolved(0, 4, ["4a"]);
  assert.deepEqual(start(eyeballs, 0), ["4a"]);
  eyeballs.abort();
  assert.deepEqual([eyeballs.state, eyeballs.cancelled()], ["failed", [0]]);
});

Deno.test("candidates are taken up to their greatest number", () => {
  const eyeballs = new HappyEyeballs<string>(0, { attemptDelayMs: 0 });
  eyeballs.onResolved(0, 6, Array(CANDIDATES_MAX - 1).fill("6"));
  eyeballs.onResolved(0, 4, ["4", "4", "4"]);
  assert.equal(eyeballs.omitted, 2);
  assert.equal(start(eyeballs, 0).length, CANDIDATES_MAX);
  assert.throws(() => eyeballs.addressOf(99), RangeError);
});
