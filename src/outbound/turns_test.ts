import assert from "node:assert/strict";
import { testNative } from "../../tests/native.ts";
import { Loop } from "../loop/loop.ts";
import { type Turn, Turns } from "./turns.ts";

const native = testNative();

class Bench implements Disposable {
  readonly faults: unknown[] = [];
  readonly loop = new Loop(native, (error) => this.faults.push(error));
  readonly turns = new Turns(this.loop);
  readonly taken: string[] = [];

  turn(name: string): Turn {
    return { takeTurn: () => void this.taken.push(name) };
  }

  [Symbol.dispose](): void {
    this.loop.close();
  }
}

Deno.test("Turns opens some in a round, one of each session after the other", () => {
  using bench = new Bench();
  const { turns, loop, taken } = bench;
  const [greedy, modest] = [{}, {}];
  for (let i = 0; i < 1000; i++) turns.open(greedy, bench.turn("greedy"));
  for (let i = 0; i < 3; i++) turns.open(modest, bench.turn("modest"));
  loop.round(0);
  assert.ok(taken.length <= 16);
  assert.equal(turns.counters.putOff, 1);
  // A round ends early where others have the core.
  while (taken.length < 6) loop.round(0);
  // Whatever one has asked for before, the other has its own beside it.
  assert.deepEqual(taken.slice(0, 6), Array(3).fill(["greedy", "modest"]).flat());
  while (turns.waiting > 0) loop.round(0);
  assert.equal(turns.counters.opened, 1003);
});

Deno.test("Turns costs nothing for what is given up before its turn", () => {
  using bench = new Bench();
  const { turns, loop, taken } = bench;
  const session = {};
  const [first, second] = [bench.turn("first"), bench.turn("second")];
  turns.open(session, first);
  turns.open(session, second);
  assert.equal(turns.cancel(session, first), true);
  assert.equal(turns.cancel(session, first), false);
  while (turns.waiting > 0) loop.round(0);
  assert.deepEqual(taken, ["second"]);
  assert.equal(turns.cancel(session, second), false);
});

Deno.test("Turns closes some in a round, one at once where it is asked for, all at the end", () => {
  using bench = new Bench();
  const { turns, loop, taken } = bench;
  assert.equal(turns.closeOne(), false);
  for (let i = 0; i < 100; i++) turns.close(bench.turn("close"));
  assert.equal(turns.closeOne(), true);
  assert.equal(taken.length, 1);
  turns.open({}, bench.turn("open"));
  loop.round(0);
  assert.ok(taken.length > 1 && taken.length <= 18);
  // Those that close don't keep others from opening.
  while (!taken.includes("open")) loop.round(0);
  assert.ok(taken.length < 101);
  turns.stop();
  assert.equal(turns.waiting, 0);
  assert.equal(taken.length, 101);
});

Deno.test("Turns goes on after one that throws", () => {
  using bench = new Bench();
  const { turns, loop, taken, faults } = bench;
  const session = {};
  turns.open(session, {
    takeTurn() {
      throw new Error("no");
    },
  });
  turns.open(session, bench.turn("next"));
  // A round ends early where others have the core.
  while (turns.waiting > 0) loop.round(0);
  assert.deepEqual(taken, ["next"]);
  assert.equal(faults.length, 1);
});

Deno.test("Turns lets a session open some at once in a round, where none of its wait", () => {
  using bench = new Bench();
  const { turns, loop } = bench;
  const [greedy, modest] = [{}, {}];
  const had = Array.from({ length: 100 }, () => turns.mayOpen(greedy)).filter((may) => may);
  assert.ok(had.length >= 1 && had.length <= 4);
  assert.equal(turns.mayOpen(modest), true);
  loop.round(0);
  assert.equal(turns.mayOpen(greedy), true);
  turns.open(modest, bench.turn("waits"));
  assert.equal(turns.mayOpen(modest), false);
  loop.round(0);
  // All together have no more than those that wait.
  const sessions = Array.from({ length: 1000 }, () => ({}));
  assert.ok(sessions.filter((one) => turns.mayOpen(one)).length <= 16);
});
