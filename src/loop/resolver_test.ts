import assert from "node:assert/strict";
import { ipBytes } from "../base/ip.ts";
import { NOT_ARMED, type Timer } from "./loop.ts";
import type { NameWaiter, Resolution, ResolverOptions } from "./resolver.ts";
import {
  FOUND_MAX_MS,
  FOUND_MIN_MS,
  FOUND_MS,
  LOOKUP_TIMEOUT_MS,
  NOT_FOUND_MS,
  Resolver,
} from "./resolver.ts";

/** A loop for one timer, with a clock that a test turns. */
class FakeLoop {
  now = 1000;
  readonly faults: unknown[] = [];
  #timer: Timer | undefined;

  arm(timer: Timer, at: number): void {
    timer.heapIndex = 0;
    timer.dueAt = at;
    this.#timer = timer;
  }

  disarm(timer: Timer): void {
    timer.heapIndex = NOT_ARMED;
    this.#timer = undefined;
  }

  fault(error: unknown): void {
    this.faults.push(error);
  }

  get isArmed(): boolean {
    return this.#timer !== undefined;
  }

  pass(ms: number): void {
    this.now += ms;
    const timer = this.#timer;
    if (timer === undefined || timer.dueAt > this.now) return;
    this.disarm(timer);
    timer.fire(this.now);
  }
}

class FakeWaiter implements NameWaiter {
  readonly told: Resolution[] = [];
  readonly asker: object;
  readonly user: string;

  constructor(asker: object = {}, user = "") {
    this.asker = asker;
    this.user = user;
  }

  resolved(resolution: Resolution): void {
    this.told.push(resolution);
  }
}

class Bench {
  readonly loop = new FakeLoop();
  readonly asked: { id: number; name: string }[] = [];
  readonly forgotten: string[] = [];
  readonly resolver: Resolver;

  constructor(options: Partial<ResolverOptions> = {}) {
    const ask = (id: number, name: string) => void this.asked.push({ id, name });
    const forget = (name: string) => void this.forgotten.push(name);
    this.resolver = new Resolver(this.loop, { ask, forget, ...options });
  }

  answer(...addresses: string[]): void {
    const { id } = this.asked.at(-1)!;
    this.resolver.answered({ kind: "resolved", id, addresses });
  }
}

Deno.test("Resolver asks once for a name, tells all who wait, and remembers", () => {
  const { resolver, asked, loop } = new Bench();
  const waiters = [new FakeWaiter(), new FakeWaiter(), new FakeWaiter()];
  for (const waiter of waiters) assert.equal(resolver.resolve("a.example", waiter), undefined);
  assert.deepEqual(asked, [{ id: 0, name: "a.example" }]);
  resolver.forget("a.example", waiters[2]!);
  const addresses = ["192.0.2.1", "2001:db8::1"];
  resolver.answered({ kind: "resolved", id: 0, addresses });
  assert.deepEqual(waiters.map(({ told }) => told.length), [1, 1, 0]);
  const until = loop.now + FOUND_MS;
  assert.deepEqual(waiters[0]!.told[0], { addresses: addresses.map(ipBytes), until });
  assert.equal(loop.isArmed, false);
  assert.deepEqual(resolver.resolve("a.example", waiters[0]!), waiters[0]!.told[0]);
  assert.equal(resolver.counters.hits, 1);
  loop.pass(FOUND_MS);
  assert.equal(resolver.resolve("a.example", waiters[0]!), undefined);
  assert.equal(asked.length, 2);
});

Deno.test("Resolver believes an answer as long as it says, within bounds", () => {
  const bench = new Bench();
  const { resolver, loop } = bench;
  const waiter = new FakeWaiter();
  const lifetimes = [
    [0, FOUND_MIN_MS],
    [1, FOUND_MIN_MS],
    [20, 20_000],
    [86_400, FOUND_MAX_MS],
    [undefined, FOUND_MS],
  ] as const;
  for (const [i, [ttlSeconds, ms]] of lifetimes.entries()) {
    const name = `n${i}.example`;
    resolver.resolve(name, waiter);
    const { id } = bench.asked.at(-1)!;
    const ttl = ttlSeconds === undefined ? {} : { ttlSeconds };
    resolver.answered({ kind: "resolved", id, addresses: ["192.0.2.1"], ...ttl });
    assert.equal(waiter.told.at(-1)?.until, loop.now + ms);
    loop.pass(ms - 1);
    assert.notEqual(resolver.resolve(name, waiter), undefined);
    loop.pass(1);
    assert.equal(resolver.resolve(name, waiter), undefined);
  }
});

Deno.test("Resolver remembers for a short time that there is no such name", () => {
  const bench = new Bench();
  const { resolver, loop } = bench;
  const waiter = new FakeWaiter();
  resolver.resolve("no.example", waiter);
  bench.answer();
  const until = loop.now + NOT_FOUND_MS;
  assert.deepEqual(waiter.told[0], { addresses: [], error: "not-found", until });
  assert.equal(resolver.resolve("no.example", waiter)?.error, "not-found");
  loop.pass(NOT_FOUND_MS);
  resolver.resolve("no.example", waiter);
  const { id } = bench.asked[1]!;
  resolver.answered({ kind: "resolved", id, addresses: [], error: "failed" });
  assert.equal(waiter.told[1]?.error, "failed");
});

Deno.test("Resolver gives a look-up up after a time, and takes no late answer", () => {
  const bench = new Bench();
  const { resolver, loop } = bench;
  const [first, second] = [new FakeWaiter(), new FakeWaiter()];
  resolver.resolve("slow.example", first);
  loop.pass(1000);
  resolver.resolve("slower.example", second);
  loop.pass(LOOKUP_TIMEOUT_MS - 1000);
  assert.equal(first.told[0]?.error, "timed-out");
  assert.equal(second.told.length, 0);
  loop.pass(1000);
  assert.equal(second.told[0]?.error, "timed-out");
  assert.equal(resolver.pending, 0);
  assert.equal(resolver.counters.timeouts, 2);
  bench.answer("192.0.2.1");
  assert.equal(resolver.counters.late, 1);
  // It was not remembered: nobody knows what it was for.
  assert.equal(resolver.resolve("slow.example", first), undefined);
});

Deno.test("Resolver is bounded: look-ups, waiters of one asker, names, addresses", () => {
  const bench = new Bench({ lookupsMax: 3, waitersMax: 2, cacheMax: 2 });
  const { resolver } = bench;
  const asker = {};
  const waiters = Array.from({ length: 3 }, () => new FakeWaiter(asker));
  const other = new FakeWaiter();
  assert.equal(resolver.resolve("a", waiters[0]!), undefined);
  assert.equal(resolver.resolve("a", waiters[1]!), undefined);
  assert.equal(resolver.resolve("a", waiters[2]!)?.error, "busy");
  // Others wait for it as they like.
  assert.equal(resolver.resolve("a", other), undefined);
  resolver.forget("a", waiters[1]!);
  assert.equal(resolver.resolve("a", waiters[2]!), undefined);
  assert.equal(resolver.resolve("b", other), undefined);
  assert.equal(resolver.pending, 2);
  assert.equal(resolver.counters.refused, 1);
  bench.answer(...new Array(1000).fill("192.0.2.1"));
  assert.equal(other.told[0]?.addresses.length, 64);
  for (const name of ["c", "d", "e"]) {
    resolver.resolve(name, other);
    bench.answer("192.0.2.1");
  }
  assert.equal(resolver.known, 2);
  assert.equal(resolver.resolve("c", other), undefined);
  assert.notEqual(resolver.resolve("e", other), undefined);
});

Deno.test("Resolver: whoever asks for most gives way at the limit, its oldest first", () => {
  const bench = new Bench({ lookupsMax: 1000 });
  const { resolver, forgotten } = bench;
  const greedy = {};
  const waiters = Array.from({ length: 1000 }, () => new FakeWaiter(greedy, "mallory"));
  for (const [i, one] of waiters.entries()) {
    assert.equal(resolver.resolve(`dead${i}`, one), undefined);
  }
  // Its own sessions don't take it from each other by turns, others have what they ask for.
  assert.equal(resolver.resolve("more", new FakeWaiter(greedy, "mallory"))?.error, "busy");
  const honest = new FakeWaiter({}, "alice");
  assert.equal(resolver.resolve("good.example", honest), undefined);
  assert.equal(waiters[0]!.told[0]?.error, "busy");
  assert.equal(waiters[1]!.told.length, 0);
  assert.deepEqual(forgotten, ["dead0"]);
  assert.deepEqual([resolver.counters.gaveWay, resolver.pending], [1, 1000]);
  bench.answer("192.0.2.9");
  assert.equal(honest.told[0]?.addresses.length, 1);
});

Deno.test("Resolver: a user may wait for no more names than the account has connections", () => {
  const { resolver } = new Bench();
  const waiter = (asker: object, userWaitsMax?: number): NameWaiter => ({
    asker,
    user: "alice",
    ...(userWaitsMax === undefined ? {} : { userWaitsMax }),
    resolved() {},
  });
  const [one, two] = [{}, {}];
  assert.equal(resolver.resolve("a", waiter(one, 2)), undefined);
  assert.equal(resolver.resolve("b", waiter(two, 2)), undefined);
  assert.equal(resolver.resolve("c", waiter(one, 2))?.error, "busy");
  assert.equal(resolver.resolve("c", waiter(one)), undefined);
  assert.equal(resolver.resolve("d", new FakeWaiter({}, "bob")), undefined);
});

Deno.test("Resolver: who waits for another's name pays for it when that one gives way", () => {
  const bench = new Bench({ lookupsMax: 4 });
  const { resolver } = bench;
  const greedy = {};
  const own = Array.from({ length: 4 }, () => new FakeWaiter(greedy));
  for (const [i, one] of own.entries()) resolver.resolve(`n${i}`, one);
  const [honest, late] = [new FakeWaiter(), new FakeWaiter()];
  assert.equal(resolver.resolve("n0", honest), undefined);
  assert.equal(resolver.resolve("late.example", late), undefined);
  // The first was passed on, the second ended.
  assert.deepEqual(own.map(({ told }) => told.length), [1, 1, 0, 0]);
  assert.equal(honest.told.length, 0);
  resolver.answered({ kind: "resolved", id: 0, addresses: ["192.0.2.3"] });
  assert.equal(honest.told[0]?.addresses.length, 1);
  assert.equal(own[0]!.told.length, 1);
});

Deno.test("Resolver leaves out what is no address, and survives a waiter that throws", () => {
  const bench = new Bench();
  const { resolver } = bench;
  const waiter = new FakeWaiter();
  const bad: NameWaiter = {
    resolved() {
      throw new Error("no");
    },
  };
  resolver.resolve("odd.example", bad);
  resolver.resolve("odd.example", waiter);
  bench.answer("fe80::1%eth0", "010.0.0.1", "2001:db8::2", "rubbish");
  assert.deepEqual(waiter.told.map(({ addresses }) => addresses), [[ipBytes("2001:db8::2")]]);
  assert.equal(resolver.counters.faults, 1);
  assert.deepEqual(bench.loop.faults.map(String), ["Error: no"]);
});

Deno.test("Resolver: who is told may ask again", () => {
  const bench = new Bench();
  const { resolver } = bench;
  const told: Resolution[] = [];
  resolver.resolve("x", {
    resolved: () => void told.push(resolver.resolve("x", new FakeWaiter())!),
  });
  bench.answer("192.0.2.7");
  assert.equal(told[0]?.addresses.length, 1);
});
