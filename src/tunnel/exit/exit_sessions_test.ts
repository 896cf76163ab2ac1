import assert from "node:assert/strict";
import { UserAccount } from "../../proxy/users.ts";
import { type ExitItem, ExitSessions } from "./exit_sessions.ts";

interface Item extends ExitItem {
  readonly name: string;
}

class Bench {
  readonly account = new UserAccount();
  readonly counters = { gaveWay: 0 };
  readonly sessions = new ExitSessions<object, Item>(
    { accountOf: (user) => user === "alice" ? this.account : undefined, unixMs: () => 1000 },
    { max: 4, sessionMax: 3 },
    this.counters,
  );
  readonly ended: string[] = [];

  open(user: string): object {
    const session = {};
    this.sessions.opened(session, user);
    return session;
  }

  add(session: object, id: number, name: string, lastUsed = 0): void {
    const giveWay = (): void => {
      this.ended.push(name);
      this.end(session, id);
    };
    this.sessions.add(session, id, { name, lastUsed, giveWay });
  }

  end(session: object, id: number): void {
    if (this.sessions.remove(session, id)) this.sessions.release(session);
  }
}

Deno.test("ExitSessions has room within the limits of all and of each, for whom it knows", () => {
  const bench = new Bench();
  const { sessions } = bench;
  const [one, two] = [bench.open("bob"), bench.open("carol")];
  assert.equal(sessions.userOf(two), "carol");
  assert.equal(sessions.makeRoom({}), false);
  for (const [id, name] of ["a", "b", "c"].entries()) {
    assert.equal(sessions.makeRoom(one), true);
    bench.add(one, id, name);
  }
  assert.equal(sessions.makeRoom(one), false);
  assert.equal(sessions.makeRoom(two), true);
  bench.add(two, 0, "d");
  bench.end(one, 1);
  assert.equal(sessions.count, 3);
  assert.deepEqual([sessions.get(one, 1), sessions.get(two, 0)?.name], [undefined, "d"]);
  assert.deepEqual(sessions.inUse(), [one, two]);
  sessions.closed(two);
  assert.equal(sessions.makeRoom(two), false);
  // What it has is still to be closed.
  assert.deepEqual(sessions.all(), [one, two]);
  bench.end(two, 0);
  assert.deepEqual(sessions.all(), [one]);
  assert.deepEqual(bench.ended, []);
});

Deno.test("ExitSessions knows a closed session from another one of the same user", () => {
  const bench = new Bench();
  const { sessions } = bench;
  const [one, two] = [bench.open("alice"), bench.open("alice")];
  bench.add(one, 0, "a");
  sessions.closed(one);
  assert.deepEqual([sessions.makeRoom(one), sessions.makeRoom(two)], [false, true]);
  assert.equal(sessions.makeRoom(bench.open("alice")), true);
  assert.equal(sessions.userOf(one), "alice");
});

Deno.test("ExitSessions has the biggest holder give up what it used least lately", () => {
  const bench = new Bench();
  const { sessions } = bench;
  const [greedy, other, late] = [bench.open("bob"), bench.open("bob"), bench.open("carol")];
  for (const [id, lastUsed] of [30, 10, 20].entries()) bench.add(greedy, id, `g${id}`, lastUsed);
  bench.add(other, 0, "other");
  // Bob's sessions hold four together, and the first the most of them.
  assert.equal(sessions.makeRoom(late), true);
  bench.add(late, 0, "late", 0);
  assert.deepEqual(bench.ended, ["g1"]);
  assert.equal(sessions.makeRoom(late), true);
  bench.add(late, 1, "late", 0);
  assert.deepEqual(bench.ended, ["g1", "g2"]);
  // Carol has her share; Bob's sessions have one each.
  assert.equal(sessions.makeRoom(late), false);
  assert.equal(sessions.makeRoom(greedy), false);
  assert.equal(bench.counters.gaveWay, 2);
});

Deno.test("ExitSessions keeps to a limit that was lowered, as others begin", () => {
  const bench = new Bench();
  const { sessions } = bench;
  const [greedy, late] = [bench.open("bob"), bench.open("carol")];
  for (let id = 0; id < 3; id++) bench.add(greedy, id, `g${id}`, id);
  sessions.max = 2;
  assert.deepEqual(bench.ended, []);
  assert.equal(sessions.makeRoom(greedy), false);
  assert.equal(sessions.makeRoom(late), true);
  assert.deepEqual(bench.ended, ["g0", "g1"]);
});

Deno.test("ExitSessions gives back to an account what it took, once", () => {
  const bench = new Bench();
  const { sessions, account } = bench;
  account.limits = { connectionsMax: 2 };
  const session = bench.open("alice");
  assert.equal(sessions.admit(session), "ok");
  bench.add(session, 0, "a");
  assert.equal(sessions.admit(session), "ok");
  assert.equal(sessions.admit(session), "too-many-connections");
  // What came to nothing.
  sessions.giveBack(session);
  assert.equal(sessions.admit(session), "ok");
  sessions.giveBack(session);
  bench.end(session, 0);
  bench.end(session, 0);
  assert.equal(account.connections, 0);
  // Also what is closed only after its session.
  assert.equal(sessions.admit(session), "ok");
  bench.add(session, 1, "b");
  sessions.closed(session);
  bench.end(session, 1);
  assert.equal(account.connections, 0);
  assert.equal(sessions.admit(bench.open("bob")), "ok");
});
