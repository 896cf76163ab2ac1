import assert from "node:assert/strict";
import { EMPTY_SET, itemOf, Level, levelOf, NO_ITEM, ruleOf, RuleSets } from "./rule_sets.ts";

Deno.test("items sort by rule, of one rule the most explicit first", () => {
  const items = [itemOf(1, Level.NONE), itemOf(1, Level.HOST), itemOf(0, Level.NONE), NO_ITEM];
  items.sort((a, b) => a - b);
  assert.deepEqual(items.slice(0, 3).map(ruleOf), [0, 1, 1]);
  assert.deepEqual(items.slice(0, 3).map(levelOf), [Level.NONE, Level.HOST, Level.NONE]);
  assert.equal(items[3], NO_ITEM);
});

Deno.test("a set is kept once, however it came about", () => {
  const sets = new RuleSets();
  const [a, b] = [itemOf(3, Level.NONE), itemOf(1, Level.CLASS)];
  const ab = sets.with(sets.with(EMPTY_SET, a), b);
  const ba = sets.with(sets.with(EMPTY_SET, b), a);
  assert.equal(ab, ba);
  assert.equal(sets.with(ab, a), ab);
  assert.deepEqual([...sets.items(ab)], [b, a]);
  assert.deepEqual([...sets.items(EMPTY_SET)], []);
  assert.deepEqual([...sets.items(999)], []);
});
