import assert from "node:assert/strict";
import { type Endpoint, endpoint } from "../../../ffi/endpoint.ts";
import { errnoCode } from "../../../ffi/errors.ts";
import { tcpAgain, TcpListener, TcpSocket } from "../../../ffi/tcp.ts";
import { FakeSession, type FakeStream, waker } from "../../../tests/fixtures/stream_session.ts";
import { testNative } from "../../../tests/native.ts";
import { ipBytes } from "../../base/ip.ts";
import { Log, type LogRecord, LogThreshold } from "../../base/log.ts";
import { tellingOf } from "../../proxy/outcome.ts";
import { Target } from "../../proxy/target.ts";
import { BENCH_COUNT_MS, BENCH_HOST, BenchPort } from "../../proxy/bench.ts";
import { compileRules, type Rules } from "../../proxy/rules.ts";
import type { RuleSpec } from "../../proxy/rule_form.ts";
import { encodeAddress } from "../../wire/address.ts";
import { OpenedCode, RstCode } from "../../wire/frames.ts";
import type { Upstream } from "../../outbound/dial.ts";
import { Loop } from "../../loop/loop.ts";
import type { NameWaiter, Resolution } from "../../loop/resolver.ts";
import { HELD_BYTES_MAX } from "../../outbound/splicer.ts";
import { TargetLog } from "./target_log.ts";
import { Targets, type TargetsOptions } from "./targets.ts";

const native = testNative();
const LOOPBACK = ipBytes("127.0.0.1");
const LOCAL: RuleSpec[] = [{ cidr: ["127.0.0.0/8", "::1/128"], outbound: "direct" }];
const WAIT_MS = 5000;

function rulesOf(rules: readonly RuleSpec[], upstreams: readonly string[] = []): Rules {
  const compiled = compileRules({ rules, outbounds: upstreams.map((name) => ({ name })) });
  assert.ok("rules" in compiled);
  return compiled.rules;
}

/** Answers names from a list, at once or when told to. */
class FakeResolver {
  readonly waiting: { name: string; waiter: NameWaiter }[] = [];
  readonly forgotten: string[] = [];
  isSlow = false;
  #answers: string[][];

  constructor(...answers: string[][]) {
    this.#answers = answers;
  }

  resolve(name: string, waiter: NameWaiter): Resolution | undefined {
    if (!this.isSlow) return this.next();
    this.waiting.push({ name, waiter });
    return undefined;
  }

  forget(name: string): void {
    this.forgotten.push(name);
  }

  next(): Resolution {
    const addresses = (this.#answers.shift() ?? []).map(ipBytes);
    const until = Infinity;
    return addresses.length > 0 ? { addresses, until } : { addresses, error: "not-found", until };
  }
}

interface Setup extends Partial<TargetsOptions> {
  readonly rule?: readonly RuleSpec[];
}

/** A loop with targets, a session, and a listener that is the target. */
class Bench implements Disposable {
  readonly loop = new Loop(native);
  readonly session = new FakeSession();
  readonly targets: Targets;
  readonly listener: TcpListener;
  #opened = 0;

  constructor({ rule = LOCAL, ...options }: Setup = {}) {
    this.targets = new Targets(this.loop, {
      rules: rulesOf(rule),
      waker,
      resolver: new FakeResolver(),
      ...options,
    });
    this.session.sink = this.targets;
    this.targets.sessionOpened(this.session, "alice");
    this.listener = new TcpListener(native, { local: endpoint(LOOPBACK, 0) });
  }

  get port(): number {
    return this.listener.local.port;
  }

  open(host = "127.0.0.1", port = this.port): number {
    const id = this.#opened++;
    const address = encodeAddress(host, port);
    assert.ok(address);
    this.targets.opened(this.session, id, address, 0, address.length);
    return id;
  }

  until(what: () => boolean): void {
    const deadline = performance.now() + WAIT_MS;
    while (!what()) {
      assert.ok(performance.now() < deadline, `waited in vain for ${what}`);
      this.loop.round(1);
    }
  }

  accept(): TcpSocket {
    let socket: TcpSocket | undefined;
    this.until(() => (socket = this.listener.accept(1)[0]) !== undefined);
    return socket!;
  }

  /** A stream whose connection stands, and its target's end. */
  connect(): { id: number; stream: FakeStream; far: TcpSocket } {
    const id = this.open();
    const far = this.accept();
    const stream = this.session.stream(id);
    this.until(() => stream.answer !== undefined);
    assert.equal(stream.answer?.code, OpenedCode.ok);
    return { id, stream, far };
  }

  /** What the stream was answered. */
  answer(id: number): number {
    const stream = this.session.stream(id);
    this.until(() => stream.answer !== undefined);
    return stream.answer!.code;
  }

  /** Reads until so many bytes, the end or an error. */
  read(far: TcpSocket, bytes: number): { data: Uint8Array; ending: number } {
    const data = new Uint8Array(bytes);
    let at = 0;
    let ending = tcpAgain;
    this.until(() => {
      const count = far.read(data, at, bytes - at);
      if (count > 0) at += count;
      else if (count !== tcpAgain) ending = count;
      return at === bytes || ending !== tcpAgain;
    });
    return { data: data.slice(0, at), ending };
  }

  ending(far: TcpSocket): number {
    return this.read(far, 1).ending;
  }

  [Symbol.dispose](): void {
    this.targets.stop();
    assert.equal(this.targets.count, 0);
    assert.equal(this.targets.splicer.held, 0);
    assert.equal(this.targets.counters.faults + this.targets.splicer.counters.faults, 0);
    this.loop.close();
    this.listener.close();
  }
}

function write(far: TcpSocket, bytes: Uint8Array<ArrayBuffer>, at = 0): number {
  if (at === bytes.length) return 0;
  const count = far.write(bytes, at, bytes.length - at);
  return count === tcpAgain ? 0 : count;
}

/** Bytes that tell where they are. */
function pattern(length: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(length);
  for (let i = 0; i < length; i++) bytes[i] = (i * 31 + (i >>> 8) * 7) & 0xff;
  return bytes;
}

const MEASURES = { ms: 60_000, bytes: 2 ** 30, streams: 2 };

Deno.test("the server itself is a sink and a source, whatever the rules say", () => {
  using bench = new Bench({ rule: [], benchLimits: MEASURES });
  const sink = bench.open(BENCH_HOST, BenchPort.sink);
  const source = bench.open(BENCH_HOST, BenchPort.source);
  const [up, down] = [bench.session.stream(sink), bench.session.stream(source)];
  down.room = 300_000;
  assert.deepEqual([up.answer?.code, down.answer?.code], [OpenedCode.ok, OpenedCode.ok]);
  bench.session.push(sink, pattern(1_000_000));
  assert.equal(up.takenBytes, 1_000_000);
  assert.equal(up.isFinished, false);
  bench.session.end(sink);
  assert.ok(up.isFinished);
  bench.until(() => down.receivedBytes === 300_000);
  down.room = 1000;
  bench.targets.writable(bench.session, source);
  bench.until(() => down.receivedBytes === 301_000);
  assert.equal(bench.targets.count, 1);
  // Whoever has measured enough goes.
  bench.targets.wasReset(bench.session, source);
  assert.equal(bench.targets.count, 0);
});

Deno.test("a sink that counts tells what it has read, not with each piece", () => {
  using bench = new Bench({ rule: [], benchLimits: MEASURES });
  const id = bench.open(BENCH_HOST, BenchPort.counter);
  const stream = bench.session.stream(id);
  stream.room = 1000;
  for (let i = 0; i < 10; i++) bench.session.push(id, pattern(1000));
  assert.equal(stream.receivedBytes, 8);
  const { now } = bench.loop;
  bench.until(() => bench.loop.now >= now + BENCH_COUNT_MS);
  bench.session.push(id, pattern(1000));
  assert.equal(stream.receivedBytes, 16);
  // No room for the next.
  stream.room = 7;
  bench.until(() => bench.loop.now >= now + 3 * BENCH_COUNT_MS);
  bench.session.push(id, pattern(1000));
  assert.equal(stream.receivedBytes, 16);
  assert.equal(stream.takenBytes, 12_000);
  bench.session.end(id);
  assert.ok(stream.isFinished);
});

Deno.test("measurements are bounded: in number, in bytes, in time, and by the owner", () => {
  const ms = 250;
  using bench = new Bench({ benchLimits: { ms, bytes: 500_000, streams: 2 } });
  const sink = bench.open(BENCH_HOST, BenchPort.sink);
  const source = bench.open(BENCH_HOST, BenchPort.source);
  assert.equal(bench.answer(bench.open(BENCH_HOST, BenchPort.sink)), OpenedCode.tooManyStreams);
  const [up, down] = [bench.session.stream(sink), bench.session.stream(source)];
  bench.until(() => down.isFinished);
  assert.equal(down.receivedBytes, 500_000);
  bench.session.push(sink, pattern(500_001));
  assert.equal(up.resetCode, RstCode.timedOut);
  // A client that never ends its half, or never says anything.
  const silent = bench.open(BENCH_HOST, BenchPort.sink);
  const began = bench.loop.now;
  bench.until(() => bench.targets.count === 0);
  assert.ok(bench.loop.now - began >= ms);
  assert.equal(bench.session.stream(silent).resetCode, RstCode.timedOut);
  assert.equal(down.resetCode, RstCode.timedOut);
  assert.equal(bench.answer(bench.open(BENCH_HOST, 4)), OpenedCode.refused);
  bench.targets.setRoutes({ ...bench.targets.routes, bench: false });
  assert.equal(bench.answer(bench.open(BENCH_HOST, BenchPort.source)), OpenedCode.denied);
});

Deno.test("at their limit, whoever has most measurements loses the oldest", () => {
  using bench = new Bench({ benchLimits: { ms: 60_000, bytes: 1e9, streams: 4 } });
  const { targets } = bench;
  const other = new FakeSession();
  targets.sessionOpened(other, "bob");
  const ids = Array.from({ length: 4 }, () => bench.open(BENCH_HOST, BenchPort.sink));
  const address = encodeAddress(BENCH_HOST, BenchPort.sink)!;
  for (let i = 0; i < 3; i++) targets.opened(other, i, address, 0, address.length);
  assert.deepEqual([0, 1, 2].map((i) => other.stream(i).answer?.code), [
    OpenedCode.ok,
    OpenedCode.ok,
    OpenedCode.tooManyStreams,
  ]);
  assert.deepEqual(ids.map((id) => bench.session.stream(id).resetCode), [
    RstCode.timedOut,
    RstCode.timedOut,
    undefined,
    undefined,
  ]);
  targets.closed(other);
});

const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
const utf8 = (value: string) => new TextEncoder().encode(value);

Deno.test("a stream reaches its target, is told where it is bound, and keeps half-closes", () => {
  using bench = new Bench();
  const { id, stream, far } = bench.connect();
  const { port } = far.peer;
  assert.deepEqual(stream.answer?.address, encodeAddress("127.0.0.1", port));
  assert.equal(bench.targets.data(bench.session, id, utf8(""), 0, 0), 0);
  bench.session.push(id, utf8("question"));
  assert.equal(text(bench.read(far, 8).data), "question");
  // The client ends first: the target still answers.
  bench.session.end(id);
  assert.equal(bench.ending(far), 0);
  write(far, utf8("answer"));
  bench.until(() => stream.receivedBytes === 6);
  assert.equal(text(stream.bytes()), "answer");
  assert.equal(stream.isFinished, false);
  const { wakes } = bench.session;
  far.close();
  bench.until(() => stream.isFinished);
  assert.ok(bench.session.wakes > wakes);
  assert.equal(bench.targets.count, 0);
  assert.equal(stream.resetCode, undefined);
});

Deno.test("a target that ends first can still be written to", () => {
  using bench = new Bench();
  const { id, stream, far } = bench.connect();
  write(far, utf8("all I say"));
  far.finish();
  bench.until(() => stream.isFinished);
  assert.equal(text(stream.bytes()), "all I say");
  assert.equal(bench.targets.count, 1);
  bench.session.push(id, utf8("thanks"));
  assert.equal(text(bench.read(far, 6).data), "thanks");
  bench.session.end(id);
  assert.equal(bench.ending(far), 0);
  assert.equal(bench.targets.count, 0);
  far.close();
});

Deno.test("early data and an early end wait for the connection", () => {
  const resolver = new FakeResolver(["127.0.0.1"]);
  resolver.isSlow = true;
  using bench = new Bench({ resolver });
  const id = bench.open("target.example");
  bench.session.push(id, utf8("early"));
  bench.session.end(id);
  assert.equal(bench.session.stream(id).takenBytes, 0);
  resolver.waiting[0]!.waiter.resolved(resolver.next());
  const far = bench.accept();
  assert.equal(text(bench.read(far, 5).data), "early");
  assert.equal(bench.ending(far), 0);
  far.close();
  bench.until(() => bench.targets.count === 0);
  assert.equal(bench.session.stream(id).resetCode, undefined);
});

Deno.test("an end without data, before the connection, is told once it stands", () => {
  using bench = new Bench();
  const id = bench.open();
  bench.session.end(id);
  const far = bench.accept();
  assert.equal(bench.ending(far), 0);
  far.close();
  bench.until(() => bench.targets.count === 0);
});

Deno.test("a target that does not read stops the session, within bounds, and loses nothing", () => {
  using bench = new Bench();
  const { id, stream, far } = bench.connect();
  const all = pattern(24 << 20);
  bench.session.push(id, all);
  for (let i = 0; i < 20; i++) bench.loop.round(1);
  assert.ok(stream.isPaused);
  // The kernel's buffers, and what had gathered.
  assert.ok(stream.takenBytes < 16 << 20, `${stream.takenBytes}`);
  assert.ok(bench.targets.splicer.held <= 64 << 10);
  bench.session.end(id);
  const { data } = bench.read(far, all.length);
  assert.deepEqual(data, all);
  assert.equal(bench.ending(far), 0);
  far.close();
});

Deno.test("what one user's targets did not read stops no other user's downloads", () => {
  using bench = new Bench();
  const { splicer } = bench.targets;
  const { stream, far } = bench.connect();
  // As streams of ten sessions do, whose targets read nothing.
  const sessions = Array.from({ length: 10 }, () => ({ asker: {}, user: "mallory" }));
  const held: [typeof sessions[0], number][] = [];
  for (const one of sessions) {
    while (splicer.holdable(one) >= 64 << 10) {
      splicer.hold(one, 64 << 10);
      held.push([one, 64 << 10]);
    }
  }
  assert.ok(splicer.held > 8 << 20 && splicer.held <= (HELD_BYTES_MAX >> 1) + (64 << 10));
  const all = pattern(4 << 20);
  let sent = 0;
  bench.until(() => {
    sent += Math.max(0, far.write(all, sent, all.length - sent));
    return stream.receivedBytes === all.length;
  });
  assert.equal(splicer.counters.heldFull, 0);
  for (const [one, bytes] of held) splicer.letGo(one, bytes);
  far.close();
});

Deno.test("what the kernel holds for streams that do not move is bounded", () => {
  using bench = new Bench();
  const all = pattern(4 << 20);
  const stuck = Array.from({ length: 8 }, () => bench.connect());
  for (const { stream } of stuck) stream.room = 0;
  const moving = bench.connect();
  const ticks = (most: number) => {
    let sent = 0;
    for (let i = 0; i < 40; i++) {
      for (const { far } of stuck) far.write(all, 0, 256 << 10);
      sent += Math.max(0, moving.far.write(all, sent % all.length, 64 << 10));
      bench.loop.round(1);
      bench.targets.tick();
    }
    assert.ok(bench.targets.stalledBytes <= most, `${bench.targets.stalledBytes}`);
    assert.ok(sent > 0);
  };
  ticks(Infinity);
  const held = bench.targets.stalledBytes;
  assert.ok(held > 8 * (32 << 10), `${held}`);
  assert.equal(bench.targets.count, 9);
  bench.targets.setStalledMax(held / 2);
  ticks(held / 2);
  const { stalledCut } = bench.targets.counters;
  assert.ok(stalledCut >= 3 && stalledCut < 8, `${stalledCut}`);
  assert.equal(bench.targets.count, 9 - stalledCut);
  assert.equal(moving.stream.resetCode, undefined);
  for (const { far } of [...stuck, moving]) far.close();
});

Deno.test("a session without room stops the socket, and goes on when it says so", () => {
  using bench = new Bench();
  const { id, stream, far } = bench.connect();
  stream.room = 100_000;
  const all = pattern(12 << 20);
  let written = 0;
  for (let i = 0; i < 50; i++) {
    written += write(far, all, written);
    bench.loop.round(1);
  }
  assert.equal(stream.receivedBytes, 100_000);
  assert.ok(stream.writerWaits);
  assert.ok(written < all.length);
  bench.until(() => {
    written += write(far, all, written);
    if (stream.writerWaits) {
      stream.writerWaits = false;
      stream.room = 900_001;
      bench.targets.writable(bench.session, id);
    }
    return stream.receivedBytes === all.length;
  });
  assert.deepEqual(stream.bytes(), all);
  far.close();
  bench.until(() => stream.isFinished || stream.writerWaits);
  stream.room = 1;
  bench.targets.writable(bench.session, id);
  bench.until(() => stream.isFinished);
});

Deno.test("what a session has no memory for is offered again, in order", () => {
  using bench = new Bench();
  const { stream, far } = bench.connect();
  stream.writeMax = 1000;
  const all = pattern(20_000);
  write(far, all);
  far.finish();
  bench.until(() => stream.receivedBytes > 0);
  assert.ok(bench.targets.splicer.held > 0 && bench.targets.splicer.held < HELD_BYTES_MAX);
  bench.until(() => stream.isFinished);
  assert.deepEqual(stream.bytes(), all);
  assert.equal(bench.targets.splicer.held, 0);
  far.close();
});

Deno.test("a reset goes through both ways", () => {
  using bench = new Bench();
  const one = bench.connect();
  bench.targets.wasReset(bench.session, one.id);
  assert.equal(errnoCode(-bench.ending(one.far)), "ECONNRESET");
  const two = bench.connect();
  two.far.abort();
  bench.until(() => two.stream.resetCode !== undefined);
  assert.equal(two.stream.resetCode, RstCode.targetReset);
  assert.equal(bench.targets.count, 0);
  one.far.close();
});

Deno.test("a reset is noticed while the socket is blocked, and while the session is full", () => {
  using bench = new Bench();
  const { id, stream, far } = bench.connect();
  bench.session.push(id, pattern(24 << 20));
  bench.loop.round(1);
  assert.ok(stream.isPaused);
  far.abort();
  bench.until(() => stream.resetCode !== undefined);
  const other = bench.connect();
  other.stream.room = 0;
  write(other.far, utf8("unread"));
  bench.until(() => other.stream.writerWaits);
  other.far.abort();
  bench.loop.round(5);
  // Its data may still come: only then is the reset told.
  other.stream.room = 100;
  bench.targets.writable(bench.session, other.id);
  bench.until(() => other.stream.resetCode !== undefined);
});

Deno.test("a session that closes ends its connections and its connecting", () => {
  const resolver = new FakeResolver();
  resolver.isSlow = true;
  using bench = new Bench({ resolver });
  const { far } = bench.connect();
  bench.open("slow.example");
  bench.open();
  assert.equal(bench.targets.count, 3);
  bench.targets.closed(bench.session);
  assert.equal(bench.targets.count, 0);
  assert.deepEqual(resolver.forgotten, ["slow.example"]);
  assert.equal(errnoCode(-bench.ending(far)), "ECONNRESET");
  // Late words about it are no harm.
  bench.targets.ended(bench.session, 0);
  bench.targets.gone(bench.session, 0);
  assert.equal(bench.targets.data(bench.session, 0, utf8("late"), 0, 4), 0);
  far.close();
});

Deno.test("failures to connect are told apart", () => {
  using full = new TcpListener(native, { local: endpoint(LOOPBACK, 0), backlog: 1 });
  const sockets: TcpSocket[] = [];
  for (let i = 0; i < 4; i++) sockets.push(TcpSocket.connect(native, { peer: full.local }));
  using bench = new Bench({
    dial: { timeoutMs: 300 },
    rule: [...LOCAL, { cidr: ["255.255.255.255/32"], outbound: "direct" }],
  });
  const gone = new TcpListener(native, { local: endpoint(LOOPBACK, 0) });
  const { port } = gone.local;
  gone.close();
  assert.equal(bench.answer(bench.open("127.0.0.1", port)), OpenedCode.refused);
  assert.equal(bench.answer(bench.open("255.255.255.255")), OpenedCode.unreachable);
  assert.equal(bench.answer(bench.open("127.0.0.1", full.local.port)), OpenedCode.timedOut);
  assert.equal(bench.answer(bench.open("nowhere.example")), OpenedCode.nameNotFound);
  assert.equal(bench.targets.count, 0);
  for (const socket of sockets) socket.close();
});

Deno.test("what is not public is refused unless a rule names it by CIDR", () => {
  using bench = new Bench({ rule: [] });
  const hosts = [
    ...["127.0.0.1", "10.0.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0"],
    ...["::1", "fe80::1", "fd00:ec2::254", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::"],
  ];
  for (const host of hosts) {
    assert.equal(bench.answer(bench.open(host)), OpenedCode.notPublic, host);
  }
  bench.targets.setRules(rulesOf(LOCAL));
  assert.equal(bench.answer(bench.open()), OpenedCode.ok);
  assert.equal(bench.answer(bench.open("10.0.0.1")), OpenedCode.notPublic);
  assert.equal(bench.answer(bench.open("127.0.0.1", 0)), OpenedCode.denied);
  assert.equal(bench.targets.counters.refused, hosts.length + 2);
});

Deno.test("rules reject by name, user and port, before anything is looked up", () => {
  const resolver = new FakeResolver(["127.0.0.1"]);
  using bench = new Bench({
    resolver,
    rule: [
      { domainSuffix: ["ads.example"], outbound: "reject" },
      { user: ["alice"], port: ["25"], outbound: "reject" },
      ...LOCAL,
    ],
  });
  assert.equal(bench.answer(bench.open("x.ads.example")), OpenedCode.denied);
  assert.equal(bench.answer(bench.open("127.0.0.1", 25)), OpenedCode.denied);
  assert.equal(bench.answer(bench.open("good.example")), OpenedCode.ok);
});

Deno.test("a name that turns to a private address is refused, each time anew", () => {
  const resolver = new FakeResolver(
    ["127.0.0.1"],
    ["10.0.0.1"],
    ["169.254.169.254", "fd00:ec2::254"],
    ["10.0.0.1", "127.0.0.1"],
  );
  using bench = new Bench({ resolver });
  assert.equal(bench.answer(bench.open("rebind.example")), OpenedCode.ok);
  assert.equal(bench.answer(bench.open("rebind.example")), OpenedCode.notPublic);
  assert.equal(bench.answer(bench.open("rebind.example")), OpenedCode.notPublic);
  // Of several, only those that are allowed are tried.
  assert.equal(bench.answer(bench.open("rebind.example")), OpenedCode.ok);
});

Deno.test("the next address is tried where one fails", () => {
  const resolver = new FakeResolver(["127.0.0.9", "::1", "127.0.0.1"]);
  using bench = new Bench({ resolver });
  assert.equal(bench.answer(bench.open("several.example")), OpenedCode.ok);
  bench.accept().close();
});

Deno.test("connections are limited, in all and of a session", () => {
  using bench = new Bench({ connectionsMax: 3, sessionConnectionsMax: 2 });
  bench.connect();
  const { id } = bench.connect();
  assert.equal(bench.answer(bench.open()), OpenedCode.tooManyStreams);
  const other = new FakeSession();
  bench.targets.sessionOpened(other, "bob");
  const address = encodeAddress("127.0.0.1", bench.port)!;
  bench.targets.opened(other, 0, address, 0, address.length);
  bench.targets.opened(other, 1, address, 0, address.length);
  assert.equal(other.stream(1).answer?.code, OpenedCode.tooManyStreams);
  assert.equal(bench.targets.counters.tooMany, 2);
  bench.targets.wasReset(bench.session, id);
  bench.targets.opened(other, 2, address, 0, address.length);
  assert.equal(bench.targets.count, 3);
});

Deno.test("what is reset before its turn opens no socket, and others' streams are opened", () => {
  using bench = new Bench();
  const { targets } = bench;
  const other = new FakeSession();
  targets.sessionOpened(other, "bob");
  const address = encodeAddress("127.0.0.1", bench.port)!;
  // As packets bring it: 73 of each in one.
  for (let packet = 0; packet < 20; packet++) {
    for (let i = 0; i < 73; i++) targets.wasReset(bench.session, bench.open());
  }
  targets.opened(other, 0, address, 0, address.length);
  bench.accept().close();
  assert.equal(targets.turns.counters.opened, 1);
  assert.deepEqual(bench.listener.accept(), []);
  assert.equal(targets.count, 1);
  targets.closed(other);
});

Deno.test("streams of one session that wait for their turn don't hold up another's", () => {
  using bench = new Bench();
  const { targets } = bench;
  const other = new FakeSession();
  targets.sessionOpened(other, "bob");
  const address = encodeAddress("127.0.0.1", bench.port)!;
  for (let i = 0; i < 500; i++) bench.open();
  targets.opened(other, 0, address, 0, address.length);
  bench.until(() => other.stream(0).answer !== undefined);
  assert.equal(other.stream(0).answer?.code, OpenedCode.ok);
  assert.ok(targets.turns.counters.opened < 100, `${targets.turns.counters.opened}`);
  assert.ok(targets.turns.waiting > 400);
  bench.until(() => targets.turns.waiting === 0);
  bench.until(() => bench.session.stream(499).answer !== undefined);
  targets.closed(other);
});

Deno.test("a session that ends with many connections has them closed some at a time", () => {
  using bench = new Bench();
  const { targets, loop } = bench;
  for (let i = 0; i < 100; i++) bench.open();
  const far: TcpSocket[] = [];
  bench.until(() => far.push(...bench.listener.accept()) === 100);
  bench.until(() => bench.session.stream(99).answer !== undefined);
  targets.closed(bench.session);
  assert.equal(targets.count, 0);
  loop.round(0);
  assert.ok(targets.turns.counters.closed > 0 && targets.turns.counters.closed < 40);
  // Nothing of the targets reaches the session any more.
  far[99]!.write(utf8("late"), 0, 4);
  bench.until(() => targets.turns.waiting === 0);
  for (const socket of far) {
    bench.until(() => socket.read(new Uint8Array(1), 0, 1) !== tcpAgain);
    socket.close();
  }
  assert.equal(bench.session.stream(99).receivedBytes, 0);
});

Deno.test("at their limit, whoever has most connections loses what is idle for longest", () => {
  using bench = new Bench({ connectionsMax: 6 });
  const { targets } = bench;
  const ids = Array.from({ length: 6 }, () => bench.connect().id);
  bench.until(() => targets.loop.now > 0);
  const other = new FakeSession();
  targets.sessionOpened(other, "bob");
  const address = encodeAddress("127.0.0.1", bench.port)!;
  const until = targets.loop.now + 2;
  bench.until(() => targets.loop.now > until);
  // All but the third are used again.
  for (const id of ids) if (id !== ids[2]) bench.session.push(id, new Uint8Array(20_000));
  for (let i = 0; i < 3; i++) targets.opened(other, i, address, 0, address.length);
  bench.until(() => [0, 1, 2].every((i) => other.stream(i).answer !== undefined));
  assert.ok([0, 1, 2].every((i) => other.stream(i).answer!.code === OpenedCode.ok));
  assert.equal(targets.count, 6);
  const lost = ids.filter((id) => bench.session.stream(id).resetCode !== undefined);
  assert.equal(lost.length, 3);
  assert.ok(lost.includes(ids[2]!));
  assert.equal(targets.counters.gaveWay, 3);
  // Both have the same now: nobody takes any more from the other.
  assert.equal(bench.answer(bench.open()), OpenedCode.tooManyStreams);
  targets.closed(other);
});

Deno.test("an address that is none is answered", () => {
  using bench = new Bench();
  const bad = Uint8Array.of(3, 3, 0x61, 0, 0x62, 0, 80);
  bench.targets.opened(bench.session, 90, bad, 0, bad.length);
  assert.equal(bench.answer(90), OpenedCode.nameNotFound);
  const cut = Uint8Array.of(1, 127, 0);
  bench.targets.opened(bench.session, 91, cut, 0, cut.length);
  assert.equal(bench.answer(91), OpenedCode.unreachable);
});

/** Descriptors of this process that are sockets. */
function sockets(): number {
  return [...Deno.readDirSync("/proc/self/fd")].filter(({ name }) => {
    try {
      return Deno.readLinkSync(`/proc/self/fd/${name}`).startsWith("socket:");
    } catch {
      return false;
    }
  }).length;
}

Deno.test("hundreds of streams at once arrive whole, and leave nothing behind", () => {
  const before = sockets();
  {
    using bench = new Bench();
    const count = 300;
    const pairs = Array.from({ length: count }, () => bench.connect());
    const all = pattern(60_000);
    for (let at = 0; at < all.length; at += 1300) {
      for (const { id } of pairs) bench.session.push(id, all.slice(at, at + 1300));
    }
    for (const { id, far } of pairs) {
      bench.session.end(id);
      assert.equal(write(far, all), all.length);
      far.finish();
    }
    for (const { far, stream } of pairs) {
      assert.deepEqual(bench.read(far, all.length).data, all);
      bench.until(() => stream.isFinished);
      assert.deepEqual(stream.bytes(), all);
      far.close();
    }
    bench.until(() => bench.targets.count === 0);
    assert.equal(bench.targets.counters.connected, count);
  }
  assert.equal(sockets(), before);
});

/** An upstream proxy that is told where to, and then speaks for the target. */
function upstreamBench(kind: Upstream["kind"], peer: Endpoint): Bench {
  const credential = { user: "me", password: "word" };
  return new Bench({
    rules: rulesOf([{ cidr: ["127.0.0.0/8"], outbound: "up" }], ["up"]),
    upstreams: new Map([["up", { kind, peers: [peer], credential }]]),
    dial: { timeoutMs: 500 },
  });
}

Deno.test("a stream goes through an upstream SOCKS5 proxy", () => {
  using proxy = new TcpListener(native, { local: endpoint(LOOPBACK, 0) });
  using bench = upstreamBench("socks5", proxy.local);
  const id = bench.open("127.0.0.1", 99);
  bench.session.push(id, utf8("hello"));
  let far: TcpSocket | undefined;
  bench.until(() => (far = proxy.accept(1)[0]) !== undefined);
  assert.deepEqual(bench.read(far!, 4).data, Uint8Array.of(5, 2, 0, 2));
  write(far!, Uint8Array.of(5, 2));
  assert.deepEqual(bench.read(far!, 9).data, utf8("\x01\x02me\x04word"));
  write(far!, Uint8Array.of(1, 0));
  assert.deepEqual(bench.read(far!, 10).data, Uint8Array.of(5, 1, 0, 1, 127, 0, 0, 1, 0, 99));
  assert.equal(bench.session.stream(id).answer, undefined);
  // Its first bytes come with the answer.
  write(far!, Uint8Array.of(5, 0, 0, 1, 0, 0, 0, 0, 0, 0, ...utf8("early bird")));
  assert.equal(bench.answer(id), OpenedCode.ok);
  assert.equal(text(bench.read(far!, 5).data), "hello");
  bench.until(() => bench.session.stream(id).receivedBytes === 10);
  assert.equal(text(bench.session.stream(id).bytes()), "early bird");
  far!.close();
});

Deno.test("an upstream HTTP proxy that refuses, or keeps silent, is told of", () => {
  using proxy = new TcpListener(native, { local: endpoint(LOOPBACK, 0) });
  using bench = upstreamBench("http", proxy.local);
  const refused = bench.open("127.0.0.1", 99);
  let far: TcpSocket | undefined;
  bench.until(() => (far = proxy.accept(1)[0]) !== undefined);
  const head = text(bench.read(far!, 29).data);
  assert.equal(head, "CONNECT 127.0.0.1:99 HTTP/1.1");
  write(far!, utf8("HTTP/1.1 403 Forbidden\r\n\r\n"));
  assert.equal(bench.answer(refused), OpenedCode.denied);
  far!.close();
  const silent = bench.open("127.0.0.1", 99);
  assert.equal(bench.answer(silent), OpenedCode.timedOut);
  const gone = bench.open("127.0.0.1", 99);
  bench.until(() => proxy.accept(2).length > 0);
  bench.targets.wasReset(bench.session, gone);
  assert.equal(bench.targets.count, 0);
});

/** A log of targets as a worker has it, and its lines. */
function targetLog(level: "info" | "debug"): { log: TargetLog; lines: string[]; made: number[] } {
  const lines: string[] = [];
  const made: number[] = [];
  const sink = ({ event, level, fields }: LogRecord): void => {
    made.push(1);
    assert.deepEqual([event, level], ["target", "debug"]);
    const { ms, ...rest } = fields;
    assert.ok(Number(ms) >= 0);
    lines.push(Object.entries(rest).map(([key, value]) => `${key}=${value}`).join(" "));
  };
  return {
    log: new TargetLog(new Log(sink, "target", undefined, new LogThreshold(level)), () => 0),
    lines,
    made,
  };
}

Deno.test("at DEBUG each target is a line: who, where, by which rule, how it ended, bytes", () => {
  const { log, lines } = targetLog("debug");
  const rule: RuleSpec[] = [{ domain: ["bad.example"], outbound: "reject" }, ...LOCAL];
  using bench = new Bench({ rule, log, resolver: new FakeResolver() });
  const { id, far } = bench.connect();
  bench.session.push(id, pattern(1000));
  assert.equal(bench.read(far, 1000).data.length, 1000);
  far.write(pattern(300), 0, 300);
  bench.until(() => bench.session.stream(id).receivedBytes === 300);
  far.finish();
  bench.session.end(id);
  bench.until(() => bench.targets.count === 0);
  far.close();
  assert.equal(bench.answer(bench.open("bad.example", 80)), OpenedCode.denied);
  assert.equal(bench.answer(bench.open("10.1.2.3", 80)), OpenedCode.notPublic);
  assert.equal(bench.answer(bench.open("none.example", 80)), OpenedCode.nameNotFound);
  assert.equal(bench.answer(bench.open("127.0.0.1", 1)), OpenedCode.refused);
  const whose = "user=alice target=";
  const nothing = "in=0 out=0";
  assert.deepEqual(lines, [
    `${whose}127.0.0.1:${bench.port} network=tcp verdict=direct rule=rules[1] cause=ended ` +
    "in=1000 out=300",
    `${whose}bad.example:80 network=tcp verdict=refused rule=rules[0] ` +
    `cause=${tellingOf(OpenedCode.denied).words} ${nothing}`,
    `${whose}10.1.2.3:80 network=tcp verdict=refused rule=none ` +
    `cause=${tellingOf(OpenedCode.notPublic).words} ${nothing}`,
    `${whose}none.example:80 network=tcp verdict=none rule=none ` +
    `cause=${tellingOf(OpenedCode.nameNotFound).words} ${nothing}`,
    `${whose}127.0.0.1:1 network=tcp verdict=direct rule=rules[1] ` +
    `cause=${tellingOf(OpenedCode.refused).words} ${nothing}`,
  ]);
});

Deno.test("a target that breaks off, and a client that goes, are told apart at DEBUG", () => {
  const { log, lines } = targetLog("debug");
  using bench = new Bench({ log });
  const broken = bench.connect();
  broken.far.abort();
  bench.until(() => lines.length === 1);
  const left = bench.connect();
  bench.targets.wasReset(bench.session, left.id);
  bench.until(() => lines.length === 2);
  left.far.close();
  const causes = lines.map((line) => /cause=(.*) in=/.exec(line)![1]!);
  assert.deepEqual(causes, ["reset by the target", "the client ended it"]);
});

Deno.test("where nobody reads DEBUG nothing is made of a target", () => {
  const { log, made } = targetLog("info");
  using bench = new Bench({ log });
  const { id, far } = bench.connect();
  bench.session.push(id, pattern(10));
  bench.targets.wasReset(bench.session, id);
  far.close();
  assert.equal(log.story("alice", new Target()), undefined);
  assert.equal(log.datagrams("alice"), undefined);
  assert.equal(made.length, 0);
});
