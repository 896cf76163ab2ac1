import assert from "node:assert/strict";
import { ClockChange, ClockReader, ClockWriter, ServerClock } from "./server_clock.ts";

const HOUR = 3_600_000;
const START = 1_800_000_000_000;

/** A machine whose clocks are looked at four times a second. */
class Machine {
  boot = 5000;
  /** What the wall clock has beside what it had at first. */
  wrong = 0;
  readonly clock = new ServerClock(START, 5000);
  readonly changes: string[] = [];

  get right(): number {
    return START + this.boot - 5000;
  }

  /** What counts beside that. */
  get counts(): number {
    return this.clock.unixMs(this.boot) - this.right;
  }

  run(ms: number): this {
    for (const end = this.boot + ms; this.boot < end;) {
      this.boot += 250;
      const change = this.clock.observe(this.right + this.wrong, this.boot);
      const name = Object.keys(ClockChange)[change]!;
      if (name !== "none") this.changes.push(name);
    }
    return this;
  }

  said(...changes: string[]): void {
    assert.deepEqual(this.changes.splice(0), changes);
  }
}

Deno.test("within a window of the boot clock the wall clock counts at once", () => {
  const machine = new Machine();
  for (const wrong of [5, 29_000, -29_000, 30_000, 0]) {
    machine.wrong = wrong;
    machine.run(250);
    assert.equal(machine.counts, wrong);
  }
  machine.said();
});

Deno.test("small steps do not add up to more than a window", () => {
  const machine = new Machine();
  for (const wrong of [20_000, 40_000, 60_000, 80_000]) {
    machine.wrong = wrong;
    machine.run(1000);
    assert.equal(machine.counts, 20_000);
  }
  machine.said("jumped");
});

for (const wrong of [HOUR, -HOUR, 31_000, -31_000, 1e9]) {
  Deno.test(`a wall clock that is ${wrong} ms elsewhere for less than 60 s moves nothing`, () => {
    const machine = new Machine();
    for (const ms of [1000, 59_000]) {
      machine.wrong = wrong;
      machine.run(ms);
      assert.equal(machine.counts, 0);
      machine.said("jumped");
      machine.wrong = 0;
      machine.run(250);
      assert.equal(machine.counts, 0);
      machine.said("returned");
    }
  });

  Deno.test(`one that stays ${wrong} ms elsewhere for 60 s counts, and is the new anchor`, () => {
    const machine = new Machine();
    machine.wrong = wrong;
    machine.run(61_000);
    assert.equal(machine.counts, wrong);
    machine.said("jumped", wrong < 0 ? "setBack" : "moved");
    machine.wrong += 10_000;
    machine.run(250);
    assert.equal(machine.counts, wrong + 10_000);
    machine.said();
  });
}

Deno.test("the 60 s begin anew where the wall clock moves on, or is back in between", () => {
  const machine = new Machine();
  machine.wrong = HOUR;
  machine.run(59_000);
  machine.wrong = 2 * HOUR;
  machine.run(59_000);
  assert.equal(machine.counts, 0);
  machine.wrong = 0;
  machine.run(250);
  machine.wrong = 2 * HOUR;
  machine.run(59_000);
  assert.equal(machine.counts, 0);
  machine.said("jumped", "returned", "jumped");
});

Deno.test("one that comes forward to windows that were forgotten counts as set back", () => {
  const machine = new Machine();
  machine.wrong = -HOUR;
  machine.run(61_000);
  machine.said("jumped", "setBack");
  machine.wrong = -2 * 61_000;
  machine.run(61_000);
  machine.said("jumped", "setBack");
  machine.wrong = HOUR;
  machine.run(61_000);
  machine.said("jumped", "moved");
});

Deno.test("readers have what was written last, and the beginnings with it", () => {
  const writer = new ClockWriter();
  let boot = 100;
  writer.write(START, 0);
  const reader = new ClockReader(writer.memory, () => boot);
  const written = [[START, 0], [-START - 7, 1], [5, 300], [2 ** 52, 2]] as const;
  for (const [offset, beginnings] of written) {
    writer.write(offset, beginnings);
    boot += 50;
    assert.equal(reader.unixMs(), boot + offset);
    assert.equal(reader.beginnings, beginnings);
  }
});
