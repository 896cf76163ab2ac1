import assert from "node:assert/strict";
import { endpoint } from "../../../ffi/endpoint.ts";
import { EventFd } from "../../../ffi/loop.ts";
import {
  ADDRESS,
  LOOPBACK,
  Pair,
  serverStart,
  tellingReplay,
} from "../../../tests/fixtures/tunnel.ts";
import { testNative } from "../../../tests/native.ts";
import { HandOver, handOverSpec } from "../../loop/hand_over.ts";
import { OpenedCode } from "../../wire/frames.ts";
import type { Neighbours } from "./handed_over.ts";
import { ServerTunnel } from "./tunnel.ts";

const WORKERS = 2;
const HELLO = 1;
const STRAY = 2;
/** Of a ring between workers, or more. */
const RING_BYTES = 1 << 20;
/** Each hits one of two workers. */
const PORTS = 16;

/** Two workers on one port, between which nothing in the kernel steers, and a client with a NAT. */
class TwoWorkers implements Disposable {
  readonly #stack = new DisposableStack();
  readonly pair: Pair;
  readonly workers: readonly ServerTunnel[];
  readonly overs: readonly HandOver[];

  constructor(spareBytes = 0) {
    const bells = Array.from({ length: WORKERS }, () => this.#stack.use(new EventFd(testNative())));
    const spec = handOverSpec(bells.map(({ fd }) => fd));
    const overs: HandOver[] = [];
    const neighboursOf = (index: number): Neighbours => ({
      tell: (worker, message) => void overs[index]!.tell(worker, HELLO, message),
      stray: (worker, message) => overs[index]!.tell(worker, STRAY, message, spareBytes),
    });
    const replay = tellingReplay();
    const pair = this.pair = this.#stack.use(
      new Pair({
        middle: {},
        server: { workers: WORKERS, replay },
        serverTuning: { neighbours: neighboursOf(0) },
      }),
    );
    const { loop } = pair;
    const start = serverStart({
      ...{ workers: WORKERS, index: 1, replay },
      listen: endpoint(LOOPBACK, pair.server.port),
    });
    const events = pair.atServer;
    const other = new ServerTunnel(loop, start, loop, events, { neighbours: neighboursOf(1) });
    other.start();
    this.#stack.defer(() => other.stop());
    this.workers = [pair.server, other];
    for (const index of bells.keys()) {
      const over = new HandOver(loop, index, spec);
      overs.push(over);
      over.hear(HELLO, (message) => this.workers[index]!.takeHandedOver(message));
      over.hear(STRAY, (message) => this.workers[index]!.takeStrays(message));
      this.#stack.defer(() => over.close());
    }
    this.overs = overs;
  }

  get sum(): { given: number; taken: number; dropped: number } {
    const sum = { given: 0, taken: 0, dropped: 0 };
    for (const { strays } of this.workers) {
      for (const name of ["given", "taken", "dropped"] as const) {
        sum[name] += strays!.counters[name];
      }
    }
    return sum;
  }

  [Symbol.dispose](): void {
    this.#stack.dispose();
  }
}

/** The client says a word by one stream, and goes on by it. */
function talk(two: TwoWorkers): () => void {
  const { pair } = two;
  const { client, atServer } = pair;
  atServer.opened = (session, stream) => {
    session.answer(stream, OpenedCode.ok, ADDRESS);
    for (const worker of two.workers) worker.wake(session);
  };
  const session = client.session();
  const stream = session.openStream(ADDRESS);
  const say = () => {
    session.write(stream, Uint8Array.of(1), 0, 1);
    client.wake(session);
  };
  say();
  pair.until(() => atServer.received === 1 && client.state === "open");
  return say;
}

Deno.test("a client whose port changes reaches its session by whichever worker it hits", () => {
  using two = new TwoWorkers();
  const { pair } = two;
  const say = talk(two);
  for (let i = 2; i <= PORTS; i++) {
    pair.middle.moveBack();
    say();
    pair.until(() => pair.atServer.received === i);
  }
  assert.equal(pair.atServer.sessions.length, 1, "the session is the first one");
  const { given, taken, dropped } = two.sum;
  assert.ok(given > 0, "of 16 ports one at least hits the other worker");
  assert.deepEqual([taken, dropped], [given, 0]);
});

Deno.test("packets for another worker leave room in its ring, and more of them are dropped", () => {
  using two = new TwoWorkers(RING_BYTES);
  const { pair } = two;
  const say = talk(two);
  for (let i = 2; i <= PORTS && two.sum.dropped === 0; i++) {
    pair.middle.moveBack();
    say();
    pair.run(20);
  }
  assert.ok(two.sum.dropped > 0);
  assert.deepEqual([two.sum.given, two.sum.taken], [0, 0]);
  assert.ok(two.overs[0]!.tell(1, STRAY + 1, new Uint8Array(8)), "all else finds room");
});

Deno.test("a RESET comes from the worker that would have the session", () => {
  using two = new TwoWorkers();
  const { pair } = two;
  const say = talk(two);
  for (const worker of two.workers) {
    for (const guest of [...worker.pump.peers.all()]) worker.pump.release(guest);
  }
  for (let i = 2; i <= PORTS && !pair.atClient.log.some((line) => /^closed/.test(line)); i++) {
    pair.middle.moveBack();
    say();
    pair.run(20);
  }
  assert.ok(pair.atClient.log.some((line) => /^closed/.test(line)));
});
