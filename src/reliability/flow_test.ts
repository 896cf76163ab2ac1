import assert from "node:assert/strict";
import type { NumberCell } from "../base/number_field.ts";
import { ReceiveWindow, SendCredit } from "./flow.ts";

function at(offset: number): NumberCell {
  return Float64Array.of(offset);
}

Deno.test("SendCredit is used up, raised, and never lowered", () => {
  const credit = new SendCredit(100);
  credit.consume(60);
  assert.equal(credit.available, 40);
  assert.throws(() => credit.consume(41), RangeError);
  assert.throws(() => credit.consume(-1), RangeError);
  assert.ok(!credit.raise(100));
  assert.ok(!credit.raise(50));
  assert.ok(credit.raise(150));
  assert.equal(credit.available, 90);
});

Deno.test("ReceiveWindow counts new bytes once and refuses what is over the limit", () => {
  const window = new ReceiveWindow(100, 400);
  assert.equal(window.receive(at(40)), 40);
  assert.equal(window.receive(at(30)), 0);
  assert.equal(window.receive(at(100)), 60);
  assert.equal(window.receive(at(101)), -1);
  assert.equal(window.held, 100);
  const session = new ReceiveWindow(100, 100);
  assert.ok(session.receiveMore(100));
  assert.ok(!session.receiveMore(1));
});

Deno.test("ReceiveWindow grows with quick use, up to its maximum, and not with slow use", () => {
  const use = (rttsBetween: number): ReceiveWindow => {
    const window = new ReceiveWindow(100, 400);
    for (let i = 0, now = 0; i < 10; i++, now += 50 * rttsBetween) {
      window.receive(at(window.limit));
      window.consume(window.held);
      assert.ok(window.updateDue);
      window.update(now, 50, false);
      assert.ok(!window.updateDue);
    }
    return window;
  };
  assert.equal(use(0.5).window, 400);
  assert.equal(use(10).window, 100);
});

Deno.test("ReceiveWindow grows where holes use it up, but not for a reader that is slow", () => {
  const use = (keepsUp: boolean, share: number): number => {
    const window = new ReceiveWindow(100, 400);
    for (let now = 0; now < 10_000; now += 1000) {
      window.receive(at(window.limit - share * window.window));
      window.consume(window.held);
      window.update(now, 50, keepsUp);
    }
    return window.window;
  };
  assert.equal(use(true, 0.4), 400);
  assert.equal(use(true, 0.6), 100);
  assert.equal(use(false, 0), 100);
});

Deno.test("ReceiveWindow does not move while nothing is consumed", () => {
  const window = new ReceiveWindow(100, 400);
  window.receive(at(100));
  assert.ok(!window.updateDue);
  assert.equal(window.update(0, 50, false), 100);
  window.consume(24);
  assert.ok(!window.updateDue);
  window.consume(1);
  assert.ok(window.updateDue);
  assert.equal(window.update(1000, 50, false), 125);
});
