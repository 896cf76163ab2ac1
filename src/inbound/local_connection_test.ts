import assert from "node:assert/strict";
import { endpoint } from "../../ffi/endpoint.ts";
import { EpollEvent } from "../../ffi/loop.ts";
import { tcpAgain, TcpListener, TcpSocket } from "../../ffi/tcp.ts";
import { testNative } from "../../tests/native.ts";
import { ipBytes } from "../base/ip.ts";
import { Loop } from "../loop/loop.ts";
import type { Live } from "./context.ts";
import { type Holder, LocalConnection } from "./local_connection.ts";

const native = testNative();

class FakeHolder implements Holder {
  events = 0;
  aborts = 0;

  ready(events: number): void {
    this.events |= events;
  }

  abort(): void {
    this.aborts++;
  }
}

class Bench implements Disposable {
  readonly loop = new Loop(native);
  readonly live = new Set<Live>();
  readonly #listener = new TcpListener(native, { local: endpoint(ipBytes("127.0.0.1"), 0) });
  readonly far: TcpSocket;
  readonly connection: LocalConnection;

  constructor() {
    this.far = TcpSocket.connect(native, { peer: this.#listener.local });
    let near: TcpSocket | undefined;
    while (near === undefined) near = this.#listener.accept(1)[0];
    this.connection = new LocalConnection(this, near);
  }

  until(what: () => boolean): void {
    const deadline = performance.now() + 5000;
    while (!what()) {
      assert.ok(performance.now() < deadline, `waited in vain for ${what}`);
      this.loop.round(1);
    }
  }

  /** How the connection ended for the far side: 0, or -errno. */
  ending(): number {
    let count = tcpAgain;
    this.until(() => (count = this.far.read(new Uint8Array(1), 0, 1)) !== tcpAgain);
    return count;
  }

  [Symbol.dispose](): void {
    this.connection.reset();
    this.far.close();
    this.#listener.close();
    this.loop.close();
  }
}

Deno.test("of a connection only its present holder hears", () => {
  using bench = new Bench();
  const { connection, far, live } = bench;
  const [first, second] = [new FakeHolder(), new FakeHolder()];
  connection.hold(first);
  connection.watch(EpollEvent.in);
  far.write(Uint8Array.of(1), 0, 1);
  bench.until(() => first.events !== 0);
  connection.hold(second);
  first.events = 0;
  bench.until(() => second.events !== 0);
  assert.equal(first.events, 0);
  connection.abort();
  assert.deepEqual([first.aborts, second.aborts, live.size], [0, 1, 1]);
});

Deno.test("a connection that asks for nothing hears nothing, but of a reset", () => {
  using bench = new Bench();
  const { connection, far } = bench;
  const holder = new FakeHolder();
  connection.hold(holder);
  connection.watch(0);
  far.write(Uint8Array.of(1), 0, 1);
  for (let i = 0; i < 5; i++) bench.loop.round(1);
  assert.equal(holder.events, 0);
  far.abort();
  bench.until(() => (holder.events & EpollEvent.error) !== 0);
});

Deno.test("a connection ends once, and is live until then", () => {
  using bench = new Bench();
  const { connection, live } = bench;
  assert.deepEqual([...live], [connection]);
  connection.hold(new FakeHolder());
  connection.watch(EpollEvent.in);
  connection.close();
  assert.equal(bench.ending(), 0);
  assert.ok(connection.isOver);
  assert.equal(live.size, 0);
  assert.equal(connection.leave(), false);
  // Harmless: its socket is closed.
  connection.reset();
});

Deno.test("who leaves with the socket may use it on", () => {
  using bench = new Bench();
  const { connection, far } = bench;
  connection.watch(EpollEvent.in);
  assert.equal(connection.leave(), true);
  connection.close();
  assert.equal(connection.socket.write(Uint8Array.of(7), 0, 1), 1);
  bench.until(() => far.read(new Uint8Array(1), 0, 1) === 1);
  connection.socket.close();
});
