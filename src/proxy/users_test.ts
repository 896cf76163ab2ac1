import assert from "node:assert/strict";
import { accountMemory, resetUsage, usageOf, UserAccount } from "./users.ts";

Deno.test("connections are limited over all threads, and never above the maximum", () => {
  const memory = accountMemory(2);
  const [a, b] = [0, 1].map((thread) => new UserAccount(memory, 1, thread));
  for (const account of [a!, b!]) account.limits = { connectionsMax: 2 };
  assert.equal(a!.open(0), "ok");
  assert.equal(b!.open(0), "ok");
  assert.equal(a!.open(0), "too-many-connections");
  assert.equal(b!.open(0), "too-many-connections");
  assert.deepEqual([a!.connections, a!.refused, b!.refused], [2, 1, 1]);
  b!.close();
  assert.equal(a!.open(0), "ok");
  assert.equal(usageOf(memory, 1).connections, 2);
  assert.equal(usageOf(memory, 0).connections, 0, "the neighbour's");
});

Deno.test("traffic is what all threads have carried, those not told yet counted at home", () => {
  const memory = accountMemory(1);
  const [a, b] = [0, 40].map((thread) => new UserAccount(memory, 0, thread));
  for (const account of [a!, b!]) account.limits = { trafficMax: 100 };
  a!.up += 60;
  b!.down += 39;
  assert.equal(a!.admitSession(0), "ok");
  b!.publish(0);
  assert.equal(a!.admitSession(0), "ok");
  a!.down += 1;
  assert.equal(a!.admitSession(0), "traffic-used-up");
  assert.equal(a!.open(0), "traffic-used-up");
  assert.equal(b!.admitSession(0), "ok");
  a!.publish(0);
  assert.equal(b!.admitSession(0), "traffic-used-up");
  assert.deepEqual(usageOf(memory, 0), {
    upBytes: 60,
    downBytes: 40,
    connections: 0,
    sessions: 0,
  });
  b!.limits = {};
  assert.equal(b!.admitSession(0), "ok");
});

Deno.test("an account expires at its time", () => {
  const account = new UserAccount();
  account.limits = { expiresAtMs: 1000 };
  assert.equal(account.admitSession(999), "ok");
  assert.equal(account.admitSession(1000), "expired");
});

Deno.test("a rate is shared by the threads that carry traffic", () => {
  const memory = accountMemory(1);
  const threads = [0, 31, 32, 63].map((thread) => new UserAccount(memory, 0, thread));
  const shares = () => threads.map(({ sharers }) => sharers);
  assert.deepEqual(shares(), [1, 1, 1, 1]);
  for (const account of threads) {
    account.up = 11;
    account.publish(10);
  }
  assert.deepEqual(shares(), [4, 4, 4, 4]);
  for (const account of threads.slice(1)) {
    account.up = 10;
    account.publish(10);
  }
  assert.deepEqual(shares(), [1, 2, 2, 2]);
});

Deno.test("a slot can be given to another user", () => {
  const memory = accountMemory(1);
  const account = new UserAccount(memory);
  account.open(0);
  account.up = 5;
  account.publish(0);
  resetUsage(memory, 0, { upBytes: 7, downBytes: 8, connections: 0, sessions: 0 });
  const other = new UserAccount(memory);
  assert.deepEqual([other.upBytes, other.downBytes, other.connections, other.sharers], [
    7,
    8,
    0,
    1,
  ]);
});

Deno.test("sessions are limited over all threads; those that there are go on", () => {
  const memory = accountMemory(2);
  const [a, b] = [0, 1].map((thread) => new UserAccount(memory, 1, thread));
  for (const account of [a!, b!]) account.limits = { sessionsMax: 2 };
  for (const account of [a!, b!]) {
    assert.equal(account.admitSession(0), "ok");
    account.sessionOpened();
  }
  assert.equal(a!.admitSession(0), "too-many-sessions");
  assert.equal(b!.admitSession(0), "too-many-sessions");
  assert.equal(a!.mayGoOn(0), "ok");
  assert.equal(a!.open(0), "ok");
  assert.deepEqual([usageOf(memory, 1).sessions, usageOf(memory, 0).sessions], [2, 0]);
  b!.sessionClosed();
  assert.equal(a!.admitSession(0), "ok");
  a!.limits = {};
  b!.sessionOpened();
  b!.sessionOpened();
  assert.equal(a!.admitSession(0), "ok");
  // What has ended anyway is told first.
  a!.limits = { sessionsMax: 1, expiresAtMs: 1 };
  assert.equal(a!.admitSession(5), "expired");
});
