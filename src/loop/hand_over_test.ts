import assert from "node:assert/strict";
import { endpoint } from "../../ffi/endpoint.ts";
import { EventFd } from "../../ffi/loop.ts";
import { TcpListener, TcpSocket } from "../../ffi/tcp.ts";
import type { Greetings } from "../../tests/fixtures/hand_over_worker.ts";
import { libraries } from "../../tests/fixtures/libraries.ts";
import { LOOPBACK } from "../../tests/fixtures/loopback.ts";
import { testNative } from "../../tests/native.ts";
import { Log } from "../base/log.ts";
import { HAND_OVER_BYTES_MAX, HandOver, type HandOverSpec, handOverSpec } from "./hand_over.ts";
import { Loop } from "./loop.ts";
import { Pool } from "./pool.ts";

const native = testNative();
const libs = libraries();
const SERVICE = 3;

/** Two workers' ends in one loop. */
class Ends implements Disposable {
  readonly loop = new Loop(native);
  readonly spec: HandOverSpec;
  readonly giver: HandOver;
  readonly taker: HandOver;
  readonly #bells = [new EventFd(native), new EventFd(native)];

  constructor() {
    this.spec = handOverSpec(this.#bells.map(({ fd }) => fd));
    this.giver = new HandOver(this.loop, 0, this.spec);
    this.taker = new HandOver(this.loop, 1, this.spec);
  }

  [Symbol.dispose](): void {
    this.giver.close();
    this.taker.close();
    this.loop.close();
    for (const bell of this.#bells) bell.close();
  }
}

/** A connection within this process. */
function connection(): { near: TcpSocket; far: TcpSocket } {
  using listener = new TcpListener(native, { local: endpoint(LOOPBACK, 0) });
  const near = TcpSocket.connect(native, { peer: listener.local });
  for (;;) {
    const [far] = listener.accept();
    if (far !== undefined) return { near, far };
  }
}

function isClosed({ near }: { near: TcpSocket }): boolean {
  return near.read(new Uint8Array(1), 0, 1) === 0;
}

Deno.test("a connection and what was read of it go from one worker to another", async () => {
  const pool = await Pool.start<Greetings>({
    libs,
    code: new URL("../../tests/fixtures/hand_over_worker.ts", import.meta.url),
    name: "greeter",
    starts: [{ index: 0 }, { index: 1 }],
    log: new Log(({ message }) => assert.fail(message)),
  });
  try {
    const [port] = pool.ready("greeter");
    for (let i = 0; i < 20; i++) {
      using socket = await Deno.connect({ hostname: "127.0.0.1", port: port! });
      await socket.write(new TextEncoder().encode(`hello ${i}`));
      const text = await new Response(socket.readable).text();
      const local = socket.localAddr as Deno.NetAddr;
      assert.equal(text, `worker 1, port ${local.port}: hello ${i}`);
    }
  } finally {
    await pool.stop();
  }
  const { given, taken } = pool.counters()["hand_over"]!;
  assert.deepEqual([given, taken], [20, 20]);
});

Deno.test("a worker that does not keep up is given no more: the giver keeps the rest", () => {
  using ends = new Ends();
  const pair = connection();
  const { fd, peer } = pair.far;
  const bytes = new Uint8Array(HAND_OVER_BYTES_MAX);
  let given = 0;
  while (ends.giver.give(1, SERVICE, { fd, peer, bytes })) given++;
  assert.ok(given >= 2 && given < 8, `${given} times`);
  const { counters } = ends.giver;
  assert.deepEqual([counters.given, counters.refused], [given, 1]);
  assert.ok(!isClosed(pair));
  const taken: number[] = [];
  ends.taker.serve(SERVICE, { adopt: ({ bytes: { length } }) => taken.push(length) });
  ends.loop.round(0);
  assert.deepEqual(taken, new Array(given).fill(HAND_OVER_BYTES_MAX));
  assert.ok(ends.giver.give(1, SERVICE, { fd, peer, bytes }), "there is room again");
  ends.loop.round(0);
  pair.far.close();
  pair.near.close();
});

Deno.test("too many bytes, oneself and nobody are refused", () => {
  using ends = new Ends();
  const pair = connection();
  const { fd, peer } = pair.far;
  const long = new Uint8Array(HAND_OVER_BYTES_MAX + 1);
  const bytes = new Uint8Array(1);
  assert.ok(!ends.giver.give(1, SERVICE, { fd, peer, bytes: long }));
  assert.ok(!ends.giver.give(0, SERVICE, { fd, peer, bytes }));
  assert.ok(!ends.giver.give(2, SERVICE, { fd, peer, bytes }));
  assert.equal(ends.giver.counters.refused, 3);
  pair.far.close();
  pair.near.close();
});

Deno.test("what nobody takes is closed: of an unknown service, and when the receiver stops", () => {
  using ends = new Ends();
  const bytes = new Uint8Array(1);
  const give = () => {
    const pair = connection();
    const { peer } = pair.far;
    assert.ok(ends.giver.give(1, SERVICE, { fd: pair.far.detach(), peer, bytes }));
    return pair;
  };
  const first = give();
  ends.loop.round(0);
  assert.ok(isClosed(first));
  ends.taker.serve(SERVICE, { adopt: () => assert.fail("it has stopped") });
  const second = give();
  ends.taker.close();
  assert.ok(isClosed(second));
  assert.equal(ends.taker.counters.unclaimed, 2);
  first.near.close();
  second.near.close();
});

Deno.test("workers tell each other things, in the name of a service", () => {
  using ends = new Ends();
  const heard: number[] = [];
  const message = (byte: number) => Uint8Array.of(byte);
  assert.ok(ends.giver.tell(1, SERVICE, message(1)));
  ends.loop.round(0);
  assert.equal(ends.taker.counters.unclaimed, 1);
  ends.taker.hear(SERVICE, (bytes) => heard.push(...bytes));
  assert.ok(ends.giver.tell(1, SERVICE, message(2)) && ends.giver.tell(1, SERVICE, message(3)));
  assert.ok(ends.giver.tell(1, SERVICE + 1, message(4)));
  ends.loop.round(0);
  assert.deepEqual(heard, [2, 3]);
  assert.deepEqual([ends.taker.counters.taken, ends.taker.counters.unclaimed], [2, 2]);
  let told = 0;
  while (ends.giver.tell(1, SERVICE, new Uint8Array(100))) told++;
  assert.ok(told > 1000 && told < 3000, `${told}`);
  assert.ok(!ends.giver.tell(0, SERVICE, message(1)) && !ends.giver.tell(7, SERVICE, message(1)));
});

Deno.test("a receiver that fails is a fault of the loop, and the next connection is taken", () => {
  const faults: unknown[] = [];
  const loop = new Loop(native, (error) => faults.push(error));
  using bells = new DisposableStack();
  const spec = handOverSpec([0, 1].map(() => bells.use(new EventFd(native)).fd));
  const [giver, taker] = [new HandOver(loop, 0, spec), new HandOver(loop, 1, spec)];
  let calls = 0;
  taker.serve(SERVICE, {
    adopt: () => {
      if (++calls === 1) throw new Error("no room");
    },
  });
  const pair = connection();
  const { fd, peer } = pair.far;
  for (let i = 0; i < 2; i++) giver.give(1, SERVICE, { fd, peer, bytes: new Uint8Array(1) });
  loop.round(0);
  assert.deepEqual([calls, faults.length], [2, 1]);
  giver.close();
  taker.close();
  loop.close();
  pair.far.close();
  pair.near.close();
});
