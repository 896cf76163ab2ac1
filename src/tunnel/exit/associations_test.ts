import assert from "node:assert/strict";
import { type Endpoint, endpoint, routeTo } from "../../../ffi/endpoint.ts";
import { UdpInbox, UdpOutbox, UdpSocket } from "../../../ffi/udp.ts";
import { FakeSession, waker } from "../../../tests/fixtures/stream_session.ts";
import { testNative } from "../../../tests/native.ts";
import { ipBytes } from "../../base/ip.ts";
import { compileRules, type Rules } from "../../proxy/rules.ts";
import type { RuleSpec } from "../../proxy/rule_form.ts";
import { encodeAddress } from "../../wire/address.ts";
import { Loop } from "../../loop/loop.ts";
import { Log, type LogRecord } from "../../base/log.ts";
import { tellingOf } from "../../proxy/outcome.ts";
import { OpenedCode } from "../../wire/frames.ts";
import { TargetLog } from "./target_log.ts";
import { NAMES_MAX, WAITING_MAX } from "./datagram_names.ts";
import type { NameWaiter, Resolution } from "../../loop/resolver.ts";
import { TargetAssociations, type TargetAssociationsOptions } from "./associations.ts";

const native = testNative();
const LOCAL: RuleSpec[] = [{ cidr: ["127.0.0.0/8", "::1/128"], outbound: "direct" }];
const WAIT_MS = 5000;

const utf8 = (value: string) => new TextEncoder().encode(value);
const text = (bytes: Uint8Array | undefined) => new TextDecoder().decode(bytes);

function rulesOf(rules: readonly RuleSpec[]): Rules {
  const compiled = compileRules({ rules });
  assert.ok("rules" in compiled);
  return compiled.rules;
}

class FakeResolver {
  readonly waiting: NameWaiter[] = [];
  asked = 0;
  isSlow = false;
  answers: string[] = ["127.0.0.1"];
  until = Infinity;

  resolve(_name: string, waiter: NameWaiter): Resolution | undefined {
    this.asked++;
    if (!this.isSlow) return this.answer();
    this.waiting.push(waiter);
    return undefined;
  }

  forget(_name: string, waiter: NameWaiter): void {
    const at = this.waiting.indexOf(waiter);
    if (at >= 0) this.waiting.splice(at, 1);
  }

  answer(): Resolution {
    const addresses = this.answers.map(ipBytes);
    const until = this.until;
    return addresses.length > 0 ? { addresses, until } : { addresses, error: "not-found", until };
  }
}

class Bench implements Disposable {
  readonly loop = new Loop(native);
  readonly session = new FakeSession();
  readonly resolver = new FakeResolver();
  readonly associations: TargetAssociations;
  readonly inbox = new UdpInbox();

  constructor(options: Partial<TargetAssociationsOptions> = {}) {
    const { resolver } = this;
    this.associations = new TargetAssociations(this.loop, {
      rules: rulesOf(LOCAL),
      waker,
      resolver,
      ...options,
    });
    this.associations.sessionOpened(this.session, "alice");
  }

  /** A datagram from the client. */
  send(assoc: number, host: string, port: number, data: Uint8Array): void {
    const address = encodeAddress(host, port);
    assert.ok(address);
    // As in a packet: the address, its length and the data in one memory.
    const bytes = new Uint8Array([9, 9, ...address, 7, ...data]);
    const at = 3 + address.length;
    this.associations.datagram(this.session, assoc, bytes, 2, address.length, at, data.length);
  }

  until(what: () => boolean): void {
    const deadline = performance.now() + WAIT_MS;
    while (!what()) {
      assert.ok(performance.now() < deadline, `waited in vain for ${what}`);
      this.loop.round(1);
    }
  }

  /** What came to a socket, with who sent it. */
  receive(socket: UdpSocket): { data: Uint8Array; peer: Endpoint } {
    this.until(() => socket.receive(this.inbox) > 0);
    return { data: this.inbox.bytes(0).slice(), peer: this.inbox.peer(0) };
  }

  [Symbol.dispose](): void {
    this.associations.stop();
    assert.equal(this.associations.count, 0);
    assert.equal(this.associations.counters.faults, 0);
    this.loop.close();
  }
}

function socketOn(ip = "127.0.0.1"): UdpSocket {
  return new UdpSocket(native, { local: endpoint(ipBytes(ip), 0), gro: false });
}

function reply(socket: UdpSocket, to: Endpoint, data: Uint8Array<ArrayBuffer>): void {
  const outbox = new UdpOutbox(data);
  outbox.add(routeTo(to), 0, data.length);
  assert.equal(socket.send(outbox), 1);
}

Deno.test("a datagram reaches its target, and anybody's answer comes back (full cone)", () => {
  using bench = new Bench();
  using target = socketOn();
  using stranger = socketOn("127.0.0.2");
  using sixth = socketOn("::1");
  bench.send(5, "127.0.0.1", target.local.port, utf8("ping"));
  const { data, peer } = bench.receive(target);
  assert.equal(text(data), "ping");
  const back = endpoint(ipBytes("127.0.0.1"), peer.port);
  reply(target, back, utf8("pong"));
  reply(stranger, back, utf8("who"));
  reply(sixth, endpoint(ipBytes("::1"), peer.port), utf8("six"));
  bench.until(() => bench.session.datagrams.length === 3);
  const told = bench.session.datagrams.map(({ assoc, address, data }) => [
    ...[assoc, text(data), [...address].join()],
  ]);
  const from = (host: string, port: number) => encodeAddress(host, port)!.join();
  assert.deepEqual(
    new Set(told.map(String)),
    new Set([
      [5, "pong", from("127.0.0.1", target.local.port)],
      [5, "who", from("127.0.0.2", stranger.local.port)],
      [5, "six", from("::1", sixth.local.port)],
    ].map(String)),
  );
  assert.ok(bench.session.wakes > 0);
  assert.equal(bench.associations.counters.received, 3);
});

Deno.test("an association keeps its port for every target; others have their own", () => {
  using bench = new Bench();
  using one = socketOn();
  using two = socketOn("::1");
  bench.send(1, "127.0.0.1", one.local.port, utf8("a"));
  bench.send(1, "::1", two.local.port, utf8("b"));
  const port = bench.receive(one).peer.port;
  assert.equal(bench.receive(two).peer.port, port);
  bench.send(2, "127.0.0.1", one.local.port, utf8("c"));
  assert.notEqual(bench.receive(one).peer.port, port);
  assert.equal(bench.associations.count, 2);
  bench.associations.assocEnded(bench.session, 1);
  bench.associations.assocEnded(bench.session, 77);
  assert.equal(bench.associations.count, 1);
});

Deno.test("every datagram is judged, whatever went before it", () => {
  using bench = new Bench();
  using target = socketOn();
  const { port } = target.local;
  const { counters } = bench.associations;
  bench.send(1, "127.0.0.1", port, utf8("1"));
  bench.send(1, "10.0.0.1", port, utf8("2"));
  bench.send(1, "169.254.169.254", port, utf8("3"));
  bench.send(1, "fe80::1", port, utf8("4"));
  bench.send(1, "127.0.0.1", 0, utf8("5"));
  assert.equal(counters.refused, 4);
  bench.associations.setRules(rulesOf([{ port: [`${port}`], outbound: "reject" }, ...LOCAL]));
  bench.send(1, "127.0.0.1", port, utf8("6"));
  assert.equal(counters.refused, 5);
  bench.associations.setRules(rulesOf([]));
  bench.send(1, "127.0.0.1", port, utf8("7"));
  assert.equal(counters.refused, 6);
  assert.equal(text(bench.receive(target).data), "1");
  bench.loop.round(5);
  assert.equal(target.receive(bench.inbox), 0);
  assert.equal(counters.sent, 1);
});

Deno.test("datagrams to a name wait for its address, a few of them, and are judged by it", () => {
  using bench = new Bench();
  using target = socketOn();
  const { port } = target.local;
  const { counters } = bench.associations;
  bench.resolver.isSlow = true;
  for (let i = 0; i < WAITING_MAX + 3; i++) bench.send(1, "t.example", port, utf8(`${i}`));
  assert.equal(counters.noAddress, 3);
  assert.equal(bench.resolver.asked, 1);
  bench.resolver.waiting.shift()!.resolved(bench.resolver.answer());
  const late: string[] = [];
  bench.until(() => {
    const count = target.receive(bench.inbox);
    for (let i = 0; i < count; i++) late.push(text(bench.inbox.bytes(i)));
    return late.length >= WAITING_MAX;
  });
  assert.deepEqual(late, Array.from({ length: WAITING_MAX }, (_, i) => `${i}`));
  bench.send(1, "t.example", port, utf8("known"));
  assert.equal(text(bench.receive(target).data), "known");
  assert.equal(bench.resolver.asked, 1);
  // New rules: looked up and judged again; the old address serves if they allow it.
  bench.associations.setRules(rulesOf([{ domain: ["t.example"], outbound: "reject" }, ...LOCAL]));
  bench.send(1, "t.example", port, utf8("rejected"));
  assert.equal(counters.refused, 1);
});

Deno.test("a name that leads to a private address is refused, also when it turns to it", () => {
  using bench = new Bench();
  using target = socketOn();
  const { port } = target.local;
  bench.resolver.answers = ["10.0.0.1", "fd00::1"];
  bench.send(1, "rebind.example", port, utf8("1"));
  bench.send(1, "rebind.example", port, utf8("2"));
  assert.equal(bench.associations.counters.refused, 2);
  // Of several the allowed one is taken.
  bench.resolver.answers = ["10.0.0.1", "127.0.0.1"];
  bench.send(2, "rebind.example", port, utf8("3"));
  assert.equal(text(bench.receive(target).data), "3");
  // It turns: rules are what makes it be looked up at once.
  bench.resolver.answers = ["10.0.0.1"];
  bench.associations.setRules(rulesOf(LOCAL));
  bench.send(2, "rebind.example", port, utf8("4"));
  assert.equal(bench.associations.counters.refused, 3);
  bench.resolver.answers = [];
  bench.send(2, "none.example", port, utf8("5"));
  assert.equal(bench.associations.counters.noAddress, 1);
});

Deno.test("a name that no longer holds is asked for again; its address serves meanwhile", () => {
  using bench = new Bench();
  using target = socketOn();
  const { port } = target.local;
  bench.send(1, "t.example", port, utf8("1"));
  bench.send(1, "t.example", port, utf8("2"));
  assert.equal(bench.resolver.asked, 1);
  bench.resolver.until = -Infinity;
  bench.send(2, "t.example", port, utf8("3"));
  bench.resolver.isSlow = true;
  for (const word of ["4", "5"]) bench.send(2, "t.example", port, utf8(word));
  assert.equal(bench.resolver.asked, 3);
  const heard: string[] = [];
  bench.until(() => {
    const count = target.receive(bench.inbox);
    for (let i = 0; i < count; i++) heard.push(text(bench.inbox.bytes(i)));
    return heard.length === 5;
  });
  assert.deepEqual(heard.sort(), ["1", "2", "3", "4", "5"]);
});

Deno.test("an association remembers so many names", () => {
  using bench = new Bench();
  using target = socketOn();
  for (let i = 0; i <= NAMES_MAX; i++) bench.send(1, `n${i}.example`, target.local.port, utf8("x"));
  assert.equal(bench.resolver.asked, NAMES_MAX + 1);
  bench.send(1, `n${NAMES_MAX}.example`, target.local.port, utf8("x"));
  assert.equal(bench.resolver.asked, NAMES_MAX + 1);
  bench.send(1, "n0.example", target.local.port, utf8("x"));
  assert.equal(bench.resolver.asked, NAMES_MAX + 2);
});

Deno.test("bursts arrive whole, of one size, of many, to several", () => {
  using bench = new Bench();
  using one = socketOn();
  using two = socketOn();
  const expected: string[][] = [[], []];
  const got: string[][] = [[], []];
  const take = () => {
    for (const [i, socket] of [one, two].entries()) {
      while (socket.receive(bench.inbox) > 0) {
        for (let j = 0; j < bench.inbox.count; j++) got[i]!.push(text(bench.inbox.bytes(j)));
      }
    }
  };
  for (let i = 0; i < 400; i++) {
    const size = i % 50 < 40 ? 1200 : (i * 37) % 1400;
    const body = `${i}`.padStart(4, "0").padEnd(size, "x");
    const which = i % 90 < 70 ? 0 : 1;
    bench.send(3, "127.0.0.1", [one, two][which]!.local.port, utf8(body));
    expected[which]!.push(body);
    if (i % 60 === 59) {
      bench.loop.round(0);
      take();
    }
  }
  bench.send(3, "127.0.0.1", one.local.port, utf8(""));
  expected[0]!.push("");
  bench.until(() => (take(), got[0]!.length + got[1]!.length === 401));
  assert.deepEqual(got, expected);
  assert.equal(bench.associations.counters.sent, 401);
});

Deno.test("a burst to more targets than a batch holds reaches each, again and again", () => {
  using bench = new Bench();
  const targets = Array.from({ length: 10 }, () => socketOn());
  const inbox = new UdpInbox();
  try {
    for (let count = 60; count <= 260; count += 10) {
      for (let i = 0; i < count; i++) {
        bench.send(1, "127.0.0.1", targets[i % 10]!.local.port, Uint8Array.of(i));
      }
      const got = targets.map(() => 0);
      const isWhole = () => {
        targets.forEach((target, i) => got[i]! += target.receive(inbox));
        return got.every((one) => one === count / 10);
      };
      bench.until(isWhole);
    }
  } finally {
    for (const target of targets) target.close();
  }
});

Deno.test("datagrams of many associations, one after the other, keep their order and port", () => {
  using bench = new Bench();
  using target = socketOn();
  const count = 40;
  for (let i = 0; i < 3; i++) {
    for (let j = 0; j < count; j++) {
      bench.send(j, "127.0.0.1", target.local.port, utf8(`${j} ${i}`));
    }
  }
  // One of them goes before its datagrams were sent.
  bench.associations.assocEnded(bench.session, count - 1);
  const byPort = new Map<number, string[]>();
  let got = 0;
  bench.until(() => {
    while (target.receive(bench.inbox) > 0) {
      for (let i = 0; i < bench.inbox.count; i++) {
        const { port } = bench.inbox.peer(i);
        byPort.set(port, [...(byPort.get(port) ?? []), text(bench.inbox.bytes(i))]);
        got++;
      }
    }
    return got === 3 * count;
  });
  const texts = [...byPort.values()].map((list) => list.join()).sort();
  assert.deepEqual(texts, Array.from({ length: count }, (_, j) => `${j} 0,${j} 1,${j} 2`).sort());
});

Deno.test("associations are limited, in all and of a session", () => {
  using bench = new Bench({ associationsMax: 3, sessionAssociationsMax: 2 });
  using target = socketOn();
  const { port } = target.local;
  for (let i = 0; i < 3; i++) bench.send(i, "127.0.0.1", port, utf8("x"));
  assert.equal(bench.associations.count, 2);
  const other = new FakeSession();
  bench.associations.sessionOpened(other, "bob");
  const address = encodeAddress("127.0.0.1", port)!;
  for (let i = 0; i < 2; i++) {
    bench.associations.datagram(other, i, address, 0, address.length, address.length, 0);
  }
  assert.equal(bench.associations.count, 3);
  assert.equal(bench.associations.counters.tooMany, 2);
  bench.associations.closed(bench.session);
  assert.equal(bench.associations.count, 1);
  bench.send(9, "127.0.0.1", port, utf8("late"));
  assert.equal(bench.associations.counters.tooMany, 3);
});

Deno.test("sockets of associations are opened by turns, a few of them at once", () => {
  using bench = new Bench();
  using target = socketOn();
  const { associations, loop } = bench;
  for (let i = 0; i < 200; i++) bench.send(i, "127.0.0.1", target.local.port, utf8(`${i}`));
  assert.ok(associations.turns.counters.opened < 10);
  const other = new FakeSession();
  associations.sessionOpened(other, "bob");
  const address = encodeAddress("127.0.0.1", target.local.port)!;
  const bytes = new Uint8Array([...address, ...utf8("other")]);
  associations.datagram(other, 0, bytes, 0, address.length, address.length, 5);
  const got = new Set<string>();
  const take = (): boolean => {
    const count = target.receive(bench.inbox);
    for (let i = 0; i < count; i++) got.add(text(bench.inbox.bytes(i)));
    return got.has("other");
  };
  loop.round(0);
  bench.until(take);
  assert.ok(got.size < 100, `${got.size}`);
  bench.until(() => (take(), got.size === 201));
  associations.closed(other);
  assert.equal(associations.keptBytes, 0);
});

Deno.test("what came before the end of an association is sent, though its turn comes later", () => {
  using bench = new Bench();
  using target = socketOn();
  const { associations } = bench;
  for (let i = 0; i < 100; i++) {
    bench.send(i, "127.0.0.1", target.local.port, utf8(`${i}`));
    associations.assocEnded(bench.session, i);
  }
  let count = 0;
  bench.until(() => (count += target.receive(bench.inbox)) === 100);
  bench.until(() => associations.count === 0 && associations.turns.waiting === 0);
  // Of a session that has gone nothing is sent any more.
  for (let i = 0; i < 100; i++) bench.send(i, "127.0.0.1", target.local.port, utf8(`${i}`));
  associations.closed(bench.session);
  bench.until(() => associations.turns.waiting === 0);
  assert.equal(associations.keptBytes, 0);
  assert.equal(associations.count, 0);
});

Deno.test("few datagrams wait for a socket", () => {
  using bench = new Bench();
  using target = socketOn();
  const { associations } = bench;
  for (let i = 0; i < 20; i++) bench.send(i, "127.0.0.1", target.local.port, utf8("x"));
  for (let i = 0; i < 20; i++) bench.send(19, "127.0.0.1", target.local.port, utf8("y"));
  assert.equal(associations.counters.notKept, 13);
  let count = 0;
  bench.until(() => (count += target.receive(bench.inbox)) === 27);
});

Deno.test("at their limit, whoever has most associations loses what is idle for longest", () => {
  using bench = new Bench({ associationsMax: 30 });
  using target = socketOn();
  const { associations, loop } = bench;
  const { port } = target.local;
  const sessions = Array.from({ length: 3 }, () => new FakeSession());
  for (const session of sessions) associations.sessionOpened(session, "mallory");
  const address = encodeAddress("127.0.0.1", port)!;
  const say = (session: FakeSession, id: number) =>
    associations.datagram(session, id, address, 0, address.length, address.length, 0);
  for (const session of sessions) for (let i = 0; i < 20; i++) say(session, i);
  assert.equal(associations.count, 30);
  const until = loop.now + 2;
  bench.until(() => loop.now > until);
  // They share what their user has; the first has lost the ten that it used first of all.
  assert.deepEqual(sessions.map(({ endedAssocs }) => endedAssocs.length), [10, 5, 0]);
  for (let i = 10; i < 20; i++) if (i !== 14) say(sessions[0]!, i);
  // Another user has a half, whatever many sessions of one have taken before.
  for (let i = 0; i < 20; i++) bench.send(i, "127.0.0.1", port, utf8("x"));
  assert.equal(associations.count, 30);
  const ended = sessions.map(({ endedAssocs }) => endedAssocs.length);
  assert.deepEqual(ended, [15, 10, 5]);
  assert.ok(sessions[0]!.endedAssocs.includes(14));
  assert.equal(associations.counters.gaveWay, 30);
  for (const session of sessions) associations.closed(session);
});

Deno.test("an association that is idle ends, and the session is told", () => {
  using bench = new Bench({ idleMs: 60 });
  using target = socketOn();
  bench.send(8, "127.0.0.1", target.local.port, utf8("x"));
  const { peer } = bench.receive(target);
  bench.until(() => bench.associations.count === 0);
  assert.deepEqual(bench.session.endedAssocs, [8]);
  assert.equal(bench.associations.counters.idled, 1);
  // Its next datagram begins anew.
  bench.send(8, "127.0.0.1", target.local.port, utf8("y"));
  assert.notEqual(bench.receive(target).peer.port, peer.port);
});

Deno.test("an answer that the session does not take is counted", () => {
  using bench = new Bench();
  using target = socketOn();
  bench.send(1, "127.0.0.1", target.local.port, utf8("x"));
  const { peer } = bench.receive(target);
  const back = endpoint(ipBytes("127.0.0.1"), peer.port);
  reply(target, back, new Uint8Array(1401));
  reply(target, back, new Uint8Array(1400));
  bench.until(() => bench.session.datagrams.length === 1);
  assert.equal(bench.associations.counters.notTaken, 1);
});

Deno.test("at DEBUG each target of an association is a line when that ends", () => {
  const lines: string[] = [];
  const sink = ({ level, fields: { target, verdict, rule, cause, ...rest } }: LogRecord): void => {
    assert.equal(level, "debug");
    lines.push(`${target} ${verdict} ${rule}: ${cause}, ${rest.in} in, ${rest.out} out`);
  };
  using bench = new Bench({ log: new TargetLog(new Log(sink), () => 0) });
  const target = socketOn();
  const { port } = target.local;
  bench.send(1, "127.0.0.1", port, utf8("one"));
  const { peer } = bench.receive(target);
  bench.send(1, "a.example", port, utf8("three"));
  bench.receive(target);
  reply(target, peer, utf8("answer"));
  bench.until(() => bench.session.datagrams.length === 1);
  bench.send(1, "10.1.2.3", 53, utf8("no"));
  bench.resolver.answers = [];
  bench.send(1, "none.example", 53, utf8("no"));
  assert.deepEqual(lines, []);
  bench.associations.assocEnded(bench.session, 1);
  assert.deepEqual(lines, [
    `127.0.0.1:${port} direct rules[0]: ended, 3 in, 0 out`,
    `a.example:${port} direct rules[0]: ended, 5 in, 6 out`,
    `10.1.2.3:53 refused none: ${tellingOf(OpenedCode.notPublic).words}, 0 in, 0 out`,
    `none.example:53 none none: ${tellingOf(OpenedCode.nameNotFound).words}, 0 in, 0 out`,
  ]);
  target.close();
});
