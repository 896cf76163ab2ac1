import assert from "node:assert/strict";
import { UserAccount } from "../../proxy/users.ts";
import { ExitSessions } from "./exit_sessions.ts";

class Bench {
  readonly account = new UserAccount();
  readonly sessions = new ExitSessions<object, string>(
    { accountOf: (user) => user === "alice" ? this.account : undefined, unixMs: () => 1000 },
    3,
    2,
  );

  open(user: string): object {
    const session = {};
    this.sessions.opened(session, user);
    return session;
  }
}

Deno.test("ExitSessions has room within the limits of all and of each, for whom it knows", () => {
  const bench = new Bench();
  const { sessions } = bench;
  const [one, two] = [bench.open("bob"), bench.open("carol")];
  assert.equal(sessions.userOf(two), "carol");
  assert.equal(sessions.hasRoom({}), false);
  sessions.add(one, 0, "a");
  sessions.add(one, 4, "b");
  assert.equal(sessions.hasRoom(one), false);
  assert.equal(sessions.hasRoom(two), true);
  sessions.add(two, 0, "c");
  assert.equal(sessions.hasRoom(two), false);
  assert.equal(sessions.remove(one, 4), true);
  assert.equal(sessions.hasRoom(two), true);
  assert.equal(sessions.count, 2);
  assert.deepEqual([sessions.get(one, 4), sessions.get(two, 0)], [undefined, "c"]);
  assert.deepEqual(sessions.inUse(), [one, two]);
  sessions.closed(two);
  assert.equal(sessions.hasRoom(two), false);
  assert.deepEqual(sessions.all(), [one]);
});

Deno.test("ExitSessions gives back to an account what it took, once", () => {
  const bench = new Bench();
  const { sessions, account } = bench;
  account.limits = { connectionsMax: 2 };
  const session = bench.open("alice");
  assert.equal(sessions.admit(session), "ok");
  sessions.add(session, 0, "a");
  assert.equal(sessions.admit(session), "ok");
  assert.equal(sessions.admit(session), "too-many-connections");
  // What came to nothing.
  sessions.giveBack(session);
  assert.equal(sessions.admit(session), "ok");
  sessions.giveBack(session);
  assert.equal(sessions.remove(session, 0), true);
  assert.equal(sessions.remove(session, 0), false);
  assert.equal(account.connections, 0);
  assert.equal(sessions.admit(bench.open("bob")), "ok");
});
