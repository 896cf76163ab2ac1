import assert from "node:assert/strict";
import { Shares } from "./shares.ts";

/** Asks for a piece as a pool does; whether it was had. */
function ask(shares: Shares<string>, who: string, group: string): boolean {
  if (shares.isFull) {
    const payer = shares.payerFor(who, group);
    if (payer === undefined) return false;
    shares.give(payer);
  }
  shares.take(who, group);
  return true;
}

function fill(shares: Shares<string>, who: string, group: string, tries = 1000): void {
  for (let i = 0; i < tries && ask(shares, who, group); i++);
}

Deno.test("Shares lets one alone have all, and no more", () => {
  const shares = new Shares<string>(10);
  fill(shares, "a", "A");
  assert.deepEqual([shares.held, shares.heldBy("a")], [10, 10]);
});

Deno.test("Shares has the largest group give until the newcomer's holds the same", () => {
  const shares = new Shares<string>(90);
  for (let i = 0; i < 17; i++) fill(shares, `a${i}`, "A");
  fill(shares, "b", "B");
  fill(shares, "c", "C");
  fill(shares, "a3", "A");
  const groupA = Array.from({ length: 17 }, (_, i) => shares.heldBy(`a${i}`));
  const held = groupA.reduce((sum, one) => sum + one, 0);
  for (const one of [held, shares.heldBy("b"), shares.heldBy("c")]) {
    assert.ok(one >= 29 && one <= 31, `${one}`);
  }
  assert.equal(shares.held, 90);
});

Deno.test("Shares has the largest member of a group give to the others of it", () => {
  const shares = new Shares<string>(20);
  fill(shares, "greedy", "");
  fill(shares, "late", "");
  assert.deepEqual([shares.heldBy("greedy"), shares.heldBy("late")], [10, 10]);
  // One that asks for little has it, whoever else is there.
  assert.equal(ask(shares, "modest", ""), true);
  assert.equal(ask(shares, "modest", ""), true);
});

Deno.test("Shares refuses who holds as much as anybody, so that nobody takes turns", () => {
  const shares = new Shares<string>(4);
  for (const one of ["a", "b"]) fill(shares, one, one);
  assert.deepEqual([shares.heldBy("a"), shares.heldBy("b")], [2, 2]);
  assert.equal(shares.payerFor("a", "a"), undefined);
  assert.equal(shares.payerFor("b", "b"), undefined);
  assert.equal(ask(shares, "c", "c"), true);
});

Deno.test("Shares forgets who gave all back, and holds what it says after any mixture", () => {
  const shares = new Shares<string>(64);
  let seed = 7;
  const random = (below: number) => (seed = (seed * 1103515245 + 12345) & 0x7fffffff) % below;
  const held = new Map<string, number>();
  for (let i = 0; i < 20_000; i++) {
    const who = `m${random(12)}`;
    const group = `g${Number(who.slice(1)) % 3}`;
    const has = held.get(who) ?? 0;
    if (random(3) > 0 && !shares.isFull) {
      shares.take(who, group);
      held.set(who, has + 1);
    } else if (has > 0) {
      shares.give(who);
      held.set(who, has - 1);
    }
    const groups = [0, 1, 2].map((g) =>
      [...held].filter(([m]) => Number(m.slice(1)) % 3 === g).reduce((sum, [, n]) => sum + n, 0)
    );
    const payer = shares.payerFor("new", "new");
    const most = Math.max(...groups);
    if (most > 1) {
      const members = [...held].filter(([m]) => groups[Number(m.slice(1)) % 3] === most);
      const inGroup = members.filter(([m]) =>
        Number(m.slice(1)) % 3 === Number(payer!.slice(1)) % 3
      );
      assert.equal(held.get(payer!), Math.max(...inGroup.map(([, n]) => n)));
    }
  }
  for (const [who, count] of held) {
    assert.equal(shares.heldBy(who), count);
    for (let i = 0; i < count; i++) shares.give(who);
  }
  assert.equal(shares.held, 0);
  assert.equal(shares.payerFor("new", "new"), undefined);
});
