import assert from "node:assert/strict";
import { Rng } from "../../tests/fuzz/rng.ts";
import { DATA_WINDOW_NUMBERS } from "../wire/limits.ts";
import { ReplayWindows } from "./replay_window.ts";

/** The rule of the protocol, said plainly. */
class Model {
  readonly seen = new Set<number>();
  highest = -1;

  check(number: number): boolean {
    return number > this.highest - DATA_WINDOW_NUMBERS && !this.seen.has(number);
  }

  mark(number: number): void {
    this.seen.add(number);
    this.highest = Math.max(this.highest, number);
  }
}

Deno.test("ReplayWindows agrees with a plain model under random use", () => {
  for (let seed = 0; seed < 12; seed++) {
    const rng = new Rng(seed);
    const windows = new ReplayWindows(3);
    windows.acquire();
    const slot = windows.acquire();
    const model = new Model();
    // Also about 2^31, 2^32 and 2^53, where the arithmetic could break.
    let base = rng.pick([0, 0, 2 ** 31 - 9000, 2 ** 32 - 9000, 2 ** 40, 2 ** 53 - 400_000]);
    const reach = rng.pick([3, 40, 300, 9000, 20_000]);
    for (let i = 0; i < 30_000; i++) {
      const number = Math.max(0, base + rng.int(-reach, reach));
      assert.equal(windows.check(slot, number), model.check(number), `seed ${seed}, ${number}`);
      if (model.check(number) && rng.chance(0.9)) {
        windows.mark(slot, number);
        model.mark(number);
      }
      if (rng.chance(0.5)) base += rng.int(0, 2);
      if (rng.chance(0.001)) base += rng.int(0, 9000);
      assert.equal(windows.highest(slot), model.highest);
    }
  }
});

Deno.test("ReplayWindows is exact at every place of the window", () => {
  const windows = new ReplayWindows(1);
  const slot = windows.acquire();
  for (let number = 0; number < 2 * DATA_WINDOW_NUMBERS; number++) {
    assert.equal(windows.check(slot, number), true);
    if (number % 3 !== 1) windows.mark(slot, number);
  }
  const highest = windows.highest(slot);
  assert.equal(highest, 2 * DATA_WINDOW_NUMBERS - 1);
  for (let number = 0; number <= highest; number++) {
    const inside = highest - number < DATA_WINDOW_NUMBERS;
    assert.equal(windows.check(slot, number), inside && number % 3 === 1, `${number}`);
  }
  assert.equal(windows.check(slot, -1), false);
});

Deno.test("ReplayWindows lets nothing of a session before be seen in its window", () => {
  for (let seed = 0; seed < 40; seed++) {
    const rng = new Rng(seed);
    const windows = new ReplayWindows(1);
    for (let number = 0, slot = windows.acquire(); number < 9000; number++) {
      windows.mark(slot, number);
    }
    windows.release(0);
    const slot = windows.acquire();
    const model = new Model();
    const reach = rng.pick([2, 20, 200, 9000]);
    for (let i = 0, base = 0; i < 3000; i++) {
      const number = Math.max(0, base + rng.int(-reach, reach));
      assert.equal(windows.check(slot, number), model.check(number), `seed ${seed}, ${number}`);
      if (model.check(number)) {
        windows.mark(slot, number);
        model.mark(number);
      }
      base += rng.int(0, reach / 10);
    }
  }
});

Deno.test("ReplayWindows gives each session its own, empty, and a fixed number of them", () => {
  const windows = new ReplayWindows(1500);
  const slots = Array.from({ length: 1500 }, () => windows.acquire());
  assert.equal(new Set(slots).size, 1500);
  assert.equal(windows.acquire(), -1);
  for (const slot of slots) windows.mark(slot, 10);
  windows.mark(1023, 11);
  windows.mark(1024, 12);
  for (const slot of slots) {
    assert.equal(windows.check(slot, 10), false);
    assert.equal(windows.check(slot, 11), slot !== 1023);
    assert.equal(windows.check(slot, 12), slot !== 1024);
  }
  windows.release(1024);
  assert.equal(windows.acquire(), 1024);
  assert.equal(windows.highest(1024), -1);
  assert.equal(windows.check(1024, 10), true);
});
