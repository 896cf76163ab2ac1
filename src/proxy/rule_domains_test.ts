import assert from "node:assert/strict";
import { DomainTable } from "./rule_domains.ts";
import { ruleOf, RuleSets } from "./rule_sets.ts";

Deno.test("names match whole, by their end at a dot, or by a word", () => {
  const sets = new RuleSets();
  const domains = new DomainTable(sets);
  domains.addExact("www.example.com", 0);
  domains.addSuffix("example.com", 1);
  domains.addSuffix("com", 2);
  domains.addKeyword("ampl", 3);
  domains.addExact("www.example.com", 4);
  const rules = (name: string) => {
    const found: number[] = [];
    domains.forEachSet(name, (set) => found.push(...[...sets.items(set)].map(ruleOf)));
    return found.sort((a, b) => a - b);
  };
  assert.deepEqual(rules("www.example.com"), [0, 1, 2, 3, 4]);
  assert.deepEqual(rules("example.com"), [1, 2, 3]);
  assert.deepEqual(rules("notexample.com"), [2, 3]);
  assert.deepEqual(rules("example.com.evil.net"), [3]);
  assert.deepEqual(rules("x.y"), []);
  assert.equal(domains.keywords, 1);
});
