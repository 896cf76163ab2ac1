import assert from "node:assert/strict";
import { Rng } from "../../../tests/fuzz/rng.ts";
import { ENDED_BYTES, EndedSessions, mergeEnded } from "./ended_sessions.ts";

const ID = 0xabcd_1234_5678;
const ALL = () => true;

Deno.test("each packet gets one RESET at most, whoever repeats it", () => {
  const ended = new EndedSessions(4);
  ended.remember(1, 10, 0);
  for (const id of [1, 2]) {
    assert.ok(ended.mayReset(id, 11, 5));
    ended.answered(id, 11, 5);
    assert.ok(!ended.mayReset(id, 11, 6));
    assert.ok(!ended.mayReset(id, 10, 6));
    assert.ok(ended.mayReset(id, 12, 6));
  }
});

Deno.test("of a session that ended only a higher number than it had gets a RESET, for 90 s", () => {
  const ended = new EndedSessions();
  ended.remember(ID, 7, 1000);
  assert.ok(ended.has(ID, 1000) && !ended.has(ID + 1, 1000));
  for (const number of [0, 6, 7]) assert.ok(!ended.mayReset(ID, number, 90_999));
  assert.ok(ended.mayReset(ID, 8, 1000) && ended.mayReset(ID, 2 ** 47, 1000));
  assert.ok(ended.mayReset(ID + 2 ** 32, 0, 1000));
  assert.ok(ended.mayReset(ID, 0, 91_000) && !ended.has(ID, 91_000));
});

Deno.test("one of which nothing opened stands for any number", () => {
  const ended = new EndedSessions();
  ended.remember(ID, -1, 0);
  assert.ok(ended.mayReset(ID, 0, 1));
});

Deno.test("an id that ended twice is as its higher number", () => {
  const ended = new EndedSessions();
  ended.remember(ID, 50, 0);
  ended.remember(ID, 3, 10);
  assert.ok(!ended.mayReset(ID, 50, 20) && ended.mayReset(ID, 51, 20));
});

Deno.test("the one that ended first is forgotten first, and all agree with a list", () => {
  const rng = new Rng(4);
  const ended = new EndedSessions(50);
  const list: { id: number; highest: number; at: number }[] = [];
  for (let now = 0; now < 200_000; now += 700) {
    const entry = { id: rng.int(1, 2 ** 40) * 64, highest: rng.int(0, 1000), at: now };
    ended.remember(entry.id, entry.highest, now);
    list.push(entry);
    for (const { id, highest, at } of list) {
      const isKept = list.slice(-50).some((one) => one.id === id) && now - at < 90_000;
      assert.equal(ended.mayReset(id, highest, now), !isKept);
      assert.ok(ended.mayReset(id, highest + 1, now));
    }
  }
});

Deno.test("what is saved is known to the next server, to each of its workers what it wants", () => {
  const [one, two] = [new EndedSessions(), new EndedSessions()];
  for (let i = 0; i < 100; i++) (i % 2 === 0 ? one : two).remember(ID + i, i, 1000 * i);
  const saved = mergeEnded([one.save(100_000), two.save(100_000)], 1000, 5);
  const isEven = (id: number) => id % 2 === 0;
  const next = new EndedSessions();
  next.restore(saved, 500_000, isEven);
  for (let i = 0; i < 100; i++) {
    const isKnown = isEven(ID + i) && i > 15;
    assert.equal(next.mayReset(ID + i, i, 500_000), !isKnown, `${i}`);
    assert.ok(next.mayReset(ID + i, i + 1, 500_000));
  }
  // Ages go on.
  assert.ok(!next.mayReset(ID + 98, 98, 582_000) && next.mayReset(ID + 98, 98, 584_000));
  const few = mergeEnded([one.save(100_000), two.save(100_000)], 10);
  assert.equal(few.length, 10 * ENDED_BYTES);
  const last = new EndedSessions();
  last.restore(few, 0, ALL);
  assert.ok(last.has(ID + 99, 0) && last.has(ID + 90, 0) && !last.has(ID + 89, 0));
});
