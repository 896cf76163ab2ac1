import assert from "node:assert/strict";
import { HostBench } from "../../tests/fixtures/host.ts";
import { sumCounters } from "./counters.ts";
import type { Host, Service } from "./host.ts";
import type { Resolution } from "./resolver.ts";

/** A whole service: it says where a name that it is told leads to. */
class Finder implements Service<{ readonly find: string }> {
  readonly counters = { "": { found: 0 } };
  constructor(readonly name: string, readonly host: Host, readonly log: string[] = []) {}
  start = (): string => (this.log.push(`${this.name} starts`), "ready");
  stop = (): void => void this.log.push(`${this.name} stops`);
  wipe = (): void => void this.log.push(`${this.name} wipes`);
  heard({ find }: { readonly find: string }): void {
    const known = this.host.resolver.resolve(find, this);
    if (known !== undefined) this.resolved(known);
  }
  resolved({ addresses }: Resolution): void {
    this.counters[""].found += addresses.length;
    this.host.say(this.name, addresses.length);
  }
}

const answer = { kind: "resolved", id: 0, addresses: ["192.0.2.1", "2001:db8::1"] };

Deno.test("two services share the loop and the resolver of one worker", () => {
  using bench = new HostBench();
  const log: string[] = [];
  const services = ["gate", "tunnel"].map((name) => new Finder(name, bench.host, log));
  bench.run(
    services,
    () => bench.tell("gate", { find: "a.example" }),
    () => bench.tell("tunnel", { find: "a.example" }),
    () => bench.tell("resolver", answer),
    () => bench.tell("tunnel", { find: "a.example" }),
    () => {},
    () => bench.stop(),
  );
  bench.host.close();
  const [ready] = bench.messages;
  assert.ok(ready?.kind === "ready");
  assert.deepEqual(ready.services, { gate: "ready", tunnel: "ready" });
  // Main was asked once for both, and not again for what is known.
  assert.equal(bench.messages.filter(({ kind }) => kind === "resolve").length, 1);
  assert.deepEqual(bench.said("gate"), [2]);
  assert.deepEqual(bench.said("tunnel"), [2, 2]);
  const { loop, resolver, gate, tunnel } = sumCounters([ready.counters]);
  const quiet = { faults: 0, linesHeldBack: 0 };
  assert.deepEqual([loop, gate, tunnel], [quiet, { found: 2 }, { found: 4 }]);
  assert.deepEqual([resolver?.lookups, resolver?.hits], [1, 1]);
  assert.deepEqual(log, [
    ...["gate starts", "tunnel starts", "tunnel stops", "gate stops"],
    ...["gate wipes", "tunnel wipes"],
  ]);
});

Deno.test("a stop that was said before the start is heard", () => {
  using bench = new HostBench();
  bench.stop();
  const log: string[] = [];
  bench.run([new Finder("a", bench.host, log)]);
  assert.deepEqual(log, ["a starts", "a stops"]);
});

Deno.test("a service that can't start stops those before it, and main hears nothing", () => {
  using bench = new HostBench();
  const log: string[] = [];
  const bad: Service = {
    name: "bad",
    start() {
      throw new Error("no port");
    },
    stop: () => assert.fail("it never started"),
  };
  assert.throws(() => bench.host.open([new Finder("a", bench.host, log), bad]), /no port/);
  bench.host.close();
  assert.deepEqual(log, ["a starts", "a stops", "a wipes"]);
  assert.deepEqual(bench.messages, []);
});

Deno.test("a message that nobody can read is told of, and the next one is heard", () => {
  using bench = new HostBench();
  bench.run(
    [new Finder("a", bench.host)],
    () => bench.raw(new TextEncoder().encode("rubbish")),
    () => bench.tell("nobody", 1),
    () => bench.tell("a", { find: "a.example" }),
    () => {},
    () => bench.stop(),
  );
  const [rubbish, nobody] = bench.logged;
  assert.match(rubbish!, /^message_ignored .*JSON/);
  assert.match(nobody!, /^message_ignored .*no service is called nobody/);
  assert.equal(bench.messages.filter(({ kind }) => kind === "resolve").length, 1);
});

Deno.test("faults are counted and told with their stacks, but not each of many", () => {
  using bench = new HostBench();
  const { loop } = bench.host;
  const service: Service = { name: "a", start() {}, stop() {} };
  bench.run(
    [service],
    () => loop.post({ isPosted: false, runTask: () => loop.fault(new TypeError("in a task")) }),
    () => {
      for (let i = 0; i < 1000; i++) loop.fault("again");
    },
    () => bench.stop(),
  );
  assert.equal(loop.faults, 1001);
  const [first, ...others] = bench.logged;
  assert.match(first!, /^fault .*"cause":"in a task","stack":"TypeError: in a task\\n +at /);
  assert.ok(others.length > 0 && others.length < 10, `${others.length}`);
});

Deno.test("what a tick or a stop throws keeps neither the next nor the others from theirs", () => {
  using bench = new HostBench();
  let ticks = 0;
  const log: string[] = [];
  const bad: Service = {
    name: "bad",
    start() {},
    tick() {
      if (++ticks === 2) bench.stop();
      throw new Error("in a tick");
    },
    stop() {
      throw new Error("in a stop");
    },
  };
  bench.run([new Finder("a", bench.host, log), bad]);
  assert.equal(ticks, 2);
  assert.deepEqual(log, ["a starts", "a stops"]);
  assert.equal(bench.host.loop.faults, 3);
  assert.match(bench.logged[0]!, /^fault .*"cause":"in a tick","stack":"Error: in a tick\\n +at /);
});
