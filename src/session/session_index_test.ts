import assert from "node:assert/strict";
import { SessionIndex } from "./session_index.ts";

Deno.test("SessionIndex finds an item by its session and its id", () => {
  const index = new SessionIndex<object, string>();
  const [one, two] = [{}, {}];
  index.set(one, 0, "one 0");
  index.set(one, 4, "one 4");
  index.set(two, 0, "two 0");
  assert.equal(index.get(one, 0), "one 0");
  assert.equal(index.get(two, 0), "two 0");
  assert.equal(index.get(one, 4), "one 4");
  assert.equal(index.get(one, 4), "one 4");
  assert.equal(index.get(two, 4), undefined);
  assert.equal(index.get({}, 0), undefined);
  assert.deepEqual([index.count, index.countOf(one), index.countOf(two)], [3, 2, 1]);
  assert.deepEqual(index.sessions(), [one, two]);
});

Deno.test("SessionIndex gives nothing old after a change of what was asked for last", () => {
  const index = new SessionIndex<object, string>();
  const session = {};
  assert.equal(index.get(session, 0), undefined);
  index.set(session, 0, "a");
  assert.equal(index.get(session, 0), "a");
  assert.equal(index.get(session, 1), undefined);
  index.set(session, 1, "b");
  assert.equal(index.get(session, 1), "b");
  index.set(session, 1, "c");
  assert.equal(index.get(session, 1), "c");
  assert.equal(index.delete(session, 1), true);
  assert.equal(index.get(session, 1), undefined);
  assert.equal(index.delete(session, 1), false);
  assert.equal(index.get(session, 0), "a");
  assert.deepEqual(index.take(session), ["a"]);
  assert.equal(index.get(session, 0), undefined);
  assert.equal(index.count, 0);
});

Deno.test("SessionIndex keeps nothing for a session without items", () => {
  const index = new SessionIndex<object, number>();
  const session = {};
  index.set(session, 3, 3);
  index.delete(session, 3);
  assert.deepEqual(index.sessions(), []);
  assert.deepEqual(index.take(session), []);
  assert.deepEqual(index.itemsOf(session), []);
});
