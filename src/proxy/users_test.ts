import assert from "node:assert/strict";
import { Secret } from "../base/secret.ts";
import { type UserChanges, USERS_MAX, type UserSpec, UserTable } from "./users.ts";

function spec(name: string, byte: number, more: Partial<UserSpec> = {}): UserSpec {
  return { name, key: new Secret(new Uint8Array(32).fill(byte)), ...more };
}

function replace(table: UserTable, ...specs: UserSpec[]): UserChanges {
  const changes = table.replace(specs);
  assert.ok("added" in changes, JSON.stringify(changes));
  return changes;
}

function userOf(table: UserTable, name: string) {
  const user = table.get(name);
  assert.ok(user);
  return user;
}

Deno.test("replacing keeps who stays, with counters and connections", () => {
  const table = new UserTable();
  const first = replace(table, spec("a", 1), spec("b", 2), spec("c", 3), spec("d", 4));
  assert.equal(first.added.length, 4);
  const [a, b, c, d] = ["a", "b", "c", "d"].map((name) => userOf(table, name));
  for (const user of [a, b, c]) {
    assert.equal(user?.open(0), "ok");
    user?.count(10, 20);
  }
  const changes = replace(
    table,
    spec("a", 1),
    spec("b", 9),
    spec("c", 3, { upBps: 5 }),
    spec("e", 5),
  );
  assert.deepEqual(changes.added.map(({ name }) => name), ["e"]);
  assert.deepEqual(changes.removed, [d]);
  assert.deepEqual(
    changes.changed.map((change) => [change.user, change.isKeyChanged, change.isRateChanged]),
    [[b, true, false], [c, false, true]],
  );
  assert.equal(table.get("a"), a);
  assert.deepEqual([a?.connections, a?.trafficBytes, c?.upBps], [1, 30, 5]);
  assert.equal(d?.isRemoved, true);
  assert.equal(d?.open(0), "removed");
  assert.equal(table.size, 4);
  assert.deepEqual([...table].map(({ name }) => name), ["a", "b", "c", "e"]);
});

Deno.test("a table with faults changes nothing", () => {
  const table = new UserTable();
  replace(table, spec("a", 1));
  const bad: UserSpec[][] = [
    [spec("b", 1), spec("b", 2)],
    [spec("b", 1), spec("c", 1)],
    ...["", " a", "a\n", "a/b", "x".repeat(65), "é".repeat(33)].map((name) => [spec(name, 1)]),
    ...[-1, 0.5, NaN, Infinity].map((upBps) => [spec("b", 1, { upBps })]),
  ];
  for (const specs of bad) {
    const problems = table.replace(specs);
    assert.ok(Array.isArray(problems) && problems.length === 1, specs[0]?.name);
    assert.equal(table.size, 1);
  }
  const many = table.replace(Array(USERS_MAX + 1).fill(spec("a", 1)));
  assert.ok(Array.isArray(many) && many.length === 1);
});

Deno.test("every limit is kept, at its edge", () => {
  const table = new UserTable();
  replace(
    table,
    spec("off", 1, { enabled: false }),
    spec("late", 2, { expiresAtMs: 1000 }),
    spec("many", 3, { connectionsMax: 2 }),
    spec("heavy", 4, { trafficBytesMax: 100 }),
    spec("free", 5),
  );
  assert.equal(userOf(table, "off").open(0), "disabled");
  assert.equal(userOf(table, "late").open(999), "ok");
  assert.equal(userOf(table, "late").open(1000), "expired");
  const many = userOf(table, "many");
  assert.deepEqual([many.open(0), many.open(0), many.open(0)], [
    "ok",
    "ok",
    "too-many-connections",
  ]);
  assert.equal(many.refused, 1);
  assert.equal(many.admitSession(0), "ok");
  many.close();
  assert.equal(many.open(0), "ok");
  const heavy = userOf(table, "heavy");
  assert.equal(heavy.count(49, 50), true);
  assert.equal(heavy.open(0), "ok");
  assert.equal(heavy.count(0, 1), false);
  assert.equal(heavy.open(0), "traffic-used-up");
  const free = userOf(table, "free");
  assert.equal(free.count(2 ** 50, 2 ** 50), true);
  assert.deepEqual([free.upBps, free.downBps, free.open(1e15)], [0, 0, "ok"]);
  assert.throws(() => userOf(table, "off").close(), RangeError);
});

Deno.test("what happens in other threads counts", () => {
  const table = new UserTable();
  replace(table, spec("a", 1, { connectionsMax: 3, trafficBytesMax: 100 }));
  const a = userOf(table, "a");
  a.setElsewhere({ connections: 2, upBytes: 40, downBytes: 50 });
  assert.deepEqual([a.open(0), a.open(0)], ["ok", "too-many-connections"]);
  assert.deepEqual([a.count(5, 4), a.count(1, 0)], [true, false]);
  assert.equal(a.trafficBytes, 100);
});

Deno.test("switching a user off is a change, and spelling out a default is none", () => {
  const table = new UserTable();
  replace(table, spec("a", 1), spec("b", 2));
  const { changed } = replace(
    table,
    spec("a", 1, { enabled: false }),
    spec("b", 2, { enabled: true, upBps: 0, expiresAtMs: 0 }),
  );
  assert.deepEqual(changed.map(({ user }) => user.name), ["a"]);
});
